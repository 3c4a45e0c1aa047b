//! Faults between readiness and the switch (`--warm-up`, `--share`), and after it (`--keep`).

use nix::sys::signal::Signal;

use super::Fault;
use super::State::{Kept, Sharing, WarmingUp};
use super::live::kill;
use super::scenario::RECOVERY;
use crate::harness::{TIMEOUT, until};

pub(super) fn faults() -> Vec<Fault> {
    let mut all = warming_up();
    all.extend(sharing());
    all.extend(share_checks());
    all.extend(kept());
    all
}

fn warming_up() -> Vec<Fault> {
    vec![
        Fault::new(
            WarmingUp,
            "the warm-up fails",
            "the old generation stays live",
            |scenario| {
                scenario.proceed_with("exit 3");
                scenario.expect_failure("warm_up", 1);
                scenario.proceed_with("exit 0");
                scenario.recover();
            },
        ),
        Fault::new(
            WarmingUp,
            "the warm-up is killed with SIGKILL",
            "the old generation stays live",
            |scenario| {
                scenario.proceed_with("kill -9 $$");
                scenario.expect_failure("warm_up", 1);
                scenario.proceed_with("exit 0");
                scenario.recover();
            },
        ),
        Fault::new(
            WarmingUp,
            "the warm-up hangs and ignores TERM",
            "the old generation stays live",
            |scenario| {
                scenario.proceed_with("trap '' TERM; while :; do sleep 0.1; done");
                scenario.expect_failure("ready_timeout", 1);
                scenario.proceed_with("exit 0");
                scenario.recover();
            },
        )
        .with(&["--ready-timeout", "1500ms"]),
        Fault::new(
            WarmingUp,
            "a newer version is saved",
            "the newer version goes live",
            |scenario| {
                scenario.project.server("newer");
                scenario.expect_event("superseded", 2);
                scenario.open_gates();
                scenario.run().wait_for_version("newer");
                scenario.recover();
            },
        ),
        Fault::new(
            WarmingUp,
            "the new generation is killed",
            "the old generation stays live",
            |scenario| {
                let new = scenario.program(2);
                kill(new, Signal::SIGKILL);
                scenario.expect_failure("exited_early", 1);
                scenario.recover();
            },
        ),
        Fault::new(
            WarmingUp,
            "the live generation crashes",
            "clients wait for the new generation",
            |scenario| {
                scenario.crash();
                scenario.expect_failure("crashed", 0);
                scenario.open_gates();
                scenario.expect_event("live", 2);
                scenario.recover();
            },
        ),
    ]
}

fn sharing() -> Vec<Fault> {
    vec![
        Fault::new(
            Sharing,
            "the new generation is killed",
            "only its requests may be lost",
            |scenario| {
                scenario.allow(2);
                let new = scenario.program(2);
                kill(new, Signal::SIGKILL);
                scenario.expect_failure("crashed", 1);
                scenario.recover();
            },
        ),
        Fault::new(
            Sharing,
            "the new generation's guardian is killed",
            "only its requests may be lost",
            |scenario| {
                scenario.allow(2);
                let guardian = scenario.guardian(2);
                kill(guardian, Signal::SIGKILL);
                scenario.expect_failure("crashed", 1);
                scenario.recover();
            },
        ),
        Fault::new(
            Sharing,
            "the live generation is killed",
            "the new generation gets all connections",
            |scenario| {
                scenario.allow(2);
                let old = scenario.program(1);
                kill(old, Signal::SIGKILL);
                scenario.expect_event("live", 2);
                scenario.recover();
            },
        ),
        Fault::new(
            Sharing,
            "a newer version is saved",
            "the newer version replaces the new generation",
            |scenario| {
                scenario.project.server("newer");
                scenario.expect_event("sharing", 3);
                scenario.run().wait_until_gone(2);
                scenario.run().assert_count("live", 1);
                scenario.recover();
            },
        ),
        Fault::new(
            Sharing,
            "the next build fails",
            "the new generation goes live",
            |scenario| {
                scenario.project.save("build", "exit 1");
                scenario.expect_failure("build", 1);
                scenario.expect_event("live", 2);
                scenario.recover();
            },
        ),
        Fault::new(
            Sharing,
            "a newer version never becomes ready",
            "the old generation stays live",
            |scenario| {
                scenario.project.faulty("hang");
                scenario.expect_failure("ready_timeout", 1);
                scenario.recover();
            },
        )
        .with(&["--ready-timeout", "1s"]),
        Fault::new(
            Sharing,
            "hotrun is stopped and resumed",
            "no request is lost",
            |scenario| {
                let hotrun = scenario.run().pid().as_raw();
                kill(hotrun, Signal::SIGSTOP);
                scenario.project.server("saved-while-stopped");
                std::thread::sleep(std::time::Duration::from_millis(300));
                kill(hotrun, Signal::SIGCONT);
                scenario.run().wait_for_version("saved-while-stopped");
                scenario.recover();
            },
        ),
    ]
}

/// Checks that fail or hang once the file `bad` exists next to the watched directory.
fn share_checks() -> Vec<Fault> {
    vec![
        Fault::new(
            Sharing,
            "the check fails before the next step",
            "the old generation gets all connections",
            |scenario| {
                scenario.save_beside("bad");
                scenario.expect_failure("share_check", 1);
                let bad = scenario.project.beside("bad");
                std::fs::remove_file(bad).expect("can remove the file");
                scenario.recover();
            },
        )
        .with(&["--share-check", "test ! -e ../bad"]),
        Fault::new(
            Sharing,
            "the check hangs when hotrun gets TERM",
            "clean exit, code 143",
            |scenario| {
                scenario.save_beside("bad");
                let checking = scenario.project.beside("checking");
                until("the check hangs", TIMEOUT, || checking.exists().then_some(()));
                scenario.signal_and_expect_exit(Signal::SIGTERM, 143);
            },
        )
        .with(&[
            "--share-check",
            "test ! -e ../bad || { : >../checking; trap '' TERM INT HUP; while :; do sleep 0.1; done; }",
        ]),
    ]
}

/// The generation that is kept at the end would be there for another minute, so these end with hotrun's exit.
fn kept() -> Vec<Fault> {
    vec![
        Fault::new(
            Kept,
            "the kept generation is killed",
            "reported; the new generation stays live",
            |scenario| {
                let old = scenario.program(1);
                kill(old, Signal::SIGKILL);
                scenario.expect_event("kept_ended", 1);
                scenario.recover();
                scenario.signal_and_expect_exit(Signal::SIGINT, 0);
            },
        ),
        Fault::new(
            Kept,
            "the kept generation's guardian is killed",
            "reported; the new generation stays live",
            |scenario| {
                let guardian = scenario.guardian(1);
                kill(guardian, Signal::SIGKILL);
                scenario.expect_event("kept_ended", 1);
                scenario.recover();
                scenario.signal_and_expect_exit(Signal::SIGINT, 0);
            },
        ),
        Fault::new(
            Kept,
            "the new generation is killed",
            "the kept generation is live again",
            |scenario| {
                scenario.allow(2);
                let new = scenario.program(2);
                kill(new, Signal::SIGKILL);
                scenario.expect_event("restored", 1);
                scenario.run().wait_for_version("one");
                scenario.recover();
                scenario.signal_and_expect_exit(Signal::SIGINT, 0);
            },
        )
        .with(&RECOVERY),
        Fault::new(
            Kept,
            "both generations are killed",
            "clients wait for the fixed version",
            |scenario| {
                scenario.allow(2);
                let (old, new) = (scenario.program(1), scenario.program(2));
                kill(old, Signal::SIGKILL);
                kill(new, Signal::SIGKILL);
                scenario.expect_failure("crashed", 0);
                scenario.recover();
                scenario.signal_and_expect_exit(Signal::SIGINT, 0);
            },
        ),
        Fault::new(
            Kept,
            "two newer versions are saved",
            "only the newest old generation is kept",
            |scenario| {
                scenario.recover();
                scenario.run().wait_until_gone(1);
                scenario.recover();
                scenario.run().wait_until_gone(2);
                scenario.signal_and_expect_exit(Signal::SIGINT, 0);
            },
        ),
        Fault::new(
            Kept,
            "the kept generation is stopped (STOP) and replaced",
            "it ends",
            |scenario| {
                let old = scenario.program(1);
                kill(old, Signal::SIGSTOP);
                scenario.recover();
                scenario.run().wait_until_gone(1);
                scenario.signal_and_expect_exit(Signal::SIGINT, 0);
            },
        ),
    ]
}
