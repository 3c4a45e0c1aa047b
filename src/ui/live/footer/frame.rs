use std::time::Duration;

use crate::os::terminal::Size;
use crate::ui::model::Generation;
use crate::ui::{Model, Options};

/// Everything that the footer depends on.
pub(in crate::ui::live) struct Frame<'a> {
    pub(in crate::ui::live) model: &'a Model,
    pub(in crate::ui::live) options: &'a Options,
    pub(in crate::ui::live) size: Size,
    /// The time on the user interface's clock.
    pub(in crate::ui::live) now: Duration,
    /// Whether the key help is shown.
    pub(in crate::ui::live) help: bool,
}

impl Frame<'_> {
    pub(super) fn columns(&self) -> usize {
        usize::from(self.size.columns)
    }

    /// How long the generation has been in its phase.
    pub(super) fn age(&self, generation: &Generation) -> Duration {
        self.now.saturating_sub(generation.since)
    }
}
