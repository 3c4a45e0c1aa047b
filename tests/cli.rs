//! Checks that the completions, the man page, the README and the guide agree with the options.
//!
//! After changing an option, run `UPDATE_COMPLETIONS=1 cargo test --test cli`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use clap::ValueEnum;
use clap_complete::{Generator, Shell};
use hotrun::cli::{self, Generate};
use hotrun::guide::PAGES;
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
fn completions_are_up_to_date() {
    for shell in shells() {
        let name = format!("{shell:?}")
            .to_lowercase()
            .parse::<Shell>()
            .unwrap()
            .file_name("hotrun");
        let path = root().join("completions").join(name);
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
        "`completions` contains an unexpected file"
    );
}

#[test]
fn the_man_page_contains_every_option_and_every_page_of_the_guide() {
    let page = String::from_utf8(cli::generate(Generate::Man).unwrap())
        .unwrap()
        .replace('\\', "");
    for long in option_names().iter().filter(|name| name.starts_with("--")) {
        assert!(page.contains(long), "`{long}` is not in the man page");
    }
    for guide in PAGES {
        let title = guide.title().to_uppercase();
        let sections = [format!(".SH {title}\n"), format!(".SH \"{title}\"\n")];
        let topic = guide.topic;
        assert!(
            sections.iter().any(|section| page.contains(section)),
            "`{topic}` is not in the man page"
        );
    }
}

/// The long and short names of all options.
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

/// The README and the guide, except for the page that also names other tools' options.
fn documents() -> Vec<(&'static str, String)> {
    let pages = PAGES.iter().filter(|page| page.topic != "migrating");
    let mut documents: Vec<_> = pages
        .map(|page| (page.topic, page.text.to_owned()))
        .collect();
    documents.push(("README.md", read("README.md")));
    documents
}

#[test]
fn the_readme_and_the_guide_name_only_existing_options() {
    let known = option_names();
    let span = Regex::new(r"`(--?[A-Za-z][A-Za-z-]*)[^`]*`").unwrap();
    let mut count = 0;
    for (name, text) in documents() {
        for found in span.captures_iter(&text) {
            assert!(
                known.contains(&found[1]),
                "{name}: there is no option `{}`",
                &found[1]
            );
            count += 1;
        }
    }
    assert!(count > 20, "found only {count} options");
}

/// Parses the command lines in the code blocks that run hotrun, directly or through cargo.
#[test]
fn the_commands_in_the_readme_and_the_guide_are_valid() {
    let mut count = 0;
    for (name, text) in documents() {
        for line in text.split("```").skip(1).step_by(2).flat_map(str::lines) {
            let words = match line.strip_prefix("cargo run --release -- ") {
                Some(rest) => format!("hotrun {rest}"),
                None if line.starts_with("hotrun") => line.to_owned(),
                None => continue,
            };
            check_command(&words).unwrap_or_else(|error| panic!("{name}: `{line}`: {error}"));
            count += 1;
        }
    }
    assert!(count > 10, "found only {count} commands");
}

/// Parses a command line, up to a comment or a redirection.
fn check_command(line: &str) -> Result<(), String> {
    let line = line.split("   ").next().unwrap_or(line);
    let words = shlex::split(line).ok_or("not a shell command")?;
    let words = words.into_iter().take_while(|word| word != ">");
    let args: Vec<_> = words.map(OsString::from).collect();
    if let Some(page) = cli::guide(&args, false) {
        return page.map(drop).map_err(|failure| failure.to_string());
    }
    let parsed = cli::parse(args).map(drop);
    parsed.map_err(|error| cli::explain(&error).to_string())
}

#[test]
fn the_first_commands_in_the_readme_run_the_example_and_the_tests() {
    let readme = read("README.md");
    let mut commands = readme
        .split("```")
        .skip(1)
        .step_by(2)
        .flat_map(str::lines)
        .filter(|line| line.starts_with("cargo "));
    assert_eq!(
        commands.next(),
        Some("cargo run --release -- cargo run --example web")
    );
    assert_eq!(commands.next(), Some("cargo test"));
}

/// Without `--locked`, `cargo install` ignores the lock file.
#[test]
fn the_readme_and_the_guide_install_with_the_lock_file() {
    let mut count = 0;
    for (name, text) in documents() {
        for line in text.lines().filter(|line| line.contains("cargo install")) {
            assert!(line.contains(" --locked"), "{name}: {line}");
            count += 1;
        }
    }
    assert!(count > 0);
}

#[test]
fn the_examples_in_the_help_are_valid() {
    let help = cli::command().render_long_help().to_string();
    let examples = help
        .split_once("Examples:\n")
        .unwrap()
        .1
        .split_once("\n\n")
        .unwrap()
        .0;
    for line in examples.lines() {
        let line = line.strip_prefix("  ").expect("examples are indented");
        check_command(line).unwrap_or_else(|error| panic!("`{line}`: {error}"));
    }
}

#[test]
fn the_changelog_lists_unreleased_changes_and_then_this_version() {
    let changelog = read("CHANGELOG.md");
    assert!(changelog.starts_with("# Changelog\n"));
    let heading = Regex::new(r"(?m)^## \[(.+?)\]").unwrap();
    let mut sections = heading
        .captures_iter(&changelog)
        .map(|found| found[1].to_owned());
    assert_eq!(sections.next().as_deref(), Some("Unreleased"));
    // Before the first release, there is no other section.
    if let Some(newest) = sections.next() {
        assert_eq!(newest, env!("CARGO_PKG_VERSION"));
    }
}

#[test]
fn the_error_for_an_unknown_variable_names_a_similar_one() {
    let check = |name: &str| cli::check_variables([OsString::from(name)]);
    for name in [
        "HOTRUN",
        "HOTRUN_LISTEN",
        "HOTRUN_STOP_TIMEOUT",
        "HOTRUN_GENERATION",
        "HOTRUN_INSTANCE",
        "PATH",
    ] {
        assert_eq!(check(name), Ok(()), "{name}");
    }
    let failure = check("HOTRUN_LISEN").unwrap_err();
    assert_eq!(failure.exit_code(), 2);
    let hint = failure.first_hint().unwrap();
    assert!(hint.contains("`HOTRUN_LISTEN`") && hint.contains("`unset HOTRUN_LISEN`"));
    let mut hotrun = Command::new(env!("CARGO_BIN_EXE_hotrun"));
    let output = hotrun
        .args(["--generate", "man"])
        .env("HOTRUN_LISEN", "3000")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("`HOTRUN_LISTEN`"));
}

/// The completions that bash offers for the last of these words.
fn completed(words: &[&str]) -> Vec<String> {
    let script = root().join("completions/hotrun.bash");
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let last = words.len() - 1;
    let script = format!(
        "source '{}'; COMP_WORDS=({}); COMP_CWORD={last}\n\
         _hotrun hotrun '{}' '{}' 2>/dev/null; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.display(),
        quoted.join(" "),
        words[last],
        words[last - 1],
    );
    let output = Command::new("bash")
        .args(["--norc", "-c", &script])
        .output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn bash_completes_options_values_and_commands() {
    assert_eq!(completed(&["hotrun", "--ui", "=", "p"]), ["plain"]);
    assert_eq!(
        completed(&["hotrun", "--color", "="]),
        ["auto", "always", "never"]
    );
    assert_eq!(completed(&["hotrun", "--ready", "no"]), ["notify"]);
    assert_eq!(
        completed(&["hotrun", "--stop-signal", "US"]),
        ["USR1", "USR2"]
    );
    assert_eq!(completed(&["hotrun", "--stop-f"]), ["--stop-first"]);
    let commands = completed(&["hotrun", "-c", "--", "car"]);
    assert!(commands.contains(&"cargo".into()), "{commands:?}");
}

#[test]
fn the_man_page_has_the_usual_sections_and_keeps_the_line_breaks_of_examples() {
    let page = String::from_utf8(cli::generate(Generate::Man).unwrap()).unwrap();
    for section in ["EXAMPLES", "ENVIRONMENT", "SIGNALS"] {
        assert!(page.contains(&format!(".SH {section}\n")), "{section}");
    }
    assert!(page.contains(".SH \"EXIT STATUS\"\n") && !page.contains(".SH EXTRA"));
    let examples = page.split_once(".SH EXAMPLES\n").unwrap().1;
    assert!(examples.starts_with(".nf\nhotrun "), "{examples}");
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    for option in ["--generate=man", "--help"] {
        let full = fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let hotrun = Command::new(env!("CARGO_BIN_EXE_hotrun"))
            .arg(option)
            .stdout(full)
            .output();
        let output = hotrun.unwrap();
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(
            text.starts_with("error: cannot write the output: "),
            "{text}"
        );
    }
}

/// Runs the ignored test `variables_are_read` in a process of its own that has these variables.
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
fn variables_set_options_and_the_command_line_overrides_them() {
    let several = [
        ("HOTRUN_CLEAR", "1"),
        ("HOTRUN_WHY", "0"),
        ("HOTRUN_VERBOSE", "2"),
        ("HOTRUN_ENV", "A=1\n\nB=2\n"),
        ("HOTRUN_IGNORE", "*.{log,tmp}\n*.db"),
        ("HOTRUN_LISTEN", ""),
        ("HOTRUN_STOP_TIMEOUT", "1s"),
    ];
    with_variables("several", &several);
    with_variables("wrong", &[("HOTRUN_STOP_SIGNAL", "TREM")]);
    with_variables("maybe", &[("HOTRUN_WHY", "maybe")]);
}

#[test]
#[ignore = "runs only in the process that `with_variables` starts"]
fn variables_are_read() {
    let parse = |line: &str| cli::parse(line.split(' ').map(OsString::from));
    match std::env::var("VARIABLES_CASE").as_deref() {
        Ok("several") => {
            let cli = parse("hotrun -q --stop-timeout 2s x").unwrap();
            assert!(cli.clear && !cli.why && cli.listen.is_empty());
            assert!(cli.quiet);
            assert_eq!(
                cli.stop_timeout.as_secs(),
                2,
                "the command line overrides variables"
            );
            assert_eq!(cli.env, ["A=1", "B=2"]);
            assert_eq!(cli.ignore, ["*.{log,tmp}", "*.db"]);
        }
        Ok("maybe") => {
            let failure = cli::explain(&parse("hotrun x").unwrap_err());
            assert!(
                failure.message().contains("'maybe' for '--why'"),
                "{failure}"
            );
        }
        Ok("wrong") => {
            let failure = cli::explain(&parse("hotrun x").unwrap_err());
            assert!(
                failure.message().contains("'TREM' for '--stop-signal"),
                "{failure}"
            );
            let origin = "the value comes from the environment variable `HOTRUN_STOP_SIGNAL`";
            assert!(failure.to_string().contains(origin), "{failure}");
        }
        Ok(_) | Err(_) => {}
    }
}
