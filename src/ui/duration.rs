use std::fmt;
use std::time::Duration;

/// Displays a duration as `240µs`, `31ms`, `1.04s`, `3m12s` or `2h05m`. Truncated, not rounded: nothing ever seems to take
/// longer than its timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Human(pub Duration);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0.as_secs(), self.0.subsec_millis());
        match seconds {
            0 if self.0.is_zero() => f.write_str("0ms"),
            0 if millis == 0 => write!(f, "{}µs", self.0.subsec_micros()),
            0 => write!(f, "{millis}ms"),
            1..60 => hundredths(f, seconds, millis / 10),
            60..3600 => write!(f, "{}m{:02}s", seconds / 60, seconds % 60),
            _ => write!(f, "{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        }
    }
}

fn hundredths(f: &mut fmt::Formatter<'_>, seconds: u64, hundredths: u32) -> fmt::Result {
    match (hundredths / 10, hundredths % 10) {
        (0, 0) => write!(f, "{seconds}s"),
        (tenths, 0) => write!(f, "{seconds}.{tenths}s"),
        (tenths, rest) => write!(f, "{seconds}.{tenths}{rest}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        let cases = [
            (Duration::ZERO, "0ms"),
            (Duration::from_micros(240), "240µs"),
            (Duration::from_micros(31_900), "31ms"),
            (Duration::from_millis(999), "999ms"),
            (Duration::from_millis(1_040), "1.04s"),
            (Duration::from_millis(1_500), "1.5s"),
            (Duration::from_secs(10), "10s"),
            (Duration::from_millis(59_999), "59.99s"),
            (Duration::from_secs(60), "1m00s"),
            (Duration::from_secs(192), "3m12s"),
            (Duration::from_secs(7_500), "2h05m"),
        ];
        for (duration, expected) in cases {
            assert_eq!(Human(duration).to_string(), expected);
        }
    }
}
