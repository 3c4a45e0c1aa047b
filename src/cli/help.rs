//! `hotrun help [TOPIC]`, the completions, the man page, and help text that is not a doc comment.

use std::ffi::OsString;
use std::io;

use clap::{Command, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;
use console::Style;
use roff::{Roff, roman};

use crate::error::Failure;
use crate::guide::{GuidePage, PAGES};

pub(super) fn guide(
    args: &[OsString],
    color: bool,
    command: fn() -> Command,
) -> Option<Result<String, Failure>> {
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
        return Some(Ok(match color {
            true => text.ansi().to_string(),
            false => text.to_string(),
        }));
    };
    let Some(page) = PAGES.iter().find(|page| *page.topic == **topic) else {
        return Some(Err(Failure::usage(format!(
            "no help topic `{}`",
            topic.display()
        ))
        .hint("`hotrun help` lists the topics")
        .hint("to run a program called `help`, put `--` before it")));
    };
    Some(Ok(with_bold_headings(page, color)))
}

fn with_bold_headings(page: &GuidePage, color: bool) -> String {
    let bold = Style::new().bold().force_styling(color);
    let line = |line: &str| match line.starts_with('#') {
        true => bold.apply_to(line).to_string() + "\n",
        false => format!("{line}\n"),
    };
    page.text.lines().map(line).collect()
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

pub(super) fn generate(what: Generate, mut command: Command) -> io::Result<Vec<u8>> {
    let shell = match what {
        Generate::Bash => Shell::Bash,
        Generate::Zsh => Shell::Zsh,
        Generate::Fish => Shell::Fish,
        Generate::PowerShell => Shell::PowerShell,
        Generate::Elvish => Shell::Elvish,
        Generate::Man => return man_page(command),
    };
    // These options also accept other values, so clap does not know the possible ones.
    command = command.mut_arg("ready", |arg| {
        arg.value_parser([
            "auto", "listen", "notify", "http:/", "tcp", "log:", "exec:", "delay:",
        ])
    });
    command = command.mut_arg("stop_signal", |arg| {
        arg.value_parser(["TERM", "INT", "QUIT", "HUP", "USR1", "USR2"])
    });
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
fn man_page(command: Command) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let man = Man::new(command);
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

pub(super) const ON: &str = "\
Run a different action when matching files change (repeatable)

  build        build, then start a new generation, as for other files
  restart      start a new generation from the last build
  signal:HUP   send this signal to the program
  run:COMMAND  run this shell command and nothing else
  ignore       do nothing

A program that doesn't handle the signal is restarted instead. \
A GLOB with wildcards matches paths if it contains a `/` (`config/*.toml`, `data/**`), and file names otherwise \
(`*.sql`); a GLOB without wildcards is the path of a single file (`Rocket.toml`). \
If several rules match, the last one applies. \
Files in a directory that a GLOB names are watched even if they are ignored or outside the watched directories. \
By default, a change to `.env` or to the `--env-file` file restarts the program.";

pub(super) const READY: &str = "\
How to detect that a new generation is ready

  auto            it sends READY=1, or listens, or runs for 500ms
  listen          it waits for connections on all its sockets
  notify          it sends READY=1 to NOTIFY_SOCKET
  http:/path      the path responds with a 2xx or 3xx status
  tcp             it accepts a connection
  log:REGEX       it prints a matching line
  exec:COMMAND    the shell command succeeds
  delay:DURATION  this time has passed since its start";

const EXAMPLES: &str = "\
Examples:
  hotrun                                        run `cargo run` in this package
  hotrun -e go -- go run .                      run a program in any language
  hotrun -e go -b 'go build -o app .' -- ./app  build it first
  hotrun -l 3000 -- cargo run --release         pass port 3000 to the program";

const LONG: &str = "  hotrun -l 3000 --ready http:/health -- cargo run
  hotrun --on 'config/*.toml=signal:HUP' --on 'data/**=restart' -- cargo run
  hotrun --generate bash > ~/.local/share/bash-completion/completions/hotrun

Values:
  A duration is a number and a unit: 250ms, 10s, 1m30s.
  A signal is a name or a number: TERM, SIGTERM, 15.

Environment:
  Every option has a variable: HOTRUN_STOP_TIMEOUT sets --stop-timeout, and so on. \
An option on the command line overrides its variable. \
The variable of a repeatable option holds one value per line.
  hotrun respects NO_COLOR, CLICOLOR_FORCE, CI and TERM=dumb.

Keys on a live terminal:
  r reload   p pause   u undo   e errors   k kill draining   c clear
  Enter mark   ? help   q quit

Signals:
  INT and TERM stop the program gracefully; a second one, or QUIT, stops it at once. \
USR1 reloads. HUP reloads if hotrun has a terminal, and otherwise acts like TERM.

Exit status:
  0      the user quit
  1      the program could not be stopped cleanly, or hotrun failed
  2      wrong usage
  128+N  ended by signal N";

pub(super) fn short() -> String {
    format!(
        "{EXAMPLES}\n\n`hotrun --help` lists all options. `hotrun help TOPIC` explains a topic: {}.",
        topics()
    )
}

pub(super) fn long() -> String {
    format!(
        "{EXAMPLES}\n{LONG}\n\n`hotrun help TOPIC` explains a topic: {}.",
        topics()
    )
}

fn topics() -> String {
    let topics: Vec<_> = PAGES.iter().map(|page| page.topic).collect();
    topics.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help(line: &str) -> Option<Result<String, Failure>> {
        let args: Vec<_> = line.split(' ').map(OsString::from).collect();
        guide(&args, false, crate::cli::command)
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
        let colored = guide(&args, true, crate::cli::command).unwrap().unwrap();
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
