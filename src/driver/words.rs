//! The last words of builds and programs, for whoever asks why nothing serves.

use std::collections::{BTreeMap, VecDeque};
use std::sync::LazyLock;

use regex::Regex;

use crate::reload::{Failure, GenId, GenNotice, Notice};
use crate::ui::{Level, Report};

/// So much is kept of the errors of one build, in bytes. What follows the first errors is seldom read.
const MOST_ERRORS: usize = 64 << 10;
/// So much of what a program printed last.
const MOST_OUTPUT: usize = 8 << 10;
/// So many lines of a build that names no errors, and of a program.
const LAST_LINES: usize = 40;
/// So many of hotrun's own errors.
const LAST_MESSAGES: usize = 5;
/// So much of each, in bytes. Those who minify what they print break no lines: it is handled for each request, in the
/// thread that decides.
const MOST_LINE: usize = 1 << 10;
const MOST_MESSAGE: usize = 8 << 10;
/// How programs complain of another that runs. Those that merely do not compile or panic say nothing of that kind.
const COMPANY_WORDS: &str = r"(?i)\b(lock(ed|file)?|busy|in use|exclusive(ly)?|temporarily unavailable|already (running|exists?|open(ed)?|started|being used|held|owned)|another (one|instance|process|copy|server|program))\b";
/// The output of so many generations.
const GENERATIONS: usize = 4;

/// What was said lately, of all that passes by on its way to the user interface.
#[derive(Debug, Default)]
pub(super) struct Words {
    errors: Vec<String>,
    /// How long they are together.
    length: usize,
    /// How many were too many.
    more: usize,
    /// What the build printed besides.
    lines: VecDeque<String>,
    /// What hotrun itself said since the build or the start began.
    messages: VecDeque<String>,
    output: BTreeMap<GenId, Vec<u8>>,
    /// Who is or was live last: its words are wanted when it ends, whoever fails meanwhile.
    live: Option<GenId>,
}

impl Words {
    pub(super) fn hear(&mut self, report: &Report) {
        match report {
            Report::Notice(Notice::Generation(_, GenNotice::Building { .. })) => {
                let output = std::mem::take(&mut self.output);
                *self = Self {
                    output,
                    live: self.live,
                    ..Self::default()
                };
            }
            Report::Notice(Notice::Generation(
                id,
                GenNotice::Live { .. } | GenNotice::Restored,
            )) => {
                self.live = Some(*id);
            }
            Report::Notice(Notice::Generation(_, GenNotice::Starting { .. })) => {
                self.messages.clear();
            }
            Report::Diagnostic {
                level: Level::Error,
                rendered,
                ..
            } => self.error(rendered),
            Report::BuildLine { text, .. } => {
                push(&mut self.lines, LAST_LINES, cut(text, MOST_LINE));
            }
            Report::Message {
                level: Level::Error,
                text,
                ..
            } => push(&mut self.messages, LAST_MESSAGES, cut(text, MOST_MESSAGE)),
            Report::Output { id, bytes, .. } => self.print(*id, bytes),
            Report::Notice(_)
            | Report::Diagnostic { .. }
            | Report::Message { .. }
            | Report::Watching { .. }
            | Report::Listening { .. }
            | Report::Changed { .. }
            | Report::Spawned { .. }
            | Report::MainProcess { .. }
            | Report::Status { .. }
            | Report::Progress { .. }
            | Report::BuildBlocked { .. }
            | Report::ArtifactKept { .. }
            | Report::Connections { .. }
            | Report::OutputEnded { .. } => {}
        }
    }

    /// All that explains how a generation failed, the most telling first.
    pub(super) fn about(&self, id: GenId, failure: Failure) -> Vec<String> {
        let mut said = match failure {
            Failure::Build => self.of_the_build(),
            Failure::Start
            | Failure::ExitedEarly(_)
            | Failure::ReadyTimeout
            | Failure::Switch
            | Failure::Crashed(_)
            | Failure::Vanished => self.of_the_program(id),
        };
        if !self.messages.is_empty() {
            said.push(joined(&self.messages));
        }
        let mut said: Vec<String> = said.iter().map(|text| clean(text)).collect();
        said.retain(|text| !text.trim().is_empty());
        said
    }

    /// Whether what a program said last may be about another that is in its way. Who said nothing may mean that.
    pub(super) fn may_be_of_company(&self, id: GenId) -> bool {
        static COMPANY: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(COMPANY_WORDS).ok());
        let said = self.of_the_program(id).concat();
        let matches = COMPANY
            .as_ref()
            .is_none_or(|company| company.is_match(&said));
        matches || said.trim().is_empty()
    }

    fn of_the_build(&self) -> Vec<String> {
        if self.errors.is_empty() {
            return vec![joined(&self.lines)];
        }
        let mut said = self.errors.clone();
        if self.more > 0 {
            said.push(format!("and {} more errors", self.more));
        }
        said
    }

    fn of_the_program(&self, id: GenId) -> Vec<String> {
        let printed = self.output.get(&id).map_or(&[][..], Vec::as_slice);
        let text = String::from_utf8_lossy(printed);
        let lines: Vec<&str> = text.lines().collect();
        vec![lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")]
    }

    fn error(&mut self, rendered: &str) {
        self.length += rendered.len();
        match self.length <= MOST_ERRORS {
            true => self.errors.push(rendered.to_owned()),
            // A part of it explains more than none.
            false if self.errors.is_empty() => self.errors.push(cut(rendered, MOST_ERRORS)),
            false => self.more += 1,
        }
    }

    fn print(&mut self, id: GenId, bytes: &[u8]) {
        let printed = self.output.entry(id).or_default();
        printed.extend(&bytes[bytes.len().saturating_sub(MOST_OUTPUT)..]);
        // Seldom: it moves all that stays.
        if printed.len() > 2 * MOST_OUTPUT {
            printed.drain(..printed.len() - MOST_OUTPUT);
        }
        if self.output.len() > GENERATIONS {
            let wanted = |known: &GenId| *known == id || self.live == Some(*known);
            let oldest = self.output.keys().copied().find(|known| !wanted(known));
            oldest.map(|oldest| self.output.remove(&oldest));
        }
    }
}

fn push(to: &mut VecDeque<String>, most: usize, text: String) {
    if to.len() == most {
        to.pop_front();
    }
    to.push_back(text);
}

/// So many bytes of it at most, and a mark if that is not all.
fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most).rev().find(|end| text.is_char_boundary(*end));
    format!("{}…", &text[..end.unwrap_or(0)])
}

fn joined(lines: &VecDeque<String>) -> String {
    lines
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Without what a terminal would act upon. Of a line that was written over, what was written last.
fn clean(text: &str) -> String {
    let text = console::strip_ansi_codes(text);
    let lines = text.split('\n').map(|line| {
        let line = line.trim_end_matches('\r');
        let line = line.rsplit('\r').next().unwrap_or(line);
        let shown = |character: &char| !character.is_control() || *character == '\t';
        line.chars().filter(shown).collect::<String>()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reload::{Cause, Ended};
    use crate::ui::Stream;

    const ID: GenId = GenId::FIRST;
    const CRASH: Failure = Failure::Crashed(Ended::Code(1));

    fn heard(reports: &[Report]) -> Words {
        let mut words = Words::default();
        reports.iter().for_each(|report| words.hear(report));
        words
    }

    fn diagnostic(level: Level, text: &str) -> Report {
        Report::Diagnostic {
            id: ID,
            level,
            rendered: text.into(),
        }
    }

    fn line(text: &str) -> Report {
        Report::BuildLine {
            id: ID,
            text: text.into(),
        }
    }

    fn printed(id: GenId, text: &str) -> Report {
        Report::Output {
            id,
            stream: Stream::Stdout,
            bytes: text.into(),
        }
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
    fn a_build_tells_its_errors_and_without_any_its_last_lines() {
        let told = [
            diagnostic(Level::Error, "\u{1b}[31merror\u{1b}[0m: one"),
            diagnostic(Level::Warning, "warning: two"),
            line("could not compile"),
        ];
        let words = heard(&told);
        assert_eq!(words.about(ID, Failure::Build), ["error: one"]);
        let many: Vec<Report> = (0..100).map(|number| line(&number.to_string())).collect();
        let words = heard(&many).about(ID, Failure::Build);
        assert!(words[0].starts_with("60\n61\n") && words[0].ends_with("\n99"));
        let words = heard(&[&told[..], &[building()]].concat());
        assert!(words.about(ID, Failure::Build).is_empty(), "the next build");
    }

    #[test]
    fn a_program_tells_what_it_printed_last() {
        let other = ID.next();
        let words = heard(&[
            line("built"),
            printed(ID, "half"),
            printed(other, "other\n"),
            printed(ID, " and half\r\n50%\r100%\npanicked\n"),
            message(Level::Warning, "a warning"),
            message(Level::Error, "it can't be started"),
        ]);
        let expected = ["half and half\n100%\npanicked", "it can't be started"];
        assert_eq!(words.about(ID, CRASH), expected);
        assert_eq!(words.about(other, CRASH)[0], "other");
    }

    #[test]
    fn only_some_programs_complain_of_another() {
        let check = |text: &str| {
            let id = GenId::FIRST;
            heard(&[printed(id, text)]).may_be_of_company(id)
        };
        assert!(check("sqlite3.OperationalError: database is locked\n"));
        assert!(check(
            "Error: Unable to acquire lock, is another process running?\n"
        ));
        assert!(check(
            "open /tmp/x.lock: Resource temporarily unavailable\n"
        ));
        assert!(check("listen EADDRINUSE: address already in use :::3000\n"));
        assert!(check("\n"), "nothing was said");
        assert!(!check("SyntaxError: '(' was never closed\n"));
        assert!(!check(
            "During handling of the above exception, another exception occurred\n"
        ));
        assert!(!check(
            "thread 'main' panicked at src/clock.rs:1:1:\nblocked\n"
        ));
    }

    #[test]
    fn the_words_of_the_live_one_outlast_those_that_fail_beside_it() {
        let live = Report::Notice(Notice::Generation(
            ID,
            GenNotice::Live {
                took: std::time::Duration::ZERO,
            },
        ));
        let fail = |numbers: std::ops::Range<u32>| numbers.map(|id| printed(GenId::new(id), "x"));
        let mut told = vec![live, building()];
        told.extend(fail(2..8));
        told.push(printed(ID, "panicked"));
        told.extend(fail(8..12));
        let words = heard(&told);
        assert_eq!(words.about(ID, CRASH), ["panicked"]);
        assert_eq!(words.about(GenId::new(11), CRASH), ["x"]);
    }

    #[test]
    fn the_words_of_one_that_serves_again_outlast_those_that_fail_beside_it() {
        let live = |id| {
            let took = std::time::Duration::ZERO;
            Report::Notice(Notice::Generation(id, GenNotice::Live { took }))
        };
        let mut told = vec![live(ID), printed(ID, "panicked"), live(ID.next())];
        told.push(Report::Notice(Notice::Generation(ID, GenNotice::Restored)));
        told.extend((2..12).map(|number| printed(GenId::new(number), "x")));
        assert_eq!(heard(&told).about(ID, CRASH), ["panicked"]);
    }

    #[test]
    fn little_is_kept_of_much() {
        let error = diagnostic(Level::Error, &"x".repeat(MOST_ERRORS / 4));
        let words = heard(&vec![error; 10]);
        let said = words.about(ID, Failure::Build);
        assert_eq!((said.len(), &*said[4]), (5, "and 6 more errors"));
        let words = heard(&vec![line(&"ä".repeat(MOST_LINE)); 2]);
        let said = &words.about(ID, Failure::Build)[0];
        assert_eq!(said.chars().filter(|c| *c == 'ä').count(), MOST_LINE);
        let words = heard(&[message(Level::Error, &"m".repeat(MOST_ERRORS))]);
        assert!(words.about(ID, Failure::Build)[0].len() < MOST_MESSAGE + 8);
        let error = diagnostic(Level::Error, &"e".repeat(2 * MOST_ERRORS));
        let words = heard(&[error, diagnostic(Level::Error, "second")]);
        let said = words.about(ID, Failure::Build);
        assert_eq!(
            (said[0].len(), &*said[1]),
            (MOST_ERRORS + 3, "and 1 more errors")
        );
        let flood: Vec<Report> = (0..1000)
            .map(|_| printed(ID, &"y\n".repeat(1000)))
            .collect();
        let words = heard(&flood);
        assert!(words.output[&ID].len() <= 2 * MOST_OUTPUT);
        assert_eq!(words.about(ID, CRASH)[0].lines().count(), LAST_LINES);
        let ids = (1..100).map(|number| printed(GenId::new(number), "z"));
        let words = heard(&ids.collect::<Vec<_>>());
        assert_eq!(words.output.len(), GENERATIONS);
        assert!(!words.about(GenId::new(99), CRASH).is_empty());
    }
}
