use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

use super::model::BuildLog;
use super::{Level, Report, text};
use crate::reload::{GenFailure, GenId, GenNotice, Notice};

/// How many bytes of a program's output to keep. Up to twice as many may accumulate before the older ones are dropped.
const MAX_OUTPUT: usize = 8 << 10;
/// How many lines of output to show for a program, and for a failed build without compiler errors.
const LAST_LINES: usize = 40;
/// How many of hotrun's own errors to keep.
const LAST_MESSAGES: usize = 5;
/// Matches the output of programs that cannot run while another instance is running, but not compiler errors or panics.
const OTHER_INSTANCE: &str = r"(?i)\b(lock(ed|file)?|busy|in use|exclusive(ly)?|temporarily unavailable|already (running|exists?|open(ed)?|started|being used|held|owned)|another (\w+ )?(one|instance|process|copy|server|program))\b";
/// Matches the output of programs that have found their port in use.
const PORT_IN_USE: &str = r"(?i)\b(EADDRINUSE|(port|address)\b.*\b(in use|used|busy|taken|occupied|not (free|available)|unavailable))\b";
/// How many generations' output to keep.
const GENERATIONS: usize = 4;

/// How a program may conflict with another instance of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// It has found its port in use, and an earlier generation was live.
    Port,
    /// Something else, such as a lock.
    Other,
}

/// The recent output of builds, programs and hotrun itself, which explains why no generation is live.
#[derive(Debug, Default)]
pub struct RecentOutput {
    build: BuildLog,
    /// hotrun's own errors since the build or the start began.
    messages: Vec<String>,
    output: BTreeMap<GenId, Vec<u8>>,
    /// The generation that is live, or was live last. Its output is kept, even if many later generations fail.
    live: Option<GenId>,
}

impl RecentOutput {
    pub(super) fn record(&mut self, report: &Report) {
        if let Report::Notice(Notice::Generation(id, notice)) = report {
            self.note(*id, *notice);
        } else if let Report::Diagnostic {
            level, rendered, ..
        } = report
        {
            if *level == Level::Error {
                self.build.diagnostic(*level, rendered);
            }
        } else if let Report::BuildLine(_, text) = report {
            self.build.add(text);
        } else if let Report::Message { level, text, .. } = report {
            if *level == Level::Error {
                self.messages.push(text::shortened_message(text));
                let before = self.messages.len().saturating_sub(LAST_MESSAGES);
                self.messages.drain(..before);
            }
        } else if let Report::Output(id, _, bytes) = report {
            self.print(*id, bytes);
        }
    }

    fn note(&mut self, id: GenId, notice: GenNotice) {
        if matches!(notice, GenNotice::Live { .. } | GenNotice::Restored { .. }) {
            self.live = Some(id);
        }
        let builds = matches!(notice, GenNotice::Building { .. });
        if builds {
            self.build = BuildLog::default();
        }
        if builds || matches!(notice, GenNotice::Starting { .. }) {
            self.messages.clear();
        }
    }

    /// The texts that explain why a generation failed, the most important one first.
    pub fn explain(&self, id: GenId, failure: GenFailure) -> Vec<String> {
        let mut texts = match failure == GenFailure::Build {
            true => self.build.errors(usize::MAX, LAST_LINES),
            false => vec![self.program_output(id)],
        };
        if !self.messages.is_empty() {
            texts.push(self.messages.join("\n"));
        }
        let mut texts: Vec<String> = texts.iter().map(|one| text::text(one)).collect();
        texts.retain(|text| !text.trim().is_empty());
        texts
    }

    /// Returns how the program may have conflicted with another instance, if its output says so or is empty.
    pub fn conflict(&self, id: GenId) -> Option<Conflict> {
        static OTHER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(OTHER_INSTANCE).ok());
        static PORT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(PORT_IN_USE).ok());
        let text = self.program_output(id);
        let matches = |regex: &Option<Regex>| regex.as_ref().is_some_and(|one| one.is_match(&text));
        if self.live.is_some() && matches(&PORT) {
            Some(Conflict::Port)
        } else {
            (matches(&OTHER) || text.trim().is_empty()).then_some(Conflict::Other)
        }
    }

    fn program_output(&self, id: GenId) -> String {
        let printed = self.output.get(&id).map_or(&[][..], Vec::as_slice);
        let text = String::from_utf8_lossy(printed);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }

    fn print(&mut self, id: GenId, bytes: &[u8]) {
        let printed = self.output.entry(id).or_default();
        printed.extend(&bytes[bytes.len().saturating_sub(MAX_OUTPUT)..]);
        // Do this only occasionally, because `drain` moves the remaining bytes.
        if printed.len() > 2 * MAX_OUTPUT {
            printed.drain(..printed.len() - MAX_OUTPUT);
        }
        if self.output.len() > GENERATIONS {
            let wanted = |known: &GenId| *known == id || self.live == Some(*known);
            let oldest = self.output.keys().copied().find(|known| !wanted(known));
            oldest.map(|oldest| self.output.remove(&oldest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reload::{Cause, Ended};
    use crate::ui::OutputStream;

    const ID: GenId = GenId::FIRST;
    const CRASH: GenFailure = GenFailure::Crashed(Ended::Code(1));

    fn recorded(reports: &[Report]) -> RecentOutput {
        let mut recent = RecentOutput::default();
        reports.iter().for_each(|report| recent.record(report));
        recent
    }

    fn diagnostic(level: Level, text: &str) -> Report {
        Report::Diagnostic {
            id: ID,
            level,
            rendered: text.into(),
        }
    }

    fn line(text: &str) -> Report {
        Report::BuildLine(ID, text.into())
    }

    fn printed(id: GenId, text: &str) -> Report {
        Report::Output(id, OutputStream::Stdout, text.into())
    }

    fn message(level: Level, text: &str) -> Report {
        Report::Message {
            level,
            text: text.into(),
            hint: None,
        }
    }

    fn building() -> Report {
        let cause = Cause::Change;
        Report::Notice(Notice::Generation(ID, GenNotice::Building { cause }))
    }

    #[test]
    fn a_failed_build_is_explained_by_its_errors_or_by_its_last_lines() {
        let reports = [
            diagnostic(Level::Error, "\u{1b}[31merror\u{1b}[0m: one"),
            diagnostic(Level::Warning, "warning: two"),
            line("could not compile"),
        ];
        let recent = recorded(&reports);
        assert_eq!(recent.explain(ID, GenFailure::Build), ["error: one"]);
        let many: Vec<Report> = (0..100).map(|number| line(&number.to_string())).collect();
        let recent = recorded(&many).explain(ID, GenFailure::Build);
        let last = recent[0].strip_prefix("… 60 earlier lines\n").unwrap();
        assert!(last.starts_with("60\n61\n") && last.ends_with("\n99"));
        let recent = recorded(&[&reports[..], &[building()]].concat());
        assert!(
            recent.explain(ID, GenFailure::Build).is_empty(),
            "the next build clears the errors"
        );
    }

    #[test]
    fn the_failure_of_a_program_is_explained_by_its_last_output() {
        let other = GenId(ID.0 + 1);
        let recent = recorded(&[
            line("built"),
            printed(ID, "half"),
            printed(other, "other\n"),
            printed(ID, " and half\r\n50%\r100%\npanicked\n"),
            message(Level::Warning, "a warning"),
            message(Level::Error, "cannot start the program"),
        ]);
        let expected = ["half and half\n100%\npanicked", "cannot start the program"];
        assert_eq!(recent.explain(ID, CRASH), expected);
        assert_eq!(recent.explain(other, CRASH)[0], "other");
    }

    #[test]
    fn output_about_another_instance_is_recognized() {
        let recorded_after = |before: Option<Report>, text: &str| {
            let reports: Vec<_> = before.into_iter().chain([printed(ID, text)]).collect();
            recorded(&reports).conflict(ID)
        };
        let check = |text: &str| recorded_after(None, text).is_some();
        let took = std::time::Duration::ZERO;
        let live = || Report::Notice(Notice::Generation(ID, GenNotice::Live { took }));
        let beside = |text: &str| recorded_after(Some(live()), text);
        for port in ["listen EADDRINUSE :::3000\n", "Port 80 is not free\n"] {
            assert_eq!(beside(port), Some(Conflict::Port), "{port}");
        }
        assert_eq!(beside("port 80: file locked\n"), Some(Conflict::Other));
        assert!(check("sqlite3.OperationalError: database is locked\n"));
        assert!(check(
            "Error: Unable to acquire lock, is another process running?\n"
        ));
        assert!(check("Another twistd server is running, PID 15602\n"));
        assert!(check(
            "open /tmp/x.lock: Resource temporarily unavailable\n"
        ));
        assert!(check("listen EADDRINUSE: address already in use :::3000\n"));
        assert!(check("\n"), "no output");
        assert!(!check("SyntaxError: '(' was never closed\n"));
        assert!(!check(
            "During handling of the above exception, another exception occurred\n"
        ));
        assert!(!check(
            "thread 'main' panicked at src/clock.rs:1:1:\nblocked\n"
        ));
    }

    #[test]
    fn the_output_of_the_live_generation_is_kept_while_others_fail() {
        let live = Report::Notice(Notice::Generation(
            ID,
            GenNotice::Live {
                took: std::time::Duration::ZERO,
            },
        ));
        let fail = |numbers: std::ops::Range<u32>| numbers.map(|id| printed(GenId(id), "x"));
        let mut reports = vec![live, building()];
        reports.extend(fail(2..8));
        reports.push(printed(ID, "panicked"));
        reports.extend(fail(8..12));
        let recent = recorded(&reports);
        assert_eq!(recent.explain(ID, CRASH), ["panicked"]);
        assert_eq!(recent.explain(GenId(11), CRASH), ["x"]);
    }

    #[test]
    fn the_output_of_a_restored_generation_is_kept_while_others_fail() {
        let live = |id| {
            let took = std::time::Duration::ZERO;
            Report::Notice(Notice::Generation(id, GenNotice::Live { took }))
        };
        let mut reports = vec![live(ID), printed(ID, "panicked"), live(GenId(ID.0 + 1))];
        reports.push(Report::Notice(Notice::Generation(
            ID,
            GenNotice::Restored {
                cause: Cause::Crash,
            },
        )));
        reports.extend((2..12).map(|number| printed(GenId(number), "x")));
        assert_eq!(recorded(&reports).explain(ID, CRASH), ["panicked"]);
    }

    #[test]
    fn the_kept_output_is_bounded() {
        let error = diagnostic(Level::Error, &"x".repeat(1 << 20));
        let texts = recorded(&vec![error; 100]).explain(ID, GenFailure::Build);
        assert_eq!(texts.len(), BuildLog::MAX_ERRORS);
        assert!(texts[0].len() < 10 << 10, "{}", texts[0].len());
        let recent = recorded(&vec![line(&"ä".repeat(1 << 20)); 2]);
        assert!(recent.explain(ID, GenFailure::Build)[0].len() < 10 << 10);
        let recent = recorded(&vec![message(Level::Error, &"m".repeat(1 << 20)); 100]);
        let text = &recent.explain(ID, CRASH)[0];
        assert!(text.len() < LAST_MESSAGES * (10 << 10));
        let flood: Vec<Report> = (0..1000)
            .map(|_| printed(ID, &"y\n".repeat(1000)))
            .collect();
        let recent = recorded(&flood);
        assert!(recent.output[&ID].len() <= 2 * MAX_OUTPUT);
        assert_eq!(recent.explain(ID, CRASH)[0].lines().count(), LAST_LINES);
        let ids = (1..100).map(|number| printed(GenId(number), "z"));
        let recent = recorded(&ids.collect::<Vec<_>>());
        assert_eq!(recent.output.len(), GENERATIONS);
        assert!(!recent.explain(GenId(99), CRASH).is_empty());
    }
}
