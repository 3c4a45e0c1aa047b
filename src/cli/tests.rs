use super::*;
use crate::error::Failure;

fn try_parse(line: &str) -> Result<Cli, Failure> {
    let args = std::iter::once("hotrun").chain(line.split_whitespace());
    parse(args.map(OsString::from)).map_err(|error| explain(&error))
}

fn failure(line: &str) -> Failure {
    try_parse(line).expect_err("the command line is rejected")
}

#[test]
fn the_options_are_defined_consistently() {
    command().debug_assert();
}

#[test]
fn options_have_defaults() {
    let cli = try_parse("").unwrap();
    assert_eq!(cli.debounce, Duration::from_millis(20));
    assert_eq!(cli.ready_timeout, Duration::from_secs(60));
    assert_eq!(cli.stop_timeout, Duration::from_secs(10));
    assert_eq!(cli.rollback_within, Duration::from_secs(10));
    assert_eq!(cli.stop_signal, Signal::SIGTERM);
    assert_eq!(cli.when_busy, WhenBusyArg::Cancel);
    assert!(matches!(*cli.ready, ReadySpec::Auto));
    assert!(cli.command.is_empty());
}

#[test]
fn every_option_except_help_and_version_has_an_environment_variable() {
    assert_eq!(variable("stop-timeout"), "HOTRUN_STOP_TIMEOUT");
    for arg in command().get_arguments().filter(|arg| !arg.is_positional()) {
        let long = arg.get_long().expect("every option has a long name");
        let name = arg.get_env().map(|name| name.to_string_lossy());
        let exits = matches!(arg.get_action(), ArgAction::Help | ArgAction::Version);
        let expected = (!exits).then(|| variable(long));
        assert_eq!(name.as_deref(), expected.as_deref());
    }
}

#[test]
fn every_option_has_help_under_a_heading() {
    for arg in command().get_arguments().filter(|arg| !arg.is_positional()) {
        assert!(arg.get_help().is_some(), "{}", arg.get_id());
        assert!(arg.get_help_heading().is_some(), "{}", arg.get_id());
    }
}

#[test]
fn the_short_help_fits_on_a_screen_of_80_by_50() {
    let help = command().term_width(80).render_help().to_string();
    assert!(help.lines().count() <= 50, "{help}");
    for line in help.lines() {
        assert!(line.chars().count() < 80, "{line}");
    }
}

/// The help at a width at which clap wraps nothing.
fn unwrapped_help() -> String {
    command().term_width(10_000).render_long_help().to_string()
}

fn is_table_row(line: &str) -> bool {
    let text = line.trim_start();
    let is_indented = text.len() < line.len();
    is_indented
        && (text.contains("  ") || text.starts_with(['-', '[']) || text.starts_with("hotrun "))
}

/// A fixed line break within a sentence would look ragged at other widths.
#[test]
fn no_sentence_in_the_long_help_has_a_fixed_line_break() {
    let help = unwrapped_help();
    let lines: Vec<_> = help
        .lines()
        .filter(|line| !line.starts_with("Usage:"))
        .collect();
    for pair in lines.windows(2) {
        let [line, next] = [pair[0], pair[1]];
        let continues = !line.trim().is_empty() && !next.trim().is_empty();
        let ends = line.ends_with(['.', ':']) || is_table_row(line) || is_table_row(next);
        assert!(!continues || ends, "{line}\n{next}");
    }
}

#[test]
fn the_long_help_fits_in_80_columns() {
    let help = command().term_width(80).render_long_help().to_string();
    for line in help.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    for line in unwrapped_help().lines().filter(|line| is_table_row(line)) {
        assert!(
            line.chars().count() <= 80,
            "this row would be wrapped: {line}"
        );
    }
}

#[test]
fn the_command_keeps_its_own_options() {
    let cli = try_parse("-l 3000 -- cargo run -q --release -- --port 1").unwrap();
    assert_eq!(cli.listen, ["3000"]);
    let expected = ["cargo", "run", "-q", "--release", "--", "--port", "1"];
    assert_eq!(cli.command, expected);
    assert!(!cli.quiet);
}

#[test]
fn the_command_needs_no_dashes_before_it() {
    let cli = try_parse("-c cargo run --release -v").unwrap();
    assert!(cli.clear);
    assert_eq!(cli.verbose, 0);
    assert_eq!(cli.command, ["cargo", "run", "--release", "-v"]);
}

#[test]
fn repeatable_options_accumulate_their_values() {
    let cli = try_parse("-w a -w b -e rs,toml -e html -E A=1 -E B=2 -vv").unwrap();
    assert_eq!(cli.watch, [PathBuf::from("a"), PathBuf::from("b")]);
    assert_eq!(cli.exts, ["rs", "toml", "html"]);
    assert_eq!(cli.env, ["A=1", "B=2"]);
    assert_eq!(cli.verbose, 2);
}

#[test]
fn values_may_contain_line_breaks() {
    let args = ["hotrun", "-w", "a\nb", "--listen", "unix:a\nb"];
    let on = ["--on", "a\nb=restart", "x"];
    let cli = parse(args.into_iter().chain(on).map(OsString::from)).unwrap();
    assert_eq!(cli.on.len(), 1);
    assert_eq!(cli.watch, [PathBuf::from("a\nb")]);
    assert_eq!(cli.listen, ["unix:a\nb"]);
}

#[test]
fn the_error_for_an_unknown_option_suggests_a_similar_one() {
    let expected = Failure::usage("unexpected argument '--stop-timout' found")
        .hint("a similar argument exists: '--stop-timeout'")
        .hint("to pass '--stop-timout' as a value, use '-- --stop-timout'");
    assert_eq!(failure("--stop-timout 3s -- x"), expected);
}

#[test]
fn the_error_for_an_invalid_value_gives_the_reason() {
    for (line, expected) in [
        (
            "--debounce 100 -- x",
            "'100' for '--debounce <DURATION>': a duration needs a unit, as in `100ms` or `100s`",
        ),
        (
            "--poll=2",
            "'2' for '--poll[=<DURATION>]': a duration needs a unit, as in `2ms` or `2s`",
        ),
        (
            "--ready listening",
            "'listening' for '--ready <HOW>': use `auto`, `listen`, `notify`, `http:/path`, `tcp`, `log:REGEX`, \
             `exec:COMMAND` or `delay:DURATION`",
        ),
        (
            "--stop-signal FOO -- x",
            "'FOO' for '--stop-signal <SIGNAL>': a signal must be a name or a number, as in `TERM`, `SIGTERM` or `15`",
        ),
    ] {
        let expected = Failure::usage(format!("invalid value {expected}"));
        assert_eq!(failure(line), expected, "{line}");
    }
    let message = failure("--when-busy cancl").message().to_owned();
    assert!(
        message.contains("[possible values: cancel, queue]"),
        "{message}"
    );
}

#[test]
fn poll_takes_an_optional_interval() {
    let poll = |line: &str| try_parse(line).unwrap().poll;
    assert_eq!(poll("cargo run"), None);
    assert_eq!(poll("--poll cargo run"), Some(Poll::Always));
    assert_eq!(poll("--poll=off"), Some(Poll::IfNeeded));
    let interval = Duration::from_secs(2);
    assert_eq!(poll("--poll=2s -- x"), Some(Poll::Every(interval)));
    let failure = failure("--poll=0s");
    let reason = "the interval must be at least `10ms`";
    assert!(failure.message().ends_with(reason), "{failure}");
}

#[test]
fn the_error_for_a_missing_value_names_the_option() {
    let failure = failure("--ready-timeout");
    assert!(failure.message().contains("--ready-timeout"), "{failure}");
}
