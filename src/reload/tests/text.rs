//! Events, effects and notices as the traces write them.

use std::str::SplitWhitespace;
use std::time::Duration;

use crate::reload::{
    Action, ArtifactId, BuildOutcome, Cause, Effect, Ended, Event, GenEffect, GenEvent, GenId,
    GenNotice, Notice, Request, Response, Stopped, WatchdogMessage,
};

/// Reads an event as in `exited 3 1 survivors`.
pub(super) fn event(text: &str) -> Event {
    let mut words = text.split_whitespace();
    let word = words.next().expect("an event");
    let parsed = plain(word).unwrap_or_else(|| numbered(word, &mut words));
    assert_eq!(words.next(), None, "too many words in `{text}`");
    parsed
}

fn plain(word: &str) -> Option<Event> {
    Some(match word {
        "begin" => Event::Begin,
        "changed" => Event::Changed(Action::Build),
        "changed-restart" => Event::Changed(Action::Restart),
        "configured" => Event::ConfigChanged { signal: 1 },
        "configured-otherwise" => Event::ConfigChanged { signal: 64 },
        "reload" => Event::Requested(Request::Reload),
        "pause" => Event::Requested(Request::Pause),
        "resume" => Event::Requested(Request::Resume),
        "undo" => Event::Requested(Request::Undo),
        "kill-draining" => Event::Requested(Request::KillDraining),
        "quit" => Event::Requested(Request::Quit),
        "quit-now" => Event::Requested(Request::QuitNow),
        "tick" => Event::Tick,
        _ => return None,
    })
}

fn numbered(word: &str, words: &mut SplitWhitespace<'_>) -> Event {
    let number = words.next().expect("a number");
    let id = GenId::new(number.parse().expect("a number"));
    let built = |outcome| Event::Generation(id, GenEvent::BuildEnded(outcome));
    match word {
        "built" => built(BuildOutcome::Built {
            artifact: artifact(words),
            kept: words.next() == Some("kept"),
        }),
        "build-failed" => built(BuildOutcome::Failed),
        "build-cancelled" => built(BuildOutcome::Cancelled),
        "unchanged" => built(BuildOutcome::Unchanged {
            like: GenId::new(like(words)),
        }),
        "signalled" => signalled(id, true),
        "unhandled" => signalled(id, false),
        "start-failed" => Event::Generation(id, GenEvent::StartFailed),
        "listens" => Event::Generation(id, GenEvent::Listening),
        "serves" => Event::Generation(id, GenEvent::IsServer),
        "ready" => Event::Generation(id, GenEvent::Ready),
        "switched" => Event::Generation(id, GenEvent::Switched),
        "switch-failed" => Event::Generation(id, GenEvent::SwitchFailed),
        "settled" => Event::Generation(id, GenEvent::Quiescent),
        "handles-stop" => inspected(id, true),
        "dies-of-stop" => inspected(id, false),
        "idle" => Event::Generation(id, GenEvent::Idle),
        "exited" => exited(id, words),
        "gone" => Event::Generation(id, GenEvent::Gone),
        "extends" => Event::Generation(id, GenEvent::ExtendTimeout { by: millis(words) }),
        "stores" => Event::Generation(id, GenEvent::StoredFds),
        "alive" => watchdog(id, WatchdogMessage::Ping),
        "period" => watchdog(id, WatchdogMessage::Period(millis(words))),
        "trigger" => watchdog(id, WatchdogMessage::Trigger),
        other => panic!("no such event: `{other}`"),
    }
}

const fn inspected(id: GenId, handles_stop: bool) -> Event {
    Event::Generation(
        id,
        GenEvent::StopSignalChecked {
            handled: handles_stop,
        },
    )
}

const fn signalled(id: GenId, handled: bool) -> Event {
    let signal = 1;
    Event::Generation(id, GenEvent::ReloadSignalSent { signal, handled })
}

const fn watchdog(id: GenId, sign: WatchdogMessage) -> Event {
    Event::Generation(id, GenEvent::Watchdog(sign))
}

fn millis(words: &mut SplitWhitespace<'_>) -> Duration {
    Duration::from_millis(like(words).into())
}

fn artifact(words: &mut SplitWhitespace<'_>) -> ArtifactId {
    let word = words.next().and_then(|word| word.strip_prefix('a'));
    ArtifactId::new(
        word.and_then(|word| word.parse().ok())
            .expect("an artifact"),
    )
}

fn like(words: &mut SplitWhitespace<'_>) -> u32 {
    words
        .next()
        .and_then(|word| word.parse().ok())
        .expect("a number")
}

fn exited(id: GenId, words: &mut SplitWhitespace<'_>) -> Event {
    let code = words.next().expect("an exit status");
    let ended = Ended::Code(code.parse().expect("an exit status"));
    let survivors = words.next() == Some("survivors");
    Event::Generation(id, GenEvent::Exited { ended, survivors })
}

/// `effect, effect | notice, notice`, or `nothing`.
pub(super) fn response(response: &Response) -> String {
    let effects: Vec<String> = response.effects.iter().map(effect).collect();
    let notices: Vec<String> = response.notices.iter().map(notice).collect();
    match (effects.is_empty(), notices.is_empty()) {
        (true, true) => "nothing".into(),
        (false, true) => effects.join(", "),
        (true, false) => format!("| {}", notices.join(", ")),
        (false, false) => format!("{} | {}", effects.join(", "), notices.join(", ")),
    }
}

fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Generation(id, GenEffect::Build) => format!("build {id}"),
        Effect::Generation(id, GenEffect::CancelBuild) => format!("cancel {id}"),
        Effect::Generation(id, GenEffect::Start { artifact }) => format!("start {id} {artifact}"),
        Effect::Generation(id, GenEffect::Switch) => format!("switch {id}"),
        Effect::Hold => "hold".into(),
        Effect::RespondUnavailable { id, .. } => format!("answer {id}"),
        Effect::StopResponding => "answer-no-more".into(),
        Effect::Generation(id, GenEffect::SendReloadSignal { signal }) => {
            format!("signal {id} {signal}")
        }
        Effect::Generation(id, GenEffect::AwaitQuiescent) => format!("settle {id}"),
        Effect::Generation(id, GenEffect::CheckStopSignal) => format!("inspect {id}"),
        Effect::Generation(id, GenEffect::AwaitIdle) => format!("await-idle {id}"),
        Effect::Generation(id, GenEffect::Forward) => format!("relay {id}"),
        Effect::Generation(id, GenEffect::Stop) => format!("stop {id}"),
        Effect::Generation(id, GenEffect::Abort) => format!("abort {id}"),
        Effect::Generation(id, GenEffect::Kill) => format!("kill {id}"),
        Effect::Generation(id, GenEffect::Release) => format!("release {id}"),
        Effect::Finish { clean: true } => "finish clean".into(),
        Effect::Finish { clean: false } => "finish unclean".into(),
    }
}

fn notice(notice: &Notice) -> String {
    match notice {
        Notice::Generation(id, GenNotice::Building { cause }) => {
            format!("building {id} {}", cause_of(*cause))
        }
        Notice::Generation(id, GenNotice::BuildCancelled) => format!("cancelled {id}"),
        Notice::Generation(id, GenNotice::Built { took }) => format!("built {id} {}", ms(*took)),
        Notice::Generation(id, GenNotice::Unchanged { like }) => format!("unchanged {id} {like}"),
        Notice::Generation(id, GenNotice::ReloadSignalSent { signal }) => {
            format!("signalled {id} {signal}")
        }
        Notice::Generation(id, GenNotice::ReloadSignalUnhandled { signal }) => {
            format!("unhandled {id} {signal}")
        }
        Notice::Generation(id, GenNotice::Outdated) => format!("outdated {id}"),
        Notice::Generation(id, GenNotice::Starting { cause }) => {
            format!("starting {id} {}", cause_of(*cause))
        }
        Notice::Generation(id, GenNotice::Ready { took }) => format!("ready {id} {}", ms(*took)),
        Notice::Generation(id, GenNotice::Live { took }) => format!("live {id} {}", ms(*took)),
        Notice::Generation(id, GenNotice::Draining { timeout }) => {
            format!("draining {id} {}", ms(*timeout))
        }
        Notice::Generation(id, GenNotice::TimeoutExtended { left }) => {
            format!("extended {id} {}", ms(*left))
        }
        Notice::Generation(id, GenNotice::StoredFds) => format!("stores {id}"),
        Notice::Generation(id, GenNotice::Aborting { after }) => match after {
            Some(after) => format!("aborting {id} {}", ms(*after)),
            None => format!("aborting {id}"),
        },
        Notice::Generation(id, GenNotice::Restored) => format!("restored {id}"),
        Notice::Generation(id, GenNotice::RestartScheduled { after }) => {
            format!("again {id} {}", ms(*after))
        }
        Notice::Generation(id, GenNotice::Killing { why, .. }) => {
            format!("killing {id} {}", stopped(*why))
        }
        Notice::Generation(id, GenNotice::Superseded) => format!("superseded {id}"),
        Notice::Generation(id, GenNotice::Gone { how, took }) => {
            format!("gone {id} {} {}", stopped(*how), ms(*took))
        }
        Notice::Generation(id, GenNotice::Failed { failure, live }) => match live {
            Some(live) => format!("failed {id} ({failure}; {live} serves)"),
            None => format!("failed {id} ({failure})"),
        },
        Notice::Paused => "paused".into(),
        Notice::Resumed => "resumed".into(),
        Notice::NothingToUndo => "nothing-to-undo".into(),
        Notice::Waiting => "waiting".into(),
        Notice::Quitting { timeout } => format!("quitting {}", ms(*timeout)),
    }
}

const fn cause_of(cause: Cause) -> &'static str {
    match cause {
        Cause::Begin => "begin",
        Cause::Change => "change",
        Cause::Request => "request",
        Cause::Undo => "undo",
        Cause::InheritFds => "inherit",
        Cause::RollBack => "go-back",
        Cause::Crash => "crash",
    }
}

const fn stopped(how: Stopped) -> &'static str {
    match how {
        Stopped::Drained => "drained",
        Stopped::TimedOut => "timed-out",
        Stopped::Killed => "killed",
    }
}

fn ms(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}
