//! The last row: the build in progress, or the result of the last change.

use super::generations::time_left;
use super::row::{BAD, BOLD, BUSY, DIM, Frame, GOOD, Segments, running};
use crate::reload::{Cause, GenFailure};
use crate::ui::live::line::width;
use crate::ui::model::{BuildProgress, Model, Problem};
use crate::ui::{Human, text};

/// How many errors of a failed build are shown.
pub(super) const MAX_ERRORS: usize = 4;
/// The maximum width of a progress bar.
const MAX_BAR: usize = 24;

/// The last row's segments. `Err`: the segments, if no keys may be shown beside them.
pub(super) fn segments(frame: &Frame<'_>) -> Result<Segments, Segments> {
    let model = frame.model;
    if let Some((since, timeout)) = model.quitting {
        let mut row = Segments::titled(frame, &BUSY, "◌", "stopping");
        row.add(1, time_left(frame.age(since), timeout));
        row.add(2, frame.paint(&DIM, "Ctrl-C again to quit now"));
        return Err(row);
    }
    Ok(match (&model.building, model.problem()) {
        (Some(building), _) => in_progress(frame, building),
        (None, Some(problem)) => failed(frame, problem),
        (None, None) => result(frame),
    })
}

fn in_progress(frame: &Frame<'_>, building: &BuildProgress) -> Segments {
    let elapsed = running(frame.age(building.since));
    let title = format!("building gen {}", building.id);
    let mut row = Segments::titled(frame, &BUSY, "◔", &title);
    let used = width(&row.head) + elapsed.len() + 24;
    let room = frame.columns().saturating_sub(used) / 2;
    if let Some((done, all)) = building.progress
        && room >= 6
    {
        let length = room.min(MAX_BAR);
        let full = (length * done.min(all)).checked_div(all).unwrap_or(0);
        row.head += "   ";
        row.head += &frame.paint(&BUSY, "━".repeat(full));
        row.head += &frame.paint(&DIM, "─".repeat(length - full));
    }
    row.add(1, frame.paint(&BOLD, paused(frame.model)));
    if let Some((done @ 1.., all)) = building.progress {
        row.add(1, format!("{done}/{all} crates"));
    }
    row.add(2, elapsed);
    if building.blocked {
        row.add(0, "waiting for another cargo");
    }
    row.add(3, cause(frame));
    row
}

fn failed(frame: &Frame<'_>, problem: Problem) -> Segments {
    let model = frame.model;
    let text = format!("gen {} {}", problem.id, problem.failure);
    let mut row = Segments::list(frame, &BAD, "✘");
    row.add(0, frame.paint(&BAD, text));
    if problem.failure == GenFailure::Build {
        let log = &model.last_build_log;
        row.add(2, count(log.error_count, "error"));
        if let Some(more @ 1..) = log.error_count.checked_sub(MAX_ERRORS) {
            row.add(4, format!("{more} not shown"));
        }
    }
    row.add(1, frame.paint(&BOLD, paused(model)));
    match model.live() {
        Some(live) => row.add(
            1,
            match model.earlier_build(live) {
                Some(build) => format!("gen {live} live with the build of gen {build}"),
                None => format!("gen {live} still live"),
            },
        ),
        None if model.waiting => row.add(1, "waiting for a change"),
        None => {}
    }
    row
}

fn paused(model: &Model) -> &'static str {
    match (model.paused, model.changes_pending) {
        (false, _) => "",
        (true, false) => "paused",
        (true, true) => "paused, changes pending",
    }
}

/// The result of the last change.
fn result(frame: &Frame<'_>) -> Segments {
    let model = frame.model;
    let row = match model.paused {
        true => Segments::titled(frame, &BUSY, "‖", paused(model)),
        false => Segments::default(),
    };
    // During a pause, only what the user has done is news.
    if model.paused && model.cause != Some(Cause::Undo) {
        return row;
    }
    let Some(live) = model.live() else {
        return row;
    };
    let last = &model.last;
    let text = match (last.built, last.ready) {
        _ if last.undone => format!("reload cancelled, gen {live} kept"),
        _ if last.restored => format!("went back to gen {live}"),
        _ if last.unchanged => format!("binary unchanged, gen {live} kept"),
        (Some(built), _) => format!("built in {}", Human(built)),
        (None, Some(_)) => match model.earlier_build(live) {
            Some(build) => format!("started the build of gen {build}"),
            None => "started".into(),
        },
        (None, None) => return row,
    };
    let mut row = match model.paused {
        true => row,
        false => Segments::list(frame, &GOOD, "✔"),
    };
    row.add(u8::from(model.paused), text);
    if let Some(ready) = last.ready {
        row.add(1, format!("ready in {}", Human(ready)));
    }
    row.add(2, count(last.warnings, "warning"));
    row.add(3, cause(frame));
    row
}

fn cause(frame: &Frame<'_>) -> String {
    let Some((first, count)) = &frame.model.changed else {
        return match frame.model.cause {
            Some(Cause::Request) => "requested".into(),
            Some(Cause::Undo) => "undo".into(),
            Some(Cause::InheritFds) => "to receive stored descriptors".into(),
            Some(Cause::RollBack) => "rolled back after a crash".into(),
            Some(Cause::Crash) => "restarted after a crash".into(),
            Some(Cause::Follow) => "followed the first instance".into(),
            Some(Cause::Unhealthy) => "replaced an unhealthy generation".into(),
            Some(Cause::Begin | Cause::Change) | None => String::new(),
        };
    };
    let first = text::path(first, &frame.options.workdir);
    match count {
        0 | 1 => first,
        count => format!("{first} and {} more", count - 1),
    }
}

/// Formats a count of things. Empty for 0.
fn count(count: usize, noun: &str) -> String {
    match count {
        0 => String::new(),
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}
