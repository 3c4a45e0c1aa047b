//! Tests side effects of interception on the program and its guardian, and failures to intercept.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use hotrun::os::seccomp::{self, Reply, Unavailable};
use hotrun::process::ProgramEvent;
use nix::errno::Errno;

use super::*;
use crate::support::*;

#[tokio::test]
async fn the_channel_and_the_listener_do_not_leak() {
    let mark = Mark::new();
    let mut spec = spec(&mark, &["sleep", "1000"]);
    spec.sockets = ["a", "b"].map(|n| (n.to_owned(), holding(n))).into();
    let (here, there) = seccomp::channel().unwrap();
    spec.intercept = Some(there);
    let mut running = Running::start(spec);
    let pid = running.started().await;
    let (here, calls) = (here.try_clone().unwrap(), InterceptedCalls::accept(here));
    let calls = calls.unwrap().unwrap();
    wait_for_only_descriptors(pid, &[0, 1, 2, 3, 4]).await;
    let guardian = open_files(guardian_of(pid));
    let listener = |(_, target): &&(i32, String)| target.contains("seccomp");
    assert_eq!(guardian.iter().filter(listener).count(), 1);
    // No process has the other end of the channel.
    let again = InterceptedCalls::accept(here).unwrap_err();
    assert_eq!(again.kind(), std::io::ErrorKind::UnexpectedEof);
    running.control.kill();
    running.end().await;
    assert_eq!(next(calls).await.1, Next::Ended);
}

#[tokio::test]
async fn waiting_for_calls_ends_if_the_program_cannot_be_started() {
    let mark = Mark::new();
    let (here, there) = seccomp::channel().unwrap();
    let mut nowhere = spec(&mark, &["sleep", "1000"]);
    nowhere.workdir = "/nowhere".into();
    nowhere.intercept = Some(there);
    let mut running = Running::start(nowhere);
    assert!(matches!(
        running.event().await,
        Some(ProgramEvent::Refused { .. })
    ));
    let error = InterceptedCalls::accept(here).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);

    let (here, there) = seccomp::channel().unwrap();
    let mut nothing = spec(&mark, &["/nowhere/to/be/found"]);
    nothing.intercept = Some(there);
    let mut running = Running::start(nothing);
    assert!(matches!(
        running.event().await,
        Some(ProgramEvent::Refused { .. })
    ));
    let calls = InterceptedCalls::accept(here).unwrap().unwrap();
    assert_eq!(next(calls).await.1, Next::Ended);
}

#[tokio::test]
async fn a_program_does_not_start_if_its_listener_is_lost() {
    let mark = Mark::new();
    let (here, there) = seccomp::channel().unwrap();
    let mut spec = spec(&mark, &["echo", "hello"]);
    spec.intercept = Some(there);
    drop(here);
    // The filter is active but its listener is lost, so every `bind` would fail.
    let mut running = Running::start(spec);
    let Some(ProgramEvent::Refused { error }) = running.event().await else {
        panic!("the program was started without a listener");
    };
    assert_eq!(error.errno, libc::EPIPE);
}

fn status(field: &str) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix(field));
    value.unwrap().trim().to_owned()
}

fn has_sys_admin() -> bool {
    const SYS_ADMIN: u32 = 21;
    u64::from_str_radix(&status("CapEff:"), 16).unwrap() >> SYS_ADMIN & 1 == 1
}

const PRIVILEGES: &str = "import socket
for line in open('/proc/self/status'):
    if line.startswith(('NoNewPrivs', 'Seccomp:')):
        print(line.split()[1])
s = socket.socket()
s.bind(('127.0.0.1', 0))
print(s.fileno())
";

/// Intercepts a call as the current user, with or without privileges. The program should get `no_new_privs` only if
/// interception is impossible without it.
async fn intercept_as_current_user() {
    seccomp::probe().unwrap();
    let mark = Mark::new();
    let (mut running, calls) = start(python_spec(&mark, PRIVILEGES)).await;
    let (calls, call) = next_call(calls).await;
    assert_eq!(address_of(&call), bytes_of(loopback(0)));
    let Syscall::Bind { fd, .. } = call.syscall else {
        panic!("{call:?}");
    };
    let ours = seccomp::descriptor_of(call.thread, fd).unwrap();
    assert!(hotrun::os::cookie(&ours).is_ok());
    calls.reply(call.id, Reply::Success).unwrap();
    let no_new = if has_sys_admin() { "0" } else { "1" };
    let wanted = [no_new, "2", &fd.to_string()].map(str::to_owned);
    assert_eq!(running.rest().await, wanted);
}

#[tokio::test]
async fn no_new_privs_is_set_only_if_necessary() {
    if python_or_skip() {
        intercept_as_current_user().await;
    }
}

#[tokio::test]
#[ignore = "helper: runs as an ordinary user"]
async fn helper_is_intercepted() {
    assert_ne!(nix::unistd::geteuid().as_raw(), 0);
    intercept_as_current_user().await;
}

const NOBODY: [&str; 5] = [
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=-all",
    "--bounding-set=-all",
];

/// Copies a file to a directory that every user may read, unlike the build directory.
fn copy_public(file: impl AsRef<Path>, directory: &Path, name: &str) -> std::path::PathBuf {
    let copy = directory.join(name);
    fs::copy(file, &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    copy
}

fn passed(output: &Output) -> bool {
    output.status.success() && String::from_utf8_lossy(&output.stdout).contains("1 passed")
}

#[test]
fn an_ordinary_user_can_intercept() {
    if !python_or_skip() || !nix::unistd::geteuid().is_root() {
        // For an ordinary user, `no_new_privs_is_set_only_if_necessary` already tests this.
        return;
    }
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path();
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    let tests = copy_public(std::env::current_exe().unwrap(), directory, "tests");
    let hotrun = copy_public(env!("CARGO_BIN_EXE_hotrun"), directory, "hotrun");
    let output = Command::new("setpriv")
        .args(NOBODY)
        .arg(tests)
        .args(["--exact", "intercept::side_effects::helper_is_intercepted"])
        .args(["--ignored", "--nocapture"])
        .env(HOTRUN, hotrun)
        // Exclude a Python in a home directory, because this user may not be allowed to run it.
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(passed(&output), "{output:?}");
}

const BINDS: &str = "import socket; socket.socket().bind(('127.0.0.1', 0)); print('bound')";

#[tokio::test]
#[ignore = "helper: runs under interception"]
async fn helper_is_busy() {
    assert!(matches!(seccomp::probe(), Err(Unavailable::Busy)));
    let mark = Mark::new();
    let mut spec = python_spec(&mark, BINDS);
    let (here, there) = seccomp::channel().unwrap();
    spec.intercept = Some(there);
    let mut running = Running::start(spec);
    assert_eq!(
        InterceptedCalls::accept(here).unwrap().unwrap_err(),
        Errno::EBUSY
    );
    running.started().await;
    assert_eq!(running.line().await, "bound");
}

#[tokio::test]
async fn nested_interception_is_refused_but_the_inner_program_runs() {
    if !python_or_skip() {
        return;
    }
    let tests = std::env::current_exe().unwrap();
    let name = "intercept::side_effects::helper_is_busy";
    let mark = Mark::new();
    let arguments = [
        tests.to_str().unwrap(),
        "--exact",
        name,
        "--ignored",
        "--nocapture",
    ];
    let (mut running, calls) = start(spec(&mark, &arguments)).await;
    let replier = Replier::start(calls, |_, _| Reply::Continue);
    let lines = running.rest().await;
    assert!(
        lines.iter().any(|line| line.contains("1 passed")),
        "{lines:?} {:?}",
        running.errors().await
    );
    // The inner program's calls are intercepted by the outer filter.
    assert!(!replier.ended().await.is_empty());
}
