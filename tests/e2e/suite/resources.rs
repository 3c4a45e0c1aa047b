//! hotrun runs out of descriptors or processes, or a directory is removed or unreadable.

use std::fs;
use std::process::Command;

use super::State::{Building, Draining, Live, Starting};
use super::{Fault, Scenario};
use crate::harness::project::run_to_success;
use crate::harness::run::NOBODY;

pub(super) fn faults() -> Vec<Fault> {
    let mut all = descriptors();
    all.extend(files());
    all
}

/// Leaves hotrun no free descriptor. It never closes the first ones that it opens, so no number below this limit becomes
/// free, however many descriptors its tasks close meanwhile.
fn exhaust_descriptors(scenario: &mut Scenario) {
    set_limit(scenario, "--nofile=8:");
}

fn restore_descriptors(scenario: &mut Scenario) {
    set_limit(scenario, "--nofile=1024:");
}

/// Changes one of hotrun's resource limits with `prlimit` from util-linux.
fn set_limit(scenario: &mut Scenario, what: &str) {
    let pid = scenario.run().pid().to_string();
    let mut command = Command::new("prlimit");
    if scenario.unprivileged && nix::unistd::geteuid().is_root() {
        // `prlimit` needs to run as hotrun's user or with `CAP_SYS_RESOURCE`, which root lacks in a container.
        command = Command::new("setpriv");
        command.args([
            "--reuid",
            NOBODY,
            "--regid",
            NOBODY,
            "--clear-groups",
            "prlimit",
        ]);
    }
    run_to_success(command.args(["--pid", &pid, what]));
}

fn descriptors() -> Vec<Fault> {
    vec![
        Fault::new(
            Live,
            "a version is saved with no descriptor left",
            "reported; the old generation stays live",
            |scenario| {
                exhaust_descriptors(scenario);
                scenario.project.server("two");
                scenario.expect_failure("build", 1);
                scenario.expect_text("ulimit -n");
                scenario.run().wait_for_version("one");
                restore_descriptors(scenario);
                scenario.recover();
            },
        ),
        Fault::new(
            Building,
            "no descriptor is left to start the new build",
            "reported; the old generation stays live",
            |scenario| {
                exhaust_descriptors(scenario);
                scenario.open_gates();
                scenario.expect_failure("start", 1);
                scenario.expect_text("ulimit -n");
                scenario.run().wait_for_version("one");
                restore_descriptors(scenario);
                scenario.recover();
            },
        ),
        Fault::new(
            Starting,
            "no descriptor is left",
            "goes live once descriptors are available",
            |scenario| {
                exhaust_descriptors(scenario);
                scenario.open_gates();
                scenario.run().wait_for_version("one");
                restore_descriptors(scenario);
                scenario.expect_event("live", 2);
                scenario.recover();
            },
        ),
        Fault::new(
            Draining,
            "no descriptor is left",
            "the new generation stays live",
            |scenario| {
                exhaust_descriptors(scenario);
                scenario.run().wait_until_gone(1);
                scenario.run().wait_for_version("two");
                restore_descriptors(scenario);
                scenario.recover();
            },
        ),
        Fault::new(
            Live,
            "a version is saved, but no process can be started",
            "reported; the old generation stays live",
            |scenario| {
                set_limit(scenario, "--nproc=1:");
                scenario.project.server("two");
                scenario.expect_failure("build", 1);
                scenario.expect_text("ulimit -u");
                scenario.run().wait_for_version("one");
                set_limit(scenario, "--nproc=10000:");
                scenario.recover();
            },
        )
        .unprivileged(),
        Fault::new(
            Building,
            "no process can be started for the new build",
            "reported; the old generation stays live",
            |scenario| {
                set_limit(scenario, "--nproc=1:");
                scenario.open_gates();
                scenario.expect_failure("start", 1);
                scenario.expect_text("ulimit -u");
                scenario.run().wait_for_version("one");
                set_limit(scenario, "--nproc=10000:");
                scenario.recover();
            },
        )
        .unprivileged(),
    ]
}

fn files() -> Vec<Fault> {
    vec![
        Fault::new(
            Live,
            "the working directory is removed and recreated",
            "reported; the recreated program goes live",
            |scenario| {
                let work = scenario.project.work();
                fs::remove_dir_all(&work).expect("can remove the directory");
                // Either the build or the start fails, depending on the timing.
                assert_eq!(scenario.run().expect("failed").number("live"), 1);
                scenario.run().wait_for_version("one");
                fs::create_dir(&work).expect("can create the directory");
                scenario.recover();
            },
        ),
        Fault::new(
            Building,
            "the working directory is removed and recreated",
            "reported; the recreated program goes live",
            |scenario| {
                let work = scenario.project.work();
                fs::remove_dir_all(&work).expect("can remove the directory");
                scenario.run().expect("failed");
                scenario.run().wait_for_version("one");
                fs::create_dir(&work).expect("can create the directory");
                scenario.recover();
            },
        ),
        Fault::new(
            Live,
            "the temporary directory is removed",
            "no effect",
            |scenario| {
                fs::remove_dir_all(scenario.project.tmp()).expect("can remove the directory");
                scenario.project.server("two");
                scenario.expect_event("live", 2);
                fs::create_dir(scenario.project.tmp()).expect("can create the directory");
                scenario.recover();
            },
        ),
        Fault::new(
            Live,
            "a directory is unreadable",
            "a generation stays live",
            |scenario| {
                let closed = scenario.project.work().join("closed");
                fs::create_dir(&closed).expect("can create the directory");
                let mode =
                    |mode: &str| run_to_success(Command::new("chmod").arg(mode).arg(&closed));
                mode("000");
                scenario.recover();
                mode("700");
                fs::remove_dir(&closed).expect("can remove the directory");
                scenario.recover();
            },
        )
        .unprivileged(),
    ]
}
