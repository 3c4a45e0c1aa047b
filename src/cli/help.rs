//! `hotrun help [TOPIC]`.

use std::ffi::OsString;
use std::fmt::Write as _;

use console::{Style, measure_text_width};

use crate::error::Failure;
use crate::guide::markdown::{Block, blocks};
use crate::guide::{PAGES, Page};

/// The width of a page, in columns.
const WIDTH: usize = 80;

/// The guide page that the command line asks for, or the list of topics.
///
/// `None` if the first argument is not `help`. A program called `help` can be run with `hotrun -- help`.
pub fn guide(args: &[OsString], colour: bool) -> Option<Result<String, Failure>> {
    let (first, topic) = args.get(1..)?.split_first()?;
    if first != "help" {
        return None;
    }
    Some(match topic {
        [] => Ok(topics()),
        [topic, ..] => page(&topic.to_string_lossy(), colour),
    })
}

fn topics() -> String {
    let mut text = "Topics of `hotrun help TOPIC`:\n".to_owned();
    for page in PAGES {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {:<14}{}", page.topic, page.title());
    }
    text + "\n`hotrun -h` lists the most common options, `hotrun --help` all of them.\n"
}

fn page(topic: &str, colour: bool) -> Result<String, Failure> {
    match Page::find(topic) {
        Some(page) => Ok(styled(page.text, colour)),
        None => Err(Failure::usage(format!("no help topic `{topic}`"))
            .hint("`hotrun help` lists the topics")
            .hint("to run a program called `help`, put `--` before it")),
    }
}

/// Markdown with bold headings, wrapped for a terminal.
fn styled(markdown: &str, colour: bool) -> String {
    let heading = Style::new().bold().force_styling(colour);
    let mut text = String::new();
    let mut above = None;
    for block in blocks(markdown) {
        let kind = std::mem::discriminant(&block);
        let is_apart = matches!(block, Block::Heading(..) | Block::Paragraph(_));
        if above.is_some_and(|above| above != kind || is_apart) {
            text.push('\n');
        }
        above = Some(kind);
        match block {
            Block::Heading(level, title) => {
                let title = format!("{} {title}", "#".repeat(level));
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{}", heading.apply_to(title));
            }
            Block::Paragraph(paragraph) => wrap(&mut text, &paragraph, "", ""),
            Block::Item(marker, item) => {
                let indent = " ".repeat(marker.len() + 1);
                wrap(&mut text, &item, &format!("{marker} "), &indent);
            }
            Block::Row(term, meaning) => {
                wrap(&mut text, &term, "  ", "  ");
                wrap(&mut text, &meaning, "      ", "      ");
            }
            Block::Code(line) => wrap(&mut text, "", &format!("    {line}"), ""),
        }
    }
    text
}

/// Appends lines of at most [`WIDTH`] columns, with an indentation for the first and one for the others.
fn wrap(text: &mut String, words: &str, first: &str, others: &str) {
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in words.split(' ') {
        if !is_empty && measure_text_width(&line) + 1 + measure_text_width(word) > WIDTH {
            let _ = writeln!(text, "{line}");
            others.clone_into(&mut line);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help(line: &str) -> Option<Result<String, Failure>> {
        let args: Vec<_> = line.split(' ').map(OsString::from).collect();
        guide(&args, false)
    }

    #[test]
    fn help_lists_the_topics() {
        let text = help("hotrun help").unwrap().unwrap();
        for page in PAGES {
            assert!(
                text.contains(page.topic) && text.contains(page.title()),
                "{text}"
            );
        }
    }

    #[test]
    fn help_with_a_topic_prints_the_page() {
        for page in PAGES {
            let text = help(&format!("hotrun help {}", page.topic))
                .unwrap()
                .unwrap();
            assert!(
                text.starts_with(&format!("# {}\n\n", page.title())),
                "{text}"
            );
            let is_wrapped =
                |line: &str| measure_text_width(line) <= WIDTH || line.starts_with("    ");
            assert!(text.lines().all(is_wrapped), "{text}");
        }
        let args = ["hotrun", "help", "crashes"].map(OsString::from);
        let coloured = guide(&args, true).unwrap().unwrap();
        assert!(
            coloured.starts_with("\u{1b}[1m# When a program crashes"),
            "{coloured}"
        );
    }

    #[test]
    fn an_unknown_topic_is_a_usage_error() {
        let failure = help("hotrun help nothing").unwrap().unwrap_err();
        assert_eq!(failure.message(), "no help topic `nothing`");
        assert_eq!(failure.exit_code(), 2);
    }

    #[test]
    fn a_program_called_help_can_be_run() {
        for line in [
            "hotrun -- help",
            "hotrun -q help",
            "hotrun -- help crashes",
            "hotrun",
        ] {
            assert!(help(line).is_none(), "{line}");
        }
    }
}
