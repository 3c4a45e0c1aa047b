//! Durations, read as every option of the command line reads them.

use std::fmt;
use std::time::Duration;

use super::spec::Wrong;

/// As for the other options: longer is a slip (`1M` is a month).
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// `250ms`, `10s`, `1m30s`, `1.5s`. A bare number is refused, since other tools disagree on its unit.
pub(super) fn parse(text: &str) -> Result<Duration, Wrong> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration > LONGEST => Err(("a duration is at most `24h`".to_owned(), None)),
        Ok(duration) => Ok(duration),
        Err(_) => Err((
            "a duration is a number and a unit, as in `250ms`, `10s` or `1m30s`".to_owned(),
            nearest(text),
        )),
    }
}

fn nearest(text: &str) -> Option<String> {
    let text = text.trim().to_lowercase().replace(',', ".");
    let spellings = [
        text.clone(),
        format!("{text}s"),
        text.replace(['_', '-'], ""),
    ];
    spellings.into_iter().find(|spelling| {
        humantime::parse_duration(spelling).is_ok_and(|duration| duration <= LONGEST)
    })
}

/// Shows a duration as one types it, without spaces.
pub(super) struct Shown(pub(super) Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = humantime::format_duration(self.0).to_string();
        f.write_str(&text.replace(' ', ""))
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
            ("1.5s", 1_500_000),
            ("1m30s", 90_000_000),
            ("24h", 86_400_000_000),
            ("0s", 0),
            ("7us", 7),
        ];
        for (text, micros) in expected {
            assert_eq!(parse(text), Ok(Duration::from_micros(micros)), "{text}");
        }
        assert_eq!(Shown(Duration::from_secs(90)).to_string(), "1m30s");
    }

    #[test]
    fn nothing_else() {
        for text in [
            "",
            "5",
            "s",
            "-1s",
            "1e3s",
            "infs",
            "soon",
            "25h",
            "99999999999h",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_read(micros in 0_u64..86_400_000_000) {
            let duration = Duration::from_micros(micros);
            prop_assert_eq!(parse(&Shown(duration).to_string()), Ok(duration));
        }
    }
}
