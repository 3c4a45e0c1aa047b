//! The programs in the matrix.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::dependencies::{self, installed_or_skip};
use crate::harness::apps::sources;
use crate::harness::project::run_to_success;
use crate::harness::{PYTHON, Project, Run};

/// The programs' ports. They are below the range from which the kernel assigns ports to clients
/// (`net.ipv4.ip_local_port_range` begins at 32768), so no client happens to hold one.
const PORTS: std::ops::Range<u16> = 10_000..32_000;

/// An example program from a server's documentation. Only the port and the word in the responses are changed: the port
/// to a free one, and the word to tell the generations apart.
pub(super) struct Program {
    name: &'static str,
    app: &'static str,
    kind: Kind,
    /// The port in the documentation's source or command line, which is replaced with `port`.
    documented: u16,
    port: u16,
    /// The number of saved versions.
    saved: usize,
    /// The two executables that the test alternates between, if the program is compiled in advance.
    built: Vec<PathBuf>,
}

/// How the program is built and started.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Built by cargo, and started with these arguments.
    Cargo {
        package: &'static str,
        arguments: &'static [&'static str],
    },
    /// Built by `go`.
    Go,
    /// Run from source: the file to edit, the runtime, and the command line.
    Run {
        file: &'static str,
        runtime: Runtime,
        line: &'static [&'static str],
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Runtime {
    Go,
    Node,
    Express,
    Python,
    PythonPackages,
    Java,
}

macro_rules! programs {
    ($($make:ident: $app:literal, $port:literal, $kind:expr;)*) => {
        impl Program {
            $(pub(super) fn $make(name: &'static str) -> Self {
                Self::new(name, $app, $port, $kind)
            })*
        }
    };
}

const fn cargo(package: &'static str, arguments: &'static [&'static str]) -> Kind {
    Kind::Cargo { package, arguments }
}

const fn run(file: &'static str, runtime: Runtime, line: &'static [&'static str]) -> Kind {
    Kind::Run {
        file,
        runtime,
        line,
    }
}

programs! {
    axum: "hello-axum", 3000, cargo("hello-axum", &[]);
    actix: "hello-actix", 8080, cargo("hello-actix", &[]);
    slow_axum: "axum", 3000, cargo("hotrun-example-axum", &[]);
    slow_go: "slow", 8080, Kind::Go;
    slow_node: "slow", 3000, run("server.js", Runtime::Node, &["node", "server.js"]);
    slow_python: "slow", 8000, run("server.py", Runtime::Python, &[PYTHON, "server.py"]);
    grpc: "grpc", 50051, cargo("grpc", &["serve", "127.0.0.1:50051"]);
    go_static: "hello-go", 8080, Kind::Go;
    go_run: "hello-go", 8080, run("main.go", Runtime::Go, &["go", "run", "."]);
    node: "hello-node", 3000, run("server.js", Runtime::Node, &["node", "server.js"]);
    express: "hello-express", 3000, run("app.js", Runtime::Express, &["node", "app.js"]);
    http_server: "hello-python", 8000,
        run("index.html", Runtime::Python, &[PYTHON, "-m", "http.server", "8000"]);
    uvicorn: "hello-python", 8000,
        run("asgi.py", Runtime::PythonPackages, &[PYTHON, "-m", "uvicorn", "asgi:app", "--port", "8000"]);
    gunicorn: "hello-python", 8000,
        run("wsgi.py", Runtime::PythonPackages,
            &[PYTHON, "-m", "gunicorn", "-w", "2", "-b", "127.0.0.1:8000", "wsgi:app"]);
    flask: "hello-python", 5000,
        run("hello.py", Runtime::PythonPackages,
            &[PYTHON, "-m", "flask", "--app", "hello", "run", "--port", "5000"]);
    java: "hello-java", 8000, run("Server.java", Runtime::Java, &["java", "Server.java"]);
}

impl Program {
    fn new(name: &'static str, app: &'static str, documented: u16, kind: Kind) -> Self {
        Self {
            name,
            app,
            kind,
            documented,
            port: free_port(name),
            saved: 0,
            built: Vec::new(),
        }
    }

    /// The number of workers on gunicorn's command line.
    pub(super) fn gunicorn_workers(&self) -> Option<usize> {
        match self.kind {
            Kind::Run { line, .. } if line.contains(&"gunicorn") => Some(2),
            Kind::Run { .. } | Kind::Cargo { .. } | Kind::Go => None,
        }
    }

    pub(super) fn what(&self) -> String {
        self.name.replace('_', " ")
    }

    pub(super) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Returns whether the program can run here; if not, reports the test as skipped.
    pub(super) fn can_run_or_skip(&self) -> bool {
        match self.kind {
            Kind::Cargo { .. } => true,
            Kind::Go => installed_or_skip("go", "version", "golang-go"),
            Kind::Run { runtime, .. } => match runtime {
                Runtime::Go => installed_or_skip("go", "version", "golang-go"),
                Runtime::Node => installed_or_skip("node", "--version", "nodejs"),
                Runtime::Express => {
                    installed_or_skip("node", "--version", "nodejs")
                        && dependencies::npm().is_some()
                }
                Runtime::Python => installed_or_skip(PYTHON, "--version", "python3"),
                Runtime::PythonPackages => {
                    installed_or_skip(PYTHON, "--version", "python3")
                        && dependencies::pip().is_some()
                }
                Runtime::Java => installed_or_skip("java", "--version", "default-jdk-headless"),
            },
        }
    }

    /// The extension of the files to watch; executables have none.
    pub(super) fn extension(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Cargo { .. } | Kind::Go => None,
            Kind::Run { file, .. } => file.rsplit('.').next(),
        }
    }

    /// Installs the dependencies, and saves the first version.
    pub(super) fn set_up(&mut self, project: &Project) {
        let source =
            |file| fs::read_to_string(sources(self.app).join(file)).expect("the app has this file");
        match self.kind {
            Kind::Cargo { .. } | Kind::Go => {
                self.built = [1, 2].map(|version| self.build(version)).into();
            }
            Kind::Run { runtime, .. } => match runtime {
                Runtime::Express => {
                    let packages =
                        dependencies::npm().expect("`can_run_or_skip` has installed the packages");
                    copy(
                        &packages.join("node_modules"),
                        &project.beside("node_modules"),
                    );
                }
                Runtime::PythonPackages => {
                    let packages =
                        dependencies::pip().expect("`can_run_or_skip` has installed the packages");
                    copy(&packages, &project.beside("packages"));
                }
                Runtime::Go => {
                    project.save("go.mod", &source("go.mod"));
                    // Build the standard library first, so that its build time does not count as start time.
                    dependencies::go(self.app, &format!("{}-warm", self.name), str::to_owned);
                }
                Runtime::Node | Runtime::Python | Runtime::Java => {}
            },
        }
        self.save(project);
    }

    fn build(&self, version: usize) -> PathBuf {
        let name = format!("{}-{}-v{version}", self.app, self.name);
        let change = |source: &str| self.change(source, &word(version));
        match self.kind {
            Kind::Cargo { package, .. } => dependencies::cargo(self.app, package, &name, change),
            Kind::Go | Kind::Run { .. } => dependencies::go(self.app, &name, change),
        }
    }

    /// Saves the next version, and returns the word in its responses.
    pub(super) fn save(&mut self, project: &Project) -> String {
        self.saved += 1;
        match self.kind {
            Kind::Cargo { .. } | Kind::Go => {
                let version = self.saved % 2;
                project.swap_by_copy(&self.built[version]);
                word(version + 1)
            }
            Kind::Run { file, .. } => {
                let word = word(self.saved);
                let source = fs::read_to_string(sources(self.app).join(file));
                project.save(
                    file,
                    &self.change(&source.expect("the app has this file"), &word),
                );
                word
            }
        }
    }

    fn change(&self, source: &str, word: &str) -> String {
        assert!(
            source.contains("Hello"),
            "{}: the source has no greeting to change",
            self.app
        );
        source
            .replace("Hello", word)
            .replace(&self.documented.to_string(), &self.port.to_string())
    }

    /// Adds the command line, and the environment variables that it needs.
    pub(super) fn environment(&self, run: Run, project: &Project) -> Run {
        let packages = project.beside("packages");
        let run = run.program(self.line(project));
        match self.kind {
            Kind::Run { runtime, .. } => match runtime {
                Runtime::Go => run.env("GOCACHE", dependencies::go_cache()),
                Runtime::PythonPackages => run.env("PYTHONPATH", packages),
                Runtime::Node | Runtime::Express | Runtime::Python | Runtime::Java => run,
            },
            Kind::Cargo { .. } | Kind::Go => run,
        }
    }

    fn line(&self, project: &Project) -> Vec<String> {
        let executable = project.work().join("server").display().to_string();
        match self.kind {
            Kind::Cargo { arguments, .. } => [vec![executable], self.with_port(arguments)].concat(),
            Kind::Go => vec![executable],
            Kind::Run { line, .. } => self.with_port(line),
        }
    }

    /// Replaces the documented port with the program's port.
    fn with_port(&self, words: &[&str]) -> Vec<String> {
        let (documented, port) = (self.documented.to_string(), self.port.to_string());
        let own = |word: &&str| word.replace(&documented, &port);
        words.iter().map(own).collect()
    }
}

/// Finds a free port, the same one each time if possible, because it is compiled into the executables.
fn free_port(name: &str) -> u16 {
    let mut hasher = DefaultHasher::new();
    (env!("CARGO_MANIFEST_DIR"), name).hash(&mut hasher);
    let count = u64::from(PORTS.end - PORTS.start);
    let first = u16::try_from(hasher.finish() % count)
        .expect("the remainder is less than the count, which fits into a `u16`");
    let ports = (PORTS.start + first..PORTS.end).chain(PORTS);
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok();
    ports.into_iter().find(free).expect("a port is free")
}

/// The word for this version. It is as long as `Hello`, which it replaces, because one program sends a fixed
/// `Content-Length`.
fn word(version: usize) -> String {
    format!("H{version:04}")
}

/// Copies a directory instead of linking it, because `nobody` may not be able to read the original.
fn copy(from: &Path, to: &Path) {
    run_to_success(Command::new("cp").arg("-r").args([from, to]));
}
