use std::str::{FromStr, SplitWhitespace};
use std::time::Duration;

use super::words::{BARE, GENERATION, MODES, value};
use crate::reload::{
    ArtifactId, BuildOutcome, Ended, Event, GenEvent, GenId, Policy, WatchdogMessage, WhenBusy,
};

/// Reads an event as in `exited 3 1 survivors`.
///
/// # Errors
/// What cannot be read.
pub fn event(text: &str) -> Result<Event, String> {
    let mut words = text.split_whitespace();
    let word = words.next().unwrap_or_default();
    let event = match value(BARE, word) {
        Some(event) => event,
        None if word == "config-changed" => Event::ConfigChanged {
            signal: number(&mut words)?,
        },
        None => {
            let id = GenId::new(number(&mut words)?);
            Event::Generation(id, generation(word, &mut words)?)
        }
    };
    match words.next() {
        None => Ok(event),
        Some(word) => Err(format!("unexpected `{word}` in `{text}`")),
    }
}

fn generation(word: &str, words: &mut SplitWhitespace<'_>) -> Result<GenEvent, String> {
    if let Some(event) = value(GENERATION, word) {
        return Ok(event);
    }
    Ok(match word {
        "built" => GenEvent::BuildEnded(BuildOutcome::Built {
            artifact: artifact(words)?,
            kept: words.next() == Some("kept"),
        }),
        "unchanged" => GenEvent::BuildEnded(BuildOutcome::Unchanged {
            like: GenId::new(number(words)?),
        }),
        "exited" => GenEvent::Exited {
            ended: ended(words.next().unwrap_or_default())?,
            survivors: words.next() == Some("survivors"),
        },
        "extend-timeout" => GenEvent::ExtendTimeout {
            by: duration(words.next().unwrap_or_default())?,
        },
        "watchdog-period" => GenEvent::Watchdog(WatchdogMessage::Period(duration(
            words.next().unwrap_or_default(),
        )?)),
        "reload-signal-sent" | "reload-signal-unhandled" => GenEvent::ReloadSignalSent {
            signal: number(words)?,
            handled: word == "reload-signal-sent",
        },
        other => return Err(format!("no such event: `{other}`")),
    })
}

fn ended(word: &str) -> Result<Ended, String> {
    match word.strip_prefix("signal-") {
        Some(signal) => read(signal).map(Ended::Signal),
        None => read(word).map(Ended::Code),
    }
}

fn artifact(words: &mut SplitWhitespace<'_>) -> Result<ArtifactId, String> {
    let word = words.next().unwrap_or_default();
    let number = word
        .strip_prefix('a')
        .ok_or(format!("no artifact: `{word}`"))?;
    read(number).map(ArtifactId::new)
}

fn number<T: FromStr>(words: &mut SplitWhitespace<'_>) -> Result<T, String> {
    read(words.next().unwrap_or_default())
}

fn read<T: FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("no number: `{word}`"))
}

/// Reads milliseconds, with or without the unit.
pub(super) fn duration(word: &str) -> Result<Duration, String> {
    let word = word.strip_suffix("ms").unwrap_or(word);
    let (whole, part) = word.split_once('.').unwrap_or((word, ""));
    let nanos: u32 = read(&format!("{part:0<6}"))?;
    Ok(Duration::from_millis(read(whole)?) + Duration::from_nanos(nanos.into()))
}

/// Reads the policy of the first line of a log.
///
/// # Errors
/// What cannot be read.
pub fn policy(line: &str) -> Result<Policy, String> {
    let line = line
        .strip_prefix("policy ")
        .ok_or(format!("no policy: `{line}`"))?;
    let mut policy = Policy::default();
    for word in line.split_whitespace() {
        let (name, value) = word.split_once('=').ok_or(format!("no value: `{word}`"))?;
        set(&mut policy, name, value)?;
    }
    Ok(policy)
}

fn set(policy: &mut Policy, name: &str, text: &str) -> Result<(), String> {
    let wrong = || format!("`{text}` for `{name}`");
    match name {
        "builds" => policy.builds = text == "yes",
        "passes-sockets" => policy.passes_sockets = text == "yes",
        "mode" => policy.mode = value(MODES, text).ok_or_else(wrong)?,
        "when-busy" if text == "queue" => policy.when_busy = WhenBusy::Queue,
        "when-busy" => policy.when_busy = WhenBusy::Cancel,
        "watchdog" if text == "none" => policy.watchdog = None,
        "watchdog" => policy.watchdog = Some(duration(text)?),
        "ready-timeout" => policy.ready_timeout = duration(text)?,
        "stop-timeout" => policy.stop_timeout = duration(text)?,
        "stop-delay-min" => policy.stop_delay_min = duration(text)?,
        "stop-delay-max" => policy.stop_delay_max = duration(text)?,
        "roll-back-within" => policy.roll_back_within = duration(text)?,
        "kill-timeout" => policy.kill_timeout = duration(text)?,
        other => return Err(format!("no such policy: `{other}`")),
    }
    Ok(())
}
