//! Durations as people write them.

use std::fmt;
use std::time::Duration;

/// Units and how many microseconds each has, so that whatever is written is a whole number of the last.
const UNITS: [(&str, u64); 5] = [
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// A number, with decimals if need be, and a unit: `250ms`, `1.5s`, `2m`. `None` if it is none, or more
/// than a hundred years.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let at = text.find(|one: char| one.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(at);
    let (_, micros) = UNITS.into_iter().find(|&(name, _)| name == unit)?;
    let digits = number
        .split('.')
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    let number: f64 = number
        .parse()
        .ok()
        .filter(|_| digits && number.matches('.').count() < 2)?;
    let micros = (number * micros as f64).round();
    (micros < 3.2e15).then(|| Duration::from_micros(micros as u64))
}

/// Shows a duration in the greatest unit in which it is a whole number.
pub(super) struct Shown(pub(super) Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        if micros == 0 {
            return f.write_str("0s");
        }
        let whole = UNITS
            .into_iter()
            .find(|&(_, unit)| micros.is_multiple_of(u128::from(unit)));
        let (name, unit) = whole.unwrap_or(("us", 1));
        write!(f, "{}{name}", micros / u128::from(unit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn as_people_write_them() {
        let expected = [
            ("250ms", 250_000),
            ("10s", 10_000_000),
            ("1.5s", 1_500_000),
            ("2m", 120_000_000),
            ("1h", 3_600_000_000),
            ("0s", 0),
            ("7us", 7),
        ];
        for (text, micros) in expected {
            assert_eq!(parse(text), Some(Duration::from_micros(micros)), "{text}");
        }
    }

    #[test]
    fn nothing_else() {
        for text in [
            "",
            "5",
            "s",
            "-1s",
            "+1s",
            "1 s",
            ".5s",
            "1.s",
            "1.2.3s",
            "1e3s",
            "1S",
            "1sec",
            "infs",
            "99999999999h",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_read(micros in 0_u64..1_000_000_000_000) {
            let duration = Duration::from_micros(micros);
            prop_assert_eq!(parse(&Shown(duration).to_string()), Some(duration));
        }
    }
}
