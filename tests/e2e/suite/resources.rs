//! The system runs out of a resource.

use std::fs;
use std::process::Command;

use super::State::{Building, Draining, Live, Starting};
use super::{Fault, Scenario};
use crate::harness::project::done;
use crate::harness::run::NOBODY;

pub(super) fn faults() -> Vec<Fault> {
    let mut all = descriptors();
    all.extend(files());
    all
}

/// Limits hotrun to the descriptors it already has.
fn exhaust_descriptors(scenario: &mut Scenario) {
    let pid = scenario.run().pid();
    let open = fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("hotrun runs")
        .count();
    limit(scenario, &format!("--nofile={open}:"));
}

fn restore_descriptors(scenario: &mut Scenario) {
    limit(scenario, "--nofile=1024:");
}

/// Changes a limit of hotrun with `prlimit` from util-linux.
fn limit(scenario: &mut Scenario, what: &str) {
    let pid = scenario.run().pid().to_string();
    let mut command = Command::new("prlimit");
    if scenario.unprivileged && nix::unistd::geteuid().is_root() {
        // This takes the same user or `CAP_SYS_RESOURCE`, which root in a container lacks.
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
    done(command.args(["--pid", &pid, what]));
}

fn descriptors() -> Vec<Fault> {
    vec![
        Fault::new(
            Live,
            "a save when no descriptor is left",
            "reported; the old generation stays live",
            |scenario| {
                exhaust_descriptors(scenario);
                scenario.project.server("two");
                scenario.expect_failure("build", 1);
                scenario.expect_text("ulimit -n");
                scenario.expect_version("one");
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
                scenario.expect_version("one");
                restore_descriptors(scenario);
                scenario.recover();
            },
        ),
        Fault::new(
            Starting,
            "no descriptor is left",
            "live once descriptors are available",
            |scenario| {
                exhaust_descriptors(scenario);
                scenario.open_gates();
                scenario.expect_version("one");
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
                scenario.expect_version("two");
                restore_descriptors(scenario);
                scenario.recover();
            },
        ),
        Fault::new(
            Live,
            "a save when no process can be started",
            "reported; the old generation stays live",
            |scenario| {
                limit(scenario, "--nproc=1:");
                scenario.project.server("two");
                scenario.expect_failure("build", 1);
                scenario.expect_text("ulimit -u");
                scenario.expect_version("one");
                limit(scenario, "--nproc=10000:");
                scenario.recover();
            },
        )
        .unprivileged(),
        Fault::new(
            Building,
            "no process can be started for the new build",
            "reported; the old generation stays live",
            |scenario| {
                limit(scenario, "--nproc=1:");
                scenario.open_gates();
                scenario.expect_failure("start", 1);
                scenario.expect_text("ulimit -u");
                scenario.expect_version("one");
                limit(scenario, "--nproc=10000:");
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
                fs::remove_dir_all(&work).expect("the test owns it");
                // Either the build or the start fails, depending on the timing.
                assert_eq!(scenario.run().expect("failed").number("live"), 1);
                scenario.expect_version("one");
                fs::create_dir(&work).expect("the test owns its parent");
                scenario.recover();
            },
        ),
        Fault::new(
            Building,
            "the working directory is removed and recreated",
            "reported; the recreated program goes live",
            |scenario| {
                let work = scenario.project.work();
                fs::remove_dir_all(&work).expect("the test owns it");
                scenario.run().expect("failed");
                scenario.expect_version("one");
                fs::create_dir(&work).expect("the test owns its parent");
                scenario.recover();
            },
        ),
        Fault::new(
            Live,
            "the temporary directory is removed",
            "no effect",
            |scenario| {
                fs::remove_dir_all(scenario.project.tmp()).expect("the test owns it");
                scenario.project.server("two");
                scenario.expect_event("live", 2);
                fs::create_dir(scenario.project.tmp()).expect("the test owns its parent");
                scenario.recover();
            },
        ),
        Fault::new(
            Live,
            "a directory is unreadable",
            "a generation stays live",
            |scenario| {
                let closed = scenario.project.work().join("closed");
                fs::create_dir(&closed).expect("the test owns it");
                let mode = |mode: &str| done(Command::new("chmod").arg(mode).arg(&closed));
                mode("000");
                scenario.recover();
                mode("700");
                fs::remove_dir(&closed).expect("the directory is empty");
                scenario.recover();
            },
        )
        .unprivileged(),
    ]
}
