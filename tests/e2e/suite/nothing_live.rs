//! Before the first one, and after a crash: clients wait.

use std::thread;

use nix::sys::signal::Signal;

use super::Fault;
use super::State::{FirstBuild, FirstStart, Held};
use super::live::kill;
use super::stage::ask_patiently;

const TIMEOUT: &[&str] = &["--ready-timeout", "3s"];

pub(super) fn faults() -> Vec<Fault> {
    let mut all = first();
    all.extend(held());
    all
}

fn first() -> Vec<Fault> {
    vec![
        Fault::new(
            FirstBuild,
            "it fails",
            "clients wait for the mended one",
            |stage| {
                stage.go_on("exit 1");
                stage.fails("build", 0);
                stage.mends();
            },
        ),
        Fault::new(
            FirstBuild,
            "it is killed",
            "said; clients wait for the mended one",
            |stage| {
                stage.go_on("kill -9 $$");
                stage.fails("build", 0);
                stage.says("the build was ended by signal 9");
                stage.mends();
            },
        ),
        Fault::new(
            FirstBuild,
            "it hangs, and there is a newer save",
            "the newer one is built",
            |stage| {
                stage.project.save("build", "exit 0");
                stage.run().expect("build_cancelled");
                stage.mends();
            },
        ),
        Fault::new(
            FirstBuild,
            "its guardian is killed",
            "clients wait for the mended one",
            |stage| {
                let guardian = stage.builds_guardian();
                kill(guardian, Signal::SIGKILL);
                stage.fails("build", 0);
                stage.mends();
            },
        ),
        Fault::new(
            FirstStart,
            "it ends with status 0",
            "clients wait for the mended one",
            |stage| {
                stage.go_on("exit 0");
                stage.fails("exited_early", 0);
                stage.mends();
            },
        ),
        Fault::new(
            FirstStart,
            "it panics",
            "clients wait for the mended one",
            |stage| {
                stage.go_on_faulty("panic");
                assert_eq!(stage.fails("exited_early", 0).number("exit_code"), 101);
                stage.says("a fault that was asked for");
                stage.mends();
            },
        ),
        Fault::new(
            FirstStart,
            "it never gets ready",
            "killed at the timeout",
            |stage| {
                stage.go_on_faulty("hang");
                stage.fails("ready_timeout", 0);
                stage.mends();
            },
        )
        .with(TIMEOUT),
        Fault::new(
            FirstStart,
            "its guardian is killed",
            "clients wait for the mended one",
            |stage| {
                let guardian = stage.guardian(1);
                kill(guardian, Signal::SIGKILL);
                assert_eq!(stage.fails("exited_early", 0).number("signal"), 9);
                stage.mends();
            },
        ),
        Fault::new(
            FirstStart,
            "there is a newer save",
            "the newer one is started",
            |stage| {
                stage.project.server("newer");
                stage.run().expect("superseded");
                stage.answers("newer");
                stage.mends();
            },
        ),
    ]
}

fn held() -> Vec<Fault> {
    vec![
        Fault::new(
            Held,
            "the next build fails",
            "clients wait for the mended one",
            |stage| {
                stage.client_waits();
                stage.project.save("build", "exit 1");
                stage.fails("build", 0);
                stage.mends();
            },
        ),
        Fault::new(
            Held,
            "the next one ends early",
            "clients wait for the mended one",
            |stage| {
                stage.client_waits();
                stage.project.faulty("exit=3");
                stage.fails("exited_early", 0);
                stage.mends();
            },
        ),
        Fault::new(
            Held,
            "the next one never gets ready",
            "killed at the timeout",
            |stage| {
                stage.client_waits();
                stage.project.faulty("hang");
                stage.fails("ready_timeout", 0);
                stage.mends();
            },
        )
        .with(TIMEOUT),
        Fault::new(
            Held,
            "the next one crashes as well",
            "held again",
            |stage| {
                stage.project.faulty("again");
                stage.told_of("live", 2);
                stage.crash();
                stage.fails("crashed", 0);
                stage.run().expect("waiting");
                stage.mends();
            },
        ),
        Fault::new(
            Held,
            "fifty clients come",
            "all are answered once it is mended",
            |stage| {
                let to = stage.run().address();
                let ask = |_| thread::spawn(move || ask_patiently(to));
                let clients: Vec<_> = (0..50).map(ask).collect();
                stage.mends();
                for client in clients {
                    client.join().expect("no panic").expect("it is answered");
                }
            },
        ),
        Fault::new(Held, "USR1 to hotrun", "the same once more", |stage| {
            stage.run().signal(Signal::SIGUSR1);
            stage.answers("one");
            stage.mends();
        }),
    ]
}
