//! Tests a complete session, screen by screen.

use super::screen::{Project, Screen, until};

/// A build whose course depends on `src/main`: it prints cargo's progress and waits for the file `go`, fails, or
/// succeeds at once.
const BUILD: &str = r#"
case $(cat src/main) in
slow*) printf '    Building [====>     ] 3/12: syn, serde   \r' >&2; while [ ! -e go ]; do sleep 0.02; done ;;
broken*) echo 'error: expected `;`' >&2; echo ' --> src/main:1' >&2; exit 1 ;;
esac
"#;

/// A program that prints its version. On the stop signal, a `lazy` version waits for the file `go` before it exits.
const RUN: &str = r#"
v=$(cat src/main)
printf '\033[31mversion\033[0m %s\n' "$v"
trap 'case $v in lazy*) while [ ! -e go ]; do sleep 0.02; done ;; esac; echo bye; exit 0' TERM
while :; do sleep 0.02; done
"#;

#[test]
fn a_session_at_the_terminal_shows_the_expected_screens() {
    let project = Project::new(BUILD, RUN);
    let mut screen = Screen::start(&project.hotrun(&["-l", "127.0.0.1:0"]), 96, 14);

    // Start.
    screen.shows(
        "
        version 1

         ● gen 1 live   sh · pid N · up <1m · 127.0.0.1:P · 0 conns
         ✔ built in T · ready in T   r reload  p pause  ? help  q quit",
    );
    // Build progress.
    project.write("src/main", "slow");
    screen.shows(
        "
        version 1

         ● gen 1 live   sh · pid N · up <1m · 127.0.0.1:P · 0 conns
         ◔ building gen 2   ━━━━━━──────────────────   3/12 crates · T · src/main   r reload  ? help",
    );
    // A switch.
    project.write("go", "");
    screen.shows(
        "
        version 1
        [2] version slow
        [1] bye

         ● gen 2 live   sh · pid N · up <1m · 127.0.0.1:P · 0 conns
         ✔ built in T · ready in T · src/main   r reload  p pause  ? help  q quit",
    );
    // A failure.
    project.write("src/main", "broken");
    screen.shows(
        "
        version 1
        [2] version slow
        [1] bye

         error: expected `;`
          --> src/main:1

         ● gen 2 live   sh · pid N · up <1m · 127.0.0.1:P · 0 conns
         ✘ gen 3 failed to build · gen 2 still live   r reload  p pause  e errors  ? help  q quit",
    );
    // Recovery, then an old generation that drains slowly.
    project.write("src/main", "lazy");
    screen.shows(
        "
        version 1
        [2] version slow
        [1] bye
         error: expected `;`
          --> src/main:1
        hotrun: these errors are fixed
        [4] version lazy
        [2] bye

         ● gen 4 live   sh · pid N · up <1m · 127.0.0.1:P · 0 conns
         ✔ built in T · ready in T · src/main   r reload  p pause  ? help  q quit",
    );
    std::fs::remove_file(project.path("go")).unwrap();
    project.write("src/main", "5");
    screen.shows(
        "
        version 1
        [2] version slow
        [1] bye
         error: expected `;`
          --> src/main:1
        hotrun: these errors are fixed
        [4] version lazy
        [2] bye
        [5] version 5
         ● gen 5 live   sh · pid N · up <1m · 127.0.0.1:P · 0 conns
         ◐ gen 4 draining   no conns, shutting down · Ts of 10s left · pid N
         ✔ built in T · ready in T · src/main   r reload  p pause  k kill  ? help  q quit",
    );
    // Help, pause, and a terminal that becomes tiny, then large again.
    project.write("go", "");
    screen.until("gen 4 to be gone", |text| !text.contains("draining"));
    screen.press("p?");
    screen.shows(
        "
        [4] bye
           r   reload now, even without changes
           p   pause reloading, or resume it
           u   undo: cancel the reload, or go back one build
           e   errors: print the whole output of the last build
           + - s   give a sharing generation more, less or all
           k   kill draining generations
           c   clear the screen
           Enter   print a mark with the time
           Ctrl-Z  suspend together with the program; `fg` resumes
           q   quit, like Ctrl-C; twice: quit now
           Esc   close this help
         ● gen 5 live   sh · pid N · up <1m · 127.0.0.1:P · 0 conns
         ‖ paused   r reload  p resume  ? help  q quit",
    );
    project.write("src/main", "slow again");
    std::fs::remove_file(project.path("go")).unwrap();
    screen.press("?");
    screen.shows(
        "
        [4] bye

         ● gen 5 live   sh · pid N · up <1m · 127.0.0.1:P · 0 conns
         ‖ paused, changes pending   r reload  p resume  ? help  q quit",
    );
    screen.press("p");
    screen.resize(120, 40);
    const WIDE: &str = "
        version 1
        [2] version slow
        [1] bye
         error: expected `;`
          --> src/main:1
        hotrun: these errors are fixed
        [4] version lazy
        [2] bye
        [5] version 5
        [4] bye

         ● gen 5 live   sh · pid N · up <1m · 127.0.0.1:P · 0 conns
         ◔ building gen 6   ━━━━━━──────────────────   3/12 crates · T · src/main   r reload  p pause  ? help  q quit";
    screen.shows(WIDE);
    screen.resize(20, 5);
    screen.shows(
        "
        [2] bye
        [5] version 5
        [4] bye
         ● gen 5 live
         ◔ building gen 6",
    );
    screen.resize(120, 40);
    screen.shows(WIDE);
    project.write("go", "");
    screen.until("gen 6 to be live", |text| {
        text.contains("gen 6 live") && !text.contains("draining")
    });
    // Draw a mark, then quit.
    screen.press("\rq");
    assert_eq!(screen.ended().code(), Some(0));
    screen.shows(
        "
        version 1
        [2] version slow
        [1] bye
         error: expected `;`
          --> src/main:1
        hotrun: these errors are fixed
        [4] version lazy
        [2] bye
        [5] version 5
        [4] bye
        [6] version slow again
        [5] bye
        ── mark 1 · T ────────────────────────────────────────────────────────────
        bye",
    );
}

#[test]
fn undo_rolls_back_to_the_previous_executable() {
    let project = Project::new("cp --remove-destination src/main app; chmod +x app", "");
    project.write("src/main", "#!/bin/sh\necho one\nexec sleep 1000\n");
    let mut command = project.hotrun(&["-l", "127.0.0.1:0"]);
    // Run the executable itself instead of `sh run`.
    let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let mut plain = std::process::Command::new(command.get_program());
    plain.args(&args[..args.len() - 2]).arg("./app");
    project.set_interactive(&mut plain);
    command = plain;
    let mut screen = Screen::start(&command, 100, 12);
    screen.until("gen 1 to be live", |text| {
        text.contains("one") && text.contains("gen 1 live")
    });
    project.write("src/main", "#!/bin/sh\necho two\nexec sleep 1000\n");
    screen.until("gen 2 to be live", |text| {
        text.contains("u undo") && text.contains("gen 2 live")
    });
    screen.until("gen 1 to be gone", |text| !text.contains("draining"));
    screen.press("u");
    screen.until("gen 3 to be live", |text| {
        text.contains("gen 3 live") && !text.contains("draining")
    });
    screen.press("u");
    screen.until("gen 4 to be live", |text| {
        text.contains("gen 4 live") && !text.contains("draining")
    });
    screen.shows(
        "
        one
        [2] two
        [3] one
        [4] two

         ● gen 4 live   app · pid N · up <1m · 127.0.0.1:P · 0 conns
         ✔ started the build of gen 2 · ready in T · undo   r reload  p pause  u undo  ? help  q quit",
    );
    screen.press("q");
    assert_eq!(screen.ended().code(), Some(0));
    let left = std::fs::read_dir(project.path("")).unwrap();
    let left = left.filter(|entry| {
        entry
            .as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .contains("hotrun-")
    });
    assert_eq!(left.count(), 0, "hotrun should remove the kept executables");
}

#[test]
fn a_build_that_reads_an_answer_from_the_terminal_gets_it() {
    let build = "read answer </dev/tty; echo $answer >answer";
    let run = "echo the answer is $(cat answer); while :; do sleep 0.02; done";
    let project = Project::new(build, run);
    let mut screen = Screen::start(&project.hotrun(&[]), 96, 14);
    screen.until("a message that the build uses the terminal", |text| {
        text.contains("gets keyboard input until it ends")
    });
    // Whether this is the build's shell, in the foreground and not stopped (`proc_pid_stat(5)`).
    let reads = |stat: &String| {
        let fields: Vec<&str> = stat.split(' ').collect();
        fields[1] == "(sh)" && fields[2] != "T" && fields[4] == fields[7]
    };
    until("the build to get the terminal", || {
        project.processes().iter().any(reads)
    });
    // If hotrun were reading the keyboard, `q` would quit.
    screen.press("q\r");
    screen.until("the program to be live", |text| {
        text.contains("the answer is q") && text.contains("gen 1 live")
    });
    screen.press("q");
    assert_eq!(screen.ended().code(), Some(0));
}
