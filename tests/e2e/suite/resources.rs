//! The system runs out of something.

use std::fs;
use std::process::Command;

use super::State::{Building, Draining, Live, Starting};
use super::{Fault, Stage};
use crate::harness::project::done;
use crate::harness::run::NOBODY;

pub(super) fn faults() -> Vec<Fault> {
    let mut all = descriptors();
    all.extend(files());
    all
}

/// hotrun may have no more descriptors than it has.
fn no_more_descriptors(stage: &mut Stage) {
    let pid = stage.run().pid();
    let open = fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("it runs")
        .count();
    limit(stage, &format!("--nofile={open}:"));
}

fn enough_descriptors(stage: &mut Stage) {
    limit(stage, "--nofile=1024:");
}

/// `prlimit` of util-linux.
fn limit(stage: &mut Stage, what: &str) {
    let pid = stage.run().pid().to_string();
    let mut command = Command::new("prlimit");
    if stage.as_user && nix::unistd::geteuid().is_root() {
        // Only whose process it is may do that, or who has `CAP_SYS_RESOURCE`, which root in a container has not.
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
            "no descriptor is left, and there is a save",
            "said; the old one serves",
            |stage| {
                no_more_descriptors(stage);
                stage.project.server("two");
                stage.fails("build", 1);
                stage.says("ulimit -n");
                stage.answers("one");
                enough_descriptors(stage);
                stage.mends();
            },
        ),
        Fault::new(
            Building,
            "no descriptor is left for what it makes",
            "said; the old one serves",
            |stage| {
                no_more_descriptors(stage);
                stage.open_gates();
                stage.fails("start", 1);
                stage.says("ulimit -n");
                stage.answers("one");
                enough_descriptors(stage);
                stage.mends();
            },
        ),
        Fault::new(
            Starting,
            "no descriptor is left",
            "live as soon as there is one",
            |stage| {
                no_more_descriptors(stage);
                stage.open_gates();
                stage.answers("one");
                enough_descriptors(stage);
                stage.told_of("live", 2);
                stage.mends();
            },
        ),
        Fault::new(
            Draining,
            "no descriptor is left",
            "the new one serves",
            |stage| {
                no_more_descriptors(stage);
                stage.run().gone_is(1);
                stage.answers("two");
                enough_descriptors(stage);
                stage.mends();
            },
        ),
        Fault::new(
            Live,
            "no process may be started any more, and a save",
            "said; the old one serves",
            |stage| {
                limit(stage, "--nproc=1:");
                stage.project.server("two");
                stage.fails("build", 1);
                stage.says("ulimit -u");
                stage.answers("one");
                limit(stage, "--nproc=10000:");
                stage.mends();
            },
        )
        .by_user(),
        Fault::new(
            Building,
            "no process may be started for what it makes",
            "said; the old one serves",
            |stage| {
                limit(stage, "--nproc=1:");
                stage.open_gates();
                stage.fails("start", 1);
                stage.says("ulimit -u");
                stage.answers("one");
                limit(stage, "--nproc=10000:");
                stage.mends();
            },
        )
        .by_user(),
    ]
}

fn files() -> Vec<Fault> {
    vec![
        Fault::new(
            Live,
            "the working directory is removed and made again",
            "said; what is there then is live",
            |stage| {
                let work = stage.project.work();
                fs::remove_dir_all(&work).expect("it is ours");
                // The build or the start, as far as it got.
                assert_eq!(stage.run().expect("failed").number("live"), 1);
                stage.answers("one");
                fs::create_dir(&work).expect("its place is ours");
                stage.mends();
            },
        ),
        Fault::new(
            Building,
            "the working directory is removed and made again",
            "said; what is there then is live",
            |stage| {
                let work = stage.project.work();
                fs::remove_dir_all(&work).expect("it is ours");
                stage.run().expect("failed");
                stage.answers("one");
                fs::create_dir(&work).expect("its place is ours");
                stage.mends();
            },
        ),
        Fault::new(
            Live,
            "the temporary directory is removed",
            "nothing",
            |stage| {
                fs::remove_dir_all(stage.project.tmp()).expect("it is ours");
                stage.project.server("two");
                stage.told_of("live", 2);
                fs::create_dir(stage.project.tmp()).expect("its place is ours");
                stage.mends();
            },
        ),
        Fault::new(
            Live,
            "a directory may not be read",
            "told or not, the old one serves",
            |stage| {
                let closed = stage.project.work().join("closed");
                fs::create_dir(&closed).expect("it is ours");
                let mode = |mode: &str| done(Command::new("chmod").arg(mode).arg(&closed));
                mode("000");
                stage.mends();
                mode("700");
                fs::remove_dir(&closed).expect("it is empty");
                stage.mends();
            },
        )
        .by_user(),
    ]
}
