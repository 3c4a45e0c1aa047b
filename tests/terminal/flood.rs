//! Much output, and none.

use std::fs;
use std::io::Write;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::screen::{Project, Screen};

/// Numbered lines, some in two pieces, some coloured, some with what must not reach the screen, as fast as possible.
const PRINT: &str = r#"
import os, sys
out = []
for n in range(1, COUNT + 1):
    if n % 1000 == 0: out.append('\x1b[31mline %d\x1b[0m\x1b[2J\x1b[5;5H\n' % n)
    elif n % 777 == 0:
        out.append('line ')
        os.write(1, ''.join(out).encode())
        out = ['%d\n' % n]
    else: out.append('line %d\n' % n)
    if len(out) > 500:
        os.write(1, ''.join(out).encode())
        out = []
os.write(1, ''.join(out).encode())
"#;

fn project(count: usize, then: &str) -> Project {
    let project = Project::new("true", "exec python3 print.py");
    project.write(
        "print.py",
        &format!("{}{then}", PRINT.replace("COUNT", &count.to_string())),
    );
    project
}

/// All rows that ever were, from the top of the scrollback to the bottom of the screen.
fn all_rows(screen: &Screen) -> Vec<String> {
    screen.parsed(|parser| {
        let (height, width) = parser.screen().size();
        let height = usize::from(height.get());
        parser.screen_mut().set_scrollback(usize::MAX);
        let most = parser.screen().scrollback();
        let mut rows = Vec::new();
        let mut left = most;
        loop {
            parser.screen_mut().set_scrollback(left);
            let page: Vec<String> = parser.screen().rows(0, width.get()).collect();
            let take = if left >= height { height } else { left };
            rows.extend(page.into_iter().take(if left == 0 { height } else { take }));
            if left == 0 {
                return rows;
            }
            left -= take;
        }
    })
}

#[test]
fn every_line_of_a_flood_is_there_once_and_in_order() {
    let count = 50_000;
    let project = project(count, "import time; time.sleep(1000)");
    let mut screen = Screen::with_history(&project.hotrun(&[]), 80, 12, count + 100);
    let last = format!("line {count}\n");
    screen.until("the last line", |text| {
        text.contains(&last) && text.contains("gen 1 live")
    });
    let rows = all_rows(&screen);
    let numbers = rows
        .iter()
        .filter_map(|row| row.trim_end().strip_prefix("line "));
    let numbers: Vec<usize> = numbers.map(|number| number.parse().unwrap()).collect();
    let expected: Vec<usize> = (1..=count).collect();
    let wrong = numbers
        .iter()
        .zip(&expected)
        .find(|(found, expected)| found != expected);
    assert!(
        numbers == expected,
        "{} of {count}, at first {wrong:?}",
        numbers.len()
    );
    let footers = rows.iter().filter(|row| row.contains("gen 1 live")).count();
    assert_eq!(footers, 1, "the footer is at the bottom, and nowhere else");
    screen.press("q");
    screen.ended();
}

/// libtest captures `println!` alone.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "      {line}");
}

/// Reads everything as fast as it comes, as a terminal does that draws nothing; how long it took.
fn measure(command: &Command, last: &str) -> Duration {
    let began = Instant::now();
    let screen = Screen::start(command, 80, 24);
    screen.until("the last line", |text| text.contains(last));
    began.elapsed()
}

/// `cargo test --release --test terminal -- --ignored --nocapture a_flood_takes`
#[test]
#[ignore = "a measurement, for a release build on a quiet machine"]
fn a_flood_takes_little_longer_than_under_script() {
    let count = 1_000_000;
    let project = project(count, "import time; time.sleep(1000)");
    let last = format!("line {count}\n");
    let mut script = Command::new("script");
    script.args(["-qec", "python3 print.py", "/dev/null"]);
    project.at_home(&mut script);
    let mut ratios = Vec::new();
    for _ in 0..5 {
        let bare = measure(&script, &last);
        let ours = measure(&project.hotrun(&[]), &last);
        let ratio = ours.as_secs_f64() / bare.as_secs_f64();
        say(&format!("script {bare:?}, hotrun {ours:?}, {ratio:.2}"));
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    assert!(ratios[2] <= 1.25, "{ratios:?}");
}

/// User and system time, of the process alone.
fn spent(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

#[test]
fn what_does_not_change_is_not_written_and_costs_nothing() {
    let project = Project::new("true", "echo running; exec sleep 1000");
    let mut screen = Screen::start(&project.hotrun(&["-l", "127.0.0.1:0"]), 80, 12);
    screen.until("gen 1", |text| {
        text.contains("running") && text.contains("0 conns")
    });
    // Until what was under way is over.
    thread::sleep(Duration::from_secs(1));
    let (written, before) = (screen.written(), spent(screen.child.id()));
    let time = Duration::from_secs(10);
    thread::sleep(time);
    assert_eq!(screen.written(), written, "nothing has changed");
    let share = (spent(screen.child.id()) - before).as_secs_f64() / time.as_secs_f64();
    say(&format!("idle: {:.2} % of a core", share * 100.0));
    // In a debug build, where everything takes several times as long.
    assert!(share <= 0.02, "{share}");
    screen.press("q");
    screen.ended();
}
