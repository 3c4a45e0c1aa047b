//! The messages between hotrun and a guardian after the start: one JSON value per line.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::reload::Ended;

/// What hotrun orders a guardian to do. Signals are numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Order {
    /// Send this signal to the tree.
    Signal(i32),
    /// Send this signal to the processes that catch it; it would end the others.
    ReloadConfig(i32),
    /// As `Signal`, and also to processes that are orphaned later.
    Stop(i32),
    /// Treat this process, which must be in the tree, as the program.
    SetMain(i32),
    /// Kill the whole tree.
    Kill,
}

/// The serde form of [`Ended`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "Ended")]
pub(super) enum EndedDef {
    Code(i32),
    Signal(i32),
}

pub(super) fn to_line(message: &impl Serialize) -> String {
    let mut line = serde_json::to_string(message).unwrap_or_default();
    line.push('\n');
    line
}

pub(super) fn from_line<T: DeserializeOwned>(line: &str) -> Option<T> {
    serde_json::from_str(line).ok()
}

#[cfg(test)]
mod tests {
    use super::super::{Refusal, Report, Step};
    use super::*;

    #[test]
    fn every_order_is_read_as_it_was_written() {
        for order in [
            Order::Signal(1),
            Order::ReloadConfig(10),
            Order::Stop(15),
            Order::SetMain(42),
            Order::Kill,
        ] {
            assert_eq!(from_line(&to_line(&order)), Some(order));
        }
    }

    #[test]
    fn every_report_is_read_as_it_was_written() {
        let exited = |ended, survivors| Report::Exited { ended, survivors };
        let error = Refusal {
            step: Step::Interpreter,
            errno: 13,
        };
        for report in [
            Report::Started { pid: 42 },
            Report::Refused { error },
            exited(Ended::Code(3), false),
            exited(Ended::Signal(9), true),
            Report::Gone,
        ] {
            let line = to_line(&report);
            assert_eq!(line.find('\n'), Some(line.len() - 1));
            assert_eq!(from_line(&line), Some(report));
        }
    }

    #[test]
    fn an_invalid_line_is_not_a_message() {
        for line in ["", "Gone", "{\"Started\":{}}", "\"Gone\" 1"] {
            assert_eq!(from_line::<Report>(line), None, "{line}");
        }
    }
}
