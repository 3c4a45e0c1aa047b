//! While another one is built.

use nix::sys::signal::Signal;

use super::Fault;
use super::State::{Building, Live};
use super::live::kill;

pub(super) fn faults() -> Vec<Fault> {
    let mut all = by_itself();
    all.extend(from_outside());
    all
}

fn by_itself() -> Vec<Fault> {
    vec![
        Fault::new(Building, "it fails", "the old one serves", |stage| {
            stage.go_on("exit 1");
            stage.fails("build", 1);
            stage.mends();
        }),
        Fault::new(
            Building,
            "it is killed",
            "said; the old one serves",
            |stage| {
                stage.go_on("kill -9 $$");
                stage.fails("build", 1);
                stage.says("the build was ended by signal 9");
                stage.says("dmesg");
                stage.mends();
            },
        ),
        Fault::new(
            Building,
            "it ends by SEGV",
            "said; the old one serves",
            |stage| {
                stage.go_on("kill -11 $$");
                stage.fails("build", 1);
                stage.says("the build was ended by signal 11");
                stage.mends();
            },
        ),
        Fault::new(
            Building,
            "it prints a megabyte of garbage",
            "what it made is live",
            |stage| {
                stage.go_on("head -c 1000000 /dev/urandom; echo '{\"reason\":'; head -c 1000000 /dev/urandom >&2; exit 0");
                stage.told_of("live", 2);
                stage.mends();
            },
        ),
        Fault::new(
            Building,
            "it ignores TERM when it is given up",
            "killed; the newer one is live",
            |stage| {
                stage.go_on("trap '' TERM; echo trapped; while :; do sleep 0.1; done");
                stage.says("trapped");
                stage.project.save("build", "exit 0");
                stage.run().expect("build_cancelled");
                stage.mends();
            },
        ),
        Fault::new(
            Building,
            "it leaves a daemon that holds its output",
            "what it made is live",
            |stage| {
                stage.go_on("(setsid sleep 1000 &); exit 0");
                stage.told_of("live", 2);
                // It may be a compiler's cache, which the next build wants again: it ends with hotrun.
                stage.ends_by(Signal::SIGINT, 0);
            },
        ),
    ]
}

fn from_outside() -> Vec<Fault> {
    vec![
        Fault::new(
            Building,
            "it hangs, and there is a newer save",
            "the newer one is live",
            |stage| {
                stage.project.save("build", "exit 0");
                stage.run().expect("build_cancelled");
                stage.mends();
            },
        ),
        Fault::new(
            Building,
            "its guardian is killed",
            "the old one serves",
            |stage| {
                let guardian = stage.builds_guardian();
                kill(guardian, Signal::SIGKILL);
                stage.fails("build", 1);
                stage.mends();
            },
        ),
        Fault::new(
            Building,
            "the live one crashes",
            "clients wait for what is built",
            |stage| {
                stage.crash();
                stage.fails("crashed", 0);
                stage.open_gates();
                stage.told_of("live", 2);
                stage.mends();
            },
        ),
        Fault::new(
            Building,
            "two hundred saves",
            "the newest is live",
            |stage| {
                for n in 0..200 {
                    stage.project.save("build", &format!("exit 0 # {n}"));
                }
                stage.mends();
            },
        ),
        Fault::new(
            Building,
            "hotrun is stopped and goes on",
            "nothing is lost",
            |stage| {
                let hotrun = stage.run().pid().as_raw();
                kill(hotrun, Signal::SIGSTOP);
                stage.open_gates();
                stage.project.server("meanwhile");
                kill(hotrun, Signal::SIGCONT);
                stage.answers("meanwhile");
                stage.mends();
            },
        ),
        Fault::new(
            Live,
            "the build script is removed",
            "the old one serves",
            |stage| {
                std::fs::remove_file(stage.project.work().join("build")).expect("it is there");
                stage.fails("build", 1);
                stage.mends();
            },
        ),
    ]
}
