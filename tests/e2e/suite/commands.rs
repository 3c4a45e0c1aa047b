//! Faults of the commands that run beside the program: hooks, sources and liveness checks. Those that never end stay until
//! hotrun exits, so these faults end with hotrun's exit.

use std::fs;
use std::net::TcpListener;
use std::thread;

use hotrun::os::process_tree;
use nix::sys::signal::Signal;

use super::State::Live;
use super::live::kill;
use super::{Fault, Scenario};
use crate::harness::{TIMEOUT, until};

pub(super) fn faults() -> Vec<Fault> {
    let mut all = hooks();
    all.extend(sources());
    all.extend(etcd());
    all.extend(checks());
    all
}

fn recover_and_quit(scenario: &mut Scenario) {
    scenario.recover();
    scenario.signal_and_expect_exit(Signal::SIGINT, 0);
}

fn hooks() -> Vec<Fault> {
    vec![
        Fault::new(
            Live,
            "a `drain` hook hangs when hotrun quits",
            "the program gets its stop signal; exit code 0",
            recover_and_quit,
        )
        .with(&["--hook", "drain=sleep 1000", "--stop-timeout", "2s"]),
        Fault::new(
            Live,
            "a `gone` hook hangs and ignores TERM at the quit",
            "clean exit, code 0",
            |scenario| scenario.signal_and_expect_exit(Signal::SIGINT, 0),
        )
        .with(&["--hook", "gone=trap '' TERM; while :; do sleep 0.1; done"]),
        Fault::new(
            Live,
            "hotrun is killed while hooks hang",
            "no process is left behind",
            Scenario::kill_and_expect_exit,
        )
        .with(&["--hook", "live=setsid sleep 1000", "--hook", "every:1s=sleep 1000"]),
        Fault::new(
            Live,
            "a `before-start` hook fails",
            "the old generation stays live",
            |scenario| {
                scenario.save_beside("bad");
                scenario.project.server("two");
                scenario.expect_failure("start", 1);
                fs::remove_file(scenario.project.beside("bad")).expect("can remove the file");
                scenario.recover();
            },
        )
        .with(&["--hook", "before-start=test ! -e ../bad"]),
        Fault::new(
            Live,
            "a `before-start` hook hangs; a newer save",
            "the newer version goes live",
            |scenario| {
                scenario.save_beside("bad");
                scenario.project.server("two");
                scenario.expect_text("hangs");
                fs::remove_file(scenario.project.beside("bad")).expect("can remove the file");
                scenario.recover();
            },
        )
        .with(&[
            "--hook",
            "before-start=if [ -e ../bad ]; then echo hangs; trap '' TERM; while :; do sleep 0.1; done; fi",
        ]),
        Fault::new(
            Live,
            "the commands of all hooks are missing",
            "reported; the new version goes live",
            |scenario| {
                scenario.recover();
                scenario.expect_text("hook `ready`");
                scenario.expect_text("hook `drain`");
            },
        )
        .with(&["--hook", "ready=./missing", "--hook", "drain=./missing"]),
        Fault::new(
            Live,
            "a periodic hook prints garbage continuously",
            "the new version goes live",
            recover_and_quit,
        )
        .with(&["--hook", "every:100ms=head -c 20000 /dev/urandom"]),
    ]
}

fn sources() -> Vec<Fault> {
    vec![
        Fault::new(
            Live,
            "the source is killed",
            "reported; the same version keeps serving",
            |scenario| {
                let hotrun = scenario.run().pid().as_raw();
                let source = until("the source runs", TIMEOUT, || {
                    let all = process_tree::descendants(hotrun);
                    all.into_iter().find(|pid| is_sleep(*pid))
                });
                kill(source, Signal::SIGKILL);
                scenario.expect_text("\"up\":false");
                assert_eq!(scenario.run().count("starting"), 1);
                recover_and_quit(scenario);
            },
        )
        .with(&["--source", "cfg=exec sleep 1000"]),
        Fault::new(
            Live,
            "the source prints lines continuously",
            "restarts; no request is lost",
            |scenario| {
                scenario.expect_event("live", 2);
                recover_and_quit(scenario);
            },
        )
        .with(&["--source", "cfg=while sleep 0.05; do echo x; done"]),
        Fault::new(
            Live,
            "the source prints a megabyte without a line end",
            "no effect",
            |scenario| {
                scenario.expect_text("printed");
                assert_eq!(scenario.run().count("starting"), 1);
                recover_and_quit(scenario);
            },
        )
        .with(&[
            "--source",
            "cfg=head -c 1000000 /dev/zero; echo printed >&2; exec sleep 1000",
        ]),
        Fault::new(
            Live,
            "the source and its daemon ignore TERM at the quit",
            "no process is left behind",
            recover_and_quit,
        )
        .with(&[
            "--source",
            "cfg=trap '' TERM INT HUP; setsid sleep 1000 & while :; do sleep 0.1; done",
        ]),
    ]
}

fn is_sleep(pid: i32) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.starts_with(b"sleep\x001000")
}

/// Starts a server that accepts connections and, depending on `closes`, closes them or never responds. Returns the options
/// that use it as etcd.
fn gateway(closes: bool) -> &'static [&'static str] {
    let listener = TcpListener::bind("127.0.0.1:0").expect("can bind a port");
    let address = listener.local_addr().expect("it has an address");
    thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming().flatten().filter(|_| !closes) {
            open.push(stream);
        }
    });
    let url: &str = format!("etcd://{address}/app/").leak();
    let source: &str = format!("cfg={url}").leak();
    Vec::from(["--env-from", url, "--source", source]).leak()
}

fn etcd() -> Vec<Fault> {
    vec![
        Fault::new(
            Live,
            "etcd closes every connection",
            "reported; the new version goes live",
            |scenario| {
                scenario.expect_text("\"up\":false");
                recover_and_quit(scenario);
            },
        )
        .with(gateway(true)),
        Fault::new(
            Live,
            "etcd never responds",
            "reported; the new version goes live",
            |scenario| {
                scenario.expect_text("no response within 1s");
                recover_and_quit(scenario);
            },
        )
        .with(gateway(false)),
    ]
}

/// A check that hangs once the file `bad` exists next to the watched directory.
const ALIVE: &str = "exec:test ! -e ../bad || sleep 1000,every=100ms,timeout=100ms,failures=2";

fn checks() -> Vec<Fault> {
    vec![
        Fault::new(
            Live,
            "the liveness check hangs",
            "replaced twice; no request is lost",
            |scenario| {
                scenario.save_beside("bad");
                scenario.expect_event("live", 3);
                scenario.expect_event("not_replaced", 3);
                fs::remove_file(scenario.project.beside("bad")).expect("can remove the file");
                scenario.recover();
            },
        )
        .with(&["--alive", ALIVE]),
        Fault::new(
            Live,
            "hotrun gets TERM while a liveness check hangs",
            "clean exit, code 143",
            |scenario| {
                scenario.save_beside("bad");
                scenario.expect_event("live", 2);
                scenario.signal_and_expect_exit(Signal::SIGTERM, 143);
            },
        )
        .with(&["--alive", ALIVE]),
    ]
}
