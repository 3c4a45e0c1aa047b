//! Tests programs that print a lot, or nothing.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::screen::{Project, Screen};
use super::scrollback::{HISTORY, Scrollback};

/// How long to wait for the end of a flood, even on a busy machine.
const FLOOD_TIMEOUT: Duration = Duration::from_secs(240);

/// A program that prints numbered lines as fast as possible. It prints some in two pieces, some in color, and some with
/// sequences that must not reach the screen.
const FLOOD: &str = include_str!("flood.py");

fn project(count: usize, then: &str) -> Project {
    let project = Project::new("true", "exec python3 flood.py");
    project.write(
        "flood.py",
        &format!("{}{then}", FLOOD.replace("COUNT", &count.to_string())),
    );
    project
}

/// Checks that the rows are the numbered lines, each exactly once and in order.
#[derive(Default)]
struct Counted {
    lines: usize,
    /// The first row that differs from the expected line.
    wrong: Option<String>,
}

impl Counted {
    fn take(&mut self, row: &str) {
        let expected = format!("line {}", self.lines + 1);
        if self.wrong.is_none() && row == expected {
            self.lines += 1;
        } else {
            self.wrong.get_or_insert_with(|| row.to_owned());
        }
    }
}

#[test]
#[ignore = "needs python3"]
fn every_line_of_a_flood_is_shown_once_and_in_order() {
    let count = 1_000_000;
    let project = project(count, "import time; time.sleep(1000)");
    let counted = Arc::new(Mutex::new(Counted::default()));
    let there = counted.clone();
    let scrollback = Scrollback::new(move |row| there.lock().unwrap().take(row));
    let began = Instant::now();
    let mut screen = Screen::with_history(&project.hotrun(&[]), 64, 12, HISTORY, Some(scrollback));
    let last = format!("line {count}\n");
    screen.within(FLOOD_TIMEOUT, "the last line", |text| {
        text.contains(&last) && text.contains("gen 1 live")
    });
    say(&format!("{count} lines: {:.1?}", began.elapsed()));
    let mut counted = counted.lock().unwrap();
    for row in screen.text().lines().take_while(|row| !row.is_empty()) {
        counted.take(row);
    }
    assert_eq!((counted.lines, &counted.wrong), (count, &None));
    assert_eq!(
        screen.text().matches("gen 1 live").count(),
        1,
        "the footer should appear once"
    );
    screen.press("q");
    assert_eq!(screen.ended().code(), Some(0));
}

/// Prints a line that libtest does not capture, unlike `println!`.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "      {line}");
}

#[test]
fn nothing_is_written_while_nothing_changes() {
    let project = Project::new("true", "echo running; exec sleep 1000");
    let mut screen = Screen::start(&project.hotrun(&["-l", "127.0.0.1:0"]), 80, 12);
    screen.until("gen 1 to be live", |text| {
        text.contains("running") && text.contains("0 conns")
    });
    // This is longer than the interval at which connections are counted.
    screen.quiet_for(Duration::from_secs(4));
    screen.press("q");
    assert_eq!(screen.ended().code(), Some(0));
}
