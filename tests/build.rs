//! The build against the real cargo: what it says to start, and what that costs.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hotrun::build::{Asked, BuildError, Built, Invocation, Launch, Line, Plan, recognise, runner};
use tempfile::TempDir;

const HOTRUN: &str = env!("CARGO_BIN_EXE_hotrun");

/// A cargo package in a directory of its own, without dependencies.
struct Package {
    root: TempDir,
}

/// A build that ended, and what its lines were.
struct Ran {
    success: bool,
    lines: Vec<Line>,
    stderr: String,
    built: Result<Built, BuildError>,
}

impl Package {
    fn new() -> Self {
        let package = Self {
            root: TempDir::new().expect("a temporary directory"),
        };
        package.write(
            "Cargo.toml",
            "[package]\nname = \"small\"\nversion = \"1.2.3\"\nedition = \"2021\"\n[workspace]\n",
        );
        package.write(
            "src/main.rs",
            "fn main() { println!(\"{:?}\", std::env::args().collect::<Vec<_>>()); }\n",
        );
        package
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root
            .path()
            .canonicalize()
            .expect("it exists")
            .join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a file")).expect("a directory");
        fs::write(path, text).expect("a written file");
    }

    /// Written by a shell, so that no descriptor for it is open for writing here: another test's thread that
    /// forks at that moment would have it too, and the kernel refuses to run such a file (`ETXTBSY`).
    fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a file")).expect("a directory");
        let write = "printf '%s' \"$1\" > \"$2\" && chmod 755 \"$2\"";
        let status = Command::new("sh")
            .args(["-c", write, "sh", text])
            .arg(&path)
            .status();
        assert!(status.expect("sh runs").success());
        path
    }

    fn plan(&self, line: &str) -> Result<Plan, BuildError> {
        let command: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        recognise(&Asked {
            command: &command,
            build: None,
            workdir: &self.path(""),
            color: false,
        })
    }

    fn cargo(&self, line: &str) -> String {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().expect("a program"));
        let output = command
            .args(words)
            .current_dir(self.path(""))
            .output()
            .expect("cargo runs");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn build(&self, line: &str) -> Ran {
        build(&mut self.plan(line).expect("a plan"))
    }

    /// What is to be started after a build that went well.
    fn launch(&self, line: &str) -> Launch {
        let ran = self.build(line);
        assert!(ran.success, "{line}: {}", ran.stderr);
        match ran.built {
            Ok(Built::Launch(launch)) => launch,
            Ok(Built::Again(why)) => panic!("{line}: no launch: {why}\n{}", ran.stderr),
            Err(error) => panic!("{line}: {error}\n{}", ran.stderr),
        }
    }
}

/// hotrun is what the test's own process is not: so the path of the runner is put right here.
fn command(invocation: &Invocation) -> Command {
    let ours = std::env::current_exe().expect("a path");
    let ours = ours.to_str().expect("UTF-8");
    let argv: Vec<OsString> = invocation
        .argv
        .iter()
        .map(|word| {
            word.to_str()
                .map_or_else(|| word.clone(), |word| word.replace(ours, HOTRUN).into())
        })
        .collect();
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).current_dir(&invocation.workdir);
    command.envs(invocation.env_set.iter().map(|(name, value)| (name, value)));
    for name in &invocation.env_remove {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

fn build(plan: &mut Plan) -> Ran {
    let invocation = plan.invocation().expect("an invocation").expect("a build");
    let output = command(&invocation).output().expect("cargo runs");
    let mut messages = plan.messages();
    let mut lines: Vec<Line> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .map(|line| messages.stdout(line))
        .collect();
    lines.extend(
        output
            .stderr
            .split(|byte| *byte == b'\n')
            .map(|line| messages.stderr(line)),
    );
    let success = plan.succeeded(&messages, output.status.success());
    Ran {
        success,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        built: if success {
            plan.finish(&mut messages)
        } else {
            Err(BuildError::NoExecutable)
        },
        lines,
    }
}

fn variable<'a>(launch: &'a Launch, name: &str) -> Option<&'a str> {
    launch
        .env
        .iter()
        .find(|(other, _)| *other == *name)
        .and_then(|(_, value)| value.to_str())
}

fn words(launch: &Launch) -> Vec<&str> {
    launch
        .argv
        .iter()
        .map(|word| word.to_str().expect("UTF-8"))
        .collect()
}

fn host() -> String {
    let output = Command::new("cargo")
        .arg("-vV")
        .output()
        .expect("cargo runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("a host")
        .to_owned()
}

#[test]
fn cargo_says_what_it_would_run() {
    let package = Package::new();
    let launch = package.launch("cargo run -- --port 1");
    assert_eq!(words(&launch), ["target/debug/small", "--port", "1"]);
    assert_eq!(launch.executable, Some(package.path("target/debug/small")));
    assert_eq!(
        launch.workdir,
        package.path("").as_path().components().as_path()
    );
    assert_eq!(variable(&launch, "CARGO_PKG_VERSION"), Some("1.2.3"));
    assert_eq!(
        variable(&launch, "CARGO_MANIFEST_DIR").map(Path::new),
        Some(&*launch.workdir)
    );
    assert!(
        variable(&launch, "LD_LIBRARY_PATH").is_some_and(|paths| paths.contains("target/debug"))
    );
}

#[test]
fn the_environment_is_that_of_cargo_run_and_nothing_else() {
    let package = Package::new();
    package.write(".cargo/config.toml", "[env]\nFROM_CONFIG = \"yes\"\n");
    package.write(
        "build.rs",
        "fn main() { println!(\"cargo::rustc-env=BAKED=1\"); }\n",
    );
    package.write("src/main.rs", "fn main() { for (k, v) in std::env::vars_os() { println!(\"{}={}\", k.display(), v.display()); } }\n");
    let output = Command::new("cargo")
        .args(["run", "-q"])
        .current_dir(package.path(""))
        .output()
        .expect("cargo runs");
    let mut expected: Vec<String> = String::from_utf8(output.stdout)
        .expect("UTF-8")
        .lines()
        .map(str::to_owned)
        .collect();
    let launch = package.launch("cargo run");
    let mut found: Vec<String> = launch
        .env
        .iter()
        .map(|(name, value)| format!("{}={}", name.display(), value.display()))
        .collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    assert!(found.contains(&"FROM_CONFIG=yes".to_owned()));
}

#[test]
fn nothing_is_built_anew_between_the_users_cargo_and_ours() {
    let package = Package::new();
    package.cargo("cargo build");
    let fresh = |ran: &Ran| {
        ran.lines
            .iter()
            .all(|line| !matches!(line, Line::Artifact(artifact) if !artifact.fresh))
            && ran
                .lines
                .iter()
                .any(|line| matches!(line, Line::Artifact(_)))
    };
    let ran = package.build("cargo run");
    assert!(fresh(&ran), "ours after `cargo build`: {}", ran.stderr);
    package.write("src/main.rs", "fn main() { println!(\"changed\"); }\n");
    let ran = package.build("cargo run");
    assert!(!fresh(&ran), "a change is built: {}", ran.stderr);
    for line in ["cargo build", "cargo run"] {
        let said = package.cargo(line);
        assert!(!said.contains("Compiling"), "{line} after ours: {said}");
    }
}

#[test]
fn a_runner_of_the_users_is_kept_wherever_it_is_configured() {
    let triple = host();
    for config in [
        format!("[target.{triple}]\nrunner = \"env RUN=1\"\n"),
        format!("[target.{triple}]\nrunner = [\"env\", \"RUN=1\"]\n"),
        "[target.'cfg(unix)']\nrunner = \"env RUN=1\"\n".to_owned(),
        "[target.'cfg(all())']\nrunner = [\"env\", \"RUN=1\"]\n".to_owned(),
        format!(
            "[target.{triple}]\nrunner = \"env RUN=1\"\n[target.'cfg(unix)']\nrunner = \"env OTHER=1\"\n"
        ),
    ] {
        let package = Package::new();
        package.write(".cargo/config.toml", &config);
        let launch = package.launch("cargo run x");
        assert_eq!(
            words(&launch),
            ["env", "RUN=1", "target/debug/small", "x"],
            "{config}"
        );
    }
}

#[test]
fn a_runner_with_a_relative_path_is_found_from_its_configuration() {
    let package = Package::new();
    package.script("tools/run.sh", "#!/bin/sh\nexec \"$@\"\n");
    package.write(
        ".cargo/config.toml",
        "[target.'cfg(all())']\nrunner = \"tools/run.sh\"\n",
    );
    let launch = package.launch("cargo run");
    assert_eq!(Path::new(&launch.argv[0]), package.path("tools/run.sh"));
}

#[test]
fn aliases_and_choices_are_cargos_own() {
    let package = Package::new();
    package.write("src/bin/other.rs", "fn main() {}\n");
    package.write("examples/shown.rs", "fn main() {}\n");
    package.write(
        ".cargo/config.toml",
        "[alias]\nserve = \"run --bin other --\"\nrel = [\"run\", \"--release\"]\n",
    );
    for (line, expected) in [
        (
            "cargo serve --release",
            vec!["target/debug/other", "--release"],
        ),
        ("cargo rel --bin small", vec!["target/release/small"]),
        (
            "cargo r --example shown a",
            vec!["target/debug/examples/shown", "a"],
        ),
        (
            "cargo run -q --bin small --message-format short",
            vec!["target/debug/small"],
        ),
    ] {
        assert_eq!(words(&package.launch(line)), expected, "{line}");
    }
    let triple = host();
    let launch = package.launch(&format!("cargo run --bin small --target {triple}"));
    assert_eq!(words(&launch), [format!("target/{triple}/debug/small")]);
}

#[test]
fn the_runners_own_line_of_cargo_is_not_shown() {
    let package = Package::new();
    let ran = package.build("cargo run");
    assert!(
        ran.stderr.contains("Running `"),
        "cargo still prints it: {}",
        ran.stderr
    );
    let shown = |line: &Line| matches!(line, Line::Text(text) if String::from_utf8_lossy(text).contains("--runner"));
    assert!(!ran.lines.iter().any(shown));
}

#[test]
fn a_broken_build_gives_diagnostics_and_no_launch() {
    let package = Package::new();
    package.write("src/main.rs", "fn main() { let x: u8 = \"a\"; }\n");
    let plan = package.plan("cargo run").expect("a plan");
    let invocation = plan.invocation().expect("an invocation").expect("a build");
    let output = command(&invocation).output().expect("cargo runs");
    assert!(!output.status.success());
    let mut messages = plan.messages();
    let lines: Vec<Line> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .map(|line| messages.stdout(line))
        .collect();
    assert_eq!(messages.errors(), 1);
    assert!(lines.contains(&Line::Finished { success: false }));
    let shown = |line: &Line| matches!(line, Line::Diagnostic(diagnostic) if diagnostic.rendered.contains("mismatched types"));
    assert!(lines.iter().any(shown));
}

#[test]
fn colours_are_asked_of_cargo() {
    let package = Package::new();
    package.write("src/main.rs", "fn unused() {}\nfn main() {}\n");
    for (color, escapes) in [(true, true), (false, false)] {
        let command = [OsString::from("cargo"), "run".into()];
        let asked = Asked {
            command: &command,
            build: None,
            workdir: &package.path(""),
            color,
        };
        let ran = build(&mut recognise(&asked).expect("a plan"));
        let diagnostic = |line: &Line| {
            if let Line::Diagnostic(diagnostic) = line {
                Some(diagnostic.rendered.clone())
            } else {
                None
            }
        };
        let rendered = ran.lines.iter().find_map(diagnostic);
        assert_eq!(rendered.expect("a warning").contains('\u{1b}'), escapes);
        assert_eq!(ran.stderr.contains('\u{1b}'), escapes, "{}", ran.stderr);
    }
}

#[test]
fn a_runner_on_the_command_line_leads_to_what_the_messages_name() {
    let package = Package::new();
    let mut plan = package
        .plan("cargo run --config target.'cfg(unix)'.runner='env' -- --port 1")
        .expect("a plan");
    plan.check().expect("a package");
    let ran = build(&mut plan);
    let Ok(Built::Launch(launch)) = ran.built else {
        panic!("{}", ran.stderr)
    };
    assert_eq!(
        words(&launch),
        [
            package.path("target/debug/small").to_str().expect("UTF-8"),
            "--port",
            "1"
        ]
    );
    assert_eq!(variable(&launch, "CARGO_PKG_NAME"), Some("small"));
}

#[test]
fn a_cargo_that_does_not_answer_is_asked_in_another_way() {
    // What the runner says is lost, as by a wrapper that redirects; the runner can't be started.
    for on_run in [
        "exec cargo \"$@\" >/dev/null",
        "cargo build --message-format=json; exit 101",
    ] {
        let package = Package::new();
        let cargo = package.script(
            "bin/cargo",
            &format!("#!/bin/sh\nif [ \"$1\" = run ]; then {on_run}; fi\nexec cargo \"$@\"\n"),
        );
        let mut plan = package
            .plan(&format!("{} run a", cargo.display()))
            .expect("a plan");
        plan.check().expect("a package");
        assert!(
            matches!(build(&mut plan).built, Ok(Built::Again(_))),
            "{on_run}"
        );
        let ran = build(&mut plan);
        let Ok(Built::Launch(launch)) = ran.built else {
            panic!("{}", ran.stderr)
        };
        let executable = package.path("target/debug/small");
        assert_eq!(
            words(&launch),
            [executable.to_str().expect("UTF-8"), "a"],
            "{on_run}"
        );
    }
}

#[test]
fn an_environment_that_is_not_text_survives() {
    use std::os::unix::ffi::OsStringExt;
    let odd = OsString::from_vec(b"\xff\x01=x".to_vec());
    let output = Command::new(HOTRUN)
        .args([runner::FLAG, "--", "prog"])
        .arg(&odd)
        .env_clear()
        .env("ODD", &odd)
        .output()
        .expect("hotrun runs");
    assert!(output.status.success());
    let package = Package::new();
    let mut plan = package.plan("cargo run").expect("a plan");
    let mut messages = plan.messages();
    messages.stdout(output.stdout.strip_suffix(b"\n").expect("a line"));
    let Ok(Built::Launch(launch)) = plan.finish(&mut messages) else {
        panic!("a launch")
    };
    assert_eq!(launch.argv, [OsString::from("prog"), odd.clone()]);
    assert_eq!(launch.env, [(OsString::from("ODD"), odd)]);
}

#[test]
fn hc17_several_binaries_are_listed() {
    let package = Package::new();
    package.write("src/bin/other.rs", "fn main() {}\n");
    let error = package
        .plan("cargo run")
        .expect("a plan")
        .check()
        .expect_err("two");
    assert!(
        matches!(error, BuildError::SeveralBinaries { .. }),
        "{error}"
    );
    let hint = error.hint().expect("a hint");
    assert!(
        hint.contains("`other`") && hint.contains("`small`") && hint.contains("--bin"),
        "{hint}"
    );
    package
        .plan("cargo run --bin other")
        .expect("a plan")
        .check()
        .expect("a choice");
    let error = package
        .plan("cargo run --bin x")
        .expect("a plan")
        .check()
        .expect_err("unknown");
    assert!(matches!(error, BuildError::UnknownTarget { .. }), "{error}");
    let manifest = fs::read_to_string(package.path("Cargo.toml")).expect("a file");
    package.write(
        "Cargo.toml",
        &manifest.replace("edition", "default-run = \"other\"\nedition"),
    );
    package
        .plan("cargo run")
        .expect("a plan")
        .check()
        .expect("a default");
}

#[test]
fn hc17_a_broken_or_missing_manifest_is_an_error_of_its_own() {
    let package = Package::new();
    package.write("Cargo.toml", "[package\n");
    let error = package
        .plan("cargo run")
        .expect("a plan")
        .check()
        .expect_err("broken");
    assert!(
        matches!(error, BuildError::BrokenManifest { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("Cargo.toml"), "{error}");
    let empty = TempDir::new().expect("a temporary directory");
    let command = [OsString::from("cargo"), "run".into()];
    let asked = Asked {
        command: &command,
        build: None,
        workdir: empty.path(),
        color: false,
    };
    let error = recognise(&asked)
        .expect("a plan")
        .check()
        .expect_err("missing");
    assert!(matches!(error, BuildError::NoManifest { .. }), "{error}");
}

#[test]
fn a_package_without_a_binary_names_its_examples() {
    let package = Package::new();
    fs::remove_file(package.path("src/main.rs")).expect("removed");
    package.write("src/lib.rs", "");
    package.write("examples/shown.rs", "fn main() {}\n");
    let error = package
        .plan("cargo run")
        .expect("a plan")
        .check()
        .expect_err("none");
    assert!(matches!(error, BuildError::NoBinary { .. }), "{error}");
    assert!(error.hint().expect("a hint").contains("--example shown"));
}

/// A workspace of a server that uses `used` (a member) and `../outside`, and of `unused`.
fn workspace() -> Package {
    let package = Package::new();
    let member = |name: &str, rest: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n{rest}")
    };
    package.write("ws/Cargo.toml", "[workspace]\nmembers = [\"server\", \"used\", \"unused\", \"tests-only\"]\nresolver = \"2\"\n");
    let dependencies = "[dependencies]\nused = { path = \"../used\" }\noutside = { path = \"../../outside\" }\n[dev-dependencies]\ntests-only = { path = \"../tests-only\" }\n";
    package.write("ws/server/Cargo.toml", &member("server", dependencies));
    package.write("ws/server/src/main.rs", "fn main() {}\n");
    for name in ["used", "unused", "tests-only"] {
        package.write(&format!("ws/{name}/Cargo.toml"), &member(name, ""));
        package.write(&format!("ws/{name}/src/lib.rs"), "");
    }
    package.write(
        "outside/Cargo.toml",
        &member(
            "outside",
            "[dependencies]\ndeep = { path = \"deep\" }\n[workspace]\n",
        ),
    );
    package.write("outside/src/lib.rs", "");
    package.write("outside/deep/Cargo.toml", &member("deep", ""));
    package.write("outside/deep/src/lib.rs", "");
    package
}

#[test]
fn hc09_local_dependencies_are_watched_and_unused_members_are_not() {
    let package = workspace();
    // Without the lock file cargo can resolve it offline; with a registry dependency it can't.
    for broken_resolution in [false, true] {
        if broken_resolution {
            let manifest =
                fs::read_to_string(package.path("ws/unused/Cargo.toml")).expect("a file");
            package.write(
                "ws/unused/Cargo.toml",
                &format!("{manifest}\n[dependencies]\nno-such-crate-at-all = \"1\"\n"),
            );
        }
        let mut plan = package
            .plan("cargo run --manifest-path ws/Cargo.toml -p server")
            .expect("a plan");
        let roots = plan.watch_roots().expect("roots");
        let mut dirs = roots.dirs.clone();
        dirs.sort();
        let expected =
            ["outside", "outside/deep", "ws/server", "ws/used"].map(|name| package.path(name));
        assert_eq!(dirs, expected, "broken resolution: {broken_resolution}");
        for name in ["ws/target", "ws/unused", "ws/tests-only"] {
            assert!(
                roots.ignored.contains(&package.path(name)),
                "{name}: {roots:?}"
            );
        }
        for name in [
            "ws/Cargo.toml",
            "ws/Cargo.lock",
            ".cargo/config.toml",
            "rust-toolchain.toml",
        ] {
            assert!(
                roots.files.contains(&package.path(name)),
                "{name}: {roots:?}"
            );
        }
    }
}

#[test]
fn an_unknown_package_is_named_with_those_that_there_are() {
    let package = workspace();
    let line = "cargo run --manifest-path ws/Cargo.toml -p servre";
    let error = package
        .plan(line)
        .expect("a plan")
        .check()
        .expect_err("unknown");
    assert!(
        matches!(error, BuildError::UnknownPackage { .. }),
        "{error}"
    );
    assert!(error.hint().expect("a hint").contains("`server`"));
}
