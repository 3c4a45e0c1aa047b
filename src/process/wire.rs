//! The lines that hotrun and a guardian exchange.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::sys::signal::Signal;

use super::{Refusal, Report, Step};
use crate::reload::Ended;

/// What hotrun asks of a guardian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Send this signal to the tree.
    Signal(Signal),
    /// Send it to those of the tree that catch it, and to nobody who would die of it.
    ReloadConfig(Signal),
    /// As `Signal`, and to what of the tree comes to light after its first process has ended.
    Stop(Signal),
    /// This process of the tree is the program from now on.
    Main(i32),
    /// Leave nothing.
    Kill,
}

impl Order {
    pub(super) fn line(self) -> String {
        match self {
            Self::Signal(signal) => format!("signal {}\n", signal as i32),
            Self::ReloadConfig(signal) => format!("reload-config {}\n", signal as i32),
            Self::Stop(signal) => format!("stop {}\n", signal as i32),
            Self::Main(pid) => format!("main {pid}\n"),
            Self::Kill => "kill\n".to_owned(),
        }
    }

    pub(super) fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let signal = || Signal::try_from(rest.parse::<i32>().ok()?).ok();
        match word {
            "signal" => signal().map(Self::Signal),
            "reload-config" => signal().map(Self::ReloadConfig),
            "stop" => signal().map(Self::Stop),
            "main" => rest.parse().ok().filter(|pid| *pid > 0).map(Self::Main),
            "kill" if rest.is_empty() => Some(Self::Kill),
            _ => None,
        }
    }
}

/// How a process ended, in the words of the core.
pub(super) fn ended(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Code(code),
        (None, Some(signal)) => Ended::Signal(signal),
        // Stopped or continued, which nobody asked to be told of.
        (None, None) => Ended::Code(status.into_raw()),
    }
}

/// A report as the guardian writes it.
pub(super) fn report_line(report: Report) -> String {
    match report {
        Report::Started { pid } => format!("started {pid}\n"),
        Report::Refused { error } => {
            format!("refused {} {}\n", step_word(error.step), error.errno)
        }
        Report::Exited { ended, survivors } => {
            let (how, number) = match ended {
                Ended::Code(code) => ("code", code),
                Ended::Signal(signal) => ("signal", signal),
            };
            let survivors = u8::from(survivors);
            format!("exited {how} {number} {survivors}\n")
        }
        Report::Gone => "gone\n".to_owned(),
    }
}

/// A report as hotrun reads it.
pub(super) fn parse_report(line: &str) -> Option<Report> {
    let words: Vec<&str> = line.split(' ').collect();
    let number = |text: &str| text.parse::<i32>().ok();
    match words[..] {
        ["started", pid] => Some(Report::Started { pid: number(pid)? }),
        ["refused", step, errno] => Some(Report::Refused {
            error: Refusal {
                step: parse_step(step)?,
                errno: number(errno)?,
            },
        }),
        ["exited", how, status, survivors] => Some(Report::Exited {
            ended: match how {
                "code" => Ended::Code(number(status)?),
                "signal" => Ended::Signal(number(status)?),
                _ => return None,
            },
            survivors: survivors == "1",
        }),
        ["gone"] => Some(Report::Gone),
        _ => None,
    }
}

const STEPS: [Step; 6] = [
    Step::Guardian,
    Step::Fork,
    Step::Descriptors,
    Step::Workdir,
    Step::Exec,
    Step::Interpreter,
];

fn step_word(step: Step) -> &'static str {
    match step {
        Step::Guardian => "guardian",
        Step::Fork => "fork",
        Step::Descriptors => "descriptors",
        Step::Workdir => "workdir",
        Step::Exec => "exec",
        Step::Interpreter => "interpreter",
    }
}

fn parse_step(word: &str) -> Option<Step> {
    STEPS.into_iter().find(|step| step_word(*step) == word)
}

impl Refusal {
    /// For the pipe between a program's process and its guardian.
    pub(super) fn bytes(self) -> Vec<u8> {
        report_line(Report::Refused { error: self }).into_bytes()
    }

    /// What [`Refusal::bytes`] gave.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match parse_report(str::from_utf8(bytes).ok()?.trim_end())? {
            Report::Refused { error } => Some(error),
            Report::Started { .. } | Report::Exited { .. } | Report::Gone => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read_as_it_was_written() {
        for order in [
            Order::Signal(Signal::SIGHUP),
            Order::ReloadConfig(Signal::SIGUSR1),
            Order::Stop(Signal::SIGTERM),
            Order::Main(42),
            Order::Kill,
        ] {
            assert_eq!(Order::parse(order.line().trim_end()), Some(order));
        }
        let mut reports = vec![Report::Started { pid: 42 }, Report::Gone];
        for survivors in [false, true] {
            for ended in [Ended::Code(3), Ended::Signal(9)] {
                reports.push(Report::Exited { ended, survivors });
            }
        }
        for step in STEPS {
            let error = Refusal { step, errno: 13 };
            assert_eq!(Refusal::from_bytes(&error.bytes()), Some(error));
            reports.push(Report::Refused { error });
        }
        for report in reports {
            assert_eq!(parse_report(report_line(report).trim_end()), Some(report));
        }
    }

    #[test]
    fn other_lines_mean_nothing() {
        for line in [
            "",
            "kill -9",
            "stop",
            "stop 0",
            "stop x",
            "signal 99",
            "main 0",
            "gone",
        ] {
            assert_eq!(Order::parse(line), None, "{line}");
        }
        for line in [
            "",
            "started",
            "started x",
            "exited code 1",
            "exited how 1 1",
            "gone 1",
        ] {
            assert_eq!(parse_report(line), None, "{line}");
        }
    }
}
