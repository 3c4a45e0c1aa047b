use std::fmt;
use std::str::FromStr;

/// The steps of `--share`, in percent of the new connections: they rise, and each is from 1 to 100.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct ShareSteps(Vec<u8>);

impl ShareSteps {
    /// Whether there are no steps, so that a new generation gets all connections at once.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is only one step.
    pub const fn is_single(&self) -> bool {
        self.0.len() == 1
    }

    /// The first step that is larger than this share.
    pub fn after(&self, percent: u8) -> Option<u8> {
        self.0.iter().copied().find(|step| *step > percent)
    }

    /// The last step that is smaller than this share.
    pub fn before(&self, percent: u8) -> Option<u8> {
        self.0.iter().copied().rev().find(|step| *step < percent)
    }
}

/// As on the command line, for example `10%,50%`.
impl fmt::Display for ShareSteps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<String> = self.0.iter().map(|step| format!("{step}%")).collect();
        f.write_str(&steps.join(","))
    }
}

/// Like `Display`, for the first line of a log.
impl fmt::Debug for ShareSteps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_empty() {
            true => f.write_str("off"),
            false => write!(f, "{self}"),
        }
    }
}

impl FromStr for ShareSteps {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut steps: Vec<u8> = Vec::new();
        for part in text.split(',') {
            let number = part.trim().strip_suffix('%');
            let number = number.and_then(|number| number.parse::<u32>().ok());
            let number = number.ok_or("use percentages, as in `10%` or `10%,50%,100%`")?;
            let step = match u8::try_from(number) {
                Ok(0) => return Err("a share of 0% is none; the smallest is 1%".into()),
                Ok(step @ ..=100) => step,
                Ok(_) | Err(_) => return Err(format!("{number}% is more than all connections")),
            };
            if let Some(before) = steps.last().filter(|before| **before >= step) {
                return Err(format!(
                    "each step must be larger than the one before, but {step}% follows {before}%"
                ));
            }
            steps.push(step);
        }
        Ok(Self(steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_rising_percentages() {
        for text in ["10%", "1%,100%", "10%,50%,100%"] {
            let steps: ShareSteps = text.parse().unwrap();
            assert_eq!(steps.to_string(), text);
            assert_eq!(format!("{steps:?}"), text);
        }
        assert_eq!(format!("{:?}", ShareSteps::default()), "off");
        for (text, reason) in [
            ("", "use percentages"),
            ("10", "use percentages"),
            ("ten%", "use percentages"),
            ("-1%", "use percentages"),
            ("10%,", "use percentages"),
            ("0%", "a share of 0% is none"),
            ("101%", "101% is more than all connections"),
            ("4294967295%", "is more than all connections"),
            ("50%,10%", "but 10% follows 50%"),
            ("50%,50%", "but 50% follows 50%"),
        ] {
            let refused = text.parse::<ShareSteps>().unwrap_err();
            assert!(refused.contains(reason), "{text}: {refused}");
        }
    }

    #[test]
    fn steps_are_found_from_any_share() {
        let steps: ShareSteps = "10%,50%,100%".parse().unwrap();
        let after = [0, 10, 30, 50, 100].map(|percent| steps.after(percent));
        assert_eq!(after, [Some(10), Some(50), Some(50), Some(100), None]);
        let before = [0, 10, 30, 50].map(|percent| steps.before(percent));
        assert_eq!(before, [None, None, Some(10), Some(10)]);
    }
}
