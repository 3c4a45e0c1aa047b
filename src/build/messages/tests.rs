//! Lines of cargo, as they come.

use super::*;

fn messages() -> Messages {
    Messages::new(vec!["qemu".into(), "-L".into()])
}

const ARTIFACT: &str = r#"{"reason":"compiler-artifact","package_id":"p","target":{"kind":["bin"],"name":"small"},"executable":"/t/small","fresh":true}"#;
const WARNING: &str = r#"{"reason":"compiler-message","message":{"message":"unused","level":"warning","rendered":"warning: unused\n","spans":[]}}"#;
const ERROR: &str = r#"{"reason":"compiler-message","message":{"message":"no","level":"error","rendered":"error: no\n"}}"#;
const SUMMARY: &str = r#"{"reason":"compiler-message","message":{"message":"aborting due to 1 previous error","level":"error","rendered":"error: aborting\n"}}"#;
const SCRIPT: &str = r#"{"reason":"build-script-executed","linked_paths":["native=/x"]}"#;
const LAUNCH: &str = r#"{"reason":"hotrun-launch","argv":["target/debug/small",[255,47]],"env":[["A","b"]],"workdir":"/w"}"#;

#[test]
fn cargos_messages_are_read() {
    let mut messages = messages();
    let artifact = messages.stdout(ARTIFACT.as_bytes());
    assert_eq!(artifact, Line::Artifact { fresh: true });
    let warning = Diagnostic {
        level: Level::Warning,
        rendered: "warning: unused\n".to_owned(),
    };
    assert_eq!(
        messages.stdout(WARNING.as_bytes()),
        Line::Diagnostic(warning)
    );
    assert!(matches!(
        messages.stdout(ERROR.as_bytes()),
        Line::Diagnostic(_)
    ));
    assert_eq!(messages.stdout(SUMMARY.as_bytes()), Line::Nothing);
    assert_eq!((messages.errors(), messages.warnings()), (1, 1));
    assert_eq!(messages.stdout(SCRIPT.as_bytes()), Line::Nothing);
    let finished = br#"{"reason":"build-finished","success":false}"#;
    assert_eq!(messages.stdout(finished), Line::Finished { success: false });
}

#[test]
fn the_launch_line_gives_what_to_start_behind_the_users_runner() {
    use std::os::unix::ffi::OsStringExt;
    let mut messages = messages();
    assert_eq!(messages.stdout(LAUNCH.as_bytes()), Line::Nothing);
    let launch = messages.take_launch().unwrap();
    let odd = OsString::from_vec(vec![255, 47]);
    assert_eq!(
        launch.argv,
        [
            OsString::from("qemu"),
            "-L".into(),
            "target/debug/small".into(),
            odd
        ]
    );
    assert_eq!(launch.env, [(OsString::from("A"), OsString::from("b"))]);
    assert_eq!(launch.executable, Some("/w/target/debug/small".into()));
}

#[test]
fn what_is_no_message_is_text() {
    let mut messages = messages();
    for line in [
        "",
        "hello",
        "{",
        "{}",
        "[1]",
        r#"{"reason":1}"#,
        r#"{"reason":"compiler-artifact"}"#,
        "\u{1b}[1m{",
    ] {
        assert_eq!(
            messages.stdout(line.as_bytes()),
            Line::Text(line.into()),
            "{line}"
        );
    }
    assert_eq!(
        messages.stdout(b"\xff\xfe"),
        Line::Text(b"\xff\xfe".to_vec())
    );
    assert_eq!(
        messages.stdout(br#"{"reason":"something-new","x":1}"#),
        Line::Nothing
    );
}

#[test]
fn cut_or_spoilt_messages_neither_panic_nor_launch() {
    for whole in [ARTIFACT, WARNING, ERROR, SCRIPT, LAUNCH] {
        let mut messages = messages();
        for end in 0..whole.len() {
            messages.stdout(&whole.as_bytes()[..end]);
            let mut spoilt = whole.as_bytes().to_vec();
            spoilt[end] = 0xc3;
            messages.stdout(&spoilt);
            messages.stderr(&spoilt);
        }
        messages.stdout("[".repeat(100_000).as_bytes());
        messages.stdout(format!("{{\"reason\":{}", "[".repeat(100_000)).as_bytes());
    }
    let mut messages = messages();
    for end in 0..LAUNCH.len() {
        messages.stdout(&LAUNCH.as_bytes()[..end]);
    }
    messages.stdout(br#"{"reason":"hotrun-launch","argv":[],"env":[],"workdir":"/"}"#);
    assert_eq!(messages.take_launch(), None);
}

#[test]
fn lines_of_the_standard_error() {
    let mut messages = messages();
    for (line, expected) in [
        (
            "     Running `/x/hotrun --runner -- target/debug/small`",
            Line::Nothing,
        ),
        (
            "\u{1b}[1m\u{1b}[92m     Running\u{1b}[0m `/x/hotrun --runner -- a`",
            Line::Nothing,
        ),
    ] {
        assert_eq!(messages.stderr(line.as_bytes()), expected, "{line}");
    }
    for line in [
        "     Running `rustc --crate-name x`",
        "   Compiling x",
        "error: could not compile",
        "",
    ] {
        assert_eq!(
            messages.stderr(line.as_bytes()),
            Line::Text(line.into()),
            "{line}"
        );
    }
    let blocked =
        "\u{1b}[1m\u{1b}[96m    Blocking\u{1b}[0m waiting for file lock on build directory";
    assert_eq!(
        messages.stderr(blocked.as_bytes()),
        Line::Blocked(blocked.into())
    );
}

#[test]
fn another_programs_output_is_never_a_message() {
    let mut messages = Messages::of_any_program();
    assert_eq!(
        messages.stdout(LAUNCH.as_bytes()),
        Line::Text(LAUNCH.into())
    );
    assert_eq!(messages.take_launch(), None);
}

/// A runner's answer is the end of the build only if everything was compiled before it.
#[test]
fn the_launch_is_told_once_everything_was_compiled() {
    let finished = |success: bool| format!(r#"{{"reason":"build-finished","success":{success}}}"#);
    for (lines, told) in [
        (vec![LAUNCH.to_owned()], false),
        (vec![finished(true)], false),
        (vec![finished(false), LAUNCH.to_owned()], false),
        (vec![finished(true), LAUNCH.to_owned()], true),
    ] {
        let mut messages = messages();
        for line in &lines {
            messages.stdout(line.as_bytes());
        }
        assert_eq!(messages.has_launch(), told, "{lines:?}");
    }
}

#[test]
fn fuzz_messages() {
    let examples: [&[u8]; 6] = [
        br#"{"reason":"compiler-artifact","package_id":"path+file:///w#x@0.1.0","manifest_path":"/w/Cargo.toml","target":{"name":"x","kind":["bin"]},"fresh":false,"executable":"/t/x","filenames":["/t/x"]}"#,
        br#"{"reason":"compiler-message","package_id":"p","message":{"message":"m","level":"error","rendered":"error: m\n"}}"#,
        br#"{"reason":"build-script-executed","package_id":"path+file:///w#x@0.1.0","linked_paths":["native=/n"],"out_dir":"/o"}"#,
        br#"{"reason":"build-finished","success":true}"#,
        br#"{"reason":"hotrun-launch","argv":["/t/x",[255,1]],"env":[["A","b"]],"workdir":"/w"}"#,
        b"    Blocking waiting for file lock on build directory",
    ];
    let words = [
        "{",
        "}",
        "[",
        "]",
        "\"",
        "\\u0000",
        "null",
        "1e999",
        ":",
        ",",
        "\"reason\":",
        "\"argv\":",
        "hotrun-launch",
    ];
    let mut messages = Messages::new(Vec::new());
    let mut count = 0_u32;
    crate::fuzz::fuzz(
        "cargo's messages and the launch",
        &examples,
        &words,
        |input| {
            for line in input.split(|byte| *byte == b'\n') {
                let _ = (messages.stdout(line), messages.stderr(line));
            }
            let _ = (messages.take_launch(), messages.made());
            // As many as in a great build; what it names is kept until its end.
            count += 1;
            if count.is_multiple_of(1000) {
                messages = Messages::new(Vec::new());
            }
        },
    );
}
