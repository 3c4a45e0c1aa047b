//! Turns reports into messages for people.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::Level::{self, Detail, Error, Info, Success, Warning};
use super::model::{Model, ShownGeneration};
use super::{Bytes, Human, Report};
use crate::reload::{Cause, GenFailure, GenId, GenNotice, Notice, Phase, Stopped};

const NOTHING_TO_KILL: &str = "nothing to kill: no generation is draining";

/// The message about a report and its level, if there is one. `model` does not contain the report yet.
pub(super) fn describe(report: &Report, model: &Model) -> Option<(Level, String)> {
    Some(match report {
        Report::Notice(Notice::Generation(id, GenNotice::Killing { why, .. }))
            if *why != Stopped::TimedOut =>
        {
            (Info, format!("killing gen {id}"))
        }
        Report::Notice(Notice::Generation(id, notice)) => {
            let (level, text) = describe_generation(*id, *notice, model);
            (level, format!("gen {id} {text}"))
        }
        Report::Notice(Notice::Paused) => (Info, "paused".into()),
        Report::Notice(Notice::Resumed) => (Info, "resumed".into()),
        Report::Notice(Notice::NothingToUndo) => (Info, nothing_to_undo(model).into()),
        Report::Notice(Notice::Undone { live }) => (Info, format!("undone, gen {live} stays live")),
        Report::Notice(Notice::NothingShared) => (Info, "no generation has a share".into()),
        Report::Notice(Notice::NothingToKill) => (Info, NOTHING_TO_KILL.into()),
        Report::Notice(Notice::Waiting) => (Info, "waiting for a change".into()),
        Report::Notice(Notice::Quitting { timeout }) => {
            (Info, format!("stopping, for up to {}", Human(*timeout)))
        }
        Report::Watching(1) => (Info, "watching 1 directory".into()),
        Report::Watching(directories) => (Info, format!("watching {directories} directories")),
        Report::Listening {
            name,
            address,
            by,
            first: true,
        } => match name.as_str() {
            "" => listening(address, *by, model),
            name => (Info, format!("listening on {address} ({name})")),
        },
        Report::Spawned { id, pid, .. } => (Detail, format!("gen {id} has pid {pid}")),
        Report::Instance(id, number) => (Detail, format!("gen {id} is instance {number}")),
        Report::EarlierBuild(id, build) => {
            (Detail, format!("gen {id} runs the build of gen {build}"))
        }
        Report::MainProcess(id, pid) => (Detail, format!("gen {id} has main pid {pid}")),
        Report::Status(id, text) if text.is_empty() => {
            (Detail, format!("gen {id} cleared its status"))
        }
        Report::Status(id, text) => (Info, format!("gen {id} status: {text}")),
        Report::Source(name, Some(why)) => {
            let text = format!("source `{name}` is down: {why}; hotrun goes on trying");
            (Warning, text)
        }
        Report::Source(name, None) => (Info, format!("source `{name}` is up again")),
        Report::Listening { first: false, .. }
        | Report::Changed(..)
        | Report::Diagnostic { .. }
        | Report::BuildLine(..)
        | Report::Progress { .. }
        | Report::BuildBlocked
        | Report::ArtifactKept(..)
        | Report::Connections(..)
        | Report::Output(..)
        | Report::OutputEnded(..)
        | Report::Message { .. } => return None,
    })
}

/// Whether the live terminal's footer shows what the message about a report says. A rollback must not go unnoticed,
/// because the program that is then running does not contain the last saved changes.
pub(super) fn in_footer(report: &Report) -> bool {
    let Report::Notice(Notice::Generation(_, notice)) = report else {
        return !matches!(
            report,
            Report::Notice(Notice::NothingToUndo | Notice::NothingShared | Notice::NothingToKill)
        );
    };
    let outside = matches!(
        notice,
        GenNotice::Aborting { .. }
            | GenNotice::Gone {
                in_use: Some(1..),
                ..
            }
            | GenNotice::Killing { .. }
            | GenNotice::ReloadSignalSent { .. }
            | GenNotice::ReloadSignalUnhandled { .. }
            | GenNotice::NotReplaced
            | GenNotice::RestartScheduled { .. }
            | GenNotice::KeptEnded { .. }
            | GenNotice::MakesRoom { .. }
            | GenNotice::Restored { .. }
            | GenNotice::StoredFds
            | GenNotice::Starting {
                cause: Cause::RollBack
            }
    );
    let failed =
        matches!(notice, GenNotice::Failed { failure, .. } if *failure != GenFailure::Build);
    !outside && !failed
}

/// Names the first few addresses of a program. The others are details.
fn listening(address: &str, by: Option<GenId>, model: &Model) -> (Level, String) {
    const MAX_NAMED: usize = 3;
    let generation = by.and_then(|id| model.generations.get(&id));
    let known = generation.map_or(0, |known| known.addresses.len());
    let more = match known {
        // Whether this is the last one is not known yet.
        MAX_NAMED => " (`-v` shows any further addresses)",
        _ => "",
    };
    let level = if known > MAX_NAMED { Detail } else { Info };
    (level, format!("listening on {address}{more}"))
}

/// The message without the name of the generation.
const NOT_REPLACED: &str =
    "stays live, because hotrun has replaced it in vain: waiting for a change";

fn describe_generation(id: GenId, notice: GenNotice, model: &Model) -> (Level, String) {
    let known = model.generations.get(&id);
    match notice {
        GenNotice::Building { cause } => (Info, format!("building{}", because(cause))),
        GenNotice::BuildCancelled => (Info, "build cancelled".into()),
        GenNotice::Built { took } => (Info, format!("built in {}", Human(took))),
        GenNotice::Unchanged { like } => (Success, unchanged(like, model)),
        GenNotice::Outdated => (Info, "discarded: sources changed during the build".into()),
        GenNotice::ReloadSignalSent { signal } => {
            let text = format!("is reloading its configuration ({})", name(signal));
            (Success, text)
        }
        GenNotice::ReloadSignalUnhandled { signal } => {
            let text = format!("does not handle {}, restarting it", name(signal));
            (Info, text)
        }
        GenNotice::Starting { cause } => {
            // After a build, the start is only a detail.
            let level = if known.is_some() { Detail } else { Info };
            (level, format!("starting{}", because(cause)))
        }
        GenNotice::Ready { took } => (Detail, format!("ready in {}", Human(took))),
        GenNotice::Sharing { percent } => (Success, sharing(percent)),
        // The duration of the switch is left out: it is too short to matter to users.
        GenNotice::Live { .. } => match known.and_then(|known| known.ready) {
            Some(ready) => (Success, format!("live, ready in {}", Human(ready))),
            None => (Success, "live".into()),
        },
        GenNotice::Restored { cause: Cause::Undo } => (Success, "live again (undo)".into()),
        // The message about the crash says so.
        GenNotice::Restored { .. } => (Detail, "is live again".into()),
        GenNotice::Kept { time } => (Info, format!("kept for {}", Human(time))),
        GenNotice::MakesRoom { available, needed } => (Info, makes_room(available, needed)),
        GenNotice::KeptEnded { failure } => (Info, format!("{failure} and is no longer kept")),
        GenNotice::Superseded => (Info, "stopped before it was live".into()),
        GenNotice::Draining { timeout } => {
            (Info, format!("draining, for up to {}", Human(timeout)))
        }
        GenNotice::TimeoutExtended { left } => {
            (Detail, format!("extended its timeout to {}", Human(left)))
        }
        GenNotice::StoredFds => (Info, STORES_FDS.into()),
        GenNotice::Aborting { after } => (Error, aborting(after)),
        GenNotice::Killing { after, .. } => {
            let text = format!("still running after {}, killing it", Human(after));
            (Error, text)
        }
        GenNotice::Gone { how, in_use, took } => {
            // Only a detail if the generation's failure has already been reported.
            let failed = known.is_some_and(|known| known.failed);
            let level = if failed { Detail } else { Info };
            (level, gone(how, in_use, Human(took)))
        }
        GenNotice::Failed { failure, live } => (Error, failed(id, failure, live, model)),
        GenNotice::NotReplaced => (Warning, NOT_REPLACED.into()),
        GenNotice::RestartScheduled { after } => {
            (Info, format!("will be restarted in {}", Human(after)))
        }
    }
}

fn sharing(percent: u8) -> String {
    format!("gets {percent}% of new connections")
}

const STORES_FDS: &str =
    "stores descriptors: from now on each generation stops before the next one starts";

fn makes_room(available: u64, needed: u64) -> String {
    let (available, needed) = (Bytes(available), Bytes(needed));
    format!(
        "makes room: the next generation may need {needed} of memory, but only {available} are available"
    )
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
        Cause::Follow => " (following the first instance)",
        Cause::Unhealthy => " (replacing an unhealthy generation)",
    }
}

fn unchanged(like: GenId, model: &Model) -> String {
    let shares = model
        .generations
        .get(&like)
        .is_some_and(|known| known.share.is_some());
    let state = match (model.live() == Some(like), shares) {
        (true, _) => "stays live",
        (false, true) => "keeps its share",
        (false, false) => "is still starting",
    };
    format!("skipped: binary unchanged, gen {like} {state}")
}

fn nothing_to_undo(model: &Model) -> &'static str {
    let is_next = |(id, known): (&GenId, &ShownGeneration)| match known.phase {
        Phase::Building => model.building.as_ref().is_none_or(|build| build.id != *id),
        Phase::Starting | Phase::Ready | Phase::Sharing => true,
        Phase::Live | Phase::Kept | Phase::Draining | Phase::Gone => false,
    };
    match model.generations.iter().any(is_next) {
        true => "cannot undo while a generation is starting",
        false if model.rolled_back => {
            "nothing to undo: hotrun has already rolled back to the earlier build"
        }
        false => {
            "nothing to undo: no earlier build is kept (hotrun keeps executables that cargo or `--build` has built)"
        }
    }
}

fn aborting(after: Option<Duration>) -> String {
    match after {
        Some(after) => format!("sent no watchdog ping for {}, aborting it", Human(after)),
        None => "reported that it is hung, aborting it".into(),
    }
}

fn gone(how: Stopped, in_use: Option<u32>, took: Human) -> String {
    let cut = in_use
        .filter(|in_use| *in_use > 0)
        .map_or(String::new(), |in_use| {
            let plural = if in_use == 1 { "" } else { "s" };
            format!(", cutting off {in_use} connection{plural} in use")
        });
    match how {
        Stopped::Drained if in_use == Some(0) => format!("drained in {took}"),
        Stopped::Drained => format!("ended after {took}{cut}"),
        Stopped::TimedOut => format!("killed at its timeout, after {took}{cut}"),
        Stopped::Killed => format!("killed after {took}{cut}"),
    }
}

fn failed(id: GenId, reason: GenFailure, live: Option<GenId>, model: &Model) -> String {
    let crashed = matches!(reason, GenFailure::Crashed(_) | GenFailure::Vanished);
    let is = |id, phase| {
        let known = model.generations.get(&id);
        known.is_some_and(|known| known.phase == phase)
    };
    let was_live = crashed
        && !is(id, Phase::Sharing)
        && (reason != GenFailure::Vanished || is(id, Phase::Live));
    match live {
        // Another instance has been live all the time.
        Some(live) if was_live && !is(live, Phase::Live) => {
            format!("{reason}; gen {live} is live again")
        }
        Some(live) => format!("{reason}; gen {live} still live"),
        None => reason.to_string(),
    }
}
