//! The keys that are of use now.

use super::Frame;
use crate::reload::Phase;
use crate::ui::Model;
use crate::ui::live::row::{Parts, Row, Tint};

/// On a terminal that is wider than this there is always room for the key that explains the others.
const NARROW: usize = 40;
/// What it takes.
const HELP: usize = "  ? help".len();

impl Frame<'_> {
    /// The row, and beside it as many keys as there is room for.
    pub(super) fn with_keys(&self, parts: Parts) -> Row {
        let columns = self.columns();
        let room = if columns > NARROW && self.options.keys {
            columns - HELP
        } else {
            columns
        };
        let row = parts.fit(room);
        let keys = self.keys(row.width());
        row.with_right(keys, columns)
    }

    /// The keys that are of use now, as many as fit beside what else is in the row.
    fn keys(&self, used: usize) -> Row {
        let Model {
            broken,
            generations,
            undoable,
            last,
            ..
        } = self.model;
        let draining = generations
            .values()
            .any(|known| known.phase == Phase::Draining);
        let broken = broken.is_some();
        let keys = [
            (2, "r", "reload", true),
            (
                3,
                "p",
                if self.model.paused { "go on" } else { "pause" },
                true,
            ),
            (4, "u", "undo", *undoable),
            (1, "e", "errors", broken),
            (1, "e", "warnings", !broken && last.warnings > 0),
            (1, "k", "kill", draining),
            (0, "?", "help", true),
            (5, "q", "quit", true),
        ];
        let mut keys: Vec<_> = keys.into_iter().filter(|(.., of_use)| *of_use).collect();
        if !self.options.keys {
            // The terminal makes a signal of it.
            keys = vec![(0, "Ctrl-C", "quit", true)];
        }
        let room = self.columns().saturating_sub(used + 2);
        while width(&keys) > room && !keys.is_empty() {
            let least = keys.iter().map(|key| key.0).max();
            keys.retain(|key| Some(key.0) != least);
        }
        let mut row = Row::default();
        for (index, (_, key, what, _)) in keys.iter().enumerate() {
            let gap = if index > 0 { "  " } else { "" };
            row = row.with(Tint::Plain, gap).with(Tint::Bold, *key);
            row = row.with(Tint::Dim, format!(" {what}"));
        }
        row
    }
}

fn width(keys: &[(u8, &str, &str, bool)]) -> usize {
    keys.iter()
        .map(|(_, key, what, _)| key.len() + what.len() + 3)
        .sum()
}
