//! Real cargo builds that fail, block or write their own sources.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::request_loop::RequestLoop;
use crate::harness::{BUILD_TIMEOUT, Event, Project, Run, Running, http, leftovers, until};

const MANIFEST: &str = "[package]\nname = \"small\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
                        [profile.dev]\ndebug = false\n";

/// The source of a server that listens on descriptor 3.
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

/// A build script that blocks while the file `closed` exists next to the package. Cargo runs it whenever a file in the
/// package has changed.
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

/// A package whose server runs under load.
struct ServedPackage {
    project: Project,
    run: Running,
    load: RequestLoop,
}

impl ServedPackage {
    fn new() -> Self {
        let project = Project::new();
        fs::create_dir(project.work().join("src")).expect("can create the directory");
        project.save("Cargo.toml", MANIFEST);
        project.save("build.rs", SCRIPT);
        save(&project, "one");
        let run = Run::new(&project).listen().program(["cargo", "run"]);
        let mut run = run.spawn();
        run.expect_that("the first generation to go live", BUILD_TIMEOUT, |event| {
            event.is("live")
        });
        let load = RequestLoop::start(run.address());
        load.more(5);
        Self { project, run, load }
    }

    /// Saves this version, and waits until its build script blocks.
    fn save_and_block(&mut self, version: &str) {
        fs::write(self.project.beside("closed"), "").expect("can write the file");
        save(&self.project, version);
        let waits = self.project.beside("waits");
        until("the build script blocks", BUILD_TIMEOUT, || {
            waits.exists().then_some(())
        });
    }

    /// Lets the build script continue.
    fn unblock(&self) {
        fs::remove_file(self.project.beside("closed")).expect("can remove `closed`");
    }

    /// Waits until this version responds.
    #[track_caller]
    fn wait_for_version(&mut self, version: &str) {
        self.run.wait_for_version_within(BUILD_TIMEOUT, version);
    }

    /// Waits until the build fails and an event mentions these words, and checks that the old generation stays live.
    #[track_caller]
    fn assert_build_fails(&mut self, words: &str) {
        let failed = self
            .run
            .expect_that("the build to fail", BUILD_TIMEOUT, |event| {
                event.is("failed")
            });
        assert_eq!(
            (failed.text("reason"), failed.number("live")),
            ("build", 1),
            "{failed}"
        );
        let says = |event: &Event| event.mentions(words);
        if !self.run.so_far().iter().any(says) {
            self.run.expect_that(words, BUILD_TIMEOUT, says);
        }
        self.wait_for_version("one");
    }

    /// Checks that the next valid save goes live and that no request was lost.
    #[track_caller]
    fn assert_recovers(mut self) {
        save(&self.project, "fixed");
        self.wait_for_version("fixed");
        self.load.assert_none_lost();
        self.run.quit();
        leftovers::empty(&self.project.tmp());
    }

    /// The pid of the running cargo.
    fn cargo_pid(&self) -> i32 {
        let all = leftovers::marked(&self.run.mark);
        let cargo = |(_, line): &&(i32, String)| {
            let program = line.split(' ').next().unwrap_or_default();
            program.ends_with("/cargo") || program == "cargo"
        };
        all.iter().find(cargo).expect("a build is running").0
    }
}

fn save(project: &Project, version: &str) {
    project.save("src/main.rs", &SERVER.replace("VERSION", version));
}

#[test]
fn hc16_a_build_that_waits_for_another_cargos_lock_says_so() {
    let mut served = ServedPackage::new();
    fs::write(served.project.beside("closed"), "").expect("can write the file");
    let mut other = other_cargo(&served.project);
    let waits = served.project.beside("waits");
    until("the build script blocks", BUILD_TIMEOUT, || {
        waits.exists().then_some(())
    });
    save(&served.project, "two");
    served
        .run
        .expect_that("cargo's message about the lock", BUILD_TIMEOUT, |event| {
            event.mentions("Blocking waiting for file lock on ")
        });
    served.wait_for_version("one");
    served.unblock();
    assert!(other.wait().expect("can wait for cargo").success());
    served.wait_for_version("two");
    served.assert_recovers();
}

/// Starts another cargo, as an editor's language server does. Its profile settings differ from those of hotrun's cargo,
/// so it builds everything.
fn other_cargo(project: &Project) -> Child {
    let mut cargo = Command::new("cargo");
    crate::harness::run::without_cargo(&mut cargo);
    cargo.args(["build", "--quiet", "--config", "profile.dev.opt-level=1"]);
    cargo.current_dir(project.work()).stderr(Stdio::null());
    cargo.spawn().expect("can start cargo")
}

#[test]
fn a_killed_cargo_is_reported_as_a_failed_build() {
    let mut served = ServedPackage::new();
    served.save_and_block("two");
    kill(Pid::from_raw(served.cargo_pid()), Signal::SIGKILL).expect("can kill cargo");
    served.assert_build_fails("the build was killed by signal 9");
    served.unblock();
    served.assert_recovers();
}

#[test]
fn a_target_directory_deleted_during_a_build_is_recreated() {
    let mut served = ServedPackage::new();
    served.save_and_block("two");
    fs::remove_dir_all(served.project.work().join("target")).expect("can remove the directory");
    served.unblock();
    // The build may succeed or fail.
    let over = |event: &Event| event.is("failed") || event.is("live");
    served
        .run
        .expect_that("the build to end", BUILD_TIMEOUT, over);
    served.assert_recovers();
}

#[test]
fn hc17_a_broken_manifest_fails_the_build() {
    let mut served = ServedPackage::new();
    served
        .project
        .save("Cargo.toml", "[package\nname = \"small\"\n");
    served.assert_build_fails("Cargo.toml");
    served.project.save("Cargo.toml", MANIFEST);
    served.assert_recovers();
}

#[test]
fn hc17_a_renamed_binary_is_started_under_its_new_name() {
    let mut served = ServedPackage::new();
    let renamed = format!("{MANIFEST}\n[[bin]]\nname = \"renamed\"\npath = \"src/main.rs\"\n");
    served.project.save("Cargo.toml", &renamed);
    save(&served.project, "renamed");
    served.wait_for_version("renamed");
    served.assert_recovers();
}

#[test]
fn hc17_a_removed_binary_fails_the_build() {
    let mut served = ServedPackage::new();
    fs::remove_file(served.project.work().join("src/main.rs")).expect("can remove `main.rs`");
    served.assert_build_fails("no targets specified in the manifest");
    served.assert_recovers();
}

#[test]
fn hc17_a_second_binary_without_a_default_fails_the_build() {
    let mut served = ServedPackage::new();
    let other = served.project.work().join("src/bin");
    fs::create_dir(&other).expect("can create the directory");
    served.project.save("src/bin/other.rs", "fn main() {}\n");
    save(&served.project, "two");
    served.assert_build_fails("could not determine which binary to run");
    fs::remove_dir_all(other).expect("can remove the directory");
    served.assert_recovers();
}

/// A build script that writes a different source file each time. Cargo runs it whenever a file in the package has
/// changed.
const GENERATOR: &str = r#"
fn main() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    std::fs::write("src/made.rs", format!("// {now:?}\n")).unwrap();
}
"#;

#[test]
fn hc08_a_build_script_that_writes_sources_is_reported_and_does_not_cause_endless_builds() {
    let project = Project::new();
    fs::create_dir(project.work().join("src")).expect("can create the directory");
    project.save("Cargo.toml", MANIFEST);
    project.save("build.rs", GENERATOR);
    save(&project, "one");
    let run = Run::new(&project).listen().program(["cargo", "run"]);
    let mut run = run.spawn();
    let named = run.expect_that("a warning about the written file", BUILD_TIMEOUT, |event| {
        event.is("message") && event.mentions("made.rs")
    });
    // There are usually three builds: the first one, one that cancels it, and one that is postponed. If hotrun sees the
    // build script write the file, there are two. On a busy machine, where the script writes the file at varying times,
    // there may be more.
    let builds = run.count("building");
    assert!(builds >= 2, "{builds} builds before {named}");
    run.wait_until_quiet(Duration::from_secs(2));
    run.assert_count("building", builds);
    assert_eq!(run.get("/"), "version one\n");
    // Changes to sources still trigger builds.
    save(&project, "two");
    run.wait_for_version_within(BUILD_TIMEOUT, "two");
    run.wait_until_quiet(Duration::from_secs(2));
    run.assert_count("building", builds + 1);
    run.quit();
}

/// The source of a server that listens on descriptor 3, has a thread for each connection, and crashes on request.
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

/// By the time of the crash, the draining generation's artifact may have been released.
#[test]
fn hc15_a_rollback_can_restore_a_build_identical_to_that_of_a_draining_generation() {
    let project = Project::new();
    let save = |version: &str| {
        project.save("src/main.rs", &CRASHES.replace("VERSION", version));
    };
    fs::create_dir(project.work().join("src")).expect("can create the directory");
    project.save("Cargo.toml", MANIFEST);
    save("one");
    let run =
        Run::new(&project)
            .listen()
            .args(["--stop-timeout", "60s", "--rollback-within", "60s"]);
    let mut run = run.program(["cargo", "run"]).spawn();
    let live = |run: &mut Running| {
        let live = run.expect_that("a generation to go live", BUILD_TIMEOUT, |event| {
            event.is("live")
        });
        live.generation()
    };
    assert_eq!(live(&mut run), 1);
    let mut open = TcpStream::connect(run.address()).expect("can connect");
    open.write_all(b"GET / ")
        .expect("can send part of a request");
    save("two");
    assert_eq!(live(&mut run), 2);
    save("one");
    assert_eq!(live(&mut run), 3);
    save("three");
    assert_eq!(live(&mut run), 4);
    let gone = |event: &Event| event.is("gone") && event.generation() == 1;
    assert!(
        !run.so_far().iter().any(gone),
        "generation 1 is still draining"
    );
    run.wait_until_gone(3);
    let _ = http::get(run.address(), "/crash");
    let starting = run.expect_that("the restored generation to start", BUILD_TIMEOUT, |event| {
        event.is("starting")
    });
    assert_eq!(starting.text("cause"), "roll_back", "{starting}");
    assert_eq!(live(&mut run), 5);
    let body = http::get(run.address(), "/").expect("a complete response");
    assert!(body.ends_with("version one\n"), "{body}");
    drop(open);
    run.quit();
}
