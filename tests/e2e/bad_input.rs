//! Invalid input leads to a clear error and the right exit code, and leaves nothing behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::{Project, Run, TIMEOUT};

/// Checks that hotrun exits with this code, prints all of these words, and leaves no process behind.
#[track_caller]
fn assert_refused(run: Run, wanted: i32, words: &[&str]) {
    let (code, printed) = run.output();
    assert_eq!(code, Some(wanted), "{printed}");
    for word in words {
        assert!(printed.contains(word), "`{word}` is missing in: {printed}");
    }
    assert!(!printed.contains("panicked"), "{printed}");
}

#[test]
fn an_unknown_flag_is_refused() {
    let project = Project::new();
    assert_refused(
        Run::new(&project).arg("--lisen").program(["true"]),
        2,
        &["--lisen", "--listen"],
    );
    project.assert_untouched(&[]);
}

#[test]
fn an_unknown_readiness_check_is_refused() {
    let project = Project::new();
    let run = Run::new(&project)
        .args(["--ready", "htp:/"])
        .program(["true"]);
    assert_refused(run, 2, &["--ready", "htp:/"]);
}

#[test]
fn a_run_without_a_package_or_a_command_is_refused() {
    let project = Project::new();
    assert_refused(Run::new(&project), 2, &["Cargo.toml"]);
    project.assert_untouched(&[]);
}

#[test]
fn a_package_with_several_binaries_and_no_default_is_refused() {
    let project = Project::new();
    fs::create_dir_all(project.work().join("src/bin")).expect("can create the directory");
    project.save(
        "Cargo.toml",
        "[package]\nname = \"two\"\nversion = \"0.0.0\"\nedition = \"2024\"\n",
    );
    project.save("src/bin/first.rs", "fn main() {}\n");
    project.save("src/bin/second.rs", "fn main() {}\n");
    assert_refused(Run::new(&project), 2, &["first", "second", "--bin"]);
}

#[test]
fn a_missing_cargo_is_reported() {
    let project = Project::new();
    project.save(
        "Cargo.toml",
        "[package]\nname = \"one\"\nversion = \"0.0.0\"\nedition = \"2024\"\n",
    );
    let run = Run::new(&project)
        .env("PATH", project.tmp())
        .program(["cargo", "run"]);
    assert_refused(run, 1, &["cargo"]);
}

#[test]
fn a_killed_build_is_reported_with_a_command_that_uses_less_memory() {
    let project = Project::new();
    let run = Run::new(&project).args(["--build", "kill -9 $$"]);
    let mut run = run.program(["true"]).spawn();
    let killed = run.expect_that("the signal", TIMEOUT, |event| {
        event.mentions("the build was killed by signal 9")
    });
    assert!(killed.mentions("(`cargo run -j 2`)"), "{killed}");
    run.quit();
}

#[test]
fn a_script_without_an_interpreter_is_started_when_its_first_line_is_corrected() {
    let project = Project::new();
    let script = project.work().join("app");
    let write = |text: &str| fs::write(&script, text).expect("can write the script");
    write("#!/nowhere/sh\nexec sleep 1000\n");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("can change the mode");
    let mut run = Run::new(&project).program(["./app"]).spawn();
    run.expect_that("the hint", TIMEOUT, |event| {
        event.mentions("cannot run its interpreter")
            && event.mentions("the first line of the script")
    });
    write("#!/bin/sh\nexec sleep 1000\n");
    run.live();
    run.quit();
}

#[test]
fn readiness_that_needs_sockets_where_none_can_be_adopted_suggests_listen() {
    let project = Project::new();
    project.server("one");
    let inner = [
        env!("CARGO_BIN_EXE_hotrun"),
        "--ui",
        "json",
        "--ready",
        "listen",
    ];
    let words = |options: &[&'static str]| [&inner[..], options, &["--", "sh", "start"]].concat();
    let mut run = Run::new(&project).program(words(&[])).spawn();
    run.expect_that("the hint", TIMEOUT, |event| {
        event.mentions("`--ready listen` cannot find the program's sockets")
            && event.mentions("add `--listen`, as in `--listen 3000`")
    });
    run.quit();
    let mut run = Run::new(&project)
        .program(words(&["--listen", "127.0.0.1:0"]))
        .spawn();
    run.expect_that("the inner program", TIMEOUT, |event| {
        event.is("output") && event.mentions("live") && event.mentions("took_ms")
    });
    run.quit();
}

#[test]
fn a_regular_file_at_a_unix_path_is_refused() {
    let project = Project::new();
    project.save("file", "precious");
    let path = project.work().join("file");
    let run = Run::new(&project).args(["--listen", &format!("unix:{}", path.display())]);
    assert_refused(run.program(["true"]), 1, &["file"]);
    assert_eq!(
        fs::read_to_string(path).expect("the file still exists"),
        "precious"
    );
}

#[test]
fn an_invalid_address_is_refused() {
    let project = Project::new();
    let run = Run::new(&project)
        .args(["--listen", "127.0.0.1:port"])
        .program(["true"]);
    assert_refused(run, 2, &["--listen", "127.0.0.1:port"]);
}

#[test]
fn a_missing_command_is_reported() {
    let project = Project::new();
    let run = Run::new(&project).program(["no-such-command-anywhere"]);
    assert_refused(run, 2, &["no-such-command-anywhere"]);
    let line = "echo up && sleep 1000";
    assert_refused(Run::new(&project).program([line]), 2, &["sh -c '...'"]);
    let mut run = Run::new(&project).program(["sh", "-c", line]).spawn();
    run.wait_for_line(1, "up");
    run.quit();
}

#[test]
fn a_command_that_is_not_executable_is_reported() {
    let project = Project::new();
    project.save("script", "#!/bin/sh\necho up\nsleep 1000");
    let run = || Run::new(&project).program(["./script"]);
    assert_refused(run(), 2, &["`chmod +x ./script` makes it executable"]);
    project.assert_untouched(&["script"]);
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(project.work().join("script"), mode).expect("can change the mode");
    let mut run = run().spawn();
    run.wait_for_line(1, "up");
    run.quit();
}

#[test]
fn a_port_that_needs_privileges_is_refused() {
    // Cannot be tested as root, or where the system lets every user bind port 1.
    if std::net::TcpListener::bind("127.0.0.1:1").is_ok() {
        crate::harness::say("not tested: this user may bind port 1");
        return;
    }
    let project = Project::new();
    let run = Run::new(&project).listen_on("127.0.0.1:1");
    assert_refused(run.program(["true"]), 1, &["127.0.0.1:1", "1024"]);
}

#[test]
fn a_failed_build_that_prints_nothing_is_reported_with_its_exit_status() {
    let project = Project::new();
    let run = Run::new(&project).args(["--build", "exit 3"]);
    let mut run = run.program(["true"]).spawn();
    run.expect_that("the build's exit status", TIMEOUT, |event| {
        event.is("message") && event.mentions("exit status 3")
    });
    assert_eq!(run.expect("failed").text("reason"), "build");
    run.quit();
}

#[test]
fn a_descriptor_that_is_no_tcp_socket_is_refused_at_activation() {
    let project = Project::new();
    let activate = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\" 3</dev/null";
    let run = Run::through(&project, activate).program(["true"]);
    assert_refused(run, 2, &["`LISTEN_FDS`", "--listen unix:PATH"]);
}
