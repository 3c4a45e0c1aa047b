use std::fs;

use tempfile::TempDir;

use super::*;
use crate::watch::{action_for, source_path};
use std::time::Duration;

fn read_in(directory: &Path, words: &[&str]) -> Result<Config, Failure> {
    let directory = directory.to_str().unwrap();
    let args = ["hotrun", "-C", directory]
        .into_iter()
        .chain(words.iter().copied());
    match read(&args.map(OsString::from).collect::<Vec<_>>())? {
        Task::Run(config) => Ok(*config),
        Task::Print(text) => panic!("printed {}", String::from_utf8_lossy(&text)),
        Task::Doctor(directory) => panic!("checked the system in {}", directory.display()),
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
fn the_command_lines_in_hints_are_valid() {
    let directory = empty();
    for words in [&["--build", "make"][..], &[]] {
        let failure = read_in(directory.path(), words).err().unwrap();
        let hint = failure.first_hint().unwrap();
        let line = hint
            .split('`')
            .find(|one| one.starts_with("hotrun "))
            .unwrap();
        let line = shlex::split(line).unwrap();
        let line: Vec<&str> = line.iter().skip(1).map(String::as_str).collect();
        read_in(directory.path(), &line).expect(&hint);
    }
}

#[test]
fn the_default_command_in_a_package_is_cargo_run() {
    let package = empty();
    fs::write(package.path().join("Cargo.toml"), "").unwrap();
    let inner = package.path().join("src");
    fs::create_dir(&inner).unwrap();
    assert_eq!(read_in(&inner, &[]).unwrap().cli.command, ["cargo", "run"]);
}

#[test]
fn without_a_command_or_a_package_there_is_nothing_to_run() {
    let failure = read_in(empty().path(), &[]).unwrap_err();
    assert!(
        failure
            .message()
            .starts_with("nothing to run: no COMMAND given and no `Cargo.toml` in "),
        "{failure}"
    );
    assert!(
        failure.to_string().contains("hint: add a COMMAND"),
        "{failure}"
    );
    assert_eq!(failure.exit_code(), 2);
}

#[test]
fn the_build_option_needs_a_command() {
    assert_eq!(
        message(&["-b", "make"]),
        "`--build` needs a COMMAND to start after the build"
    );
    assert!(read_in(empty().path(), &["-b", "make", "--", "./app"]).is_ok());
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
    assert_eq!(config.cli.watch, [workdir.join("web")]);
    assert_eq!(config.cli.env_file, Some(workdir.join(".env")));
}

fn workdir_error(path: &str) -> String {
    let failure = read_in(Path::new(path), &["--", "x"]).unwrap_err();
    assert!(failure.to_string().contains("hint: "), "{failure}");
    failure.message().to_owned()
}

#[test]
fn the_error_for_a_missing_path_names_the_option() {
    assert_eq!(
        message(&["-w", "nowhere", "--", "x"]),
        "`--watch nowhere`: no such file or directory"
    );
    let text = message(&["--env-file", "nowhere", "--", "x"]);
    assert!(
        text.starts_with("cannot read `--env-file ") && text.ends_with("nowhere`: no such file"),
        "{text}"
    );
    assert_eq!(
        workdir_error("/nowhere"),
        "`--workdir /nowhere`: no such directory"
    );
    assert_eq!(
        workdir_error("/dev/null"),
        "`--workdir /dev/null`: not a directory"
    );
}

#[test]
fn env_overrides_the_environment_which_overrides_the_env_file() {
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
            pair("NEW", "file"),
            pair("KEPT", "shell"),
            pair("WON", "flag")
        ]
    );

    fs::write(directory.path().join(".env"), "NEW=again\n").unwrap();
    assert!(
        config
            .environment([])
            .unwrap()
            .contains(&pair("NEW", "again")),
        "the file is read again"
    );
    fs::remove_file(directory.path().join(".env")).unwrap();
    assert!(config.environment([]).is_err());
}

#[test]
fn an_env_file_must_be_a_regular_file() {
    let directory = empty();
    let fifo = directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let pipe = std::io::pipe().unwrap().0;
    let descriptor = format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&pipe));
    for path in [fifo.to_str().unwrap(), &descriptor, "/dev/null", "/"] {
        let failure = read_in(directory.path(), &["--env-file", path, "--", "x"]).unwrap_err();
        let expected = format!("cannot read `--env-file {path}`: not a regular file (");
        assert!(failure.message().starts_with(&expected), "{failure}");
    }
}

#[test]
fn the_policy_contains_the_option_values() {
    let words = [
        "--stop-first",
        "--when-busy",
        "queue",
        "--fresh=strict",
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
        fresh: Fresh::Strict,
        ready_timeout: Duration::from_secs(60),
        stop_timeout: Duration::from_secs(3),
        // Without `--listen` sockets, the program may be a job, not a server.
        passes_sockets: false,
        ..Policy::default()
    };
    assert_eq!(policy, expected);
}

#[test]
fn with_a_socket_the_default_options_result_in_the_default_policy() {
    let config = read_in(empty().path(), &["--listen", "3000", "--", "x"]).unwrap();
    assert_eq!(config.policy(true, true), Policy::default());
}

#[test]
fn listen_pid_depends_on_the_option_and_the_command() {
    let sets = |setting: &str, program: &str| {
        let config = read_in(empty().path(), &["--listen-pid", setting, "--", "x"]).unwrap();
        config.sets_listen_pid(&[program.into()])
    };
    assert!(sets("auto", "./app") && !sets("auto", "npm"));
    assert!(sets("always", "npm") && !sets("never", "./app"));
}

#[test]
fn generations_overlap_only_if_hotrun_manages_their_sockets() {
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
fn help_version_and_man_page_are_printed() {
    for (word, expected) in [
        ("-h", "--stop-timeout"),
        ("--help", "HOTRUN_STOP_TIMEOUT"),
        ("-V", "hotrun 0."),
        ("--generate=man", ".TH"),
    ] {
        match read(&["hotrun", word].map(OsString::from)).unwrap() {
            Task::Print(text) => {
                assert!(String::from_utf8_lossy(&text).contains(expected), "{word}");
            }
            Task::Run(_) | Task::Doctor(_) => panic!("`{word}` should only print"),
        }
    }
}

#[test]
fn without_adoption_a_readiness_rule_that_needs_a_socket_requires_listen() {
    let read = |ready: &str, more: &[&str]| {
        let words = [&["--adopt", "never", "--ready", ready], more, &["--", "x"]].concat();
        read_in(empty().path(), &words).map(drop)
    };
    for ready in ["http:/", "tcp", "listen"] {
        let failure = read(ready, &[]).unwrap_err();
        assert_eq!(
            failure.message(),
            format!("`--ready {ready}` needs a socket from `--listen`")
        );
        assert_eq!(failure.exit_code(), 2);
        assert_eq!(read(ready, &["-l", "3000"]), Ok(()));
    }
    for ready in ["auto", "notify", "log:x", "exec:true", "delay:1s"] {
        assert_eq!(read(ready, &[]), Ok(()), "{ready}");
    }
}

#[test]
fn without_adoption_a_warm_up_by_a_request_requires_listen() {
    let read = |how: &str, more: &[&str]| {
        let words = [&["--adopt", "never", "--warm-up", how], more, &["--", "x"]].concat();
        read_in(empty().path(), &words).map(drop)
    };
    let failure = read("http:/warm", &[]).unwrap_err();
    assert_eq!(
        failure.message(),
        "`--warm-up http:/warm` needs a socket from `--listen`"
    );
    assert_eq!(read("http:/warm", &["-l", "3000"]), Ok(()));
    assert_eq!(read("exec:true", &[]), Ok(()));
}

#[test]
fn keeping_the_old_generation_requires_that_generations_overlap() {
    let keep = |words: &[&str]| {
        let words = [&["--keep", "5m"], words, &["--", "x"]].concat();
        read_in(empty().path(), &words).map(|config| config.policy(false, true).keep)
    };
    assert_eq!(keep(&[]), Ok(Duration::from_secs(300)));
    assert_eq!(keep(&["-l", "3000"]), Ok(Duration::from_secs(300)));
    assert_eq!(keep(&["--stop-first"]).unwrap_err().exit_code(), 2);
    let failure = keep(&["--adopt", "never"]).unwrap_err();
    assert_eq!(failure.message(), "`--keep` needs a socket from `--listen`");
}

#[test]
fn sources_have_rules_and_distinct_names() {
    let words = [
        "--source",
        "a=x",
        "--source",
        "b=y",
        "--on",
        "@b=ignore",
        "x",
    ];
    let config = read_in(empty().path(), &words).unwrap();
    let action = |name| action_for(&config.rules, &source_path(name));
    assert_eq!(action("a"), Some(&RuleAction::Restart));
    assert_eq!(action("b"), Some(&RuleAction::Ignore));
    let twice = message(&["--source", "a=x", "--source", "a=y", "x"]);
    assert_eq!(twice, "two sources have the name `a`");
    let unknown = message(&["--source", "a=x", "--on", "@b=ignore", "x"]);
    assert_eq!(unknown, "`--on`: there is no source `b`");
    for words in [
        &["--on", "@b=ignore", "x"][..],
        &["--source", "a=x", "--on", "./@b=ignore", "x"],
        &["--source", "a=x", "--on", "@b/*=ignore", "x"],
    ] {
        read_in(empty().path(), words).expect("the rule is for files");
    }
    for wrong in ["a", "=x", "a=", "a b=x"] {
        let failure = read_in(empty().path(), &["--source", wrong, "x"]).unwrap_err();
        assert!(failure.to_string().contains("as in `cfg"), "{failure}");
    }
}

#[test]
fn options_for_a_share_that_make_no_sense_together_are_refused() {
    let refused = |words: &[&str]| message(&[words, &["--", "x"]].concat());
    for (words, reason) in [
        (&["--share-every", "1s"][..], "needs several steps"),
        (
            &["--share", "10%", "--share-every", "1s"],
            "needs several steps",
        ),
        (
            &["--share", "1%,2%", "--share-every", "0s"],
            "greater than 0",
        ),
        (&["--share-check", "true"], "needs `--share`"),
        (
            &["--share", "10%", "--stop-first"],
            "two generations at a time",
        ),
        (&["--share", "10%", "--fresh"], "`--fresh` never does"),
        (&["--share", "120%"], "120% is more than all connections"),
        (&["--share", "50%,10%"], "10% follows 50%"),
        (&["--share", "0%"], "a share of 0% is none"),
        (&["--share", "some"], "use percentages"),
        (&["--preview", "unix:/tmp/x"], "needs an IP address"),
        (&["--preview", "x"], "`--preview`: "),
    ] {
        let text = refused(words);
        assert!(text.contains(reason), "{words:?}: {text}");
    }
    let words = [
        "--share",
        "10%,50%",
        "--share-every",
        "1s",
        "--preview",
        "3001",
        "--",
        "x",
    ];
    let config = read_in(empty().path(), &words).unwrap();
    assert_eq!(config.preview, Some(([127, 0, 0, 1], 3001).into()));
    assert_eq!(config.policy(true, true).share.to_string(), "10%,50%");
}

#[test]
fn options_that_contradict_several_instances_are_refused() {
    for options in [
        &["--fresh"][..],
        &["--share", "10%"],
        &["--stop-first"],
        &["--keep", "1m"],
    ] {
        let with = |count| [&["--instances", count], options, &["--", "x"]].concat();
        let text = message(&with("2"));
        assert!(
            text.contains(options[0]) && text.contains("`--instances`"),
            "{text}"
        );
        assert!(read_in(empty().path(), &with("1")).is_ok());
    }
}
