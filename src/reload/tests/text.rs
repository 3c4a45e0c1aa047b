//! Events, effects and notices as the traces write them.

use std::str::SplitWhitespace;
use std::time::Duration;

use crate::reload::{
    Action, BuildOutcome, Cause, Effect, Ended, Event, GenId, Notice, Request, Response, Sign,
    Stopped,
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
        "configured" => Event::Configured { signal: 1 },
        "configured-otherwise" => Event::Configured { signal: 64 },
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
    let built = |outcome| Event::BuildEnded { id, outcome };
    match word {
        "built" => built(BuildOutcome::Built),
        "build-failed" => built(BuildOutcome::Failed),
        "build-cancelled" => built(BuildOutcome::Cancelled),
        "built-same" => built(BuildOutcome::Same {
            like: GenId::new(like(words)),
        }),
        "signalled" => signalled(id, true),
        "unhandled" => signalled(id, false),
        "kept" => Event::Kept {
            id,
            same: words
                .next()
                .map(|word| GenId::new(word.parse().expect("a number"))),
        },
        "start-failed" => Event::StartFailed { id },
        "listens" => Event::Listens { id },
        "serves" => Event::Serves { id },
        "ready" => Event::Ready { id },
        "switched" => Event::Switched { id },
        "switch-failed" => Event::SwitchFailed { id },
        "settled" => Event::Settled { id },
        "handles-stop" => inspected(id, true),
        "dies-of-stop" => inspected(id, false),
        "idle" => Event::Idle { id },
        "exited" => exited(id, words),
        "gone" => Event::Gone { id },
        "extends" => Event::Extended {
            id,
            by: millis(words),
        },
        "stores" => Event::Stores { id },
        "alive" => watchdog(id, Sign::Alive),
        "period" => watchdog(id, Sign::Period(millis(words))),
        "trigger" => watchdog(id, Sign::Trigger),
        other => panic!("no such event: `{other}`"),
    }
}

const fn inspected(id: GenId, handles_stop: bool) -> Event {
    Event::Inspected { id, handles_stop }
}

const fn signalled(id: GenId, handled: bool) -> Event {
    let signal = 1;
    Event::Signalled {
        id,
        signal,
        handled,
    }
}

const fn watchdog(id: GenId, sign: Sign) -> Event {
    Event::Watchdog { id, sign }
}

fn millis(words: &mut SplitWhitespace<'_>) -> Duration {
    Duration::from_millis(like(words).into())
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
    Event::Exited {
        id,
        ended,
        survivors,
    }
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
        Effect::Build { id } => format!("build {id}"),
        Effect::CancelBuild { id } => format!("cancel {id}"),
        Effect::Start { id } => format!("start {id}"),
        Effect::StartAgain { id, build } => format!("start {id} again-from {build}"),
        Effect::Switch { id } => format!("switch {id}"),
        Effect::Hold => "hold".into(),
        Effect::Answer { id, .. } => format!("answer {id}"),
        Effect::AnswerNoMore => "answer-no-more".into(),
        Effect::Signal { id, signal } => format!("signal {id} {signal}"),
        Effect::Settle { id } => format!("settle {id}"),
        Effect::Inspect { id } => format!("inspect {id}"),
        Effect::AwaitIdle { id } => format!("await-idle {id}"),
        Effect::Relay { id } => format!("relay {id}"),
        Effect::Stop { id } => format!("stop {id}"),
        Effect::Abort { id } => format!("abort {id}"),
        Effect::Kill { id } => format!("kill {id}"),
        Effect::Release { id } => format!("release {id}"),
        Effect::Finish { clean: true } => "finish clean".into(),
        Effect::Finish { clean: false } => "finish unclean".into(),
    }
}

fn notice(notice: &Notice) -> String {
    match notice {
        Notice::Building { id, cause } => format!("building {id} {}", cause_of(*cause)),
        Notice::BuildCancelled { id } => format!("cancelled {id}"),
        Notice::Built { id, took } => format!("built {id} {}", ms(*took)),
        Notice::Unchanged { id, like } => format!("unchanged {id} {like}"),
        Notice::Signalled { id, signal } => format!("signalled {id} {signal}"),
        Notice::Unhandled { id, signal } => format!("unhandled {id} {signal}"),
        Notice::Outdated { id } => format!("outdated {id}"),
        Notice::Starting { id, cause } => format!("starting {id} {}", cause_of(*cause)),
        Notice::Ready { id, took } => format!("ready {id} {}", ms(*took)),
        Notice::Live { id, took } => format!("live {id} {}", ms(*took)),
        Notice::Draining { id, timeout } => format!("draining {id} {}", ms(*timeout)),
        Notice::Extended { id, left } => format!("extended {id} {}", ms(*left)),
        Notice::Stores { id } => format!("stores {id}"),
        Notice::Aborting { id, after } => match after {
            Some(after) => format!("aborting {id} {}", ms(*after)),
            None => format!("aborting {id}"),
        },
        Notice::Restored { id } => format!("restored {id}"),
        Notice::Again { id, after } => format!("again {id} {}", ms(*after)),
        Notice::Killing { id, why, .. } => format!("killing {id} {}", stopped(*why)),
        Notice::Superseded { id } => format!("superseded {id}"),
        Notice::Gone { id, how, took } => format!("gone {id} {} {}", stopped(*how), ms(*took)),
        Notice::Failed { id, failure, live } => match live {
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
        Cause::Inherit => "inherit",
        Cause::GoBack => "go-back",
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
