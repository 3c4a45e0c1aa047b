//! Tests programs on a pty.

use hotrun::os::terminal::Size;
use hotrun::process::{Control, ProgramEvent, ProgramEvents, Pty};
use hotrun::reload::Ended;

use crate::support::{Mark, spawner, spec, within_deadline};

const SIZE: Size = Size {
    columns: 33,
    rows: 7,
};

struct OnPty {
    control: Control,
    events: ProgramEvents,
    pty: Pty,
}

fn start(mark: &Mark, script: &str, reads: bool) -> OnPty {
    let spec = spec(mark, &["sh", "-c", script]);
    let (control, events, pty) = spawner().spawn_on_pty(spec, SIZE, reads).unwrap();
    OnPty {
        control,
        events,
        pty,
    }
}

/// Reads the output until the tree has closed the pty.
async fn printed(on: &OnPty) -> String {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match within_deadline("reading output", on.pty.read(&mut buffer)).await {
            Ok(0) => return String::from_utf8(all).unwrap(),
            Ok(count) => all.extend_from_slice(&buffer[..count]),
            Err(error) => panic!("{error}"),
        }
    }
}

async fn printed_by(script: &str, reads: bool) -> String {
    let mark = Mark::new();
    printed(&start(&mark, script, reads)).await
}

#[tokio::test]
async fn stdout_and_stderr_share_one_terminal_in_order() {
    let script =
        "test -t 1 && test -t 2 && for i in 1 2 3; do echo out; echo err >&2; done; stty size <&1";
    let expected = "out\nerr\n".repeat(3) + "7 33\n";
    assert_eq!(printed_by(script, false).await, expected);
}

#[tokio::test]
async fn output_to_dev_tty_appears_on_the_pty() {
    let script = "echo a; echo b >/dev/tty; echo c";
    assert_eq!(printed_by(script, false).await, "a\nb\nc\n");
}

#[tokio::test]
async fn standard_input_is_empty_unless_requested() {
    assert_eq!(printed_by("cat; echo end", false).await, "end\n");
    let mark = Mark::new();
    let on = start(&mark, "read -r line; echo \"got $line\"", true);
    on.pty.write(b"a word\n").await.unwrap();
    // The terminal echoes the input.
    assert_eq!(printed(&on).await, "a word\ngot a word\n");
}

#[tokio::test]
async fn ctrl_c_on_the_pty_interrupts_the_program() {
    let mark = Mark::new();
    let on = start(
        &mark,
        "trap 'echo interrupted; exit' INT; echo up; while :; do sleep 1; done",
        true,
    );
    let mut first = [0; 3];
    assert_eq!(
        within_deadline("reading `up`", on.pty.read(&mut first))
            .await
            .unwrap(),
        3
    );
    on.pty.write(&[3]).await.unwrap();
    assert!(printed(&on).await.contains("interrupted"));
}

#[tokio::test]
async fn resizing_the_pty_signals_the_program() {
    let mark = Mark::new();
    let script = "trap 'stty size <&1; exit' WINCH; echo up; while :; do sleep 0.05; done";
    let on = start(&mark, script, false);
    let mut first = [0; 3];
    assert_eq!(
        within_deadline("reading `up`", on.pty.read(&mut first))
            .await
            .unwrap(),
        3
    );
    on.pty.resize(Size {
        columns: 120,
        rows: 40,
    });
    assert_eq!(printed(&on).await, "40 120\n");
}

/// When a session leader exits, the kernel hangs up the terminal, so the program must not be the leader.
#[tokio::test]
async fn children_keep_their_terminal_when_the_program_exits() {
    let mark = Mark::new();
    let mut on = start(&mark, "(sleep 0.3; echo still here) & exit 0", false);
    let mut ended = None;
    while ended.is_none() {
        let event = within_deadline("waiting for the exit event", on.events.next()).await;
        if let Some(ProgramEvent::Exited { ended: how, .. }) = event {
            ended = Some(how);
        }
    }
    assert_eq!(ended, Some(Ended::Code(0)));
    assert_eq!(printed(&on).await, "still here\n");
}

#[tokio::test]
async fn dropping_the_last_control_kills_the_tree() {
    let mark = Mark::new();
    let on = start(&mark, "trap '' HUP TERM; sleep 60 & echo up; wait", false);
    let mut first = [0; 3];
    assert_eq!(
        within_deadline("reading `up`", on.pty.read(&mut first))
            .await
            .unwrap(),
        3
    );
    let OnPty {
        control,
        mut events,
        pty,
    } = on;
    drop(control);
    while within_deadline("waiting for the last event", events.next())
        .await
        .is_some()
    {}
    drop(pty);
    mark.assert_none_left();
}

#[tokio::test]
async fn a_flood_of_output_arrives_completely() {
    let text = printed_by("seq 1 100000", false).await;
    let expected: String = (1..=100_000).map(|number| format!("{number}\n")).collect();
    let (arrived, all) = (text.len(), expected.len());
    assert!(text == expected, "{arrived} of {all} bytes arrived");
}
