//! Faults while another generation is being built.

use nix::sys::signal::Signal;

use super::Fault;
use super::State::{Building, Live};
use super::live::kill;

pub(super) fn faults() -> Vec<Fault> {
    let mut all = inside_the_build();
    all.extend(from_outside());
    all
}

fn inside_the_build() -> Vec<Fault> {
    vec![
        Fault::new(
            Building,
            "the build fails",
            "the old generation stays live",
            |scenario| {
                scenario.proceed_with("exit 1");
                scenario.expect_failure("build", 1);
                scenario.recover();
            },
        ),
        Fault::new(
            Building,
            "the build is killed with SIGKILL",
            "reported; the old generation stays live",
            |scenario| {
                scenario.proceed_with("kill -9 $$");
                scenario.expect_failure("build", 1);
                scenario.expect_text("the build was killed by signal 9");
                scenario.expect_text("dmesg");
                scenario.recover();
            },
        ),
        Fault::new(
            Building,
            "the build is killed by SEGV",
            "reported; the old generation stays live",
            |scenario| {
                scenario.proceed_with("kill -11 $$");
                scenario.expect_failure("build", 1);
                scenario.expect_text("the build was killed by signal 11");
                scenario.recover();
            },
        ),
        Fault::new(
            Building,
            "the build prints two megabytes of garbage",
            "the new build goes live",
            |scenario| {
                scenario.proceed_with("head -c 1000000 /dev/urandom; echo '{\"reason\":'; head -c 1000000 /dev/urandom >&2; exit 0");
                scenario.expect_event("live", 2);
                scenario.recover();
            },
        ),
        Fault::new(
            Building,
            "the build ignores TERM when it is cancelled",
            "killed; the newer version goes live",
            |scenario| {
                scenario.proceed_with("trap '' TERM; echo trapped; while :; do sleep 0.1; done");
                scenario.expect_text("trapped");
                scenario.project.save("build", "exit 0");
                scenario.run().expect("build_cancelled");
                scenario.recover();
            },
        ),
        Fault::new(
            Building,
            "a daemon keeps the build's output open",
            "the new build goes live",
            |scenario| {
                scenario.proceed_with("(setsid sleep 1000 &); exit 0");
                scenario.expect_event("live", 2);
                // The daemon may be a compiler cache that the next build reuses, so hotrun kills it only when hotrun
                // itself exits.
                scenario.signal_and_expect_exit(Signal::SIGINT, 0);
            },
        ),
    ]
}

fn from_outside() -> Vec<Fault> {
    vec![
        Fault::new(
            Building,
            "a newer version is saved while the build hangs",
            "the newer version goes live",
            |scenario| {
                scenario.project.save("build", "exit 0");
                scenario.run().expect("build_cancelled");
                scenario.recover();
            },
        ),
        Fault::new(
            Building,
            "the build's guardian is killed",
            "the old generation stays live",
            |scenario| {
                let guardian = scenario.build_guardian();
                kill(guardian, Signal::SIGKILL);
                scenario.expect_failure("build", 1);
                scenario.recover();
            },
        ),
        Fault::new(
            Building,
            "the live generation crashes",
            "clients wait for the new build",
            |scenario| {
                scenario.crash();
                scenario.expect_failure("crashed", 0);
                scenario.open_gates();
                scenario.expect_event("live", 2);
                scenario.recover();
            },
        ),
        Fault::new(
            Building,
            "two hundred versions are saved",
            "the newest version goes live",
            |scenario| {
                for n in 0..200 {
                    scenario.project.save("build", &format!("exit 0 # {n}"));
                }
                scenario.recover();
            },
        ),
        Fault::new(
            Building,
            "hotrun is stopped and resumed",
            "no request is lost",
            |scenario| {
                let hotrun = scenario.run().pid().as_raw();
                kill(hotrun, Signal::SIGSTOP);
                scenario.open_gates();
                scenario.project.server("saved-while-stopped");
                kill(hotrun, Signal::SIGCONT);
                scenario.run().wait_for_version("saved-while-stopped");
                scenario.recover();
            },
        ),
        Fault::new(
            Live,
            "the build script is removed",
            "the old generation stays live",
            |scenario| {
                std::fs::remove_file(scenario.project.work().join("build"))
                    .expect("can remove the script");
                scenario.expect_failure("build", 1);
                scenario.recover();
            },
        ),
    ]
}
