//! The live terminal: what it costs while nothing happens, and while a program prints as fast as it can.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::say;
use crate::screen::{PATIENCE, Project, Screen};

/// The processor time that the process has used so far, without its children: to the nanosecond, while
/// `/proc/PID/stat` counts hundredths of seconds.
fn used(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let of = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let first = text.split(' ').next().and_then(|text| text.parse().ok());
        Duration::from_nanos(first.unwrap_or(0))
    };
    tasks.flatten().map(of).sum()
}

#[test]
#[ignore = "measures: run it alone and optimized"]
fn bench_idle_screen() {
    let project = Project::new("true", "echo running; exec sleep 1000");
    let mut screen = Screen::start(&project.hotrun(&["-l", "127.0.0.1:0"]), 80, 12);
    screen.until("gen 1", |text| {
        text.contains("running") && text.contains("0 conns")
    });
    screen.quiet_for(Duration::from_secs(1));
    let (time, pid) = (Duration::from_secs(30), screen.child.id());
    let (written, before, began) = (screen.written(), used(pid), Instant::now());
    // The measurement itself.
    std::thread::sleep(time);
    let share = (used(pid) - before).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0;
    say(&format!(
        "live terminal, idle: {share:.2} % of a core (aim: 0.30), nothing written in {time:?}"
    ));
    assert_eq!(screen.written(), written, "nothing has changed");
    assert!(share <= 0.3, "{share}");
    screen.press("q");
    assert_eq!(screen.ended().code(), Some(0));
}

/// Numbered lines, some in two pieces, some coloured, some with what must not reach the screen, and the time that it
/// takes to get rid of them.
const PRINT: &str = include_str!("../terminal/print.py");
const LINES: usize = 1_000_000;

/// From the first line to the moment at which the last one is on the screen.
fn flood(command: &Command) -> Duration {
    let screen = Screen::start(command, 80, 24);
    screen.until("the first line", |text| text.contains("line 1"));
    let began = Instant::now();
    // The last of the lines is followed by what clears the screen, and where nobody keeps that from it, it does.
    screen.within(PATIENCE * 15, "the end", |text| text.contains("the end"));
    began.elapsed()
}

#[test]
#[ignore = "measures: run it alone and optimized"]
fn bench_flood_on_the_screen() {
    let project = Project::new("true", "exec python3 print.py");
    let print = PRINT.replace("COUNT", &LINES.to_string());
    project.write(
        "print.py",
        &format!("{print}print('the end', flush=True)\nimport time; time.sleep(1000)\n"),
    );
    let mut script = Command::new("script");
    script.args(["-qec", "python3 print.py", "/dev/null"]);
    project.at_home(&mut script);
    let hotrun = project.hotrun(&[]);
    let mut ratios = Vec::new();
    for _ in 0..5 {
        let (bare, ours) = (flood(&script), flood(&hotrun));
        let ratio = ours.as_secs_f64() / bare.as_secs_f64();
        say(&format!(
            "{LINES} lines: under `script` {bare:.2?}, on the live terminal {ours:.2?}, ratio {ratio:.2}"
        ));
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    say(&format!(
        "ratio of the live terminal to `script`: {:.2} (aim: 1.25)",
        ratios[2]
    ));
    assert!(ratios[2] <= 1.25, "{ratios:?}");
}
