//! Faults while another generation is starting.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use nix::sys::signal::Signal;

use super::State::{Live, Starting, Switching};
use super::live::kill;
use super::{Fault, Scenario};
use crate::harness::apps;

const SHORT_TIMEOUTS: &[&str] = &["--ready-timeout", "3s", "--stop-timeout", "500ms"];

pub(super) fn faults() -> Vec<Fault> {
    let mut all = ends();
    all.extend(hangs());
    all.extend(other_processes());
    all.extend(notifications());
    all.extend(others());
    all
}

/// Makes the new generation exit before it is ready, and checks that the old one stays live.
fn exit_early(scenario: &mut Scenario, line: &str, field: &str, number: u64) {
    scenario.proceed_with(line);
    assert_eq!(
        scenario.expect_failure("exited_early", 1).number(field),
        number
    );
    scenario.recover();
}

fn ends() -> Vec<Fault> {
    vec![
        Fault::new(
            Starting,
            "the program exits with status 0",
            "the old generation stays live",
            |scenario| {
                exit_early(scenario, "exit 0", "exit_code", 0);
            },
        ),
        Fault::new(
            Starting,
            "the program exits with status 1",
            "the old generation stays live",
            |scenario| {
                exit_early(scenario, "exit 1", "exit_code", 1);
            },
        ),
        Fault::new(
            Starting,
            "the program panics",
            "the old generation stays live",
            |scenario| {
                scenario.proceed_with_faulty("panic");
                scenario.expect_failure("exited_early", 1);
                scenario.expect_text("an injected fault");
                scenario.recover();
            },
        ),
        Fault::new(
            Starting,
            "the program is killed by SEGV",
            "the old generation stays live",
            |scenario| {
                exit_early(scenario, "kill -11 $$", "signal", 11);
            },
        ),
        Fault::new(
            Starting,
            "the program is killed with SIGKILL",
            "the old generation stays live",
            |scenario| {
                exit_early(scenario, "kill -9 $$", "signal", 9);
            },
        ),
        Fault::new(
            Starting,
            "the program is missing",
            "the old generation stays live",
            |scenario| {
                exit_early(scenario, "exec ./nothing", "exit_code", 127);
            },
        ),
        Fault::new(
            Starting,
            "the program's guardian is killed",
            "the old generation stays live",
            |scenario| {
                let guardian = scenario.guardian(2);
                kill(guardian, Signal::SIGKILL);
                scenario.expect_failure("exited_early", 1);
                scenario.recover();
            },
        ),
        Fault::new(
            Live,
            "the start script is removed",
            "the old generation stays live",
            |scenario| {
                std::fs::remove_file(scenario.project.work().join("start"))
                    .expect("can remove the script");
                scenario.expect_failure("exited_early", 1);
                scenario.recover();
            },
        ),
    ]
}

fn hangs() -> Vec<Fault> {
    vec![
        Fault::new(
            Starting,
            "the program never becomes ready",
            "the program is stopped at the timeout",
            |scenario| {
                scenario.proceed_with_faulty("hang");
                scenario.expect_failure("ready_timeout", 1);
                scenario.recover();
            },
        )
        .with(SHORT_TIMEOUTS),
        Fault::new(
            Starting,
            "the program never becomes ready and ignores TERM",
            "the program is killed",
            |scenario| {
                scenario.proceed_with_faulty("ignore hang");
                scenario.expect_failure("ready_timeout", 1);
                scenario.expect_event("killing", 2);
                scenario.recover();
            },
        )
        .with(SHORT_TIMEOUTS),
        Fault::new(
            Starting,
            "the program stops itself (STOP)",
            "the program is killed",
            |scenario| {
                scenario.proceed_with("kill -STOP $$");
                scenario.expect_failure("ready_timeout", 1);
                scenario.recover();
            },
        )
        .with(SHORT_TIMEOUTS),
        Fault::new(
            Starting,
            "the program closes its socket and is never ready",
            "the program is stopped at the timeout",
            |scenario| {
                scenario.proceed_with("exec 3>&-; while :; do sleep 0.1; done");
                scenario.expect_failure("ready_timeout", 1);
                scenario.recover();
            },
        )
        .with(SHORT_TIMEOUTS),
        Fault::new(
            Starting,
            "a newer version is saved",
            "the newer version goes live",
            |scenario| {
                scenario.project.server("newer");
                scenario.expect_event("superseded", 2);
                scenario.run().wait_for_version("newer");
                scenario.recover();
            },
        ),
        Fault::new(
            Starting,
            "a newer version is saved; the program ignores TERM",
            "killed; the newer version goes live",
            |scenario| {
                scenario.proceed_with("trap '' TERM; echo trapped; while :; do sleep 0.1; done");
                scenario.expect_text("trapped");
                scenario.project.server("newer");
                scenario.expect_event("superseded", 2);
                scenario.run().wait_for_version("newer");
                scenario.recover();
            },
        )
        .with(&["--stop-timeout", "500ms"]),
    ]
}

/// A script line that starts the server as a daemon.
fn daemon(version: &str) -> String {
    format!(
        "unset LISTEN_PID; (setsid '{}' {version} &)",
        apps::std().server.display()
    )
}

fn other_processes() -> Vec<Fault> {
    vec![
        Fault::new(
            Starting,
            "the program exits with 0, but its daemon serves",
            "the daemon goes live",
            |scenario| {
                scenario.proceed_with(&format!("{}; exit 0", daemon("daemon")));
                scenario.expect_event("live", 2);
                scenario.run().wait_for_version("daemon");
                scenario.recover();
            },
        ),
        Fault::new(
            Starting,
            "the program exits with 1, but its daemon serves",
            "the old generation stays live",
            |scenario| {
                // The daemon starts late, so that it is not ready before the shell exits.
                let server = apps::std().server.display();
                let late = format!("sleep 0.3; exec '{server}' daemon");
                scenario.proceed_with(&format!(
                    "unset LISTEN_PID; (setsid sh -c \"{late}\" &); exit 1"
                ));
                scenario.expect_failure("exited_early", 1);
                scenario.run().wait_for_version("one");
                scenario.recover();
            },
        ),
        Fault::new(
            Starting,
            "the program forks continuously and exits",
            "no process is left behind",
            |scenario| {
                scenario.proceed_with("(while :; do sleep 0.01; done) & (while :; do (sleep 0.05 &); sleep 0.02; done) & exit 1");
                scenario.expect_failure("exited_early", 1);
                scenario.recover();
            },
        ),
    ]
}

fn notifications() -> Vec<Fault> {
    vec![
        Fault::new(
            Starting,
            "the program sends nonsense to NOTIFY_SOCKET",
            "ignored; the program goes live",
            |scenario| {
                scenario.proceed_with_faulty(
                    "say==== say=READY say='\\n\\n=1\\nREADY=2' say=MAINPID=x say=READY=1 two",
                );
                scenario.expect_event("live", 2);
                scenario.run().wait_for_version("two");
                scenario.recover();
            },
        ),
        Fault::new(
            Starting,
            "the program sends an oversized notification",
            "ignored and reported; the program goes live",
            |scenario| {
                scenario.proceed_with_faulty("say=\"$(head -c 90000 /dev/zero | tr '\\0' x)\" two");
                scenario.expect_text("ignored ");
                scenario.expect_event("live", 2);
                scenario.recover();
            },
        ),
        Fault::new(
            Starting,
            "a process outside the tree sends READY=1",
            "reported; the old generation stays live",
            |scenario| {
                send_ready_from_outside(scenario);
                scenario.expect_text("ignored ");
                assert_eq!(scenario.run().count("ready"), 1);
                scenario.run().wait_for_version("one");
                scenario.recover();
            },
        ),
    ]
}

fn send_ready_from_outside(scenario: &mut Scenario) {
    let environ = std::fs::read(format!("/proc/{}/environ", scenario.program(2)))
        .expect("can read the environment");
    let environ = String::from_utf8_lossy(&environ);
    let mut variables = environ.split('\0');
    let name = variables.find_map(|variable| variable.strip_prefix("NOTIFY_SOCKET=@"));
    let to =
        SocketAddr::from_abstract_name(name.expect("the variable is set to an abstract address"))
            .expect("the name is a valid abstract address");
    let socket = UnixDatagram::unbound().expect("can create a socket");
    socket
        .send_to_addr(b"READY=1", &to)
        .expect("can send the notification");
}

fn others() -> Vec<Fault> {
    vec![
        Fault::new(
            Starting,
            "the live generation crashes",
            "clients wait for the starting generation",
            |scenario| {
                scenario.crash();
                scenario.expect_failure("crashed", 0);
                scenario.open_gates();
                scenario.expect_event("live", 2);
                scenario.recover();
            },
        ),
        Fault::new(
            Starting,
            "the program prints 20,000 lines",
            "the program goes live",
            |scenario| {
                scenario.proceed_with_faulty("flood=20000 two");
                scenario.expect_event("live", 2);
                scenario.recover();
            },
        ),
        Fault::new(
            Switching,
            "a newer version is saved",
            "the newer version goes live",
            |scenario| {
                scenario.project.server("newer");
                scenario.run().wait_for_version("newer");
                scenario.recover();
            },
        ),
        Fault::new(
            Switching,
            "the old generation is killed",
            "only the old generation's requests may be lost",
            |scenario| {
                // If the switch is already over, the old generation has no requests to lose.
                scenario.allow(2);
                let old = scenario.program(1);
                kill(old, Signal::SIGKILL);
                scenario.run().wait_for_version("two");
                scenario.recover();
            },
        ),
    ]
}
