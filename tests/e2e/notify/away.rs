//! What programs say while hotrun itself is stopped.

use std::time::Duration;
use std::{fs, thread};

use nix::sys::signal::Signal;

use super::{has_python, run};
use crate::harness::{PATIENCE, Project};

/// As by `kill -STOP`, a debugger, or Ctrl-Z where nobody takes the terminal over. The first time is so short that it looks
/// as if hotrun had not been away.
#[test]
fn a_program_is_not_late_because_hotrun_was_stopped() {
    if !has_python() {
        return;
    }
    let project = Project::new();
    let hangs = project.beside("hangs");
    let body = format!(
        r#"
import threading
threading.Thread(target=server().serve_forever, daemon=True).start()
notify("READY=1")
beat = 0
while not os.path.exists("{}"):
    notify("WATCHDOG=1")
    print(f"beat {{beat}}", flush=True)
    beat += 1
    time.sleep(0.1)
time.sleep(1000)"#,
        hangs.display()
    );
    let mut run = run(&project, &body).args(["--watchdog", "1s"]).spawn();
    assert_eq!(run.live(), 1);
    for away in [1200, 3000] {
        run.signal(Signal::SIGSTOP);
        // The wait is the point here.
        thread::sleep(Duration::from_millis(away));
        run.signal(Signal::SIGCONT);
        // Longer than the limit, in beats that are told after it goes on.
        let told = run.count("output");
        run.expect_that("more beats", PATIENCE, |event| {
            let number = event.text("text").strip_prefix("beat ").map(str::to_owned);
            number.is_some_and(|number| number.parse::<usize>().is_ok_and(|beat| beat > told + 50))
        });
        run.counted("aborting", 0);
    }
    fs::write(hangs, "").expect("it is ours");
    assert_eq!(run.expect("aborting").generation(), 1);
    run.quit();
}

/// It tells it while nobody hears.
#[test]
fn a_program_that_gets_ready_while_hotrun_is_stopped_is_live() {
    if !has_python() {
        return;
    }
    let project = Project::new();
    let go = project.beside("go");
    let body = format!(
        r#"
print("waits", flush=True)
while not os.path.exists("{}"):
    time.sleep(0.01)
notify("READY=1")
server().serve_forever()"#,
        go.display()
    );
    let run = run(&project, &body).args(["--ready", "notify", "--ready-timeout", "2s"]);
    let mut run = run.spawn();
    run.expect_that("its first words", PATIENCE, |event| event.mentions("waits"));
    run.signal(Signal::SIGSTOP);
    fs::write(go, "").expect("it is ours");
    // The wait is the point here.
    thread::sleep(Duration::from_secs(3));
    run.signal(Signal::SIGCONT);
    assert_eq!(run.live(), 1);
    run.counted("failed", 0);
    run.quit();
}
