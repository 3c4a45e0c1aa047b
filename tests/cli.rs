//! The files that are made from the options, and the README that speaks of them, are current.
//!
//! After a change of the options: `UPDATE_COMPLETIONS=1 cargo test --test cli`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use clap::ValueEnum;
use hotrun::cli::{self, Generate};
use regex::Regex;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn shells() -> impl Iterator<Item = Generate> {
    Generate::value_variants()
        .iter()
        .copied()
        .filter(|what| *what != Generate::Man)
}

#[test]
fn completions_are_current() {
    for shell in shells() {
        let path = root().join("completions").join(shell.file_name());
        let made = cli::generate(shell).unwrap();
        if std::env::var_os("UPDATE_COMPLETIONS").is_some() {
            fs::write(&path, &made).unwrap();
        }
        let kept = fs::read(&path).unwrap_or_default();
        assert!(
            kept == made,
            "`{}` is out of date: run `UPDATE_COMPLETIONS=1 cargo test --test cli`",
            path.display()
        );
    }
    let kept = fs::read_dir(root().join("completions")).unwrap().count();
    assert_eq!(
        kept,
        shells().count(),
        "something else is among the completions"
    );
}

#[test]
fn the_man_page_names_every_option() {
    let page = String::from_utf8(cli::generate(Generate::Man).unwrap())
        .unwrap()
        .replace('\\', "");
    for long in option_names().iter().filter(|name| name.starts_with("--")) {
        assert!(page.contains(long), "`{long}` is not in the man page");
    }
}

/// Every option in both its forms.
fn option_names() -> BTreeSet<String> {
    cli::command()
        .get_arguments()
        .flat_map(|arg| {
            let long = arg.get_long().map(|long| format!("--{long}"));
            let short = arg.get_short().map(|short| format!("-{short}"));
            long.into_iter().chain(short)
        })
        .collect()
}

#[test]
fn the_readme_names_options_that_exist() {
    let known = option_names();
    let span = Regex::new(r"`(--?[A-Za-z][A-Za-z-]*)[^`]*`").unwrap();
    let readme = read("README.md");
    let named: Vec<_> = span
        .captures_iter(&readme)
        .map(|found| found[1].to_owned())
        .collect();
    assert!(named.len() > 5, "the README names options: {named:?}");
    for name in named {
        assert!(known.contains(&name), "`{name}` in the README is no option");
    }
}

/// The commands in the README's blocks: lines that start with `hotrun`, or run it through cargo.
fn readme_commands() -> Vec<String> {
    let readme = read("README.md");
    let blocks = readme.split("```").skip(1).step_by(2);
    blocks
        .flat_map(str::lines)
        .filter_map(|line| match line.strip_prefix("cargo run --release -- ") {
            Some(rest) => Some(format!("hotrun {rest}")),
            None => line.starts_with("hotrun").then(|| line.to_owned()),
        })
        .collect()
}

#[test]
fn the_readme_shows_commands_that_are_understood() {
    let commands = readme_commands();
    assert!(
        commands.len() > 5,
        "the README shows commands: {commands:?}"
    );
    for line in commands {
        let line = line.split("   #").next().unwrap();
        let words = shlex::split(line).unwrap_or_else(|| panic!("`{line}` is no shell line"));
        let words = words
            .into_iter()
            .take_while(|word| word != ">")
            .map(OsString::from);
        if let Err(error) = cli::parse(words) {
            panic!("`{line}`: {}", cli::explain(&error).message);
        }
    }
}

#[test]
fn the_readme_starts_with_the_two_commands_that_set_it_up() {
    let readme = read("README.md");
    let mut commands = readme
        .split("```")
        .skip(1)
        .step_by(2)
        .flat_map(str::lines)
        .filter(|line| line.starts_with("cargo "));
    assert_eq!(
        commands.next(),
        Some("cargo run --release -- -C tests/apps/axum -- cargo run")
    );
    assert_eq!(commands.next(), Some("cargo test"));
}

#[test]
fn the_examples_of_the_help_are_understood() {
    let help = cli::command().render_long_help().to_string();
    let examples = help
        .split_once("Examples:\n")
        .unwrap()
        .1
        .split_once("\n\n")
        .unwrap()
        .0;
    for line in examples.lines().map(str::trim) {
        let line = line.split("   ").next().unwrap();
        let words = shlex::split(line)
            .unwrap()
            .into_iter()
            .take_while(|word| word != ">");
        if let Err(error) = cli::parse(words.map(OsString::from)) {
            panic!("`{line}`: {}", cli::explain(&error).message);
        }
    }
}

#[test]
fn the_changelog_has_a_place_for_what_is_new() {
    let changelog = read("CHANGELOG.md");
    assert!(changelog.starts_with("# Changelog\n"));
    let version = format!("## [{}]", env!("CARGO_PKG_VERSION"));
    assert!(changelog.contains("## [Unreleased]") || changelog.contains(&version));
}

/// Runs the ignored test below in a process of its own with these variables set.
fn with_variables(case: &str, variables: &[(&str, &str)]) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "variables_are_read",
            "--include-ignored",
            "--nocapture",
        ])
        .env("VARIABLES_CASE", case)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{case}: {text}"
    );
}

#[test]
fn variables_set_options_and_the_command_line_wins() {
    let several = [
        ("HOTRUN_CLEAR", "1"),
        ("HOTRUN_WHY", "0"),
        ("HOTRUN_VERBOSE", "2"),
        ("HOTRUN_ENV", "A=1\nB=2"),
        ("HOTRUN_IGNORE", "*.{log,tmp}\n*.db"),
        ("HOTRUN_LISTEN", ""),
        ("HOTRUN_STOP_TIMEOUT", "1s"),
    ];
    with_variables("several", &several);
    with_variables("wrong", &[("HOTRUN_STOP_SIGNAL", "TREM")]);
}

#[test]
#[ignore = "run by the test above, with variables set"]
fn variables_are_read() {
    let parse = |line: &str| cli::parse(line.split(' ').map(OsString::from));
    match std::env::var("VARIABLES_CASE").as_deref() {
        Ok("several") => {
            let cli = parse("hotrun -q --stop-timeout 2s x").unwrap();
            assert!(cli.clear && !cli.why && cli.listen.is_empty());
            assert!(cli.quiet && cli.verbose == 0, "the command line wins");
            assert_eq!(cli.stop_timeout.as_secs(), 2);
            assert_eq!(cli.env, ["A=1", "B=2"]);
            assert_eq!(cli.ignore, ["*.{log,tmp}", "*.db"]);
        }
        Ok("wrong") => {
            let hints = cli::explain(&parse("hotrun x").unwrap_err()).hints;
            let origin = "the value comes from the environment variable `HOTRUN_STOP_SIGNAL`";
            assert_eq!(hints, ["did you mean `TERM`?", origin]);
        }
        Ok(_) | Err(_) => {}
    }
}
