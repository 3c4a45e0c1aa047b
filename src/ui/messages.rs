use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Human, Model};
use crate::reload::{Cause, Failure, GenId, GenNotice, Notice, Stopped};

/// How much a sentence matters, and so at which verbosity and in which colour it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Importance {
    /// With `-v` only.
    Detail,
    /// Normally.
    Normal,
    /// Normally, as what one waits for.
    Success,
    /// Always.
    Failure,
}

/// A notice in words. `model` is what was known before it.
pub(super) fn sentence(notice: &Notice, model: &Model) -> (Importance, String) {
    match notice {
        Notice::Generation(id, GenNotice::Building { cause }) => (
            Importance::Normal,
            format!("gen {id} building{}", because(*cause)),
        ),
        Notice::Generation(id, GenNotice::BuildCancelled) => {
            (Importance::Normal, format!("gen {id} build cancelled"))
        }
        Notice::Generation(id, GenNotice::Built { took }) => (
            Importance::Normal,
            format!("gen {id} built in {}", Human(*took)),
        ),
        Notice::Generation(id, GenNotice::Unchanged { like }) => (
            Importance::Success,
            format!("gen {id} not needed: executable unchanged, gen {like} stays"),
        ),
        Notice::Generation(id, GenNotice::ReloadSignalSent { signal }) => (
            Importance::Success,
            format!("gen {id} reads its configuration again ({})", name(*signal)),
        ),
        Notice::Generation(id, GenNotice::ReloadSignalUnhandled { signal }) => (
            Importance::Normal,
            format!(
                "gen {id} does not handle {} and is restarted",
                name(*signal)
            ),
        ),
        Notice::Generation(id, GenNotice::Outdated) => (
            Importance::Normal,
            format!("gen {id} outdated: something changed meanwhile"),
        ),
        Notice::Generation(id, GenNotice::Starting { cause }) => starting(*id, *cause, model),
        Notice::Generation(id, GenNotice::Ready { took }) => (
            Importance::Detail,
            format!("gen {id} ready in {}", Human(*took)),
        ),
        Notice::Generation(id, GenNotice::Live { .. }) => (Importance::Success, live(*id, model)),
        Notice::Generation(id, GenNotice::Superseded) => (
            Importance::Normal,
            format!("gen {id} superseded by newer sources"),
        ),
        Notice::Generation(id, GenNotice::Draining { timeout }) => (
            Importance::Normal,
            format!("gen {id} draining, for at most {}", Human(*timeout)),
        ),
        Notice::Generation(id, GenNotice::TimeoutExtended { left }) => (
            Importance::Detail,
            format!("gen {id} asks for {} more", Human(*left)),
        ),
        Notice::Generation(id, GenNotice::StoredFds) => (
            Importance::Normal,
            format!(
                "gen {id} stores descriptors for the next: from now on the old one ends before the new one starts"
            ),
        ),
        Notice::Generation(id, GenNotice::Aborting { after }) => {
            (Importance::Failure, aborting(*id, *after))
        }
        Notice::Generation(id, GenNotice::Restored) => {
            (Importance::Detail, format!("gen {id} serves again"))
        }
        Notice::Generation(id, GenNotice::RestartScheduled { after }) => (
            Importance::Normal,
            format!("gen {id} is started once more in {}", Human(*after)),
        ),
        Notice::Generation(id, GenNotice::Killing { why, after }) => {
            killing(*id, *why, Human(*after))
        }
        Notice::Generation(id, GenNotice::Gone { how, took }) => (
            gone(*id, model),
            format!("gen {id} gone, {} {}", ended(*how), Human(*took)),
        ),
        Notice::Generation(id, GenNotice::Failed { failure, live }) => {
            (Importance::Failure, failed(*id, *failure, *live, model))
        }
        Notice::Paused => (Importance::Normal, "paused: changes wait".to_owned()),
        Notice::Resumed => (Importance::Normal, "changes are acted on again".to_owned()),
        Notice::NothingToUndo => (
            Importance::Normal,
            "there is nothing to go back to now".to_owned(),
        ),
        Notice::Waiting => (Importance::Normal, "waiting for a change".to_owned()),
        Notice::Quitting { timeout } => (
            Importance::Normal,
            format!("stopping, for at most {}", Human(*timeout)),
        ),
    }
}

/// As people write it: `SIGHUP`.
fn name(signal: i32) -> String {
    Signal::try_from(signal).map_or_else(|_| format!("signal {signal}"), |known| known.to_string())
}

/// Of a failure it was told already.
fn gone(id: GenId, model: &Model) -> Importance {
    match model.generations.get(&id) {
        Some(generation) if generation.failed => Importance::Detail,
        Some(_) | None => Importance::Normal,
    }
}

fn because(cause: Cause) -> &'static str {
    match cause {
        Cause::Begin => "",
        Cause::Change => " (files changed)",
        Cause::Request => " (as asked)",
        Cause::Undo => " (back to the previous build)",
        Cause::InheritFds => " (to get what was stored)",
        Cause::RollBack => " (back to the build before the one that crashed)",
        Cause::Crash => " (once more, after the crash)",
    }
}

/// After a build the start goes without saying.
fn starting(id: GenId, cause: Cause, model: &Model) -> (Importance, String) {
    let built = model.generations.contains_key(&id);
    let importance = if built {
        Importance::Detail
    } else {
        Importance::Normal
    };
    (importance, format!("gen {id} starting{}", because(cause)))
}

/// How long the switch itself took is for machines: to a person it is at once.
fn live(id: GenId, model: &Model) -> String {
    let known = model.generations.get(&id);
    match known.and_then(|generation| generation.ready) {
        Some(ready) => format!("gen {id} live, ready in {}", Human(ready)),
        None => format!("gen {id} live"),
    }
}

fn killing(id: GenId, why: Stopped, after: Human) -> (Importance, String) {
    match why {
        Stopped::TimedOut => (
            Importance::Failure,
            format!("gen {id} still runs after {after} and is killed"),
        ),
        Stopped::Killed | Stopped::Drained => (Importance::Normal, format!("gen {id} is killed")),
    }
}

fn aborting(id: GenId, after: Option<Duration>) -> String {
    match after {
        Some(after) => format!(
            "gen {id} gave no sign of life for {} and is aborted",
            Human(after)
        ),
        None => format!("gen {id} says that it hangs and is aborted"),
    }
}

fn ended(how: Stopped) -> &'static str {
    match how {
        Stopped::Drained => "drained in",
        Stopped::TimedOut => "ended at the timeout, after",
        Stopped::Killed => "killed after",
    }
}

fn failed(id: GenId, failure: Failure, live: Option<GenId>, model: &Model) -> String {
    match live {
        // The live one itself has ended: another one takes its place again.
        Some(live) if was_live(id, failure, model) => {
            format!("gen {id} failed: {failure}; gen {live}, which had not ended yet, serves again")
        }
        Some(live) => format!("gen {id} failed: {failure}; gen {live} stays live"),
        None => format!("gen {id} failed: {failure}"),
    }
}

fn was_live(id: GenId, failure: Failure, model: &Model) -> bool {
    match failure {
        Failure::Crashed(_) => true,
        Failure::Vanished => model.live() == Some(id),
        Failure::Build
        | Failure::Start
        | Failure::ExitedEarly(_)
        | Failure::ReadyTimeout
        | Failure::Switch => false,
    }
}
