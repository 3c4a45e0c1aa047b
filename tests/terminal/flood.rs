//! Much output, and none.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::screen::{Project, Screen};
use super::scrolled::{HISTORY, Scrolled};

/// How long it may take on a machine that is busy with something else.
const FLOOD: Duration = Duration::from_secs(240);

/// Numbered lines, some in two pieces, some coloured, some with what must not reach the screen, as fast as possible.
const PRINT: &str = include_str!("print.py");

fn project(count: usize, then: &str) -> Project {
    let project = Project::new("true", "exec python3 print.py");
    project.write(
        "print.py",
        &format!("{}{then}", PRINT.replace("COUNT", &count.to_string())),
    );
    project
}

/// The rows that scroll away are the numbered lines, each once and in order, or how many there were before one was not.
#[derive(Default)]
struct Counted {
    lines: usize,
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
fn every_line_of_a_flood_is_there_once_and_in_order() {
    let count = 1_000_000;
    let project = project(count, "import time; time.sleep(1000)");
    let counted = Arc::new(Mutex::new(Counted::default()));
    let there = counted.clone();
    let scrolled = Scrolled::new(move |row| there.lock().unwrap().take(row));
    let began = Instant::now();
    let mut screen = Screen::with_history(&project.hotrun(&[]), 64, 12, HISTORY, Some(scrolled));
    let last = format!("line {count}\n");
    screen.within(FLOOD, "the last line", |text| {
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
        "the footer is at the bottom, and, as nothing else has scrolled away, nowhere else"
    );
    screen.press("q");
    assert_eq!(screen.ended().code(), Some(0));
}

/// libtest captures `println!` alone.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "      {line}");
}

#[test]
fn what_does_not_change_is_not_written() {
    let project = Project::new("true", "echo running; exec sleep 1000");
    let mut screen = Screen::start(&project.hotrun(&["-l", "127.0.0.1:0"]), 80, 12);
    screen.until("gen 1", |text| {
        text.contains("running") && text.contains("0 conns")
    });
    // For longer than connections are counted again.
    screen.quiet_for(Duration::from_secs(4));
    screen.press("q");
    assert_eq!(screen.ended().code(), Some(0));
}
