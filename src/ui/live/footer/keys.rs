//! The key help, and the keys in the last row.

use super::row::{BOLD, DIM, Frame, Segments};
use crate::reload::Phase;
use crate::ui::live::line::width;
use crate::ui::model::Model;

/// A terminal wider than this always has room for the key that shows the help.
const NARROW: usize = 40;
const HELP_WIDTH: usize = GAP + "? help".len();
/// The minimum number of columns between the row and the keys.
const GAP: usize = 4;

/// For each row of the help: its rank (0 is the most important), the key, and what the key does.
const HELP: [(usize, &str, &str); 11] = [
    (0, "r", "reload now, even without changes"),
    (1, "p", "pause reloading, or resume it"),
    (3, "u", "undo: cancel the reload, or go back one build"),
    (2, "e", "errors: print the whole output of the last build"),
    (10, "+ - s", "give a sharing generation more, less or all"),
    (5, "k", KILL),
    (8, "c", "clear the screen"),
    (9, "Enter", "print a mark with the time"),
    (
        6,
        "Ctrl-Z",
        "suspend together with the program; `fg` resumes",
    ),
    (4, "q", "quit, like Ctrl-C; twice: quit now"),
    (7, "Esc", "close this help"),
];

const KILL: &str = "kill draining generations";
/// What the same key does while a generation is kept.
const FREE: &str = "drain the kept generation; twice: kill it";

/// The key help, in at most `max_rows` rows.
pub(super) fn help(frame: &Frame<'_>, max_rows: usize) -> Vec<String> {
    let row = |(_, key, text): &(usize, &str, &str)| {
        let key = match frame.columns() {
            0..30 => format!(" {key} "),
            _ => format!("   {key:<8}"),
        };
        let frees = *text == KILL && frame.model.has_kept();
        frame.paint(&BOLD, key) + if frees { FREE } else { text }
    };
    let shown = HELP.iter().filter(|(rank, ..)| *rank < max_rows);
    shown.map(row).collect()
}

/// The row, followed by as many keys as fit.
pub(super) fn beside(frame: &Frame<'_>, segments: Segments) -> String {
    let columns = frame.columns();
    let row = segments.fit(match columns > NARROW && frame.options.keys {
        true => columns - HELP_WIDTH,
        false => columns,
    });
    let room = columns.saturating_sub(width(&row) + GAP);
    let keys = keys(frame).fit(room);
    if width(&keys) > room {
        return row;
    }
    let gap = columns.saturating_sub(width(&row) + width(&keys));
    row + &" ".repeat(gap) + &keys
}

/// The keys that are useful now.
fn keys(frame: &Frame<'_>) -> Segments {
    let useful = match frame.options.keys {
        true => useful(frame.model),
        // Ctrl-C works even if hotrun reads no keys, because the terminal turns it into a signal.
        false => vec![(0, "Ctrl-C", "quit")],
    };
    let mut keys = Segments::new(String::new(), "", "  ".into());
    for (rank, key, what) in useful {
        let text = frame.paint(&BOLD, key) + &frame.paint(&DIM, format!(" {what}"));
        keys.add(rank, text);
    }
    keys
}

fn useful(model: &Model) -> Vec<(u8, &'static str, &'static str)> {
    let mut all = model.generations.values();
    let draining = all.any(|generation| generation.phase == Phase::Draining);
    let mut all = model.generations.values();
    let shares = all.any(|generation| generation.phase == Phase::Sharing);
    let broken = model.broken_build.is_some();
    // While the row shows another problem, it does not mention the warnings.
    let warnings = model.problem().is_none() && model.last.warnings > 0;
    let pause = if model.paused { "resume" } else { "pause" };
    let keys = [
        (true, (2, "r", "reload")),
        (true, (3, "p", pause)),
        (shares, (1, "+ -", "share")),
        (shares, (1, "s", "all")),
        (model.may_undo() || shares, (4, "u", "undo")),
        (broken, (1, "e", "errors")),
        (warnings, (1, "e", "warnings")),
        (model.has_kept(), (1, "k", "free")),
        (draining && !model.has_kept(), (1, "k", "kill")),
        (true, (0, "?", "help")),
        (true, (5, "q", "quit")),
    ];
    let useful = keys.into_iter().filter(|(useful, _)| *useful);
    useful.map(|(_, key)| key).collect()
}
