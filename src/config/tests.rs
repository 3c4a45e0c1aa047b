use std::fs;

use tempfile::TempDir;

use super::*;

fn read_in(directory: &Path, words: &[&str]) -> Result<Config, Failure> {
    let directory = directory.to_str().unwrap();
    let args = ["hotrun", "-C", directory]
        .into_iter()
        .chain(words.iter().copied());
    match read(args.map(OsString::from))? {
        Request::Run(config) => Ok(*config),
        Request::Print(text) => panic!("printed {}", String::from_utf8_lossy(&text)),
        Request::Examine(directory) => panic!("examined {}", directory.display()),
    }
}

fn empty() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn message(words: &[&str]) -> String {
    read_in(empty().path(), words)
        .unwrap_err()
        .message()
        .to_owned()
}

#[test]
fn a_package_without_a_command_is_run_by_cargo() {
    let package = empty();
    fs::write(package.path().join("Cargo.toml"), "").unwrap();
    let inner = package.path().join("src");
    fs::create_dir(&inner).unwrap();
    assert_eq!(read_in(&inner, &[]).unwrap().argv, ["cargo", "run"]);
}

#[test]
fn no_package_and_no_command_says_what_to_do() {
    let failure = read_in(empty().path(), &[]).unwrap_err();
    assert!(
        failure
            .message()
            .starts_with("no COMMAND, and no `Cargo.toml` in "),
        "{failure}"
    );
    assert!(
        failure.to_string().contains("hint: say what to run"),
        "{failure}"
    );
    assert_eq!(failure.exit_code(), 2);
}

#[test]
fn a_build_alone_starts_nothing() {
    assert_eq!(
        message(&["-b", "make"]),
        "`--build` needs a COMMAND to start afterwards"
    );
}

#[test]
fn paths_are_relative_to_the_working_directory() {
    let directory = empty();
    fs::create_dir(directory.path().join("web")).unwrap();
    fs::write(directory.path().join(".env"), "A=1\n").unwrap();
    let config = read_in(
        directory.path(),
        &["-w", "web", "--env-file", ".env", "--", "x"],
    )
    .unwrap();
    let workdir = directory.path().canonicalize().unwrap();
    assert_eq!(config.workdir, workdir);
    assert_eq!(config.watch, [workdir.join("web")]);
    assert_eq!(config.env_file, Some(workdir.join(".env")));
}

fn in_no_directory(path: &str) -> String {
    let failure = read_in(Path::new(path), &["--", "x"]).unwrap_err();
    assert!(failure.to_string().contains("hint: "), "{failure}");
    failure.message().to_owned()
}

#[test]
fn what_does_not_exist_is_named() {
    assert_eq!(
        message(&["-w", "nowhere", "--", "x"]),
        "`nowhere` of `--watch`: no such file or directory"
    );
    let text = message(&["--env-file", "nowhere", "--", "x"]);
    assert!(
        text.ends_with("nowhere` of `--env-file`: no such file or directory"),
        "{text}"
    );
    assert_eq!(
        in_no_directory("/nowhere"),
        "`/nowhere` of `--workdir`: no such file or directory"
    );
    assert_eq!(
        in_no_directory("/dev/null"),
        "`/dev/null` of `--workdir` is not a directory"
    );
}

#[test]
fn the_environment_keeps_what_is_set_and_env_wins() {
    let directory = empty();
    fs::write(
        directory.path().join(".env"),
        "KEPT=file\nNEW=file\nWON=file\n",
    )
    .unwrap();
    let config = read_in(
        directory.path(),
        &["--env-file", ".env", "-E", "WON=flag", "--", "x"],
    )
    .unwrap();
    let pair = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
    let environment = config
        .environment([pair("KEPT", "shell"), pair("WON", "shell")])
        .unwrap();
    assert_eq!(
        environment,
        [
            pair("KEPT", "shell"),
            pair("NEW", "file"),
            pair("WON", "flag")
        ]
    );

    fs::write(directory.path().join(".env"), "NEW=again\n").unwrap();
    assert!(
        config
            .environment([])
            .unwrap()
            .contains(&pair("NEW", "again")),
        "the file is read at every start"
    );
    fs::remove_file(directory.path().join(".env")).unwrap();
    assert!(config.environment([]).is_err());
}

#[test]
fn an_env_file_that_could_be_read_only_once_is_refused() {
    let directory = empty();
    let fifo = directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let pipe = std::io::pipe().unwrap().0;
    let descriptor = format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&pipe));
    for path in [fifo.to_str().unwrap(), &descriptor, "/dev/null", "/"] {
        let failure = read_in(directory.path(), &["--env-file", path, "--", "x"]).unwrap_err();
        let expected = format!("reading `{path}` of `--env-file`: not a regular file");
        assert_eq!(failure.message(), expected);
        assert!(
            failure.to_string().contains("hint: write it to a file"),
            "{failure}"
        );
    }
}

#[test]
fn the_policy_is_what_was_typed() {
    let words = [
        "--stop-first",
        "--when-busy",
        "queue",
        "--ready-timeout",
        "1m",
        "--stop-timeout",
        "3s",
        "--",
        "x",
    ];
    let policy = read_in(empty().path(), &words)
        .unwrap()
        .policy(false, false);
    let expected = Policy {
        builds: false,
        mode: Mode::StopFirst,
        stop_delay_max: Duration::from_millis(250),
        when_busy: WhenBusy::Queue,
        ready_timeout: Duration::from_secs(60),
        stop_timeout: Duration::from_secs(3),
        // It may be a job.
        passes_sockets: false,
        ..Policy::default()
    };
    assert_eq!(policy, expected);
}

#[test]
fn readiness_by_a_socket_needs_one() {
    let text = message(&["--adopt", "never", "--ready", "tcp", "--", "x"]);
    assert!(text.starts_with("`--ready tcp` needs a socket"), "{text}");
    // It may open one by itself.
    assert!(read_in(empty().path(), &["--ready", "tcp", "--", "x"]).is_ok());
    assert!(read_in(empty().path(), &["-l", "0", "--ready", "tcp", "--", "x"]).is_ok());
}

#[test]
fn every_duration_is_read_alike() {
    let of_ready = |typed: &str| format!("--ready=delay:{typed}");
    let of_another = |typed: &str| format!("--debounce={typed}");
    for right in ["250ms", "1m30s", "1.5s", "0s", "24h", "1m 30s"] {
        let words = [of_ready(right), of_another(right)];
        let config = read_in(empty().path(), &[&words[0], &words[1], "--", "x"]).unwrap();
        assert_eq!(*config.ready, ReadySpec::Delay(config.debounce), "{right}");
    }
    let reason = |option: String| {
        let failure = read_in(empty().path(), &[&option, "--", "x"]).unwrap_err();
        let (_, after) = failure.message().split_once(": a duration is").unwrap();
        let reason = after.split(';').next().unwrap().to_owned();
        let near = failure.to_string();
        let near = near.split("did you mean `").nth(1);
        (
            reason,
            near.map(|near| near.trim_start_matches("delay:").to_owned()),
        )
    };
    for wrong in ["10", "1,5s", "soon", "25h", "1M", "-3s"] {
        let (of_ready, ready_near) = reason(of_ready(wrong));
        let (of_another, another_near) = reason(of_another(wrong));
        assert_eq!(of_ready, of_another, "{wrong}");
        assert_eq!(ready_near, another_near, "{wrong}");
    }
}

#[test]
fn two_run_at_once_only_with_sockets_that_both_can_have() {
    let mode = |words: &[&str], adopts| {
        let config = read_in(empty().path(), words).unwrap();
        config.policy(false, adopts).mode
    };
    assert_eq!(mode(&["--", "x"], false), Mode::StopFirst);
    assert_eq!(mode(&["--", "x"], true), Mode::Auto);
    assert_eq!(mode(&["--stop-first", "--", "x"], true), Mode::StopFirst);
    for adopts in [false, true] {
        assert_eq!(mode(&["-l", "3000", "--", "x"], adopts), Mode::Overlap);
        assert_eq!(
            mode(&["-l", "3000", "--stop-first", "--", "x"], adopts),
            Mode::StopFirst
        );
    }
}

#[test]
fn help_version_and_completions_are_printed() {
    for (word, expected) in [
        ("-h", "--stop-timeout"),
        ("--help", "HOTRUN_STOP_TIMEOUT"),
        ("-V", "hotrun 0."),
        ("--generate=man", ".TH"),
    ] {
        match read(["hotrun", word].map(OsString::from)).unwrap() {
            Request::Print(text) => {
                assert!(String::from_utf8_lossy(&text).contains(expected), "{word}");
            }
            Request::Run(_) | Request::Examine(_) => panic!("{word} runs"),
        }
    }
}
