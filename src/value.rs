//! Durations as users type them.

use std::time::Duration;

/// One day. A longer value is probably a mistake (`1M` is a month), and the limit keeps deadlines from overflowing.
const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

/// Parses `250ms`, `10s`, `1m30s` or `1.5s`. A number without a unit, other than `0`, is an error, because tools
/// disagree on the default unit.
///
/// # Errors
///
/// The text is not a duration, or the duration is longer than a day.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration > MAX_DURATION => Err("a duration must be at most `24h`".into()),
        Ok(duration) => Ok(duration),
        Err(_) if text.parse::<u32>().is_ok() => Err(format!(
            "a duration needs a unit, as in `{text}ms` or `{text}s`"
        )),
        Err(_) => {
            Err("a duration must have a number and a unit, as in `250ms`, `10s` or `1m30s`".into())
        }
    }
}

/// Formats a duration as a user would type it, without spaces.
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
    fn a_duration_needs_a_number_and_a_unit_and_is_at_most_a_day() {
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

    proptest! {
        #[test]
        fn a_formatted_duration_can_be_parsed(micros in 0_u64..86_400_000_000) {
            let duration = Duration::from_micros(micros);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }
}
