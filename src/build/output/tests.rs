use super::*;

fn cargo_output() -> BuildOutput {
    BuildOutput::of_cargo(vec!["qemu".into(), "-L".into()])
}

const ARTIFACT: &str = r#"{"reason":"compiler-artifact","package_id":"p","target":{"kind":["bin"],"name":"small"},"executable":"/t/small","fresh":true}"#;
const WARNING: &str = r#"{"reason":"compiler-message","message":{"message":"unused","level":"warning","rendered":"warning: unused\n","spans":[]}}"#;
const ERROR: &str = r#"{"reason":"compiler-message","message":{"message":"no","level":"error","rendered":"error: no\n"}}"#;
const SUMMARY: &str = r#"{"reason":"compiler-message","message":{"message":"aborting due to 1 previous error","level":"error","rendered":"error: aborting\n"}}"#;
const SCRIPT: &str = r#"{"reason":"build-script-executed","linked_paths":["native=/x"]}"#;
const LAUNCH: &str = r#"{"reason":"hotrun-launch","argv":["target/debug/small",[255,47]],"env":[["A","b"]],"workdir":"/w"}"#;

#[test]
fn messages_of_cargo_are_parsed() {
    let mut output = cargo_output();
    let artifact = output.stdout(ARTIFACT.as_bytes());
    assert_eq!(artifact, OutputLine::Artifact { fresh: true });
    let warning = Diagnostic {
        level: Level::Warning,
        rendered: "warning: unused\n".to_owned(),
    };
    assert_eq!(
        output.stdout(WARNING.as_bytes()),
        OutputLine::Diagnostic(warning)
    );
    assert!(matches!(
        output.stdout(ERROR.as_bytes()),
        OutputLine::Diagnostic(_)
    ));
    assert_eq!(output.stdout(SUMMARY.as_bytes()), OutputLine::Nothing);
    assert_eq!((output.errors(), output.warnings()), (1, 1));
    assert_eq!(output.stdout(SCRIPT.as_bytes()), OutputLine::Nothing);
    let finished = br#"{"reason":"build-finished","success":false}"#;
    assert_eq!(
        output.stdout(finished),
        OutputLine::Finished { success: false }
    );
}

#[test]
fn the_launch_message_sets_what_to_start_with_the_configured_runner() {
    use std::os::unix::ffi::OsStringExt;
    let mut output = cargo_output();
    assert_eq!(output.stdout(LAUNCH.as_bytes()), OutputLine::Nothing);
    let launch = output.take_launch().unwrap();
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
fn a_line_that_is_not_a_message_is_text() {
    let mut output = cargo_output();
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
            output.stdout(line.as_bytes()),
            OutputLine::Text(line.into()),
            "{line}"
        );
    }
    assert_eq!(
        output.stdout(b"\xff\xfe"),
        OutputLine::Text(b"\xff\xfe".to_vec())
    );
    assert_eq!(
        output.stdout(br#"{"reason":"something-new","x":1}"#),
        OutputLine::Nothing
    );
}

#[test]
fn truncated_or_damaged_messages_neither_panic_nor_launch() {
    for whole in [ARTIFACT, WARNING, ERROR, SCRIPT, LAUNCH] {
        let mut output = cargo_output();
        for end in 0..whole.len() {
            output.stdout(&whole.as_bytes()[..end]);
            let mut damaged = whole.as_bytes().to_vec();
            damaged[end] = 0xc3;
            output.stdout(&damaged);
            output.stderr(&damaged);
        }
        output.stdout("[".repeat(100_000).as_bytes());
        output.stdout(format!("{{\"reason\":{}", "[".repeat(100_000)).as_bytes());
    }
    let mut output = cargo_output();
    for end in 0..LAUNCH.len() {
        output.stdout(&LAUNCH.as_bytes()[..end]);
    }
    output.stdout(br#"{"reason":"hotrun-launch","argv":[],"env":[],"workdir":"/"}"#);
    assert_eq!(output.take_launch(), None);
}

#[test]
fn standard_error_is_text_except_for_known_lines() {
    let mut output = cargo_output();
    for (line, expected) in [
        (
            "     Running `/x/hotrun --runner -- target/debug/small`",
            OutputLine::Nothing,
        ),
        (
            "\u{1b}[1m\u{1b}[92m     Running\u{1b}[0m `/x/hotrun --runner -- a`",
            OutputLine::Nothing,
        ),
    ] {
        assert_eq!(output.stderr(line.as_bytes()), expected, "{line}");
    }
    for line in [
        "     Running `rustc --crate-name x`",
        "   Compiling x",
        "error: could not compile",
        "",
    ] {
        assert_eq!(
            output.stderr(line.as_bytes()),
            OutputLine::Text(line.into()),
            "{line}"
        );
    }
    let blocked =
        "\u{1b}[1m\u{1b}[96m    Blocking\u{1b}[0m waiting for file lock on build directory";
    assert_eq!(
        output.stderr(blocked.as_bytes()),
        OutputLine::Blocked(blocked.into())
    );
}

#[test]
fn the_output_of_another_program_is_text() {
    let mut output = BuildOutput::default();
    assert_eq!(
        output.stdout(LAUNCH.as_bytes()),
        OutputLine::Text(LAUNCH.into())
    );
    assert_eq!(output.take_launch(), None);
}

#[test]
fn the_launch_is_complete_once_everything_is_compiled() {
    let finished = |success: bool| format!(r#"{{"reason":"build-finished","success":{success}}}"#);
    for (lines, expected) in [
        (vec![LAUNCH.to_owned()], false),
        (vec![finished(true)], false),
        (vec![finished(false), LAUNCH.to_owned()], false),
        (vec![finished(true), LAUNCH.to_owned()], true),
    ] {
        let mut output = cargo_output();
        for line in &lines {
            output.stdout(line.as_bytes());
        }
        assert_eq!(output.has_launch(), expected, "{lines:?}");
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
    let mut output = BuildOutput::of_cargo(Vec::new());
    let mut count = 0_u32;
    crate::fuzz::fuzz(
        "cargo's messages and the launch",
        &examples,
        &words,
        |input| {
            for line in input.split(|byte| *byte == b'\n') {
                let _ = (output.stdout(line), output.stderr(line));
            }
            let _ = (output.take_launch(), output.runtime_files());
            // The output keeps what it names until the end of the build, so start a new one now and then.
            count += 1;
            if count.is_multiple_of(1000) {
                output = BuildOutput::of_cargo(Vec::new());
            }
        },
    );
}
