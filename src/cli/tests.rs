use super::*;

fn try_parse(line: &str) -> Result<Cli, Mistake> {
    let args = std::iter::once("hotrun").chain(line.split_whitespace());
    parse(args.map(OsString::from)).map_err(|error| explain(&error))
}

fn mistake(line: &str) -> Mistake {
    try_parse(line).expect_err("the command line is wrong")
}

#[test]
fn clap_finds_no_contradiction_in_the_options() {
    command().debug_assert();
}

#[test]
fn the_defaults_are_those_of_the_help() {
    let cli = try_parse("").unwrap();
    assert_eq!(cli.debounce, Duration::from_millis(20));
    assert_eq!(cli.ready_timeout, Duration::from_secs(60));
    assert_eq!(cli.stop_timeout, Duration::from_secs(10));
    assert_eq!(cli.stop_signal, Signal::SIGTERM);
    assert_eq!(cli.when_busy, WhenBusy::Cancel);
    assert_eq!(cli.ready, "auto");
    assert!(cli.command.is_empty());
}

#[test]
fn every_option_has_its_variable() {
    assert_eq!(variable("stop-timeout"), "HOTRUN_STOP_TIMEOUT");
    for arg in command().get_arguments().filter(|arg| !arg.is_positional()) {
        let long = arg.get_long().expect("every option has a long name");
        let name = arg
            .get_env()
            .map(|name| name.to_string_lossy().into_owned());
        assert_eq!(name, (!asks_for_text(arg)).then(|| variable(long)));
    }
}

#[test]
fn every_option_has_help_under_a_heading() {
    for arg in command().get_arguments().filter(|arg| !arg.is_positional()) {
        assert!(arg.get_help().is_some(), "{} has no help", arg.get_id());
        assert!(
            arg.get_help_heading().is_some(),
            "{} has no heading",
            arg.get_id()
        );
    }
}

#[test]
fn the_command_keeps_its_own_options() {
    let cli = try_parse("-l 3000 -- cargo run -q --release -- --port 1").unwrap();
    assert_eq!(cli.listen, ["3000"]);
    assert_eq!(
        cli.command,
        ["cargo", "run", "-q", "--release", "--", "--port", "1"]
    );
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
fn repeatable_options_add_up() {
    let cli = try_parse("-w a -w b -e rs,toml -e html -E A=1 -E B=2 -vv").unwrap();
    assert_eq!(cli.watch, [PathBuf::from("a"), PathBuf::from("b")]);
    assert_eq!(cli.exts, ["rs", "toml", "html"]);
    assert_eq!(cli.env, ["A=1", "B=2"]);
    assert_eq!(cli.verbose, 2);
}

#[test]
fn an_unknown_option_gets_the_nearest_one() {
    let mistake = mistake("--stop-timout 3s -- x");
    assert_eq!(mistake.message, "unknown option `--stop-timout`");
    assert_eq!(mistake.hints, ["did you mean `--stop-timeout`?"]);
}

#[test]
fn an_option_of_a_later_version_is_unknown() {
    for option in ["--undo", "--teleport"] {
        assert_eq!(
            mistake(option).message,
            format!("unknown option `{option}`")
        );
    }
}

#[test]
fn a_wrong_value_gets_the_option_the_value_what_is_allowed_and_the_nearest() {
    let wrong = mistake("--debounce 10 -- x");
    assert_eq!(
        wrong.message,
        "invalid value `10` for `--debounce <DURATION>`: \
         a duration is a number and a unit, as in `250ms`, `10s` or `1m30s`"
    );
    assert_eq!(wrong.hints, ["did you mean `10s`?"]);

    let wrong = mistake("--when-busy cancl -- x");
    assert_eq!(
        wrong.message,
        "invalid value `cancl` for `--when-busy <WHAT>`: use `cancel` or `queue`"
    );
    assert_eq!(wrong.hints, ["did you mean `cancel`?"]);

    let wrong = mistake("--stop-signal SIGTREM -- x");
    assert_eq!(
        wrong.message,
        "invalid value `SIGTREM` for `--stop-signal <SIGNAL>`: \
         a signal is a name or a number, as in `TERM`, `SIGTERM` or `15`"
    );
    assert_eq!(wrong.hints, ["did you mean `TERM`?"]);
}

#[test]
fn polling_is_a_switch_and_a_pause() {
    let poll = |words: &str| try_parse(words).unwrap().poll;
    assert_eq!(poll("cargo run"), None);
    assert_eq!(poll("--poll cargo run"), Some(Poll::Always));
    assert_eq!(poll("--poll=off"), Some(Poll::IfNeeded));
    let pause = Duration::from_secs(2);
    assert_eq!(poll("--poll=2s -- x"), Some(Poll::Every(pause)));
    let wrong = mistake("--poll=0s");
    assert!(
        wrong.message.ends_with("a pause is at least `10ms`"),
        "{wrong:?}"
    );
    assert_eq!(mistake("--poll=2").hints, ["did you mean `2s`?"]);
}

#[test]
fn a_missing_value_is_named() {
    let wrong = mistake("--ready-timeout");
    assert!(wrong.message.contains("--ready-timeout"), "{wrong:?}");
}

#[test]
fn quiet_and_verbose_exclude_each_other() {
    assert_eq!(
        mistake("-q -v").message,
        "`--quiet` and `--verbose` exclude each other"
    );
}
