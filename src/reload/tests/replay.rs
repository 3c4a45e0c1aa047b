//! Replays a log written by `--log FILE`. The end-to-end tests include this file as well.

use std::fmt::Debug;
use std::str::{FromStr, SplitWhitespace};
use std::time::Duration;

use super::reload::{
    Action, ArtifactId, BuildOutcome, Ended, Event, Fresh, GenEvent, GenId, Instances, Mode,
    Policy, Reaction, Request, Time, WatchdogMessage, WhenBusy, notation,
};

/// Feeds the events of a log to the machines of the instances, with the policy in the log's first line, and compares the
/// reactions.
///
/// # Errors
/// The first line that cannot be read, or whose reaction differs.
pub(crate) fn replay(log: &str) -> Result<(), String> {
    let lines = log.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut lines = lines.peekable();
    let policy = policy(lines.next().unwrap_or_default())?;
    let several = lines.next_if(|line| line.starts_with("instances "));
    let count = several.and_then(|line| line.strip_prefix("instances "));
    let mut machines = Instances::new(policy, count.map_or(Ok(1), read)?);
    lines.try_for_each(|line| {
        let expected = line
            .split_once("->")
            .map_or("", |(_, reaction)| reaction.trim());
        let found = step(line, |now, event| machines.handle(now, event))?;
        match expected == found {
            true => Ok(()),
            false => Err(format!("{line}\nexpected: {expected}\nfound:    {found}")),
        }
    })
}

/// Has the event of a line handled, and returns the text of the reaction.
pub(crate) fn step(
    line: &str,
    handle: impl FnOnce(Time, Event) -> Reaction,
) -> Result<String, String> {
    let no_event = || format!("`{line}` is not `time event -> reaction`");
    let (event, _) = line.split_once("->").ok_or_else(no_event)?;
    let (time, event) = event.trim().split_once(' ').ok_or_else(no_event)?;
    let now = Time(duration(time)?);
    let reaction = handle(now, self::event(event)?);
    Ok(notation::reaction_text(&reaction))
}

/// Reads the policy in the first line of a log.
fn policy(line: &str) -> Result<Policy, String> {
    let fields = line.strip_prefix("Policy { ");
    let fields = fields.and_then(|line| line.strip_suffix(" }"));
    let mut policy = Policy::default();
    for field in fields
        .ok_or(format!("the first line is not a policy: `{line}`"))?
        .split(", ")
    {
        let (name, value) = field.split_once(": ").unwrap_or((field, ""));
        match name {
            "builds" => policy.builds = read(value)?,
            "passes_sockets" => policy.passes_sockets = read(value)?,
            "mode" => policy.mode = variant(value, &[Mode::Overlap, Mode::StopFirst, Mode::Auto])?,
            "when_busy" => policy.when_busy = variant(value, &[WhenBusy::Cancel, WhenBusy::Queue])?,
            "fresh" => policy.fresh = variant(value, &[Fresh::Off, Fresh::Wait, Fresh::Strict])?,
            "share" => policy.share = value.parse().unwrap_or_default(),
            "share_check" => policy.share_check = read(value)?,
            "share_every" => policy.share_every = optional(value)?,
            "watchdog" => policy.watchdog = optional(value)?,
            "ready_timeout" => policy.ready_timeout = duration(value)?,
            "stop_timeout" => policy.stop_timeout = duration(value)?,
            "stop_delay_max" => policy.stop_delay_max = duration(value)?,
            "rollback_within" => policy.rollback_within = duration(value)?,
            "keep" => policy.keep = duration(value)?,
            "kill_timeout" => policy.kill_timeout = duration(value)?,
            name => return Err(format!("unknown policy field: `{name}`")),
        }
    }
    Ok(policy)
}

/// Reads an event such as `exited 3 code 1 survivors`.
pub(crate) fn event(text: &str) -> Result<Event, String> {
    let mut words = text.split_whitespace();
    let event = match words.next().unwrap_or_default() {
        "begin" => Event::Begin,
        "change-seen" => Event::ChangeSeen,
        "changes-settled" => Event::ChangesSettled,
        "tick" => Event::Tick,
        "changed" => Event::Changed(variant(
            next(&mut words),
            &[Action::Build, Action::Restart],
        )?),
        "config-changed" => Event::ConfigChanged {
            signal: read(next(&mut words))?,
        },
        "memory-measured" => Event::MemoryMeasured {
            available: read(next(&mut words))?,
            needed: read(next(&mut words))?,
        },
        "requested" => Event::Requested(variant(next(&mut words), &REQUESTS)?),
        word => {
            let id = GenId(read(next(&mut words))?);
            Event::Generation(id, generation(word, &mut words)?)
        }
    };
    match words.next() {
        None => Ok(event),
        Some(word) => Err(format!("unexpected `{word}` in `{text}`")),
    }
}

const REQUESTS: [Request; 10] = [
    Request::Reload,
    Request::Pause,
    Request::Resume,
    Request::Undo,
    Request::ShareMore,
    Request::ShareLess,
    Request::ShareAll,
    Request::KillDraining,
    Request::Quit,
    Request::QuitNow,
];

/// The generation events without fields.
const BARE: [GenEvent; 14] = [
    GenEvent::ReportsWrites,
    GenEvent::StartFailed,
    GenEvent::Listening,
    GenEvent::IsServer,
    GenEvent::ListensOnPath,
    GenEvent::Ready,
    GenEvent::WarmUpFailed,
    GenEvent::Switched,
    GenEvent::SwitchFailed,
    GenEvent::ShareFailed,
    GenEvent::Quiescent,
    GenEvent::HandlesStopSignal,
    GenEvent::Idle,
    GenEvent::StoredFds,
];

fn generation(word: &str, words: &mut SplitWhitespace<'_>) -> Result<GenEvent, String> {
    Ok(match word {
        "build-ended" => GenEvent::BuildEnded(match next(words) {
            "built" => BuildOutcome::Built {
                artifact: ArtifactId(read(next(words).trim_start_matches('a'))?),
                kept: words.next() == Some("kept"),
            },
            "unchanged" => BuildOutcome::Unchanged {
                like: GenId(read(next(words))?),
            },
            word => variant(word, &[BuildOutcome::Failed, BuildOutcome::Cancelled])?,
        }),
        "gone" => GenEvent::Gone {
            in_use: words.next().map(|_| read(next(words))).transpose()?,
        },
        "exited" => GenEvent::Exited {
            ended: match next(words) {
                "signal" => Ended::Signal(read(next(words))?),
                _ => Ended::Code(read(next(words))?),
            },
            survivors: words.next() == Some("survivors"),
        },
        "lacks-addresses" => GenEvent::LacksAddresses {
            otherwise_ready: words.next() == Some("otherwise-ready"),
        },
        "extend-timeout" => GenEvent::ExtendTimeout {
            by: duration(next(words))?,
        },
        "watchdog" => GenEvent::Watchdog(match next(words) {
            "period" => WatchdogMessage::Period(duration(next(words))?),
            word => variant(word, &[WatchdogMessage::Ping, WatchdogMessage::Trigger])?,
        }),
        "share-checked" => GenEvent::ShareChecked {
            passed: words.next() == Some("passed"),
        },
        "liveness" => GenEvent::Liveness {
            alive: words.next() == Some("alive"),
        },
        "reload-signal-sent" => GenEvent::ReloadSignalSent {
            signal: read(next(words))?,
            handled: words.next() == Some("handled"),
        },
        word => variant(word, &BARE)?,
    })
}

fn next<'a>(words: &mut SplitWhitespace<'a>) -> &'a str {
    words.next().unwrap_or_default()
}

/// Finds the value with this name.
fn variant<T: Debug + Copy>(name: &str, values: &[T]) -> Result<T, String> {
    let mut values = values.iter();
    let found = values.find(|value| format!("{value:?}") == name || notation::text(*value) == name);
    found.copied().ok_or(format!("unknown word: `{name}`"))
}

fn read<T: FromStr>(word: &str) -> Result<T, String> {
    let not_read = |_| format!("not a number: `{word}`");
    word.parse().map_err(not_read)
}

fn optional(value: &str) -> Result<Option<Duration>, String> {
    let value = value.strip_prefix("Some(");
    let value = value.and_then(|value| value.strip_suffix(')'));
    value.map(duration).transpose()
}

/// Reads a duration as `Debug` writes it. A number without a unit is in milliseconds.
fn duration(word: &str) -> Result<Duration, String> {
    let unit = word.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
    let digits = match unit {
        "s" => 9,
        "ms" | "" => 6,
        "µs" => 3,
        "ns" => 0,
        unit => return Err(format!("unknown unit: `{unit}`")),
    };
    let number = word.trim_end_matches(unit);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    Ok(Duration::from_nanos(read(&format!(
        "{whole}{part:0<digits$}"
    ))?))
}
