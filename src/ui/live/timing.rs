//! Times as shown in the footer. They are coarse, because each visible change costs a write to the terminal.

use std::time::Duration;

use crate::reload::Phase;
use crate::ui::Model;
use crate::ui::model::Generation;

const TENTH: u128 = 100;
const SECOND: u128 = 1000;
const MINUTE: u128 = 60 * SECOND;
const HOUR: u128 = 60 * MINUTE;

/// An uptime. It changes once a minute, and once an hour after the first day.
pub(super) fn up(age: Duration) -> String {
    let minutes = age.as_secs() / 60;
    match minutes {
        0 => "<1m".into(),
        1..60 => format!("{minutes}m"),
        60..1440 => format!("{}h{:02}m", minutes / 60, minutes % 60),
        _ => format!("{}d{:02}h", minutes / 1440, minutes / 60 % 24),
    }
}

/// The duration of something in progress, at first in tenths of a second.
pub(super) fn running(age: Duration) -> String {
    match age.as_secs() {
        0..10 => format!("{}.{}s", age.as_secs(), age.subsec_millis() / 100),
        seconds @ 10..60 => format!("{seconds}s"),
        seconds => format!("{}m{:02}s", seconds / 60, seconds % 60),
    }
}

/// What is left of a timeout, in whole seconds.
pub(super) fn left(age: Duration, timeout: Duration) -> String {
    let left = timeout.saturating_sub(age);
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    format!("{seconds}s")
}

/// How long until the footer changes through the passage of time alone.
pub(super) fn next_change(model: &Model, now: Duration) -> Option<Duration> {
    let age = |since: &Duration| now.saturating_sub(*since);
    let of = |generation: &Generation| {
        let age = age(&generation.since);
        match generation.phase {
            Phase::Starting | Phase::Ready => Some(until(age, running_step(age))),
            Phase::Live if age.as_millis() >= 24 * HOUR => Some(until(age, HOUR)),
            Phase::Live => Some(until(age, MINUTE)),
            Phase::Draining if generation.killed => None,
            Phase::Draining => Some(counting_down(age, generation.drain?)),
            Phase::Building | Phase::Gone => None,
        }
    };
    let generations = model.generations.values().filter_map(of);
    let building = model.building.iter().map(|building| age(&building.since));
    let building = building.map(|age| until(age, running_step(age)));
    let quitting = model.quitting.iter();
    let quitting = quitting.map(|(since, all)| counting_down(age(since), *all));
    generations.chain(building).chain(quitting).min()
}

fn running_step(age: Duration) -> u128 {
    if age.as_secs() < 10 { TENTH } else { SECOND }
}

/// How long until `age` is the next multiple of `step`, which is in milliseconds.
fn until(age: Duration, step: u128) -> Duration {
    let into = age.as_micros() % (step * 1000);
    Duration::from_micros(u64::try_from(step * 1000 - into).unwrap_or(u64::MAX))
}

/// How long until the seconds left change.
fn counting_down(age: Duration, timeout: Duration) -> Duration {
    match timeout.checked_sub(age) {
        None | Some(Duration::ZERO) => Duration::from_secs(60),
        Some(left) if left.subsec_micros() == 0 => Duration::from_millis(1),
        Some(left) => Duration::from_micros(u64::from(left.subsec_micros())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn times_are_coarse() {
        let texts = [0, 59_999, 60_000, 3_599_999, 7_500_000, 90_000_000].map(|time| up(ms(time)));
        assert_eq!(texts, ["<1m", "<1m", "1m", "59m", "2h05m", "1d01h"]);
        let texts = [0, 1_260, 9_999, 10_000, 75_000].map(|time| running(ms(time)));
        assert_eq!(texts, ["0.0s", "1.2s", "9.9s", "10s", "1m15s"]);
        let texts = [0, 1, 9_999, 10_000, 11_000].map(|time| left(ms(time), ms(10_000)));
        assert_eq!(texts, ["10s", "10s", "1s", "0s", "0s"]);
    }

    #[test]
    fn the_next_change_is_when_the_text_differs() {
        for age in [0, 1, 99, 100, 5_555, 9_999, 10_000, 12_345] {
            let age = ms(age);
            let next = age + until(age, running_step(age));
            assert_eq!(running(age), running(next - Duration::from_micros(1)));
            assert_ne!(running(age), running(next), "{age:?}");
        }
        for age in [0, 1, 999, 1_000, 9_999] {
            let (age, all) = (ms(age), ms(10_000));
            let next = age + counting_down(age, all);
            assert!(left(age, all) != left(next, all) || counting_down(age, all) < ms(2));
        }
    }

    #[test]
    fn an_empty_model_never_changes() {
        assert_eq!(next_change(&Model::default(), ms(5)), None);
    }
}
