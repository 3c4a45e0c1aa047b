//! A running hotrun.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Event, PATIENCE, Run, http, leftovers};

/// hotrun and its events so far. None of its processes outlives the test.
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
        // What was written within a tick of the file system's clock before the start cannot be told from what is written
        // after it, so whatever is heard of it counts.
        thread::sleep(Duration::from_millis(20));
        let mut child = run.command.spawn().expect("hotrun can be started");
        let (sender, events) = channel();
        read_lines(child.stdout.take().expect("it is piped"), &sender);
        read_lines(child.stderr.take().expect("it is piped"), &sender);
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

    /// The TCP address of the program.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address.expect("this run listens on a TCP address")
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a pid is an i32"))
    }

    /// Waits for the next event of this name, and consumes it.
    #[track_caller]
    pub(crate) fn expect(&mut self, name: &str) -> Event {
        self.expect_that(name, PATIENCE, |event| event.is(name))
    }

    /// Waits for the next matching event, and consumes it.
    #[track_caller]
    pub(crate) fn expect_that(
        &mut self,
        what: &str,
        patience: Duration,
        fits: impl Fn(&Event) -> bool,
    ) -> Event {
        let deadline = Instant::now() + patience;
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
                Err(RecvTimeoutError::Timeout) => self.fail(&format!("waited in vain for {what}")),
                Err(RecvTimeoutError::Disconnected) => self.fail(&format!("ended before {what}")),
            }
        }
    }

    /// Waits until there was no event for this long, and nothing is in progress.
    pub(crate) fn settled(&mut self, quiet: Duration) {
        while let Ok(event) = self.events.recv_timeout(quiet) {
            self.seen.push(event);
        }
    }

    /// Waits for the next live generation, and returns its number.
    #[track_caller]
    pub(crate) fn live(&mut self) -> u64 {
        self.expect("live").generation()
    }

    /// The pid of the program of this generation.
    #[track_caller]
    pub(crate) fn pid_of(&mut self, generation: u64) -> u64 {
        self.told_once("spawned", generation).number("pid")
    }

    /// Waits until this generation is gone, and returns the event.
    #[track_caller]
    pub(crate) fn gone_is(&mut self, generation: u64) -> Event {
        self.told_once("gone", generation)
    }

    /// Waits until the program of this generation has printed this line.
    #[track_caller]
    pub(crate) fn printed(&mut self, generation: u64, line: &str) {
        let printed = |event: &Event| {
            event.is("output") && event.generation() == generation && event.text("text") == line
        };
        if !self.so_far().iter().any(printed) {
            let at = self.cursor;
            self.expect_that(line, PATIENCE * 2, printed);
            self.cursor = at;
        }
    }

    /// An event that comes once for each generation. It may precede the last event that the test consumed.
    #[track_caller]
    fn told_once(&mut self, name: &str, generation: u64) -> Event {
        let wanted = |event: &Event| event.is(name) && event.generation() == generation;
        let told = self.so_far().iter().find(|event| wanted(event)).cloned();
        told.unwrap_or_else(|| {
            let at = self.cursor;
            let event = self.expect_that(name, PATIENCE, wanted);
            self.cursor = at;
            event
        })
    }

    /// The events up to the last consumed one.
    pub(crate) fn past(&self) -> &[Event] {
        &self.seen[..self.cursor]
    }

    /// All events so far.
    pub(crate) fn so_far(&mut self) -> &[Event] {
        self.seen.extend(self.events.try_iter());
        &self.seen
    }

    /// All events, once both output streams are closed.
    pub(crate) fn told_in_full(&mut self) -> String {
        while let Ok(event) = self.events.recv_timeout(PATIENCE) {
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
    pub(crate) fn counted(&mut self, name: &str, expected: usize) {
        let found = self.count(name);
        if found != expected {
            self.fail(&format!("{found} times {name}, not {expected}"));
        }
    }

    /// The response of the server on a new connection. There must be one.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> String {
        match http::get(self.address(), path) {
            Ok(body) => body,
            Err(failure) => panic!("GET {path}: {failure}"),
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("hotrun is our child and not yet waited for");
    }

    /// Waits until it exits.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("hotrun is our child") {
                return status;
            }
            if began.elapsed() > PATIENCE {
                self.fail("hotrun does not end");
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Quits as by Ctrl-C, and checks that no process is left and the port is free.
    #[track_caller]
    pub(crate) fn quit(self) {
        self.quit_with(0);
    }

    /// The same with another exit code. 1 means that a program had to be killed.
    #[track_caller]
    pub(crate) fn quit_with(mut self, code: i32) {
        self.signal(Signal::SIGINT);
        let status = self.ended();
        self.gone();
        if status.code() != Some(code) {
            self.fail(&format!("{status} and not {code}"));
        }
    }

    /// Kills hotrun itself, as nothing can prepare for, and checks that nothing is left.
    #[track_caller]
    pub(crate) fn killed(mut self) {
        self.child.kill().expect("hotrun is our child");
        self.child.wait().expect("hotrun is our child");
        self.gone();
    }

    #[track_caller]
    pub(crate) fn gone(&self) {
        leftovers::no_process(&self.mark);
        if let Some(address) = self.address {
            leftovers::port_free(address);
        }
    }

    #[track_caller]
    fn fail(&mut self, why: &str) -> ! {
        let all: Vec<_> = self.so_far().iter().map(ToString::to_string).collect();
        let last = all.len().saturating_sub(60);
        panic!(
            "{why}; the last of what it told:\n{}",
            all[last..].join("\n")
        );
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Only after a failure is there anything that bears our mark.
        for (pid, _) in leftovers::marked(&self.mark) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// Sends each line as an event; a line that is none becomes an event named `text`, so that it is
/// shown when a test fails.
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
