//! What the footer shows of a model, on a terminal of some size, at some moment. Pure.

mod hints;

use std::time::Duration;

use console::truncate_str;

use super::row::{Parts, Row, Tint};
use super::{help, output_filter, timing};
use crate::os::terminal::Size;
use crate::reload::{Cause, Failure, GenId, Phase};
use crate::ui::model::{Building, Generation, Problem};
use crate::ui::{Human, Model, Options, sanitize};

/// So many draining generations are shown one by one.
const MOST_DRAINING: usize = 3;
/// A bar is at most so wide.
const WIDEST_BAR: usize = 24;

/// What the view depends on.
pub(super) struct Frame<'a> {
    pub(super) model: &'a Model,
    pub(super) options: &'a Options,
    pub(super) size: Size,
    pub(super) now: Duration,
    /// Whether the keys are explained.
    pub(super) help: bool,
}

impl Frame<'_> {
    fn columns(&self) -> usize {
        usize::from(self.size.columns)
    }

    /// The rows, from top to bottom: never more than the terminal has.
    pub(super) fn rows(&self) -> Vec<Row> {
        let most = usize::from(self.size.rows).saturating_sub(1).max(1);
        let state = self.state(most);
        let room = most.saturating_sub(state.len());
        let mut rows = match self.help {
            true => help::rows(self.columns(), room),
            false => self.errors(room.min(most * 2 / 3)),
        };
        rows.extend(state);
        // What is said last matters most.
        rows.drain(..rows.len().saturating_sub(most));
        // Apart from the output, where there is room. Empty, for a terminal that gets narrower breaks the rows that
        // are there: with a short one on top what is ours stays in reach.
        if rows.len() < most && most > 8 {
            rows.insert(0, Row::default());
        }
        rows
    }

    /// What draws to an end has what room the rest leaves it.
    fn state(&self, most: usize) -> Vec<Row> {
        let of = |wanted: fn(&Generation) -> bool| {
            let all = self.model.generations.iter();
            all.filter(move |(_, generation)| wanted(generation))
        };
        let live = of(|generation| generation.phase == Phase::Live);
        let mut rows: Vec<Row> = live.map(|(id, live)| self.live(*id, live)).collect();
        if rows.is_empty() {
            rows.extend(self.nothing_live());
        }
        let coming = of(|known| matches!(known.phase, Phase::Starting | Phase::Ready));
        rows.extend(coming.map(|(id, coming)| self.coming(*id, coming)));
        let leaving: Vec<_> = of(|known| known.phase == Phase::Draining).collect();
        rows.extend(self.all_leaving(&leaving, most.saturating_sub(rows.len() + 1)));
        rows.push(self.status());
        rows
    }

    /// The newest first, in so many rows, and how many more there are.
    fn all_leaving(&self, all: &[(&GenId, &Generation)], room: usize) -> Vec<Row> {
        let shown = match all.len() <= room.min(MOST_DRAINING) {
            true => all.len(),
            false => room.saturating_sub(1).min(MOST_DRAINING),
        };
        let first = all.iter().rev().take(shown);
        let mut rows: Vec<Row> = first.map(|(id, one)| self.leaving(**id, one)).collect();
        match all.len() - shown {
            _ if room == 0 => {}
            0 => {}
            more if shown > 0 => {
                rows.push(Row::default().with(Tint::Dim, format!("   and {more} more")));
            }
            more => {
                rows.push(sign(Tint::Busy, "◐").with(Tint::Bold, format!("{more} draining")));
            }
        }
        rows
    }

    fn live(&self, id: GenId, live: &Generation) -> Row {
        let head = sign(Tint::Good, "●").with(Tint::Bold, format!("gen {id} live"));
        let mut parts = Parts::new(head);
        parts.add(3, Tint::Plain, sanitize::text(&live.program));
        parts.add(5, Tint::Plain, pid(live));
        parts.add(6, Tint::Plain, format!("up {}", timing::up(self.age(live))));
        let held = self.model.listening.iter().map(|(_, address)| address);
        for address in held.chain(&live.addresses) {
            parts.add(2, Tint::Plain, sanitize::text(address));
        }
        parts.add(1, Tint::Plain, connections(live));
        parts.add(4, Tint::Plain, status(live));
        parts.fit(self.columns())
    }

    fn nothing_live(&self) -> Option<Row> {
        let waits = self.model.waits_at()?;
        let mut parts = Parts::new(sign(Tint::Dim, "○").with(Tint::Bold, "nothing live"));
        let waits = sanitize::text(waits);
        if self.model.waiting && self.options.error_page {
            parts.add(1, Tint::Plain, format!("HTTP on {waits} is told why"));
            parts.add(2, Tint::Plain, "the rest waits");
        } else {
            parts.add(1, Tint::Plain, format!("connections to {waits} wait"));
        }
        Some(parts.fit(self.columns()))
    }

    fn coming(&self, id: GenId, coming: &Generation) -> Row {
        let head = sign(Tint::Busy, "◔").with(Tint::Bold, format!("gen {id} starting"));
        let mut parts = Parts::new(head);
        parts.add(3, Tint::Plain, sanitize::text(&coming.program));
        parts.add(2, Tint::Plain, pid(coming));
        parts.add(1, Tint::Plain, timing::running(self.age(coming)));
        parts.add(1, Tint::Plain, status(coming));
        parts.fit(self.columns())
    }

    fn leaving(&self, id: GenId, leaving: &Generation) -> Row {
        let what = match (leaving.killed, leaving.failed) {
            (true, _) => "being killed",
            (false, true) => "ending",
            (false, false) => "draining",
        };
        let head = sign(Tint::Busy, "◐").with(Tint::Bold, format!("gen {id} {what}"));
        let mut parts = Parts::new(head);
        if !leaving.killed {
            parts.add(1, Tint::Plain, holds(leaving));
        }
        if let Some(all) = leaving.drain.filter(|_| !leaving.killed) {
            parts.add(2, Tint::Plain, time_left(self.age(leaving), all));
        }
        parts.add(3, Tint::Plain, status(leaving));
        parts.add(3, Tint::Dim, pid(leaving));
        parts.fit(self.columns())
    }

    fn age(&self, generation: &Generation) -> Duration {
        self.now.saturating_sub(generation.since)
    }

    /// The last row: what goes on, or what came of it, and the keys.
    fn status(&self) -> Row {
        let Model {
            quitting, building, ..
        } = self.model;
        let parts = match (quitting, building, self.model.wrong()) {
            (Some((since, timeout)), _, _) => {
                return self.quitting(*since, *timeout).fit(self.columns());
            }
            (None, Some(building), _) => self.building(building),
            (None, None, Some(problem)) => self.problem(problem),
            (None, None, None) => self.result(),
        };
        self.with_keys(parts)
    }

    fn quitting(&self, since: Duration, timeout: Duration) -> Parts {
        let left = time_left(self.now.saturating_sub(since), timeout);
        let mut parts = Parts::new(sign(Tint::Busy, "◌").with(Tint::Bold, "stopping"));
        parts.add(1, Tint::Plain, left);
        parts.add(2, Tint::Dim, "Ctrl-C again: at once");
        parts
    }

    fn building(&self, building: &Building) -> Parts {
        let Building {
            id,
            since,
            progress,
            blocked,
        } = building;
        let took = timing::running(self.now.saturating_sub(*since));
        let mut head = sign(Tint::Busy, "◔").with(Tint::Bold, format!("building gen {id}"));
        let cause = self.cause();
        let width = head.width();
        let room = self.columns().saturating_sub(width + took.len() + 24) / 2;
        if let Some((done, all)) = progress
            && room >= 6
        {
            let (full, empty) = bar(*done, *all, room.min(WIDEST_BAR));
            head = head
                .with(Tint::Plain, "   ")
                .with(Tint::Busy, full)
                .with(Tint::Dim, empty);
        }
        let mut parts = Parts::new(head);
        if self.model.paused {
            parts.add(1, Tint::Bold, self.paused());
        }
        if let Some((done, all)) = progress {
            parts.add(1, Tint::Plain, format!("{done}/{all} crates"));
        }
        parts.add(2, Tint::Plain, took);
        if *blocked {
            parts.add(0, Tint::Plain, "waits for another cargo");
        }
        parts.add(3, Tint::Plain, cause);
        parts
    }

    fn problem(&self, problem: &Problem) -> Parts {
        let Problem {
            id,
            failure,
            errors,
            count,
        } = problem;
        let text = match failure {
            Failure::Build => format!("gen {id} does not build"),
            Failure::Start
            | Failure::ExitedEarly(_)
            | Failure::ReadyTimeout
            | Failure::Switch
            | Failure::Crashed(_)
            | Failure::Vanished => format!("gen {id}: {failure}"),
        };
        let mut parts = Parts::going_on(sign(Tint::Bad, "✘").with(Tint::Bad, text));
        match *count {
            0 => {}
            1 => parts.add(2, Tint::Plain, "1 error"),
            count => parts.add(2, Tint::Plain, format!("{count} errors")),
        }
        if *count > errors.len() {
            let more = count - errors.len();
            parts.add(4, Tint::Plain, format!("{more} not shown"));
        }
        if self.model.paused {
            parts.add(1, Tint::Bold, self.paused());
        }
        match self.model.live() {
            Some(live) if self.model.back => {
                parts.add(
                    1,
                    Tint::Plain,
                    format!("gen {live} serves, of the build before"),
                );
            }
            Some(live) => parts.add(1, Tint::Plain, format!("gen {live} serves on")),
            None if self.model.waiting => parts.add(1, Tint::Plain, "waiting for a change"),
            None => {}
        }
        parts
    }

    fn paused(&self) -> &'static str {
        match self.model.held {
            true => "paused, changes wait",
            false => "paused",
        }
    }

    /// What came of the last change.
    fn result(&self) -> Parts {
        if self.model.paused {
            return Parts::new(sign(Tint::Busy, "‖").with(Tint::Bold, self.paused()));
        }
        let last = &self.model.last;
        if self.model.live().is_none() {
            return Parts::default();
        }
        let mut parts = match (last.built, last.ready) {
            _ if last.unchanged => {
                Parts::going_on(sign(Tint::Good, "✔").with(Tint::Plain, "the same as what runs"))
            }
            (Some(built), _) => {
                let text = format!("built in {}", Human(built));
                Parts::going_on(sign(Tint::Good, "✔").with(Tint::Plain, text))
            }
            (None, Some(_)) => Parts::going_on(sign(Tint::Good, "✔").with(Tint::Plain, "started")),
            (None, None) => return Parts::default(),
        };
        if let Some(ready) = last.ready {
            parts.add(1, Tint::Plain, format!("ready in {}", Human(ready)));
        }
        match last.warnings {
            0 => {}
            1 => parts.add(2, Tint::Plain, "1 warning"),
            count => parts.add(2, Tint::Plain, format!("{count} warnings")),
        }
        parts.add(3, Tint::Plain, self.cause());
        parts
    }

    fn cause(&self) -> String {
        let Some(first) = self.model.changed.first() else {
            return match self.model.cause {
                Some(Cause::Request) => "as asked".into(),
                Some(Cause::Undo) => "the previous build".into(),
                Some(Cause::InheritFds) => "to get what was stored".into(),
                Some(Cause::RollBack) => "back after the crash".into(),
                Some(Cause::Crash) => "once more after the crash".into(),
                Some(Cause::Begin | Cause::Change) | None => String::new(),
            };
        };
        let first = sanitize::path(first, &self.options.workdir);
        match self.model.changes {
            0 | 1 => first,
            count => format!("{first} and {} more", count - 1),
        }
    }

    /// The errors of a build that failed, in at most so many rows.
    fn errors(&self, most: usize) -> Vec<Row> {
        let Some(problem) = &self.model.broken else {
            return Vec::new();
        };
        let all: Vec<&str> = problem
            .errors
            .iter()
            .flat_map(|text| text.trim_end().lines())
            .collect();
        let own = |line: &&str| {
            let line = format!(" {}", output_filter::harmless(line));
            Row::default().with(Tint::Own, line)
        };
        if all.len() <= most {
            return all.iter().map(own).collect();
        }
        let mut rows: Vec<Row> = all.iter().take(most.saturating_sub(1)).map(own).collect();
        let left = all.len() - rows.len();
        if most > 0 {
            let how = if self.options.keys {
                ": e shows all"
            } else {
                ""
            };
            let text = format!(" … {left} more lines{how}");
            rows.push(Row::default().with(Tint::Dim, text));
        }
        rows
    }
}

fn sign(tint: Tint, sign: &str) -> Row {
    Row::default().with(tint, format!(" {sign} "))
}

fn pid(generation: &Generation) -> String {
    generation
        .pid
        .map(|pid| format!("pid {pid}"))
        .unwrap_or_default()
}

fn connections(generation: &Generation) -> String {
    match generation.connections {
        None => String::new(),
        Some(1) => "1 conn".into(),
        Some(count) => format!("{count} conns"),
    }
}

/// What it says itself. In short: what it does not fit into shows nothing of it.
fn status(generation: &Generation) -> String {
    const WIDEST: usize = 40;
    truncate_str(&sanitize::text(&generation.status), WIDEST, "…").into_owned()
}

/// One that gets the stop signal only at the end of its time has a moment more.
fn time_left(age: Duration, all: Duration) -> String {
    match all.saturating_sub(age) {
        Duration::ZERO => format!("its {} are over", Human(all)),
        _ => format!("{} of {} left", timing::left(age, all), Human(all)),
    }
}

/// What keeps it from ending.
fn holds(leaving: &Generation) -> String {
    match leaving.connections {
        Some(0) if !leaving.failed => "no conns, cleaning up".into(),
        Some(0) | None => String::new(),
        Some(_) => connections(leaving),
    }
}

fn bar(done: usize, all: usize, width: usize) -> (String, String) {
    let full = (width * done.min(all)).checked_div(all).unwrap_or(0);
    ("━".repeat(full), "─".repeat(width - full))
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_status;
