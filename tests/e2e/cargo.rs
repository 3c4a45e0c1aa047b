//! What can go wrong with a real cargo.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::request_loop::RequestLoop;
use crate::harness::{BUILD_PATIENCE, Event, Project, Run, Running, http, leftovers, until};

const MANIFEST: &str = "[package]\nname = \"small\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
                        [profile.dev]\ndebug = false\n";

/// Serves on descriptor 3.
const SERVER: &str = r#"
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::FromRawFd;

fn main() {
    let listener = unsafe { TcpListener::from_raw_fd(3) };
    loop {
        let (mut stream, _) = listener.accept().unwrap();
        let body = "version VERSION\n";
        let _ = stream.read(&mut [0; 1024]);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        let _ = stream.write_all((head + body).as_bytes());
    }
}
"#;

/// Waits while the file `closed` exists beside the package. It runs again when anything in the package changes.
const SCRIPT: &str = r#"
fn main() {
    if std::fs::exists("../closed").unwrap() {
        std::fs::write("../waits", "").unwrap();
    }
    while std::fs::exists("../closed").unwrap() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
"#;

/// A package that serves under load.
struct Served {
    project: Project,
    run: Running,
    load: RequestLoop,
}

impl Served {
    fn new() -> Self {
        let project = Project::new();
        fs::create_dir(project.work().join("src")).expect("a directory of this test");
        project.save("Cargo.toml", MANIFEST);
        project.save("build.rs", SCRIPT);
        save(&project, "one");
        let run = Run::new(&project).listen().program(["cargo", "run"]);
        let mut run = run.spawn();
        run.expect_that("the first build", BUILD_PATIENCE, |event| event.is("live"));
        let load = RequestLoop::start(run.address());
        load.more(5);
        Self { project, run, load }
    }

    /// Saves this version and waits until its build script blocks.
    fn save_and_wait(&mut self, version: &str) {
        fs::write(self.project.beside("closed"), "").expect("a directory of this test");
        save(&self.project, version);
        let waits = self.project.beside("waits");
        until("the build script", BUILD_PATIENCE, || {
            waits.exists().then_some(())
        });
    }

    fn open(&self) {
        fs::remove_file(self.project.beside("closed")).expect("it is there");
    }

    #[track_caller]
    fn answers(&self, version: &str) {
        let wanted = format!("version {version}\n");
        until(&wanted, BUILD_PATIENCE, || {
            http::get(self.run.address(), "/")
                .ok()
                .filter(|body| *body == wanted)
        });
    }

    /// The build fails with these words, and the old generation stays live.
    #[track_caller]
    fn fails(&mut self, words: &str) {
        let failed = self
            .run
            .expect_that("a failure", BUILD_PATIENCE, |event| event.is("failed"));
        assert_eq!(
            (failed.text("reason"), failed.number("live")),
            ("build", 1),
            "{failed}"
        );
        let says = |event: &Event| event.mentions(words);
        if !self.run.so_far().iter().any(says) {
            self.run.expect_that(words, BUILD_PATIENCE, says);
        }
        self.answers("one");
    }

    /// A good save gets live, and no request was lost.
    #[track_caller]
    fn mends(self) {
        save(&self.project, "mended");
        self.answers("mended");
        self.load.stop_losing_none();
        self.run.quit();
        leftovers::empty(&self.project.tmp());
    }

    fn cargo(&self) -> i32 {
        let all = leftovers::marked(&self.run.mark);
        let cargo = |(_, line): &&(i32, String)| {
            let program = line.split(' ').next().unwrap_or_default();
            program.ends_with("/cargo") || program == "cargo"
        };
        all.iter().find(cargo).expect("a build runs").0
    }
}

fn save(project: &Project, version: &str) {
    project.save("src/main.rs", &SERVER.replace("VERSION", version));
}

#[test]
fn hc16_a_cargo_that_holds_the_lock_is_reported_and_the_build_waits() {
    let mut served = Served::new();
    fs::write(served.project.beside("closed"), "").expect("a directory of this test");
    let mut other = other_cargo(&served.project);
    let waits = served.project.beside("waits");
    until("the build script", BUILD_PATIENCE, || {
        waits.exists().then_some(())
    });
    save(&served.project, "two");
    served
        .run
        .expect_that("that it waits", BUILD_PATIENCE, |event| {
            event.mentions("Blocking waiting for file lock on ")
        });
    served.answers("one");
    served.open();
    assert!(other.wait().expect("it is our child").success());
    served.answers("two");
    served.mends();
}

/// Starts a cargo as an editor's language server does. It has other profile settings, so that it builds everything.
fn other_cargo(project: &Project) -> Child {
    let mut cargo = Command::new("cargo");
    crate::harness::run::without_cargo(&mut cargo);
    cargo.args(["build", "--quiet", "--config", "profile.dev.opt-level=1"]);
    cargo.current_dir(project.work()).stderr(Stdio::null());
    cargo.spawn().expect("cargo can be started")
}

#[test]
fn a_killed_cargo_is_reported_as_a_failed_build() {
    let mut served = Served::new();
    served.save_and_wait("two");
    kill(Pid::from_raw(served.cargo()), Signal::SIGKILL).expect("it runs");
    served.fails("the build was ended by signal 9");
    served.open();
    served.mends();
}

#[test]
fn a_target_directory_deleted_during_a_build_is_recreated() {
    let mut served = Served::new();
    served.save_and_wait("two");
    fs::remove_dir_all(served.project.work().join("target")).expect("a file of this test");
    served.open();
    // Cargo may succeed or report an error.
    let over = |event: &Event| event.is("failed") || event.is("live");
    served
        .run
        .expect_that("the end of it", BUILD_PATIENCE, over);
    served.mends();
}

#[test]
fn hc17_a_broken_manifest_fails_the_build() {
    let mut served = Served::new();
    served
        .project
        .save("Cargo.toml", "[package\nname = \"small\"\n");
    served.fails("Cargo.toml");
    served.project.save("Cargo.toml", MANIFEST);
    served.mends();
}

#[test]
fn hc17_a_renamed_binary_is_started_by_its_new_name() {
    let served = Served::new();
    let renamed = format!("{MANIFEST}\n[[bin]]\nname = \"renamed\"\npath = \"src/main.rs\"\n");
    served.project.save("Cargo.toml", &renamed);
    save(&served.project, "renamed");
    served.answers("renamed");
    served.mends();
}

#[test]
fn hc17_a_removed_binary_fails_the_build() {
    let mut served = Served::new();
    fs::remove_file(served.project.work().join("src/main.rs")).expect("it is there");
    served.fails("no targets specified in the manifest");
    served.mends();
}

#[test]
fn hc17_several_new_binaries_are_listed() {
    let mut served = Served::new();
    let other = served.project.work().join("src/bin");
    fs::create_dir(&other).expect("a directory of this test");
    served.project.save("src/bin/other.rs", "fn main() {}\n");
    save(&served.project, "two");
    served.fails("could not determine which binary to run");
    fs::remove_dir_all(other).expect("a file of this test");
    served.mends();
}

/// Writes a different text into the sources on each run. It runs when anything in the package changes.
const GENERATOR: &str = r#"
fn main() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    std::fs::write("src/made.rs", format!("// {now:?}\n")).unwrap();
}
"#;

#[test]
fn hc08_a_build_script_that_writes_sources_is_reported_and_the_builds_end() {
    let project = Project::new();
    fs::create_dir(project.work().join("src")).expect("a directory of this test");
    project.save("Cargo.toml", MANIFEST);
    project.save("build.rs", GENERATOR);
    save(&project, "one");
    let run = Run::new(&project).listen().program(["cargo", "run"]);
    let mut run = run.spawn();
    let named = run.expect_that("a warning about it", BUILD_PATIENCE, |event| {
        event.is("message") && event.mentions("made.rs")
    });
    assert!(
        named.mentions("the build rewrites its own input"),
        "{named}"
    );
    run.wait_until_quiet(Duration::from_secs(2));
    // As in every such loop: three are cancelled, and three end.
    run.assert_count("building", 6);
    assert_eq!(run.get("/"), "version one\n");
    // Changes to sources still cause builds.
    save(&project, "two");
    until("the second version", BUILD_PATIENCE, || {
        (run.get("/") == "version two\n").then_some(())
    });
    run.wait_until_quiet(Duration::from_secs(2));
    run.assert_count("building", 7);
    run.quit();
}

/// Serves on descriptor 3 with a thread for each connection, and crashes on request.
const CRASHES: &str = r#"
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::FromRawFd;

fn main() {
    let listener = unsafe { TcpListener::from_raw_fd(3) };
    loop {
        let (mut stream, _) = listener.accept().unwrap();
        std::thread::spawn(move || {
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap_or(0);
            if request.starts_with(b"GET /crash") {
                std::process::exit(101);
            }
            if length < 16 {
                let _ = stream.read(&mut request);
            }
            let body = "version VERSION\n";
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all((head + body).as_bytes());
        });
    }
}
"#;

/// The artifact of a draining generation may have been released.
#[test]
fn hc15_a_build_equal_to_that_of_a_draining_generation_can_be_rolled_back_to() {
    let project = Project::new();
    let save = |version: &str| {
        project.save("src/main.rs", &CRASHES.replace("VERSION", version));
    };
    fs::create_dir(project.work().join("src")).expect("a directory of this test");
    project.save("Cargo.toml", MANIFEST);
    save("one");
    let run =
        Run::new(&project)
            .listen()
            .args(["--stop-timeout", "60s", "--rollback-within", "60s"]);
    let mut run = run.program(["cargo", "run"]).spawn();
    let live = |run: &mut Running| {
        let live = run.expect_that("live", BUILD_PATIENCE, |event| event.is("live"));
        live.generation()
    };
    assert_eq!(live(&mut run), 1);
    let mut open = TcpStream::connect(run.address()).expect("connected");
    open.write_all(b"GET / ").expect("it listens");
    save("two");
    assert_eq!(live(&mut run), 2);
    save("one");
    assert_eq!(live(&mut run), 3);
    save("three");
    assert_eq!(live(&mut run), 4);
    let gone = |event: &Event| event.is("gone") && event.generation() == 1;
    assert!(!run.so_far().iter().any(gone), "it drains still");
    run.wait_until_gone(3);
    let _ = http::get(run.address(), "/crash");
    let starting = run.expect_that("a start", BUILD_PATIENCE, |event| event.is("starting"));
    assert_eq!(starting.text("cause"), "roll_back", "{starting}");
    assert_eq!(live(&mut run), 5);
    let body = http::get(run.address(), "/").expect("it serves");
    assert!(body.ends_with("version one\n"), "{body}");
    drop(open);
    run.quit();
}
