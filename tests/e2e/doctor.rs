//! Tests of `--doctor`.

use std::process::Command;

use crate::harness::Project;
use crate::harness::run::without_cargo;

/// Runs `--doctor`, checks that the report fits on a screen of 80 × 24 characters, and returns it with the exit code.
fn doctor(line: &str, variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let project = Project::new();
    let mut shell = Command::new("/bin/sh");
    without_cargo(&mut shell);
    let line = format!("{line} exec \"$0\" --doctor");
    shell.args(["-c", &line, env!("CARGO_BIN_EXE_hotrun")]);
    shell
        .current_dir(project.work())
        .envs(variables.iter().copied());
    let output = shell.output().expect("can start hotrun");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).expect("the report is UTF-8");
    assert!(text.lines().count() <= 24, "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    project.assert_untouched(&[]);
    (output.status.code(), text)
}

/// The report's line for a check, and the hint below that line, if there is one.
#[track_caller]
fn finding(text: &str, name: &str) -> String {
    let is_it = |line: &&str| line.get(9..).is_some_and(|rest| rest.starts_with(name));
    let mut lines = text.lines().skip_while(|line| !is_it(line));
    let found = lines
        .next()
        .unwrap_or_else(|| panic!("no line for `{name}` in: {text}"));
    let hint = lines.next().filter(|line| line.contains("->"));
    format!("{found}\n{}", hint.unwrap_or_default())
}

#[test]
fn every_check_passes_on_the_test_machine() {
    let (code, text) = doctor("", &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.ends_with("everything that hotrun needs works\n"),
        "{text}"
    );
    assert!(!text.contains("fails"), "{text}");
    for name in [
        "kernel",
        "own sockets",
        "switching",
        "changes",
        "open files",
        "terminal",
    ] {
        finding(&text, name);
    }
    assert!(finding(&text, "cargo").contains("works"), "{text}");
}

#[test]
fn every_failure_has_a_line_and_a_hint() {
    for (refusal, name, words) in [
        ("kernel", "kernel", "is older than 5.19"),
        ("seccomp", "own sockets", "a seccomp filter is refused"),
        ("busy", "own sockets", "another hotrun"),
        ("pidfd", "own sockets", "the kernel refuses `pidfd_getfd`"),
    ] {
        let (code, text) = doctor("", &[("HOTRUN_TEST_REFUSE", refusal)]);
        assert_eq!(code, Some(1), "{refusal}: {text}");
        let found = finding(&text, name);
        assert!(
            found.contains("fails") && found.contains(words),
            "{refusal}: {text}"
        );
        let has_hint = found.contains("--listen") || found.contains("SYS_PTRACE");
        assert!(has_hint, "{refusal}: {text}");
    }
}

#[test]
fn a_low_descriptor_limit_fails_the_check() {
    let (code, text) = doctor("ulimit -n 100;", &[]);
    assert_eq!(code, Some(1), "{text}");
    let found = finding(&text, "open files");
    assert!(
        found.contains("fails") && found.contains("ulimit -n 4096"),
        "{text}"
    );
}

#[test]
fn cargo_is_optional() {
    let (code, text) = doctor("", &[("PATH", "/nowhere")]);
    assert_eq!(code, Some(0), "{text}");
    let found = finding(&text, "cargo");
    assert!(
        found.contains("note") && found.contains("rustup.rs"),
        "{text}"
    );
}
