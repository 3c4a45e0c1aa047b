//! Events, effects and notices as text: one line for each event, in the traces of the tests and in `--log FILE`.
//!
//! ```text
//! milliseconds  event  ->  effects | notices
//! 12.5 begin -> build 1 | building 1 begin
//! ```
//!
//! Lines that begin with `#` are comments. The numbers after a word are a generation and, with an `a` before it, an
//! artifact. [`replay`] feeds such lines to a machine and compares what comes of them.

mod parse;
mod words;

use std::fmt::Write as _;
use std::time::Duration;

use self::words::{BARE, BARE_EFFECTS, CAUSES, GENERATION, MODES, name};
use super::{
    BuildOutcome, Effect, Ended, Event, GenEffect, GenEvent, GenNotice, Machine, Notice, Policy,
    Response, Stopped, Time, WatchdogMessage, WhenBusy,
};

pub use parse::{event, policy as parse_policy};

/// The line of an event that happened at `now`, and of the machine's response.
pub fn line(now: Time, event: &Event, response: &Response) -> String {
    let now = millis(now.since_start());
    format!("{now} {} -> {}", event_text(event), response_text(response))
}

/// The first line of a log: the policy, which decides what follows from the events.
pub fn policy_line(policy: &Policy) -> String {
    let on = |on| if on { "yes" } else { "no" };
    let busy = match policy.when_busy {
        WhenBusy::Cancel => "cancel",
        WhenBusy::Queue => "queue",
    };
    let times = [
        ("ready-timeout", Some(policy.ready_timeout)),
        ("stop-timeout", Some(policy.stop_timeout)),
        ("stop-delay-min", Some(policy.stop_delay_min)),
        ("stop-delay-max", Some(policy.stop_delay_max)),
        ("watchdog", policy.watchdog),
        ("roll-back-within", Some(policy.roll_back_within)),
        ("kill-timeout", Some(policy.kill_timeout)),
    ];
    let mut text = format!(
        "policy builds={} mode={} passes-sockets={} when-busy={busy}",
        on(policy.builds),
        name(MODES, &policy.mode),
        on(policy.passes_sockets),
    );
    for (name, time) in times {
        let time = time.map_or("none".into(), ms);
        let _ = write!(text, " {name}={time}");
    }
    text
}

/// Feeds the events of a log to a machine with the policy of its first line, and compares the effects and notices.
///
/// # Errors
/// The first line that cannot be read, or whose response is another one.
pub fn replay(log: &str) -> Result<(), String> {
    let mut lines = log.lines().map(str::trim);
    let mut lines = lines
        .by_ref()
        .filter(|it| !it.is_empty() && !it.starts_with('#'));
    let first = lines.next().unwrap_or_default();
    let mut machine = Machine::new(parse_policy(first)?);
    lines.try_for_each(|line| step(&mut machine, line))
}

/// Feeds one line to a machine.
///
/// # Errors
/// The line cannot be read, or its response is another one.
pub fn step(machine: &mut Machine, line: &str) -> Result<(), String> {
    let (told, expected) = line
        .split_once("->")
        .ok_or(format!("no arrow in `{line}`"))?;
    let (time, told) = told
        .trim()
        .split_once(' ')
        .ok_or(format!("no time in `{line}`"))?;
    let now = Time::after_start(parse::duration(time)?);
    let response = machine.handle(now, event(told)?);
    let (expected, found) = (expected.trim(), response_text(&response));
    match expected == found {
        true => Ok(()),
        false => Err(format!(
            "{time} {}\nexpected: {expected}\nfound:    {found}",
            told.trim()
        )),
    }
}

fn event_text(event: &Event) -> String {
    match event {
        Event::ConfigChanged { signal } => format!("config-changed {signal}"),
        Event::Generation(id, event) => {
            let (word, rest) = generation_event(event);
            format!("{word} {id}{rest}")
        }
        Event::Begin | Event::Changed(_) | Event::Requested(_) | Event::Tick => {
            name(BARE, event).into()
        }
    }
}

/// The word before the generation's number, and what follows the number.
fn generation_event(event: &GenEvent) -> (&'static str, String) {
    match event {
        GenEvent::BuildEnded(outcome) => match outcome {
            BuildOutcome::Built { artifact, kept } => {
                let kept = if *kept { " kept" } else { "" };
                ("built", format!(" {artifact}{kept}"))
            }
            BuildOutcome::Unchanged { like } => ("unchanged", format!(" {like}")),
            BuildOutcome::Failed | BuildOutcome::Cancelled => {
                (name(GENERATION, event), String::new())
            }
        },
        GenEvent::Exited { ended, survivors } => {
            let survivors = if *survivors { " survivors" } else { "" };
            let ended = match ended {
                Ended::Code(code) => code.to_string(),
                Ended::Signal(number) => format!("signal-{number}"),
            };
            ("exited", format!(" {ended}{survivors}"))
        }
        GenEvent::ExtendTimeout { by } => ("extend-timeout", format!(" {}", ms(*by))),
        GenEvent::Watchdog(WatchdogMessage::Period(period)) => {
            ("watchdog-period", format!(" {}", ms(*period)))
        }
        GenEvent::ReloadSignalSent { signal, handled } => match handled {
            true => ("reload-signal-sent", format!(" {signal}")),
            false => ("reload-signal-unhandled", format!(" {signal}")),
        },
        GenEvent::StartFailed
        | GenEvent::Listening
        | GenEvent::IsServer
        | GenEvent::Ready
        | GenEvent::Switched
        | GenEvent::SwitchFailed
        | GenEvent::Quiescent
        | GenEvent::StopSignalChecked { .. }
        | GenEvent::Idle
        | GenEvent::Gone
        | GenEvent::StoredFds
        | GenEvent::Watchdog(WatchdogMessage::Ping | WatchdogMessage::Trigger) => {
            (name(GENERATION, event), String::new())
        }
    }
}

/// `effect, effect | notice, notice`, or `nothing`.
pub fn response_text(response: &Response) -> String {
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
        Effect::Hold => "hold".into(),
        Effect::RespondUnavailable { id, .. } => format!("respond-unavailable {id}"),
        Effect::StopResponding => "stop-responding".into(),
        Effect::Finish { clean: true } => "finish clean".into(),
        Effect::Finish { clean: false } => "finish unclean".into(),
        Effect::Generation(id, effect) => match effect {
            GenEffect::Start { artifact } => format!("start {id} {artifact}"),
            GenEffect::SendReloadSignal { signal } => format!("reload-signal {id} {signal}"),
            GenEffect::Build
            | GenEffect::CancelBuild
            | GenEffect::Switch
            | GenEffect::AwaitQuiescent
            | GenEffect::CheckStopSignal
            | GenEffect::AwaitIdle
            | GenEffect::Forward
            | GenEffect::Stop
            | GenEffect::Abort
            | GenEffect::Kill
            | GenEffect::Release => format!("{} {id}", name(BARE_EFFECTS, effect)),
        },
    }
}

fn notice(notice: &Notice) -> String {
    match notice {
        Notice::Paused => "paused".into(),
        Notice::Resumed => "resumed".into(),
        Notice::NothingToUndo => "nothing-to-undo".into(),
        Notice::Waiting => "waiting".into(),
        Notice::Quitting { timeout } => format!("quitting {}", ms(*timeout)),
        Notice::Generation(id, notice) => {
            let (word, rest) = generation_notice(notice);
            format!("{word} {id}{rest}")
        }
    }
}

fn generation_notice(notice: &GenNotice) -> (&'static str, String) {
    let time = |time: &Duration| format!(" {}", ms(*time));
    match notice {
        GenNotice::Building { cause } => ("building", format!(" {}", name(CAUSES, cause))),
        GenNotice::BuildCancelled => ("build-cancelled", String::new()),
        GenNotice::Built { took } => ("built", time(took)),
        GenNotice::Unchanged { like } => ("unchanged", format!(" {like}")),
        GenNotice::Outdated => ("outdated", String::new()),
        GenNotice::ReloadSignalSent { signal } => ("reload-signal-sent", format!(" {signal}")),
        GenNotice::ReloadSignalUnhandled { signal } => {
            ("reload-signal-unhandled", format!(" {signal}"))
        }
        GenNotice::Starting { cause } => ("starting", format!(" {}", name(CAUSES, cause))),
        GenNotice::Ready { took } => ("ready", time(took)),
        GenNotice::Live { took } => ("live", time(took)),
        GenNotice::Draining { timeout } => ("draining", time(timeout)),
        GenNotice::Killing { why, .. } => ("killing", format!(" {}", stopped(*why))),
        GenNotice::Superseded => ("superseded", String::new()),
        GenNotice::TimeoutExtended { left } => ("timeout-extended", time(left)),
        GenNotice::StoredFds => ("stored-fds", String::new()),
        GenNotice::Aborting { after } => ("aborting", after.as_ref().map(time).unwrap_or_default()),
        GenNotice::Gone { how, took } => ("gone", format!(" {}{}", stopped(*how), time(took))),
        GenNotice::Failed { failure, live } => match live {
            Some(live) => ("failed", format!(" ({failure}; {live} stays live)")),
            None => ("failed", format!(" ({failure})")),
        },
        GenNotice::Restored => ("restored", String::new()),
        GenNotice::RestartScheduled { after } => ("restart-scheduled", time(after)),
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
    format!("{}ms", millis(time))
}

/// Milliseconds without rounding.
fn millis(time: Duration) -> String {
    let nanos = time.subsec_nanos() % 1_000_000;
    match nanos {
        0 => time.as_millis().to_string(),
        _ => format!("{}.{nanos:06}", time.as_millis())
            .trim_end_matches('0')
            .into(),
    }
}
