//! Values of options that several modules read: durations, and the error for a value that is not allowed.

use std::fmt;
use std::time::Duration;

/// A day. A longer value is probably a mistake (`1M` is a month), and the limit keeps deadlines far from overflow.
const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

/// Why an option does not accept a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidValue {
    /// What is wrong, or what is allowed.
    pub reason: String,
    /// The nearest value that is allowed.
    pub suggestion: Option<String>,
}

impl InvalidValue {
    /// An error without a suggestion.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            suggestion: None,
        }
    }

    /// Sets the suggestion.
    #[must_use]
    pub fn suggest(mut self, suggestion: impl Into<Option<String>>) -> Self {
        self.suggestion = suggestion.into();
        self
    }
}

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for InvalidValue {}

/// Reads `250ms`, `10s`, `1m30s` or `1.5s`. A number without a unit is refused because other tools disagree on its unit.
///
/// # Errors
///
/// The text is not a duration, or the duration is longer than a day.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidValue> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration > MAX_DURATION => {
            Err(InvalidValue::new("a duration is at most `24h`"))
        }
        Ok(duration) => Ok(duration),
        Err(_) => Err(InvalidValue::new(
            "a duration is a number and a unit, as in `250ms`, `10s` or `1m30s`",
        )
        .suggest(nearest_duration(text))),
    }
}

fn nearest_duration(text: &str) -> Option<String> {
    let text = text.trim().to_lowercase().replace(',', ".");
    let spellings = [
        text.clone(),
        format!("{text}s"),
        text.replace(['_', '-'], ""),
    ];
    spellings.into_iter().find(|spelling| {
        humantime::parse_duration(spelling).is_ok_and(|duration| duration <= MAX_DURATION)
    })
}

/// Writes a duration as a user types it, without spaces.
pub fn format_duration(duration: Duration) -> String {
    humantime::format_duration(duration)
        .to_string()
        .replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        for (text, micros) in [
            ("250ms", 250_000),
            ("1.5s", 1_500_000),
            ("1m30s", 90_000_000),
            ("24h", 86_400_000_000),
            ("0s", 0),
            ("7us", 7),
        ] {
            let expected = Ok(Duration::from_micros(micros));
            assert_eq!(parse_duration(text), expected, "{text}");
        }
        for text in ["", "5", "s", "1e3s", "infs", "soon", "25h", "99999999999h"] {
            parse_duration(text).expect_err(text);
        }
    }

    #[test]
    fn an_invalid_duration_gets_the_nearest_valid_one() {
        let nearest = |text| parse_duration(text).unwrap_err().suggestion;
        assert_eq!(nearest("10"), Some("10s".into()));
        assert_eq!(nearest("10MS"), Some("10ms".into()));
        assert_eq!(nearest("1,5s"), Some("1.5s".into()));
        assert_eq!(nearest("-3s"), Some("3s".into()));
        for text in ["soon", "", "1M"] {
            assert_eq!(nearest(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_formatted_duration_can_be_parsed(micros in 0_u64..86_400_000_000) {
            let duration = Duration::from_micros(micros);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }
}
