//! Durations as users type them.

use std::fmt;
use std::time::Duration;

/// One day. A longer duration is a mistake (`1M` is a month), and the limit keeps every deadline far from overflow.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// What is allowed, as the rest of a sentence after the value, and the nearest valid spelling.
pub(crate) type Invalid = (String, Option<String>);

/// Parses `250ms`, `10s`, `1m30s` or `1.5s`. A bare number is invalid, because tools disagree about its unit.
///
/// # Errors
/// It is not a duration, or longer than a day.
pub(crate) fn parse(text: &str) -> Result<Duration, Invalid> {
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

/// Displays a duration as one types it, without spaces.
pub(crate) struct Typed(pub(crate) Duration);

impl fmt::Display for Typed {
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
    fn durations_are_parsed() {
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
        assert_eq!(Typed(Duration::from_secs(90)).to_string(), "1m30s");
    }

    #[test]
    fn other_text_is_invalid() {
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

    #[test]
    fn an_invalid_duration_gets_the_nearest_spelling() {
        let nearest = |text| parse(text).unwrap_err().1;
        assert_eq!(nearest("10"), Some("10s".into()));
        assert_eq!(nearest("10MS"), Some("10ms".into()));
        assert_eq!(nearest("1,5s"), Some("1.5s".into()));
        assert_eq!(nearest("soon"), None);
        assert_eq!(nearest(""), None);
        assert_eq!(nearest("-3s"), Some("3s".into()));
        assert_eq!(parse("1M").unwrap_err().0, "a duration is at most `24h`");
    }

    proptest! {
        #[test]
        fn a_displayed_duration_can_be_parsed(micros in 0_u64..86_400_000_000) {
            let duration = Duration::from_micros(micros);
            prop_assert_eq!(parse(&Typed(duration).to_string()), Ok(duration));
        }
    }
}
