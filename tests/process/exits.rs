//! Tests how programs end, and what is reported if they cannot be started.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hotrun::process::{ProgramEvent, StartStep};
use hotrun::reload::Ended;

use crate::support::*;

async fn end_of(script: &str) -> (Ended, bool) {
    let mark = Mark::new();
    let mut running = shell(&mark, script);
    running.started().await;
    let end = running.end().await;
    mark.assert_none_left();
    end
}

#[tokio::test]
async fn exit_statuses_and_signals_are_reported() {
    assert_eq!(end_of("exit 0").await, (Ended::Code(0), false));
    assert_eq!(end_of("exit 7").await, (Ended::Code(7), false));
    assert_eq!(end_of("exit 255").await, (Ended::Code(255), false));
    assert_eq!(end_of("kill -TERM $$").await, (Ended::Signal(15), false));
    assert_eq!(end_of("kill -KILL $$").await, (Ended::Signal(9), false));
    // Signal 40 is a real-time signal, which nix does not support.
    assert_eq!(end_of("kill -40 $$").await, (Ended::Signal(40), false));
}

#[tokio::test]
async fn survivors_of_the_first_process_are_reported() {
    let mark = Mark::new();
    let mut running = shell(&mark, "sleep 1000 & exit 3");
    running.started().await;
    let (ended, survivors) = (Ended::Code(3), true);
    assert_eq!(
        running.event().await,
        Some(ProgramEvent::Exited { ended, survivors })
    );
    assert_eq!(running.control.pids().len(), 1);
    running.control.kill();
    assert_eq!(running.event().await, Some(ProgramEvent::Gone));
    mark.assert_none_left();
}

async fn refusal(argv: &[&str], workdir: &Path) -> (StartStep, String) {
    let mark = Mark::new();
    let mut spec = spec(&mark, argv);
    spec.workdir = workdir.to_owned();
    let mut running = Running::start(spec);
    let event = running.event().await;
    let Some(ProgramEvent::Refused { error }) = event else {
        panic!("{argv:?} was not refused: {event:?}");
    };
    assert_eq!(running.event().await, None);
    assert_eq!(running.rest().await, [""; 0]);
    mark.assert_none_left();
    (error.step, error.to_string())
}

fn file(directory: &Path, name: &str, text: &str, mode: u32) -> String {
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_refusal_names_the_failed_step_and_the_error() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let missing = "no such file or directory".to_owned();
    let denied = "permission denied".to_owned();
    for name in [
        "hotrun-no-such-program",
        "./nothing",
        "/no/such/program",
        "",
    ] {
        assert_eq!(
            refusal(&[name], directory).await,
            (StartStep::Exec, missing.clone()),
            "{name}"
        );
    }
    let plain = file(directory, "plain", "text", 0o644);
    for name in [plain.as_str(), "./plain", "/tmp"] {
        assert_eq!(
            refusal(&[name], directory).await,
            (StartStep::Exec, denied.clone()),
            "{name}"
        );
    }
    assert_eq!(
        refusal(&["/bin/sh/x"], directory).await.1,
        "not a directory"
    );
    let (step, text) = refusal(
        &[&file(directory, "script", "#!/no/such/sh\n", 0o755)],
        directory,
    )
    .await;
    assert_eq!(
        (step, text.contains(&missing)),
        (StartStep::Interpreter, true),
        "{text}"
    );
    let (step, text) = refusal(&["true"], &directory.join("nowhere")).await;
    assert_eq!(
        (step, text.contains(&missing)),
        (StartStep::Workdir, true),
        "{text}"
    );
}

#[tokio::test]
async fn the_shell_runs_a_script_without_an_interpreter_line() {
    let directory = tempfile::tempdir().unwrap();
    let script = file(directory.path(), "script", "echo $0 $1; exit 4", 0o755);
    let mark = Mark::new();
    let mut running = Running::start(spec(&mark, &[&script, "word"]));
    running.started().await;
    assert_eq!(running.line().await, format!("{script} word"));
    assert_eq!(running.end().await, (Ended::Code(4), false));
}

#[tokio::test]
async fn the_search_in_path_skips_files_that_are_not_executable() {
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    file(directories[0].path(), "prog", "", 0o644);
    file(
        directories[1].path(),
        "prog",
        "#!/bin/sh\necho found",
        0o755,
    );
    let mark = Mark::new();
    let mut spec = spec(&mark, &["prog"]);
    let path = format!(
        "/no/such:{}:{}",
        directories[0].path().display(),
        directories[1].path().display()
    );
    spec.env[0].1 = path.into();
    let mut running = Running::start(spec);
    running.started().await;
    assert_eq!(running.line().await, "found");
}

#[tokio::test]
async fn a_missing_guardian_executable_is_an_error() {
    let mark = Mark::new();
    let spawner = hotrun::process::Spawner::at("/no/such/hotrun");
    let error = spawner.spawn(spec(&mark, &["true"])).unwrap_err();
    let expected = "cannot start the guardian from `/no/such/hotrun`";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn an_environment_larger_than_the_socket_buffer_is_passed() {
    let mark = Mark::new();
    let mut spec = spec(&mark, &["sh", "-c", "echo ${#V0} ${#V19} $#"]);
    spec.env
        .extend((0..20).map(|n| (format!("V{n}").into(), "x".repeat(50_000).into())));
    let mut running = Running::start(spec);
    running.started().await;
    assert_eq!(running.line().await, "50000 50000 0");
}

#[tokio::test]
async fn the_guardian_does_not_keep_the_output_open() {
    let mark = Mark::new();
    let mut running = shell(&mark, "echo out; echo err >&2; exec >&- 2>&-; sleep 1000");
    running.started().await;
    assert_eq!(running.rest().await, ["out"]);
    assert_eq!(running.errors().await, ["err"]);
    assert!(!running.control.pids().is_empty());
    running.control.kill();
    assert_eq!(running.end().await.0, Ended::Signal(9));
}

#[tokio::test]
async fn a_million_lines_arrive_completely() {
    let mark = Mark::new();
    let mut running = shell(&mark, "seq 1000000");
    // A line may arrive in two pieces, because `seq` may pause within a line on a busy machine.
    let (mut line, mut count) = (Vec::new(), 0);
    while let Some(piece) = within_deadline("waiting for a line", running.stdout.next()).await {
        line.extend(piece.bytes);
        if piece.ends_line {
            count += 1;
            assert_eq!(std::mem::take(&mut line), count.to_string().into_bytes());
        }
    }
    assert_eq!((line.len(), count), (0, 1_000_000));
}
