//! How values are written.

use std::time::Duration;

use crate::reload::{Cause, Stopped};
use crate::ui::Level;

/// Milliseconds to the microsecond.
pub(super) fn ms(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

pub(super) fn cause_name(cause: Cause) -> &'static str {
    match cause {
        Cause::Begin => "begin",
        Cause::Change => "change",
        Cause::Request => "request",
        Cause::Undo => "undo",
        Cause::InheritFds => "inherit",
        Cause::RollBack => "go_back",
        Cause::Crash => "crash",
    }
}

pub(super) fn stopped_name(stopped: Stopped) -> &'static str {
    match stopped {
        Stopped::Drained => "drained",
        Stopped::TimedOut => "timed_out",
        Stopped::Killed => "killed",
    }
}

pub(super) fn level_name(level: Level) -> &'static str {
    match level {
        Level::Detail => "detail",
        Level::Info => "info",
        Level::Warning => "warning",
        Level::Error => "error",
    }
}
