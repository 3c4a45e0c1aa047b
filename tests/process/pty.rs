//! Programs on a terminal of their own.

use hotrun::os::terminal::Size;
use hotrun::process::{PtyProcess, Report};
use hotrun::reload::Ended;

use crate::support::{Mark, launcher, soon, spec};

const SIZE: Size = Size {
    columns: 33,
    rows: 7,
};

fn start(mark: &Mark, script: &str, reads: bool) -> PtyProcess {
    let spec = spec(mark, &["sh", "-c", script]);
    launcher().spawn_on_pty(spec, SIZE, reads).unwrap()
}

/// All that is printed until the tree has closed the terminal.
async fn printed(on: &PtyProcess) -> String {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match soon("more output", on.pty.read(&mut buffer)).await {
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
async fn both_outputs_are_one_terminal_in_the_order_of_writing() {
    let script =
        "test -t 1 && test -t 2 && for i in 1 2 3; do echo out; echo err >&2; done; stty size <&1";
    let expected = "out\nerr\n".repeat(3) + "7 33\n";
    assert_eq!(printed_by(script, false).await, expected);
}

#[tokio::test]
async fn what_goes_to_dev_tty_is_printed_there_too() {
    let script = "echo a; echo b >/dev/tty; echo c";
    assert_eq!(printed_by(script, false).await, "a\nb\nc\n");
}

#[tokio::test]
async fn nothing_is_there_to_read_unless_that_is_wanted() {
    assert_eq!(printed_by("cat; echo end", false).await, "end\n");
    let mark = Mark::new();
    let on = start(&mark, "read -r line; echo \"got $line\"", true);
    on.pty.write(b"a word\n").await.unwrap();
    // The terminal shows what is typed.
    assert_eq!(printed(&on).await, "a word\ngot a word\n");
}

#[tokio::test]
async fn ctrl_c_on_that_terminal_is_for_the_program() {
    let mark = Mark::new();
    let on = start(
        &mark,
        "trap 'echo interrupted; exit' INT; echo up; while :; do sleep 1; done",
        true,
    );
    let mut first = [0; 3];
    assert_eq!(soon("up", on.pty.read(&mut first)).await.unwrap(), 3);
    on.pty.write(&[3]).await.unwrap();
    assert!(printed(&on).await.contains("interrupted"));
}

#[tokio::test]
async fn another_size_is_told() {
    let mark = Mark::new();
    let script = "trap 'stty size <&1; exit' WINCH; echo up; while :; do sleep 0.05; done";
    let on = start(&mark, script, false);
    let mut first = [0; 3];
    assert_eq!(soon("up", on.pty.read(&mut first)).await.unwrap(), 3);
    on.pty.resize(Size {
        columns: 120,
        rows: 40,
    });
    assert_eq!(printed(&on).await, "40 120\n");
}

/// When the leader of a session ends its terminal is hung up: the program is not the leader.
#[tokio::test]
async fn what_a_program_leaves_behind_is_not_hung_up() {
    let mark = Mark::new();
    let mut on = start(&mark, "(sleep 0.3; echo still here) & exit 0", false);
    let mut ended = None;
    while ended.is_none() {
        if let Some(Report::Exited { ended: how, .. }) = soon("its end", on.reports.next()).await {
            ended = Some(how);
        }
    }
    assert_eq!(ended, Some(Ended::Code(0)));
    assert_eq!(printed(&on).await, "still here\n");
}

#[tokio::test]
async fn the_tree_is_killed_with_its_last_control() {
    let mark = Mark::new();
    let on = start(&mark, "trap '' HUP TERM; sleep 60 & echo up; wait", false);
    let mut first = [0; 3];
    assert_eq!(soon("up", on.pty.read(&mut first)).await.unwrap(), 3);
    let PtyProcess {
        control,
        mut reports,
        pty,
    } = on;
    drop(control);
    while soon("its end", reports.next()).await.is_some() {}
    drop(pty);
    mark.assert_none_left();
}

#[tokio::test]
async fn a_flood_arrives_whole() {
    let text = printed_by("seq 1 100000", false).await;
    let expected: String = (1..=100_000).map(|number| format!("{number}\n")).collect();
    assert!(text == expected, "{} of {}", text.len(), expected.len());
}
