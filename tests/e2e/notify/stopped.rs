//! Notifications that programs send while hotrun is stopped.

use std::time::Duration;
use std::{fs, thread};

use nix::sys::signal::Signal;

use super::{python_or_skip, run};
use crate::harness::{Project, TIMEOUT};

/// `kill -STOP`, a debugger, or Ctrl-Z can stop hotrun. The first stop is so short that hotrun may not notice it.
#[test]
#[ignore = "needs python3"]
fn a_watchdog_ping_is_not_missed_while_hotrun_is_stopped() {
    if !python_or_skip() {
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
    for stopped in [1200, 3000] {
        run.signal(Signal::SIGSTOP);
        // hotrun must stay stopped longer than the timeout.
        thread::sleep(Duration::from_millis(stopped));
        run.signal(Signal::SIGCONT);
        // Fifty more beats take longer than the timeout.
        let printed = run.count("output");
        run.expect_that("fifty more beats", TIMEOUT, |event| {
            let number = event.text("text").strip_prefix("beat ").map(str::to_owned);
            number.is_some_and(|number| {
                number
                    .parse::<usize>()
                    .is_ok_and(|beat| beat > printed + 50)
            })
        });
        run.assert_count("aborting", 0);
    }
    fs::write(hangs, "").expect("can create `hangs`");
    assert_eq!(run.expect("aborting").generation(), 1);
    run.quit();
}

/// The program sends `READY=1` while hotrun cannot read it.
#[test]
#[ignore = "needs python3"]
fn a_program_that_becomes_ready_while_hotrun_is_stopped_goes_live() {
    if !python_or_skip() {
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
    run.expect_that("the program's first line", TIMEOUT, |event| {
        event.mentions("waits")
    });
    run.signal(Signal::SIGSTOP);
    fs::write(go, "").expect("can create `go`");
    // hotrun must stay stopped longer than the timeout.
    thread::sleep(Duration::from_secs(3));
    run.signal(Signal::SIGCONT);
    assert_eq!(run.live(), 1);
    run.assert_count("failed", 0);
    run.quit();
}
