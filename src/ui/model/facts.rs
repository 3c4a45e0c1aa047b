use std::collections::VecDeque;
use std::time::Duration;

use crate::reload::{GenFailure, GenId, Phase};
use crate::ui::Level;
use crate::ui::text::{shortened, shortened_message};

/// A generation that is not gone. Times are on the user interface's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::ui) struct ShownGeneration {
    pub(in crate::ui) phase: Phase,
    /// When the generation entered this phase.
    pub(in crate::ui) since: Duration,
    /// The program's name; empty until the program is started.
    pub(in crate::ui) program: String,
    pub(in crate::ui) pid: Option<i32>,
    /// The number of the instance, from 0, if there are several.
    pub(in crate::ui) instance: Option<usize>,
    /// The earlier generation whose build this one runs; `None` if it runs its own.
    pub(in crate::ui) build: Option<GenId>,
    /// How long the program took from its start until it was ready.
    pub(in crate::ui) ready: Option<Duration>,
    /// When the generation went live.
    pub(in crate::ui) live_since: Option<Duration>,
    /// Its share of new connections, in percent, before it is live.
    pub(in crate::ui) share: Option<u8>,
    /// The drain timeout or, while the generation is kept, how long.
    pub(in crate::ui) drain: Option<Duration>,
    /// The status that the program reports; empty if it reports none.
    pub(in crate::ui) status: String,
    /// The addresses that the program itself opened.
    pub(in crate::ui) addresses: Vec<String>,
    /// The number of open connections, if known.
    pub(in crate::ui) connections: Option<usize>,
    /// Whether the generation failed or was superseded, and only its processes are left.
    pub(in crate::ui) failed: bool,
    /// Whether the generation is being killed.
    pub(in crate::ui) killed: bool,
}

/// A build in progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ui) struct BuildProgress {
    pub(in crate::ui) id: GenId,
    /// When the build began, on the user interface's clock.
    pub(in crate::ui) since: Duration,
    /// How many crates cargo has compiled, and how many there are.
    pub(in crate::ui) progress: Option<(usize, usize)>,
    /// Whether the build is waiting for another cargo.
    pub(in crate::ui) blocked: bool,
}

/// Why a generation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ui) struct Problem {
    pub(in crate::ui) id: GenId,
    pub(in crate::ui) failure: GenFailure,
}

/// The result of the newest generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::ui) struct LastResult {
    /// How long the build took, if there was one.
    pub(in crate::ui) built: Option<Duration>,
    /// How long the program took to become ready.
    pub(in crate::ui) ready: Option<Duration>,
    /// How many warnings the build printed.
    pub(in crate::ui) warnings: usize,
    /// Whether the build produced the binary that a running generation was started from.
    pub(in crate::ui) unchanged: bool,
    /// Whether the user has cancelled the reload.
    pub(in crate::ui) undone: bool,
    /// Whether the user has gone back to the kept generation.
    pub(in crate::ui) restored: bool,
}

/// A build's output. If there is too much output, only the last lines are kept, because the error that makes a build
/// fail comes after the warnings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::ui) struct BuildLog {
    lines: VecDeque<String>,
    dropped: usize,
    /// The first errors as rendered by the compiler.
    errors: Vec<String>,
    /// The total number of errors.
    pub(in crate::ui) error_count: usize,
}

impl BuildLog {
    const MAX_LINES: usize = 10_000;
    /// How many errors are kept; the others are only counted. Users seldom read more than the first few.
    pub(in crate::ui) const MAX_ERRORS: usize = 16;

    /// Appends one or more lines.
    pub(in crate::ui) fn add(&mut self, text: &str) {
        for line in text.trim_end_matches('\n').split('\n') {
            self.lines.push_back(shortened(line).to_owned());
            if self.lines.len() > Self::MAX_LINES {
                self.lines.pop_front();
                self.dropped += 1;
            }
        }
    }

    /// Appends a message of the compiler.
    pub(in crate::ui) fn diagnostic(&mut self, level: Level, rendered: &str) {
        self.add(rendered);
        if level == Level::Error {
            self.error_count += 1;
            if self.errors.len() < Self::MAX_ERRORS {
                self.errors.push(shortened_message(rendered));
            }
        }
    }

    /// At most this many of the first errors or, if there are none, of the last lines.
    pub(in crate::ui) fn errors(&self, errors: usize, lines: usize) -> Vec<String> {
        if self.errors.is_empty() {
            let lines: Vec<String> = self.last_lines(lines).collect();
            return vec![lines.join("\n")];
        }
        self.errors.iter().take(errors).cloned().collect()
    }

    pub(in crate::ui) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The last lines, preceded by a note if there are earlier ones.
    pub(in crate::ui) fn last_lines(&self, count: usize) -> impl Iterator<Item = String> {
        let before = self.lines.len().saturating_sub(count);
        let note = match self.dropped + before {
            0 => None,
            1 => Some("… 1 earlier line".into()),
            lines => Some(format!("… {lines} earlier lines")),
        };
        note.into_iter()
            .chain(self.lines.iter().skip(before).cloned())
    }
}
