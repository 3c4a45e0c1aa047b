//! While another one starts.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use nix::sys::signal::Signal;

use super::State::{Live, Starting, Switching};
use super::live::kill;
use super::{Fault, Stage};
use crate::harness::apps;

const TIMEOUT: &[&str] = &["--ready-timeout", "3s", "--stop-timeout", "500ms"];

pub(super) fn faults() -> Vec<Fault> {
    let mut all = ends();
    all.extend(hangs());
    all.extend(leaves_others());
    all.extend(says());
    all.extend(others());
    all
}

/// It ends before it is ready, and the old one serves.
fn early(stage: &mut Stage, line: &str, field: &str, number: u64) {
    stage.go_on(line);
    assert_eq!(stage.fails("exited_early", 1).number(field), number);
    stage.mends();
}

fn ends() -> Vec<Fault> {
    vec![
        Fault::new(
            Starting,
            "it ends with status 0",
            "the old one serves",
            |stage| {
                early(stage, "exit 0", "exit_code", 0);
            },
        ),
        Fault::new(
            Starting,
            "it ends with status 1",
            "the old one serves",
            |stage| {
                early(stage, "exit 1", "exit_code", 1);
            },
        ),
        Fault::new(Starting, "it panics", "the old one serves", |stage| {
            stage.go_on_faulty("panic");
            stage.fails("exited_early", 1);
            stage.says("a fault that was asked for");
            stage.mends();
        }),
        Fault::new(Starting, "it ends by SEGV", "the old one serves", |stage| {
            early(stage, "kill -11 $$", "signal", 11);
        }),
        Fault::new(Starting, "it is killed", "the old one serves", |stage| {
            early(stage, "kill -9 $$", "signal", 9);
        }),
        Fault::new(
            Starting,
            "its executable is not there",
            "the old one serves",
            |stage| {
                early(stage, "exec ./nothing", "exit_code", 127);
            },
        ),
        Fault::new(
            Starting,
            "its guardian is killed",
            "the old one serves",
            |stage| {
                let guardian = stage.guardian(2);
                kill(guardian, Signal::SIGKILL);
                stage.fails("exited_early", 1);
                stage.mends();
            },
        ),
        Fault::new(
            Live,
            "the start script is removed",
            "the old one serves",
            |stage| {
                std::fs::remove_file(stage.project.work().join("start")).expect("it is there");
                stage.fails("exited_early", 1);
                stage.mends();
            },
        ),
    ]
}

fn hangs() -> Vec<Fault> {
    vec![
        Fault::new(
            Starting,
            "it never gets ready",
            "stopped at the timeout",
            |stage| {
                stage.go_on_faulty("hang");
                stage.fails("ready_timeout", 1);
                stage.mends();
            },
        )
        .with(TIMEOUT),
        Fault::new(
            Starting,
            "it never gets ready and ignores TERM",
            "killed",
            |stage| {
                stage.go_on_faulty("ignore hang");
                stage.fails("ready_timeout", 1);
                stage.told_of("killing", 2);
                stage.mends();
            },
        )
        .with(TIMEOUT),
        Fault::new(Starting, "it stops itself", "killed", |stage| {
            stage.go_on("kill -STOP $$");
            stage.fails("ready_timeout", 1);
            stage.mends();
        })
        .with(TIMEOUT),
        Fault::new(
            Starting,
            "it closes its socket and never gets ready",
            "stopped at the timeout",
            |stage| {
                stage.go_on("exec 3>&-; while :; do sleep 0.1; done");
                stage.fails("ready_timeout", 1);
                stage.mends();
            },
        )
        .with(TIMEOUT),
        Fault::new(
            Starting,
            "there is a newer save",
            "the newer one is live",
            |stage| {
                stage.project.server("newer");
                stage.told_of("superseded", 2);
                stage.answers("newer");
                stage.mends();
            },
        ),
        Fault::new(
            Starting,
            "a newer save, and it ignores TERM",
            "killed; the newer one is live",
            |stage| {
                stage.go_on("trap '' TERM; echo trapped; while :; do sleep 0.1; done");
                stage.says("trapped");
                stage.project.server("newer");
                stage.told_of("superseded", 2);
                stage.answers("newer");
                stage.mends();
            },
        )
        .with(&["--stop-timeout", "500ms"]),
    ]
}

fn server(version: &str) -> String {
    format!(
        "unset LISTEN_PID; (setsid '{}' {version} &)",
        apps::std().server.display()
    )
}

fn leaves_others() -> Vec<Fault> {
    vec![
        Fault::new(
            Starting,
            "it ends well and leaves a daemon that serves",
            "the daemon is live",
            |stage| {
                stage.go_on(&format!("{}; exit 0", server("daemon")));
                stage.told_of("live", 2);
                stage.answers("daemon");
                stage.mends();
            },
        ),
        Fault::new(
            Starting,
            "it ends badly and leaves a daemon that serves",
            "the old one serves",
            |stage| {
                // Not at once: it might be ready before that end.
                let server = apps::std().server.display();
                let late = format!("sleep 0.3; exec '{server}' daemon");
                stage.go_on(&format!(
                    "unset LISTEN_PID; (setsid sh -c \"{late}\" &); exit 1"
                ));
                stage.fails("exited_early", 1);
                stage.answers("one");
                stage.mends();
            },
        ),
        Fault::new(
            Starting,
            "it forks all the time, and ends",
            "nothing is left of it",
            |stage| {
                stage.go_on("(while :; do sleep 0.01; done) & (while :; do (sleep 0.05 &); sleep 0.02; done) & exit 1");
                stage.fails("exited_early", 1);
                stage.mends();
            },
        ),
    ]
}

fn says() -> Vec<Fault> {
    vec![
        Fault::new(
            Starting,
            "it says nonsense to NOTIFY_SOCKET",
            "ignored; it gets live",
            |stage| {
                stage.go_on_faulty(
                    "say==== say=READY say='\\n\\n=1\\nREADY=2' say=MAINPID=x say=READY=1 two",
                );
                stage.told_of("live", 2);
                stage.answers("two");
                stage.mends();
            },
        ),
        Fault::new(
            Starting,
            "it says more than fits into a message",
            "ignored, and told; it gets live",
            |stage| {
                stage.go_on_faulty("say=\"$(head -c 90000 /dev/zero | tr '\\0' x)\" two");
                stage.says("ignored ");
                stage.told_of("live", 2);
                stage.mends();
            },
        ),
        Fault::new(
            Starting,
            "a stranger says that it is ready",
            "ignored, and told; the old one serves",
            |stage| {
                stranger_says_ready(stage);
                stage.says("ignored ");
                assert_eq!(stage.run().count("ready"), 1);
                stage.answers("one");
                stage.mends();
            },
        ),
    ]
}

fn stranger_says_ready(stage: &mut Stage) {
    let environ = std::fs::read(format!("/proc/{}/environ", stage.program(2))).expect("it is ours");
    let environ = String::from_utf8_lossy(&environ);
    let mut variables = environ.split('\0');
    let name = variables.find_map(|variable| variable.strip_prefix("NOTIFY_SOCKET=@"));
    let to = SocketAddr::from_abstract_name(name.expect("it is abstract")).expect("a name");
    let socket = UnixDatagram::unbound().expect("a socket");
    socket.send_to_addr(b"READY=1", &to).expect("it is open");
}

fn others() -> Vec<Fault> {
    vec![
        Fault::new(
            Starting,
            "the live one crashes",
            "clients wait for what starts",
            |stage| {
                stage.crash();
                stage.fails("crashed", 0);
                stage.open_gates();
                stage.told_of("live", 2);
                stage.mends();
            },
        ),
        Fault::new(
            Starting,
            "it prints 20,000 lines",
            "it gets live",
            |stage| {
                stage.go_on_faulty("flood=20000 two");
                stage.told_of("live", 2);
                stage.mends();
            },
        ),
        Fault::new(
            Switching,
            "there is a newer save",
            "the newer one is live",
            |stage| {
                stage.project.server("newer");
                stage.answers("newer");
                stage.mends();
            },
        ),
        Fault::new(
            Switching,
            "the old one is killed",
            "nothing is lost but what it had",
            |stage| {
                // It may just have been switched from, and then it is nobody's loss.
                stage.allow(2);
                let old = stage.program(1);
                kill(old, Signal::SIGKILL);
                stage.answers("two");
                stage.mends();
            },
        ),
    ]
}
