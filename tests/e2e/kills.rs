//! `kill -9` of hotrun itself, in every state and at random times during a reload.

use std::thread;
use std::time::Duration;

use hotrun::os::process_tree;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Project, Run, Running, apps, say};
use crate::stopping::tree;
use crate::suite::{Scenario, State};

const TIMES: u64 = 20;

/// A pseudorandom number (xorshift), so that a failure can be reproduced from its seed.
fn random(seed: u64) -> u64 {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    x ^= x << 13;
    x ^= x >> 7;
    x ^ (x << 17)
}

/// Kills hotrun at a random time after a save. A reload takes 100 to 300 ms, so the kills cover all parts of it.
fn kill_during_a_reload(mut run: Running, save: impl FnOnce(), seed: u64) {
    run.live();
    save();
    thread::sleep(Duration::from_micros(random(seed) % 350_000));
    run.kill_and_check();
}

/// The number of kills in each state.
const TIMES_EACH: usize = 10;

#[test]
fn hc22_ten_kills_in_every_state_leave_nothing_behind() {
    thread::scope(|scope| {
        for state in State::ALL {
            scope.spawn(move || {
                for _ in 0..TIMES_EACH {
                    Scenario::at(state).kill_hotrun();
                }
            });
        }
    });
    say(&format!(
        "{TIMES_EACH} × kill -9 of hotrun in each of {} states: no process and no file left behind, port free",
        State::ALL.len()
    ));
}

#[test]
fn hc22_twenty_kills_at_random_times_leave_nothing_behind() {
    for seed in 1..=TIMES {
        let project = Project::new();
        project.server("one");
        let run = project.run().listen().spawn();
        kill_during_a_reload(run, || project.server("two"), seed);
        crate::harness::leftovers::empty(&project.tmp());
    }
    say(&format!(
        "{TIMES} × kill -9 of hotrun during a reload: no process left behind, port free"
    ));
}

#[test]
fn a_kill_leaves_no_artifact_behind() {
    let project = Project::new();
    project.swap(&apps::std().server);
    let run = Run::new(&project).listen().args(["--build", "true"]);
    let mut run = run.program(["./server"]).spawn();
    for server in [&apps::std().faulty, &apps::std().server] {
        run.live();
        project.swap(server);
    }
    run.live();
    let names = std::fs::read_dir(project.work()).expect("can read the directory");
    assert_eq!(names.count(), 1 + 3, "the program and three kept artifacts");
    run.kill_and_check();
    project.assert_untouched(&["server"]);
}

#[test]
fn hc22_twenty_kills_with_a_process_tree_leave_nothing_behind() {
    for seed in 1..=TIMES {
        let project = Project::new();
        tree(&project, "one");
        let run = project
            .run()
            .listen()
            .args(["--stop-timeout", "300ms"])
            .spawn();
        kill_during_a_reload(run, || tree(&project, "two"), 100 + seed);
        crate::harness::leftovers::empty(&project.tmp());
    }
    say(&format!(
        "{TIMES} × kill -9 of hotrun with a daemon and a child that ignores signals: nothing left behind"
    ));
}

/// As `pkill -9` may do. hotrun is stopped first, so that it cannot kill the program when the guardian is gone.
#[test]
fn a_program_without_children_dies_with_hotrun_and_its_guardian() {
    let project = Project::new();
    project.server("one");
    let mut run = project.run().listen().spawn();
    run.live();
    let program = i32::try_from(run.pid_of(1)).expect("a pid fits");
    let status = process_tree::status(program).expect("the program is running");
    run.signal(Signal::SIGSTOP);
    kill(Pid::from_raw(status.parent), Signal::SIGKILL).expect("can kill the guardian");
    run.kill_and_check();
}

#[test]
fn a_build_without_children_dies_with_hotrun_and_its_guardian() {
    let project = Project::new();
    let run = Run::new(&project).args(["--build", "echo $$; exec sleep 1000"]);
    let mut run = run.program(["true"]).spawn();
    let build = run
        .expect("build_output")
        .text("text")
        .parse()
        .expect("the pid");
    let status = process_tree::status(build).expect("the build is running");
    run.signal(Signal::SIGSTOP);
    kill(Pid::from_raw(status.parent), Signal::SIGKILL).expect("can kill the guardian");
    run.kill_and_check();
}
