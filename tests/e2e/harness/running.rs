//! A running instance of hotrun.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Event, Run, TIMEOUT, http, leftovers, poll};

/// A running hotrun and its events so far. Dropping this kills all of its processes.
pub(crate) struct Running {
    child: Child,
    pub(crate) mark: String,
    address: Option<SocketAddr>,
    events: Receiver<Event>,
    seen: Vec<Event>,
    /// The number of events in `seen` that the test has consumed.
    cursor: usize,
}

impl Running {
    pub(super) fn start(mut run: Run) -> Self {
        run.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        // Let at least one tick of the file system's clock pass: hotrun cannot tell whether a file written in the same
        // tick was written before or after hotrun started, and treats such a file as changed.
        thread::sleep(Duration::from_millis(20));
        let mut child = run.command.spawn().expect("can start hotrun");
        let (sender, events) = channel();
        read_lines(child.stdout.take().expect("stdout is piped"), &sender);
        read_lines(child.stderr.take().expect("stderr is piped"), &sender);
        let mut running = Self {
            child,
            mark: run.mark,
            address: run.address,
            events,
            seen: Vec::new(),
            cursor: 0,
        };
        if run.listens {
            running.address = running.expect("listening").text("address").parse().ok();
        }
        running
    }

    /// The program's TCP address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address.expect("this run listens on a TCP address")
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a pid fits into an i32"))
    }

    /// The number of hotrun's inotify watches (`/proc/PID/fdinfo`, see `proc(5)`).
    pub(crate) fn inotify_watches(&self) -> usize {
        let entries = fs::read_dir(format!("/proc/{}/fdinfo", self.pid()));
        let entries = entries.expect("hotrun is running");
        let infos = entries.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
        let is_watch = |line: &&str| line.starts_with("inotify wd:");
        infos
            .map(|info| info.lines().filter(is_watch).count())
            .sum()
    }

    /// Waits for the next event of this name, and consumes it.
    #[track_caller]
    pub(crate) fn expect(&mut self, name: &str) -> Event {
        self.expect_that(name, TIMEOUT, |event| event.is(name))
    }

    /// Waits for the next matching event, and consumes it.
    #[track_caller]
    pub(crate) fn expect_that(
        &mut self,
        what: &str,
        timeout: Duration,
        fits: impl Fn(&Event) -> bool,
    ) -> Event {
        let deadline = Instant::now() + timeout;
        loop {
            while self.cursor < self.seen.len() {
                self.cursor += 1;
                let event = &self.seen[self.cursor - 1];
                if fits(event) {
                    return event.clone();
                }
            }
            match self
                .events
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(event) => self.seen.push(event),
                Err(RecvTimeoutError::Timeout) => {
                    self.fail(&format!("timed out waiting for {what}"))
                }
                Err(RecvTimeoutError::Disconnected) => self.fail(&format!(
                    "hotrun exited while the test was waiting for {what}"
                )),
            }
        }
    }

    /// Waits until no event has arrived for the duration `quiet`.
    pub(crate) fn wait_until_quiet(&mut self, quiet: Duration) {
        while let Ok(event) = self.events.recv_timeout(quiet) {
            self.seen.push(event);
        }
    }

    /// Waits until the next generation is live, and returns its number.
    #[track_caller]
    pub(crate) fn live(&mut self) -> u64 {
        self.expect("live").generation()
    }

    /// The pid of this generation's program.
    #[track_caller]
    pub(crate) fn pid_of(&mut self, generation: u64) -> u64 {
        self.expect_once("spawned", generation).number("pid")
    }

    /// Waits until this generation is gone, and returns its `gone` event.
    #[track_caller]
    pub(crate) fn wait_until_gone(&mut self, generation: u64) -> Event {
        self.expect_once("gone", generation)
    }

    /// Waits until this generation's program has printed this line.
    #[track_caller]
    pub(crate) fn wait_for_line(&mut self, generation: u64, line: &str) {
        self.wait_for_event(line, |event| {
            event.is("output") && event.generation() == generation && event.text("text") == line
        });
    }

    /// Waits for an event that occurs once per generation.
    #[track_caller]
    fn expect_once(&mut self, name: &str, generation: u64) -> Event {
        self.wait_for_event(name, |event| {
            event.is(name) && event.generation() == generation
        })
    }

    /// Returns the first matching event. The test may already have consumed it or later ones; this consumes none.
    #[track_caller]
    pub(crate) fn wait_for_event(&mut self, what: &str, fits: impl Fn(&Event) -> bool) -> Event {
        let seen = self.so_far().iter().find(|event| fits(event)).cloned();
        seen.unwrap_or_else(|| {
            let at = self.cursor;
            let event = self.expect_that(what, TIMEOUT, fits);
            self.cursor = at;
            event
        })
    }

    /// The events that the test has consumed.
    pub(crate) fn consumed(&self) -> &[Event] {
        &self.seen[..self.cursor]
    }

    /// All events so far.
    pub(crate) fn so_far(&mut self) -> &[Event] {
        self.seen.extend(self.events.try_iter());
        &self.seen
    }

    /// Waits until both output streams are closed, and returns all events as text.
    pub(crate) fn wait_for_all_events(&mut self) -> String {
        while let Ok(event) = self.events.recv_timeout(TIMEOUT) {
            self.seen.push(event);
        }
        let lines: Vec<_> = self.seen.iter().map(ToString::to_string).collect();
        lines.join("\n")
    }

    /// The number of events of this name so far.
    pub(crate) fn count(&mut self, name: &str) -> usize {
        self.so_far().iter().filter(|event| event.is(name)).count()
    }

    /// Checks the number of events of this name so far.
    #[track_caller]
    pub(crate) fn assert_count(&mut self, name: &str, expected: usize) {
        let found = self.count(name);
        if found != expected {
            self.fail(&format!("{found} `{name}` events, expected {expected}"));
        }
    }

    /// Sends a request on a new connection, and returns the body. Panics if the request fails.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> String {
        match http::get(self.address(), path) {
            Ok(body) => body,
            Err(failure) => panic!("GET {path}: {failure}"),
        }
    }

    /// Waits until this version responds.
    #[track_caller]
    pub(crate) fn wait_for_version(&mut self, version: &str) {
        self.wait_for_version_within(TIMEOUT, version);
    }

    /// Like [`Self::wait_for_version`], but with this timeout.
    #[track_caller]
    pub(crate) fn wait_for_version_within(&mut self, timeout: Duration, version: &str) {
        let (wanted, address) = (format!("version {version}\n"), self.address());
        let responds = || {
            http::get(address, "/")
                .ok()?
                .ends_with(&wanted)
                .then_some(())
        };
        if poll(timeout, responds).is_none() {
            self.fail(&format!("timed out waiting for version {version}"));
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("hotrun is a child that has not been waited for");
    }

    /// Waits for hotrun to exit.
    #[track_caller]
    pub(crate) fn wait_for_exit(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("can wait for hotrun") {
                return status;
            }
            if began.elapsed() > TIMEOUT {
                self.fail("hotrun did not exit");
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Quits hotrun as Ctrl-C does, and checks that it succeeds, leaves no process behind and frees the port.
    #[track_caller]
    pub(crate) fn quit(self) {
        self.quit_with(0);
    }

    /// Like [`Self::quit`], but expects this exit code. 1 means that a program had to be killed.
    #[track_caller]
    pub(crate) fn quit_with(mut self, code: i32) {
        self.signal(Signal::SIGINT);
        let status = self.wait_for_exit();
        self.assert_nothing_left();
        if status.code() != Some(code) {
            self.fail(&format!("{status}, expected exit code {code}"));
        }
    }

    /// Kills hotrun with SIGKILL, and checks that nothing is left behind.
    #[track_caller]
    pub(crate) fn kill_and_check(mut self) {
        self.child.kill().expect("can kill hotrun");
        self.child.wait().expect("can wait for hotrun");
        self.assert_nothing_left();
    }

    #[track_caller]
    pub(crate) fn assert_nothing_left(&self) {
        leftovers::no_process(&self.mark);
        if let Some(address) = self.address {
            leftovers::port_free(address);
        }
    }

    #[track_caller]
    pub(crate) fn fail(&mut self, why: &str) -> ! {
        let all: Vec<_> = self.so_far().iter().map(ToString::to_string).collect();
        let last = all.len().saturating_sub(60);
        panic!("{why}; the last events:\n{}", all[last..].join("\n"));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Only a failed test leaves processes with this mark behind.
        for (pid, _) in leftovers::marked(&self.mark) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// Sends each line as an event. A line that is not an event becomes an event named `text`, so that a failing test shows
/// it.
fn read_lines(from: impl Read + Send + 'static, to: &Sender<Event>) {
    let to = to.clone();
    thread::spawn(move || {
        let mut lines = BufReader::new(from).split(b'\n');
        while let Some(Ok(line)) = lines.next() {
            if to
                .send(Event::read(&String::from_utf8_lossy(&line)))
                .is_err()
            {
                break;
            }
        }
    });
}
