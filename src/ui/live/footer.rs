//! Renders the footer from the model, the terminal's size and the time. Does no I/O.

mod generations;
mod keys;
mod row;
mod status;

use std::ops::Range;
use std::time::Duration;

use self::row::DIM;
pub(super) use self::row::Frame;
use self::status::MAX_ERRORS;
use super::line::{RESET, harmless, plain, truncate};
use crate::reload::Phase;
use crate::ui::model::Model;

/// How many of the last lines are shown if a build fails without an error message.
const LAST_LINES: usize = 12;

/// The footer's rows from top to bottom, and which of them are a failed build's errors. The rows fit on the terminal,
/// and leave at least one of its rows free if it has several.
pub(super) fn rows(frame: &Frame<'_>) -> (Vec<String>, Range<usize>) {
    let most = usize::from(frame.size.rows).saturating_sub(1).max(1);
    let mut state = generations::rows(frame, most - 1);
    state.extend(generations::sources_down(frame));
    state.push(match status::segments(frame) {
        Ok(segments) => keys::beside(frame, segments),
        Err(segments) => segments.fit(frame.columns()),
    });
    let room = most.saturating_sub(state.len());
    let block = match frame.help {
        true => keys::help(frame, room),
        false => errors(frame, room.min(most * 2 / 3)),
    };
    let has_room = |rows: usize| most > 8 && rows + block.len() + state.len() < most;
    // An empty row separates the footer from the output, if there is room. It holds the cursor between two frames. A
    // terminal that becomes narrower rewraps the existing rows, but not an empty one. A generation that is starting or
    // draining takes the place of this row, so that the footer keeps its height.
    let is_steady = state.len() <= 2;
    let top = has_room(0) && (is_steady || !block.is_empty());
    let between = has_room(1) && is_steady && !block.is_empty();
    let errors = match frame.help {
        true => 0..0,
        false => usize::from(top)..usize::from(top) + block.len(),
    };
    let empty = |wanted: bool| wanted.then(String::new);
    let rows = empty(top)
        .into_iter()
        .chain(block)
        .chain(empty(between))
        .chain(state);
    let mut rows: Vec<String> = rows.collect();
    // The last rows matter most.
    rows.drain(..rows.len().saturating_sub(most));
    for row in &mut rows {
        *row = truncate(row.trim_end(), frame.columns());
    }
    (rows, errors)
}

/// The errors of the last failed build.
fn errors(frame: &Frame<'_>, max_rows: usize) -> Vec<String> {
    let errors = match frame.model.broken_build {
        Some(_) => frame.model.last_build_log.errors(MAX_ERRORS, LAST_LINES),
        None => Vec::new(),
    };
    let lines = errors.iter().flat_map(|text| text.trim_end().lines());
    let row = |line| match frame.options.color {
        true => format!(" {}{RESET}", harmless(line)),
        false => format!(" {}", plain(&harmless(line))),
    };
    let count = lines.clone().count();
    if count <= max_rows {
        return lines.map(row).collect();
    }
    let shown = max_rows.saturating_sub(1);
    let mut rows: Vec<String> = lines.take(shown).map(row).collect();
    if max_rows > 0 {
        let hint = match frame.options.keys {
            true => " (e shows all)",
            false => "",
        };
        rows.push(frame.paint(&DIM, format!(" … {} more lines{hint}", count - shown)));
    }
    rows
}

/// How long until the footer may change without a further report, because it shows durations.
pub(super) fn next_change(model: &Model, now: Duration) -> Option<Duration> {
    const MINUTE: u64 = 60;
    let tenth = Duration::from_millis(100);
    let minute = |since: &Duration| {
        let age = now.saturating_sub(*since).as_secs();
        Duration::from_secs(MINUTE - age % MINUTE)
    };
    let of_phases = model
        .generations
        .values()
        .filter_map(|generation| match generation.phase {
            Phase::Starting | Phase::Ready => Some(tenth),
            Phase::Draining => Some(5 * tenth),
            Phase::Kept => Some(generations::kept_changes(generation, now)),
            Phase::Live | Phase::Sharing => Some(minute(&generation.since)),
            Phase::Building | Phase::Gone => None,
        });
    let building = model.building.as_ref().map(|_| tenth);
    let down = model.sources_down.values().map(minute);
    let quitting = model.quitting.map(|_| 5 * tenth);
    of_phases.chain(building).chain(down).chain(quitting).min()
}

#[cfg(test)]
mod tests;
