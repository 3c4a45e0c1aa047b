//! What works here and what does not, on a screenful.

use std::process::Command;

use crate::harness::Project;
use crate::harness::run::without_cargo;

/// Its exit code and what it prints, which fits on a screen.
fn doctor(line: &str, variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let project = Project::new();
    let mut shell = Command::new("/bin/sh");
    without_cargo(&mut shell);
    let line = format!("{line} exec \"$0\" --doctor");
    shell.args(["-c", &line, env!("CARGO_BIN_EXE_hotrun")]);
    shell
        .current_dir(project.work())
        .envs(variables.iter().copied());
    let output = shell.output().expect("hotrun can be started");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).expect("it is text");
    assert!(text.lines().count() <= 24, "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    project.untouched(&[]);
    (output.status.code(), text)
}

/// The line about this, and its remedy.
#[track_caller]
fn about(text: &str, name: &str) -> String {
    let is_it = |line: &&str| line.get(9..).is_some_and(|rest| rest.starts_with(name));
    let mut lines = text.lines().skip_while(|line| !is_it(line));
    let found = lines.next().unwrap_or_else(|| panic!("{name}: {text}"));
    let remedy = lines.next().filter(|line| line.contains("->"));
    format!("{found}\n{}", remedy.unwrap_or_default())
}

#[test]
fn where_the_tests_run_all_that_is_needed_works() {
    let (code, text) = doctor("", &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.ends_with("everything that hotrun needs works here\n"),
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
        "linker",
    ] {
        about(&text, name);
    }
    assert!(about(&text, "cargo").contains("works"), "{text}");
}

#[test]
fn each_refusal_has_its_line_and_its_remedy() {
    for (refusal, name, words) in [
        ("kernel", "kernel", "is older than 5.19"),
        ("seccomp", "own sockets", "a seccomp filter is refused"),
        ("busy", "own sockets", "another hotrun"),
        ("pidfd", "their reach", "`pidfd_getfd` is refused"),
    ] {
        let (code, text) = doctor("", &[("HOTRUN_TEST_REFUSE", refusal)]);
        assert_eq!(code, Some(1), "{refusal}: {text}");
        let found = about(&text, name);
        assert!(
            found.contains("fails") && found.contains(words),
            "{refusal}: {text}"
        );
        let remedy = found.contains("--listen") || found.contains("SYS_PTRACE");
        assert!(remedy, "{refusal}: {text}");
    }
}

#[test]
fn few_descriptors_are_a_failure_and_how_to_get_more_is_said() {
    let (code, text) = doctor("ulimit -n 100;", &[]);
    assert_eq!(code, Some(1), "{text}");
    let found = about(&text, "open files");
    assert!(
        found.contains("fails") && found.contains("ulimit -n 4096"),
        "{text}"
    );
}

#[test]
fn without_cargo_other_programs_still_work() {
    let (code, text) = doctor("", &[("PATH", "/nowhere")]);
    assert_eq!(code, Some(0), "{text}");
    let found = about(&text, "cargo");
    assert!(
        found.contains("note") && found.contains("rustup.rs"),
        "{text}"
    );
}
