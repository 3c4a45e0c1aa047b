//! Turns reports into messages for people.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::model::Model;
use super::{Human, Level, Report};
use crate::reload::{Cause, GenFailure, GenId, GenNotice, Notice, Stopped};

/// A message for the log.
#[derive(Debug)]
pub(super) struct LogMessage {
    pub(super) level: Level,
    pub(super) text: String,
    /// Whether the live terminal's footer shows the same information.
    pub(super) in_footer: bool,
}

impl LogMessage {
    /// Prints the message on a live terminal, too, because the footer does not show it.
    fn outside_footer(mut self) -> Self {
        self.in_footer = false;
        self
    }
}

fn message(level: Level, text: impl Into<String>) -> LogMessage {
    LogMessage {
        level,
        text: text.into(),
        in_footer: true,
    }
}

fn detail(text: impl Into<String>) -> LogMessage {
    message(Level::Detail, text)
}

fn info(text: impl Into<String>) -> LogMessage {
    message(Level::Info, text)
}

fn success(text: impl Into<String>) -> LogMessage {
    message(Level::Success, text)
}

fn error(text: impl Into<String>) -> LogMessage {
    message(Level::Error, text)
}

/// The message about a report, if there is one. `model` does not contain the report yet.
pub(super) fn describe(report: &Report, model: &Model) -> Option<LogMessage> {
    Some(match report {
        Report::Notice(Notice::Generation(id, notice)) => describe_generation(*id, *notice, model),
        Report::Notice(Notice::Paused) => info("paused"),
        Report::Notice(Notice::Resumed) => info("resumed"),
        Report::Notice(Notice::NothingToUndo) => info("nothing to undo").outside_footer(),
        Report::Notice(Notice::Waiting) => info("waiting for a change"),
        Report::Notice(Notice::Quitting { timeout }) => {
            info(format!("stopping, for up to {}", Human(*timeout)))
        }
        Report::Watching { directories: 1 } => info("watching 1 directory"),
        Report::Watching { directories } => info(format!("watching {directories} directories")),
        Report::Listening {
            name,
            address,
            by,
            first: true,
        } => match name.as_str() {
            "" => listening(address, *by, model),
            name => info(format!("listening on {address} ({name})")),
        },
        Report::Spawned { id, pid, .. } => detail(format!("gen {id} has pid {pid}")),
        Report::MainProcess { id, pid } => detail(format!("gen {id} has main pid {pid}")),
        Report::Status { id, text } if text.is_empty() => {
            detail(format!("gen {id} cleared its status"))
        }
        Report::Status { id, text } => info(format!("gen {id} status: {text}")),
        Report::Listening { first: false, .. }
        | Report::Changed { .. }
        | Report::Diagnostic { .. }
        | Report::BuildLine { .. }
        | Report::Progress { .. }
        | Report::BuildBlocked { .. }
        | Report::ArtifactKept { .. }
        | Report::Connections { .. }
        | Report::Output { .. }
        | Report::OutputEnded { .. }
        | Report::Message { .. } => return None,
    })
}

/// Names the first few addresses of a program. The others are details.
fn listening(address: &str, by: Option<GenId>, model: &Model) -> LogMessage {
    const MAX_NAMED: usize = 3;
    let generation = by.and_then(|id| model.generations.get(&id));
    match generation.map_or(0, |known| known.addresses.len()) {
        ..MAX_NAMED => info(format!("listening on {address}")),
        MAX_NAMED => info(format!(
            "listening on {address} and more (`-v` shows all addresses)"
        )),
        _ => detail(format!("listening on {address}")),
    }
}

fn describe_generation(id: GenId, notice: GenNotice, model: &Model) -> LogMessage {
    match notice {
        GenNotice::Building { cause } => info(format!("gen {id} building{}", because(cause))),
        GenNotice::BuildCancelled => info(format!("gen {id} build cancelled")),
        GenNotice::Built { took } => info(format!("gen {id} built in {}", Human(took))),
        GenNotice::Unchanged { like } => {
            let state = match model.live() == Some(like) {
                true => "stays live",
                false => "is still starting",
            };
            success(format!(
                "gen {id} skipped: binary unchanged, gen {like} {state}"
            ))
        }
        GenNotice::Outdated => info(format!(
            "gen {id} discarded: sources changed during the build"
        )),
        GenNotice::ReloadSignalSent { signal } => success(format!(
            "gen {id} is reloading its configuration ({})",
            name(signal)
        ))
        .outside_footer(),
        GenNotice::ReloadSignalUnhandled { signal } => {
            let text = format!("gen {id} does not handle {}, restarting it", name(signal));
            info(text).outside_footer()
        }
        GenNotice::Starting { cause } => starting(id, cause, model),
        GenNotice::Ready { took } => detail(format!("gen {id} ready in {}", Human(took))),
        GenNotice::Live { .. } => live(id, model),
        GenNotice::Restored => detail(format!("gen {id} is live again")).outside_footer(),
        GenNotice::Superseded => info(format!("gen {id} superseded by newer sources")),
        GenNotice::Draining { timeout } => {
            info(format!("gen {id} draining, for up to {}", Human(timeout)))
        }
        GenNotice::TimeoutExtended { left } => {
            detail(format!("gen {id} extended its timeout to {}", Human(left)))
        }
        GenNotice::StoredFds => info(format!(
            "gen {id} stores descriptors: \
             from now on each generation stops before the next one starts"
        ))
        .outside_footer(),
        GenNotice::Aborting { after } => aborting(id, after),
        GenNotice::Killing { why, after } => killing(id, why, after),
        GenNotice::Gone { how, took } => gone(id, how, took, model),
        GenNotice::Failed { failure, live } => failed(id, failure, live, model),
        GenNotice::RestartScheduled { after } => {
            info(format!("gen {id} will be restarted in {}", Human(after))).outside_footer()
        }
    }
}

/// The name of a signal, such as `SIGHUP`.
fn name(signal: i32) -> String {
    Signal::try_from(signal).map_or_else(|_| format!("signal {signal}"), |known| known.to_string())
}

fn because(cause: Cause) -> &'static str {
    match cause {
        Cause::Begin => "",
        Cause::Change => " (files changed)",
        Cause::Request => " (requested)",
        Cause::Undo => " (undo)",
        Cause::InheritFds => " (to receive stored descriptors)",
        Cause::RollBack => " (rolling back after a crash)",
        Cause::Crash => " (restarting after a crash)",
    }
}

/// After a build, the start is only a detail. A rollback must not go unnoticed, because the program that is then
/// running does not contain the last saved changes.
fn starting(id: GenId, cause: Cause, model: &Model) -> LogMessage {
    let built = model.generations.contains_key(&id);
    let text = format!("gen {id} starting{}", because(cause));
    LogMessage {
        in_footer: cause != Cause::RollBack,
        ..if built { detail(text) } else { info(text) }
    }
}

/// Leaves out the duration of the switch, which is too short to matter to users.
fn live(id: GenId, model: &Model) -> LogMessage {
    let generation = model.generations.get(&id);
    success(match generation.and_then(|known| known.ready) {
        Some(ready) => format!("gen {id} live, ready in {}", Human(ready)),
        None => format!("gen {id} live"),
    })
}

fn aborting(id: GenId, after: Option<Duration>) -> LogMessage {
    error(match after {
        Some(after) => format!(
            "gen {id} sent no watchdog ping for {}, aborting it",
            Human(after)
        ),
        None => format!("gen {id} reported that it is hung, aborting it"),
    })
    .outside_footer()
}

fn killing(id: GenId, why: Stopped, after: Duration) -> LogMessage {
    match why {
        Stopped::TimedOut => {
            let after = Human(after);
            error(format!("gen {id} still running after {after}, killing it"))
        }
        Stopped::Killed | Stopped::Drained | Stopped::Unfinished { .. } => {
            info(format!("killing gen {id}"))
        }
    }
    .outside_footer()
}

/// Only a detail if the generation's failure has already been reported.
fn gone(id: GenId, how: Stopped, took: Duration, model: &Model) -> LogMessage {
    let took = Human(took);
    let text = match how {
        Stopped::Drained => format!("gen {id} drained in {took}"),
        Stopped::Unfinished { in_use } if in_use.get() == 1 => {
            format!("gen {id} ended after {took}, with 1 connection in use at the last check")
        }
        Stopped::Unfinished { in_use } => format!(
            "gen {id} ended after {took}, with {in_use} connections in use at the last check"
        ),
        Stopped::TimedOut => format!("gen {id} killed at its timeout, after {took}"),
        Stopped::Killed => format!("gen {id} killed after {took}"),
    };
    match model.generations.get(&id) {
        Some(generation) if generation.failed => detail(text),
        Some(_) | None => info(text),
    }
}

fn failed(id: GenId, reason: GenFailure, live: Option<GenId>, model: &Model) -> LogMessage {
    let outcome = match live {
        Some(live) if was_live(id, reason, model) => format!("; gen {live} is live again"),
        Some(live) => format!("; gen {live} still live"),
        None => String::new(),
    };
    LogMessage {
        in_footer: reason == GenFailure::Build,
        ..error(format!("gen {id} {reason}{outcome}"))
    }
}

fn was_live(id: GenId, failure: GenFailure, model: &Model) -> bool {
    match failure {
        GenFailure::Crashed(_) => true,
        GenFailure::Vanished => model.live() == Some(id),
        GenFailure::Build
        | GenFailure::Start
        | GenFailure::ExitedEarly(_)
        | GenFailure::ReadyTimeout
        | GenFailure::Switch => false,
    }
}
