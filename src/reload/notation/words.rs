use crate::reload::{
    Action, BuildOutcome, Cause, Event, GenEffect, GenEvent, Mode, Request, WatchdogMessage,
};

/// Words and what they stand for.
pub(super) type Words<T> = &'static [(&'static str, T)];

/// Events of no generation, without arguments.
pub(super) const BARE: Words<Event> = &[
    ("begin", Event::Begin),
    ("changed", Event::Changed(Action::Build)),
    ("changed-restart", Event::Changed(Action::Restart)),
    ("reload", Event::Requested(Request::Reload)),
    ("pause", Event::Requested(Request::Pause)),
    ("resume", Event::Requested(Request::Resume)),
    ("undo", Event::Requested(Request::Undo)),
    ("kill-draining", Event::Requested(Request::KillDraining)),
    ("quit", Event::Requested(Request::Quit)),
    ("quit-now", Event::Requested(Request::QuitNow)),
    ("tick", Event::Tick),
];

/// Events of a generation, without arguments.
pub(super) const GENERATION: Words<GenEvent> = &[
    ("build-failed", GenEvent::BuildEnded(BuildOutcome::Failed)),
    (
        "build-cancelled",
        GenEvent::BuildEnded(BuildOutcome::Cancelled),
    ),
    ("start-failed", GenEvent::StartFailed),
    ("listening", GenEvent::Listening),
    ("is-server", GenEvent::IsServer),
    ("ready", GenEvent::Ready),
    ("switched", GenEvent::Switched),
    ("switch-failed", GenEvent::SwitchFailed),
    ("quiescent", GenEvent::Quiescent),
    (
        "stop-handled",
        GenEvent::StopSignalChecked { handled: true },
    ),
    (
        "stop-unhandled",
        GenEvent::StopSignalChecked { handled: false },
    ),
    ("idle", GenEvent::Idle),
    ("gone", GenEvent::Gone),
    ("stored-fds", GenEvent::StoredFds),
    ("watchdog-ping", GenEvent::Watchdog(WatchdogMessage::Ping)),
    (
        "watchdog-trigger",
        GenEvent::Watchdog(WatchdogMessage::Trigger),
    ),
];

/// Effects on a generation, without arguments.
pub(super) const BARE_EFFECTS: Words<GenEffect> = &[
    ("build", GenEffect::Build),
    ("cancel-build", GenEffect::CancelBuild),
    ("switch", GenEffect::Switch),
    ("await-quiescent", GenEffect::AwaitQuiescent),
    ("check-stop-signal", GenEffect::CheckStopSignal),
    ("await-idle", GenEffect::AwaitIdle),
    ("forward", GenEffect::Forward),
    ("stop", GenEffect::Stop),
    ("abort", GenEffect::Abort),
    ("kill", GenEffect::Kill),
    ("release", GenEffect::Release),
];

pub(super) const CAUSES: Words<Cause> = &[
    ("begin", Cause::Begin),
    ("change", Cause::Change),
    ("request", Cause::Request),
    ("undo", Cause::Undo),
    ("inherit-fds", Cause::InheritFds),
    ("roll-back", Cause::RollBack),
    ("crash", Cause::Crash),
];

pub(super) const MODES: Words<Mode> = &[
    ("overlap", Mode::Overlap),
    ("stop-first", Mode::StopFirst),
    ("auto", Mode::Auto),
];

pub(super) fn name<T: PartialEq>(words: Words<T>, value: &T) -> &'static str {
    let mut words = words.iter();
    words
        .find(|(_, known)| known == value)
        .map_or("?", |(word, _)| word)
}

pub(super) fn value<T: Copy>(words: Words<T>, name: &str) -> Option<T> {
    let mut words = words.iter();
    words
        .find(|(word, _)| *word == name)
        .map(|(_, value)| *value)
}
