//! `hotrun help [TOPIC]`, the completions and the man page.

use std::ffi::OsString;
use std::io;

use clap::ValueEnum;
use clap::builder::StyledStr;
use clap_complete::Shell;
use clap_mangen::Man;
use console::Style;
use roff::{Roff, roman};

use super::command;
use super::help::{EXAMPLES, LONG};
use crate::error::Failure;
use crate::guide::PAGES;

/// The guide page that the command line asks for. Without a topic, the common options and the list of topics.
///
/// `None` if the first argument is not `help`. `hotrun -- help` runs a program called `help`.
pub fn guide(args: &[OsString], color: bool) -> Option<Result<String, Failure>> {
    let (first, topic) = args.get(1..)?.split_first()?;
    if first != "help" {
        return None;
    }
    let Some(topic) = topic.first() else {
        let topics = PAGES
            .iter()
            .map(|page| format!("  {:<14}{}\n", page.topic, page.title()));
        let topics: String = topics.collect();
        let more = format!(
            "{EXAMPLES}\n\n`hotrun --help` lists all options. Topics of `hotrun help TOPIC`:\n{topics}"
        );
        let text = command().after_help(more).render_help();
        return Some(Ok(styled(&text, color)));
    };
    let Some(page) = PAGES.iter().find(|page| *page.topic == **topic) else {
        let failure = Failure::usage(format!("no help topic `{}`", topic.display()));
        let failure = failure.hint("`hotrun help` lists the topics");
        return Some(Err(
            failure.hint("to run a program called `help`, put `--` before it")
        ));
    };
    let bold = Style::new().bold().force_styling(color);
    let line = |line: &str| match line.starts_with('#') {
        true => format!("{}\n", bold.apply_to(line)),
        false => format!("{line}\n"),
    };
    Some(Ok(page.text.lines().map(line).collect()))
}

/// Text of clap's, with or without colors.
pub fn styled(text: &StyledStr, color: bool) -> String {
    match color {
        true => text.ansi().to_string(),
        false => text.to_string(),
    }
}

/// What `--generate` can print.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generate {
    /// Completions for bash
    Bash,
    /// Completions for zsh
    Zsh,
    /// Completions for fish
    Fish,
    /// Completions for PowerShell
    #[value(name = "powershell")]
    PowerShell,
    /// Completions for elvish
    Elvish,
    /// The manual page, in roff
    Man,
}

/// The text of a completion file or of the man page.
///
/// # Errors
///
/// The man page cannot be rendered. This does not happen in practice, because writing to memory does not fail.
pub fn generate(what: Generate) -> io::Result<Vec<u8>> {
    // clap names the shells in the same way.
    let name = what.to_possible_value();
    let shell = name.and_then(|name| name.get_name().parse::<Shell>().ok());
    let Some(shell) = shell else {
        return man_page();
    };
    // These options also accept other values, so clap does not know the possible ones.
    let ready = [
        "auto", "listen", "notify", "http:/", "tcp", "log:", "exec:", "delay:",
    ];
    let signals = ["TERM", "INT", "QUIT", "HUP", "USR1", "USR2"];
    let mut command = command()
        .mut_arg("ready", |arg| arg.value_parser(ready))
        .mut_arg("stop_signal", |arg| arg.value_parser(signals));
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, "hotrun", &mut text);
    if what != Generate::Bash {
        return Ok(text);
    }
    // Completes what clap's script does not: COMMAND, and values after `=`, where bash splits words.
    const BEFORE: &str = "    cmd=\"\"\n";
    let script = String::from_utf8(text).map_err(io::Error::other)?;
    Ok(script
        .replacen(BEFORE, &format!("{BASH}{BEFORE}"), 1)
        .into_bytes())
}

const BASH: &str = r#"    if [[ "${COMP_WORDS[COMP_CWORD]}" == "=" ]]; then
        cur="" prev="${COMP_WORDS[COMP_CWORD-1]}"
    elif [[ "${prev}" == "=" ]]; then
        prev="${COMP_WORDS[COMP_CWORD-2]}"
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        [[ "${COMP_WORDS[i]}" == "--" ]] || continue
        if ((i + 1 == COMP_CWORD)); then
            COMPREPLY=($(compgen -c -- "${cur}"))
        elif declare -F _comp_command_offset >/dev/null; then
            _comp_command_offset $((i + 1))
        elif declare -F _command_offset >/dev/null; then
            _command_offset $((i + 1))
        fi
        return 0
    done
"#;

/// Renders clap's sections, then those of the help, then the guide. Headings become sections. Line breaks are kept,
/// except in the sentences of the help.
fn man_page() -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let man = Man::new(command());
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    let mut roff = Roff::new();
    for line in format!("{EXAMPLES}\n{LONG}").lines() {
        match (line.strip_suffix(':'), line.trim_start()) {
            (Some(title), _) if !line.starts_with(' ') => {
                roff.control("SH", [title.to_uppercase().as_str()])
            }
            (_, sentence) if sentence.ends_with('.') => roff.text([roman(sentence)]),
            (_, row) => roff.control("nf", []).text([roman(row)]).control("fi", []),
        };
    }
    for line in PAGES.iter().flat_map(|page| page.text.lines()) {
        match (line.strip_prefix("# "), line.strip_prefix("## ")) {
            (Some(title), _) => roff
                .control("SH", [title.to_uppercase().as_str()])
                .control("nf", []),
            (_, Some(title)) => roff.control("SS", [title]).control("nf", []),
            (None, None) => roff.text([roman(line)]),
        };
    }
    roff.control("fi", []).to_writer(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help(line: &str) -> Option<Result<String, Failure>> {
        let args: Vec<_> = line.split(' ').map(OsString::from).collect();
        guide(&args, false)
    }

    #[test]
    fn help_without_a_topic_lists_the_topics() {
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
            assert!(
                text.lines().all(|line| line.chars().count() <= 78),
                "{text}"
            );
        }
        let args = ["hotrun", "help", "crashes"].map(OsString::from);
        let colored = guide(&args, true).unwrap().unwrap();
        assert!(
            colored.starts_with("\u{1b}[1m# When a program crashes"),
            "{colored}"
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
