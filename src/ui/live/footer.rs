//! Renders the footer from the model, for a terminal size and a moment. Pure.

mod frame;
mod generations;
mod keys;
mod status;

pub(super) use self::frame::Frame;
use super::output_filter;
use super::row::{Row, Tint};

/// The rows from top to bottom, fewer than the terminal has.
pub(super) fn rows(frame: &Frame<'_>) -> Vec<Row> {
    let most = usize::from(frame.size.rows).saturating_sub(1).max(1);
    let mut state = generations::rows(frame, most - 1);
    state.push(match status::segments(frame) {
        Ok(segments) => keys::beside(frame, segments),
        Err(segments) => segments.fit(frame.columns()),
    });
    let room = most.saturating_sub(state.len());
    let mut rows = match frame.help {
        true => keys::help(frame.columns(), room),
        false => errors(frame, room.min(most * 2 / 3)),
    };
    rows.extend(state);
    // The last rows matter most.
    rows.drain(..rows.len().saturating_sub(most));
    // An empty row separates the footer from the output, if there is room. It must be empty: when a terminal becomes
    // narrower it rewraps the existing rows, and with a short row on top ours stay within reach.
    if rows.len() < most && most > 8 {
        rows.insert(0, Row::default());
    }
    rows
}

/// The errors of the last failed build.
fn errors(frame: &Frame<'_>, max_rows: usize) -> Vec<Row> {
    let Some(problem) = &frame.model.broken_build else {
        return Vec::new();
    };
    let errors = problem.errors.iter();
    let all: Vec<&str> = errors.flat_map(|text| text.trim_end().lines()).collect();
    let row = |line: &&str| Row::of(Tint::Ansi, format!(" {}", output_filter::harmless(line)));
    if all.len() <= max_rows {
        return all.iter().map(row).collect();
    }
    let mut rows: Vec<Row> = all
        .iter()
        .take(max_rows.saturating_sub(1))
        .map(row)
        .collect();
    if max_rows > 0 {
        let left = all.len() - rows.len();
        let hint = if frame.options.keys {
            " (e shows all)"
        } else {
            ""
        };
        rows.push(Row::of(Tint::Dim, format!(" … {left} more lines{hint}")));
    }
    rows
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_status;
