use super::*;

fn cargo_output() -> BuildOutput {
    BuildOutput::of_cargo(vec!["qemu".into(), "-L".into()])
}

const ARTIFACT: &str = r#"{"reason":"compiler-artifact","package_id":"path+file:///w/a%20b#x@0.1.0","manifest_path":"/w/a b/Cargo.toml","target":{"kind":["cdylib"],"crate_types":["cdylib"],"name":"x","src_path":"/w/a b/lib.rs"},"profile":{"opt_level":"0","debuginfo":2,"debug_assertions":true,"overflow_checks":true,"test":false},"features":[],"filenames":["/t/libx.so","/t/libx.a"],"executable":null,"fresh":true}"#;
const WARNING: &str = r#"{"reason":"compiler-message","package_id":"p","manifest_path":"/p/Cargo.toml","target":{"kind":["bin"],"name":"p","src_path":"/p/main.rs"},"message":{"message":"unused","code":null,"level":"warning","rendered":"warning: unused\n","spans":[],"children":[]}}"#;
const SCRIPT: &str = r#"{"reason":"build-script-executed","package_id":"path+file:///w/a%20b#x@0.1.0","linked_libs":[],"linked_paths":["native=/x"],"cfgs":[],"env":[],"out_dir":"/t/out"}"#;
const FINISHED: &str = r#"{"reason":"build-finished","success":true}"#;
const LAUNCH: &str = r#"{"reason":"hotrun-launch","argv":[{"Unix":[116,47,115]},{"Unix":[255,47]}],"env":[[{"Unix":[65]},{"Unix":[98]}]],"workdir":{"Unix":[47,119]}}"#;

#[test]
fn cargo_messages_are_parsed() {
    let mut output = cargo_output();
    let warning = OutputLine::Diagnostic {
        level: DiagnosticLevel::Warning,
        rendered: "warning: unused\n".to_owned(),
    };
    assert_eq!(output.stdout(WARNING.as_bytes()), warning);
    let summary = WARNING.replace("\"unused", "\"1 warning emitted");
    for line in [&*summary, ARTIFACT, SCRIPT, FINISHED] {
        let read = output.stdout(line.as_bytes());
        assert_eq!(read, OutputLine::Nothing, "{line}");
    }
    assert!(output.succeeded(false) && !output.is_complete());
}

#[test]
fn local_packages_are_recognized_by_their_id() {
    let mut output = cargo_output();
    let ids = [
        "path+file:///w/a%20b#x@0.1.0",
        "old 0.1.0 (path+file:///w/old)",
        "registry+https://github.com/rust-lang/crates.io-index#libc@0.2.0",
        "git+https://x/y#z@1.0.0",
    ];
    for line in ids.map(|id| ARTIFACT.replace(ids[0], id)) {
        output.stdout(line.as_bytes());
    }
    output.stdout(SCRIPT.as_bytes());
    let found: Vec<_> = output.package_dirs.keys().collect();
    assert_eq!(found, [ids[1], ids[0]]);
    assert_eq!(output.package_dirs[ids[0]], PathBuf::from("/w/a b"));
    let expected = ["/t/libx.so", "/t/libx.so", "/t/out"];
    assert_eq!(output.runtime_files(), expected.map(PathBuf::from));
}

#[test]
fn an_executable_that_is_not_fresh_was_linked() {
    let mut output = cargo_output();
    let fresh = ARTIFACT.replace(r#""executable":null"#, r#""executable":"/t/x""#);
    let library = ARTIFACT.replace(r#""fresh":true"#, r#""fresh":false"#);
    let linked = fresh.replace(r#""fresh":true"#, r#""fresh":false"#);
    for (line, expected) in [(fresh, false), (library, false), (linked, true)] {
        output.stdout(line.as_bytes());
        assert_eq!(output.linked, expected, "{line}");
    }
}

#[test]
fn the_launch_is_prefixed_with_the_configured_runner() {
    use std::os::unix::ffi::OsStringExt;
    let mut output = cargo_output();
    assert_eq!(output.stdout(LAUNCH.as_bytes()), OutputLine::Nothing);
    let launch = output.launch.take().unwrap();
    let odd = OsString::from_vec(vec![255, 47]);
    assert_eq!(
        launch.argv,
        [OsString::from("qemu"), "-L".into(), "t/s".into(), odd]
    );
    assert_eq!(launch.env, [(OsString::from("A"), OsString::from("b"))]);
    assert_eq!(launch.executable, Some("/w/t/s".into()));
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
        r#"{"reason":"compiler-message"}"#,
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
fn truncated_or_damaged_messages_cause_no_panic_and_no_launch() {
    for whole in [ARTIFACT, WARNING, SCRIPT, LAUNCH] {
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
    output.stdout(br#"{"reason":"hotrun-launch","argv":[],"env":[],"workdir":{"Unix":[47]}}"#);
    assert_eq!(output.launch.take(), None);
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
fn the_output_of_a_build_without_cargo_is_text() {
    let mut output = BuildOutput::default();
    assert_eq!(
        output.stdout(LAUNCH.as_bytes()),
        OutputLine::Text(LAUNCH.into())
    );
    assert_eq!(output.launch.take(), None);
}

#[test]
fn a_build_is_complete_once_it_has_compiled_and_reported_its_launch() {
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
        assert_eq!(output.is_complete(), expected, "{lines:?}");
    }
}

#[test]
fn fuzz_messages() {
    let blocked = "    Blocking waiting for file lock on build directory";
    let examples = [ARTIFACT, WARNING, SCRIPT, FINISHED, LAUNCH, blocked].map(str::as_bytes);
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
            let _ = (output.launch.take(), output.runtime_files());
            // A `BuildOutput` keeps every name until its build ends, so switch to a new one now and then.
            count += 1;
            if count.is_multiple_of(1000) {
                output = BuildOutput::of_cargo(Vec::new());
            }
        },
    );
}

fn taken(line: &[u8]) -> (Option<(usize, usize)>, String) {
    let mut line = line.to_vec();
    let found = take_progress(&mut line);
    (found, String::from_utf8(line).unwrap())
}

#[test]
fn progress_bars_are_removed_from_the_start_of_a_line() {
    let two =
        b"    Building [    ] 0/2: itoa    \r    Building [=> ] 1/12: p(bin)  \r   Compiling p";
    assert_eq!(taken(two), (Some((1, 12)), "   Compiling p".into()));
    let coloured = b"\x1b[1m\x1b[96m    Building\x1b[0m [=> ] 3/9\r";
    assert_eq!(taken(coloured), (Some((3, 9)), String::new()));
}

#[test]
fn download_bars_are_removed() {
    let fetched =
        b"       Fetch [=>    ] 4.00%, 1.5MiB/s   \r\x1b[1m Downloading\x1b[0m 3 crates   \r";
    let then = |line: &[u8]| taken(&[fetched, line].concat());
    assert_eq!(then(b""), (None, String::new()));
    assert_eq!(
        then(b"error: failed to get"),
        (None, "error: failed to get".into())
    );
    let building = b"    Building [=> ] 1/12: p\r   Compiling p";
    assert_eq!(then(building), (Some((1, 12)), "   Compiling p".into()));
}

#[test]
fn other_lines_are_unchanged() {
    for line in [
        "   Compiling p",
        "abc\rdef",
        "Building [x] 1/2: half a bar",
        "Building [x] a/b\r",
        "Fetch [x] half a bar",
        "  Downloading crates ...",
    ] {
        assert_eq!(taken(line.as_bytes()), (None, line.into()));
    }
}

#[test]
fn fuzz_progress() {
    let example = b"    Building [=====>   ] 12/34: a, b\r\x1b[K";
    crate::fuzz::fuzz(
        "progress",
        &[example],
        &["\r", "\x1b[K", "/", "Building ["],
        |input| {
            let mut line = input.to_vec();
            let _ = take_progress(&mut line);
            assert!(line.len() <= input.len());
        },
    );
}

#[test]
fn the_files_that_errors_name_are_noted() {
    let mut output = BuildOutput::of_cargo(Vec::new());
    for line in [
        "error: failed to read `/w/new/Cargo.toml`, see `cargo help`",
        "  \u{1b}[34m-->\u{1b}[0m ../other/Cargo.toml:2:6",
        "  --> Cargo.toml:1:1",
    ] {
        output.stderr(line.as_bytes());
    }
    let message = r#"{"reason":"compiler-message","package_id":"path+file:///out#0.1.0",
        "target":{"kind":["bin"],"crate_types":["bin"],"name":"a","src_path":"/out/src/main.rs",
        "edition":"2024","doctest":false,"test":true},"message":{"message":"couldn't read `src/../../x`",
        "code":null,"level":"LEVEL","spans":[],"children":[],
        "rendered":"error: couldn't read `src/../../x`\n --> src/main.rs:1:2"}}"#;
    let message = message.replace('\n', "");
    output.stdout(message.replace("LEVEL", "error").as_bytes());
    let ignored = message.replace("LEVEL", "warning").replace("../x", "../y");
    output.stdout(ignored.as_bytes());
    let expected = [
        "/out/src/../../x",
        "/out/src/main.rs",
        "/w/new/Cargo.toml",
        "../other/Cargo.toml",
        "Cargo.toml",
        "src/../../x",
        "src/main.rs",
    ];
    assert!(
        output.named.iter().eq(expected.map(Path::new)),
        "{:?}",
        output.named
    );
}
