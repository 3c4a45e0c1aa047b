//! Measures the cost of the live terminal: while idle, and while a program prints as fast as it can.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::say;
use crate::screen::{Project, Screen, TIMEOUT};

/// The processor time of a process, excluding that of its children. `schedstat` counts in nanoseconds, `/proc/PID/stat`
/// only in hundredths of a second.
fn cpu_time(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process is running");
    let of = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let first = text.split(' ').next().and_then(|text| text.parse().ok());
        Duration::from_nanos(first.unwrap_or(0))
    };
    tasks.flatten().map(of).sum()
}

#[test]
#[ignore = "a benchmark: run it alone, with optimizations"]
fn the_live_terminal_costs_little_while_idle() {
    let project = Project::new("true", "echo running; exec sleep 1000");
    let mut screen = Screen::start(&project.hotrun(&["-l", "127.0.0.1:0"]), 80, 12);
    screen.until("the program's output and the footer", |text| {
        text.contains("running") && text.contains("0 conns")
    });
    screen.quiet_for(Duration::from_secs(1));
    let (time, pid) = (Duration::from_secs(10), screen.child.id());
    let written = screen.written();
    // Other processes evict hotrun's memory from the caches. That adds to the time, so the least of three is the best measure.
    let shares = [(); 3].map(|()| {
        let (before, began) = (cpu_time(pid), Instant::now());
        // This is the period that is measured.
        std::thread::sleep(time);
        (cpu_time(pid) - before).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0
    });
    let share = shares.into_iter().fold(f64::INFINITY, f64::min);
    say(&format!(
        "live terminal, idle: {share:.2} % of a core in the best of three times {time:?} (target: 0.30), nothing written"
    ));
    assert_eq!(screen.written(), written, "nothing is written while idle");
    assert!(share <= 0.3, "{share:.2} % of a core");
    screen.press("q");
    assert_eq!(screen.ended().code(), Some(0));
}

/// A program that prints numbered lines: some in two pieces, some coloured, some with sequences that must not reach the
/// screen.
const FLOOD: &str = include_str!("../terminal/flood.py");
const LINES: usize = 1_000_000;

/// Measures the time from the first line until the last one is on the screen.
fn time_flood(command: &Command) -> Duration {
    let screen = Screen::start(command, 80, 24);
    screen.until("the first line", |text| text.contains("line 1"));
    let began = Instant::now();
    // Wait for a separate marker, because under `script` the last line clears the screen.
    screen.within(TIMEOUT * 15, "the end marker", |text| {
        text.contains("the end")
    });
    began.elapsed()
}

#[test]
#[ignore = "a benchmark: run it alone, with optimizations"]
fn the_live_terminal_keeps_up_with_a_flood() {
    let project = Project::new("true", "exec python3 flood.py");
    let flood = FLOOD.replace("COUNT", &LINES.to_string());
    project.write(
        "flood.py",
        &format!("{flood}print('the end', flush=True)\nimport time; time.sleep(1000)\n"),
    );
    let mut script = Command::new("script");
    script.args(["-qec", "python3 flood.py", "/dev/null"]);
    project.set_interactive(&mut script);
    let hotrun = project.hotrun(&[]);
    let mut ratios = Vec::new();
    for _ in 0..5 {
        let (bare, ours) = (time_flood(&script), time_flood(&hotrun));
        let ratio = ours.as_secs_f64() / bare.as_secs_f64();
        say(&format!(
            "{LINES} lines: under `script` {bare:.2?}, on the live terminal {ours:.2?}, ratio {ratio:.2}"
        ));
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    say(&format!(
        "ratio of the live terminal to `script`: {:.2} (target: 1.25)",
        ratios[2]
    ));
    assert!(ratios[2] <= 1.25, "{ratios:?}");
}
