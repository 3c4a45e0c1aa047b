//! A pseudoterminal for tests, with a terminal emulator.

use std::fs;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use hotrun::os::terminal::{self, Size};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::{Winsize, openpty};
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use regex::Regex;
use tempfile::TempDir;

use super::scrollback::Scrollback;

pub(crate) const TIMEOUT: Duration = Duration::from_secs(8);

/// A temporary directory with two shell scripts, `build` and `run`.
pub(crate) struct Project(TempDir);

impl Project {
    pub(crate) fn new(build: &str, run: &str) -> Self {
        let project = Self(
            tempfile::Builder::new()
                .prefix("hotrun-tty-")
                .tempdir()
                .unwrap(),
        );
        fs::create_dir(project.path("src")).unwrap();
        project.write("src/main", "1");
        project.write("build", build);
        project.write("run", run);
        project
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// The project's running processes. They have the project's directory in their environment.
    pub(crate) fn processes(&self) -> Vec<String> {
        let variable = format!("TMPDIR={}", self.0.path().display());
        let all = fs::read_dir("/proc").unwrap().flatten();
        let ours = all.filter(|entry| {
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|one| one == variable.as_bytes())
        });
        ours.map(|entry| fs::read_to_string(entry.path().join("stat")).unwrap_or_default())
            .collect()
    }

    /// A command that runs hotrun in this project, with additional options.
    pub(crate) fn hotrun(&self, options: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hotrun"));
        command
            .args(["--watch", "src", "--build", "sh build", "--ready", "log:."])
            .args(options)
            .args(["--", "sh", "run"]);
        self.set_interactive(&mut command);
        command
    }

    /// Sets the environment that an interactive user would have.
    pub(crate) fn set_interactive(&self, command: &mut Command) {
        command
            .current_dir(self.0.path())
            .env("TERM", "xterm-256color")
            .env("TMPDIR", self.0.path());
        for name in [
            "CI",
            "NO_COLOR",
            "CLICOLOR",
            "CLICOLOR_FORCE",
            "RUST_BACKTRACE",
        ] {
            command.env_remove(name);
        }
        let ours = std::env::vars_os().map(|(name, _)| name);
        let ours = ours.filter(|name| name.as_encoded_bytes().starts_with(b"HOTRUN"));
        ours.for_each(|name| {
            command.env_remove(name);
        });
    }
}

/// The output so far, and the resulting screen.
struct Seen {
    parser: vt100::Parser,
    scrollback: Option<Scrollback>,
    bytes: Vec<u8>,
    written: usize,
}

impl Seen {
    fn process(&mut self, bytes: &[u8]) {
        match &mut self.scrollback {
            Some(scrollback) => scrollback.process(&mut self.parser, bytes),
            None => self.parser.process(bytes),
        }
        self.written += bytes.len();
        if self.written < 4 << 20 {
            self.bytes.extend_from_slice(bytes);
        }
    }
}

/// A pseudoterminal that a command runs on, and what the terminal shows.
pub(crate) struct Screen {
    seen: Arc<Mutex<Seen>>,
    ours: Option<fs::File>,
    closed: Arc<AtomicBool>,
    stalled: Arc<AtomicBool>,
    theirs: Option<OwnedFd>,
    pub(crate) child: Child,
}

impl Screen {
    /// Starts the command as a session leader whose controlling terminal has this size.
    pub(crate) fn start(command: &Command, columns: u16, rows: u16) -> Self {
        Self::with_history(command, columns, rows, 2_000, None)
    }

    pub(crate) fn with_history(
        command: &Command,
        columns: u16,
        rows: u16,
        history: usize,
        scrollback: Option<Scrollback>,
    ) -> Self {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pair = openpty(Some(&size), None).unwrap();
        // The command must inherit only its standard streams.
        for fd in [&pair.master, &pair.slave] {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
        }
        let theirs = || pair.slave.try_clone().unwrap();
        // The standard library cannot set a controlling terminal, so use `setsid --ctty` from util-linux.
        let mut leader = Command::new("setsid");
        leader
            .arg("--ctty")
            // The tests may run with SIGHUP ignored (`nohup`).
            .args(["env", "--default-signal=HUP"])
            .arg(command.get_program())
            .args(command.get_args());
        leader.stdin(theirs()).stdout(theirs()).stderr(theirs());
        leader.current_dir(command.get_current_dir().unwrap_or(Path::new("/")));
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => leader.env(name, value),
                None => leader.env_remove(name),
            };
        }
        let (rows, columns) = (NonZero::new(rows).unwrap(), NonZero::new(columns).unwrap());
        let seen = Seen {
            parser: vt100::Parser::new(rows, columns, history),
            scrollback,
            bytes: Vec::new(),
            written: 0,
        };
        let seen = Arc::new(Mutex::new(seen));
        let child = leader
            .spawn()
            .expect("`setsid` from util-linux should be installed");
        let ours = fs::File::from(pair.master);
        let (closed, stalled) = (Arc::default(), Arc::default());
        read(
            ours.try_clone().unwrap(),
            seen.clone(),
            [&closed, &stalled].map(Arc::clone),
        );
        Self {
            closed,
            stalled,
            seen,
            ours: Some(ours),
            theirs: Some(pair.slave),
            child,
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.ours
            .as_mut()
            .unwrap()
            .write_all(keys.as_bytes())
            .unwrap();
    }

    pub(crate) fn resize(&mut self, columns: u16, rows: u16) {
        let (new_rows, new_columns) = (NonZero::new(rows).unwrap(), NonZero::new(columns).unwrap());
        self.seen()
            .parser
            .screen_mut()
            .set_size(new_rows, new_columns);
        terminal::resize(self.ours.as_ref().unwrap(), Size { columns, rows }).unwrap();
    }

    /// The text on the screen, without empty rows at the end.
    pub(crate) fn text(&self) -> String {
        let seen = self.seen();
        let rows = seen
            .parser
            .screen()
            .rows(0, seen.parser.screen().size().1.get());
        let rows: Vec<String> = rows.map(|row| row.trim_end().to_owned()).collect();
        rows.join("\n").trim_end().to_owned()
    }

    pub(crate) fn parsed<T>(&self, look: impl FnOnce(&mut vt100::Parser) -> T) -> T {
        look(&mut self.seen().parser)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.seen().bytes.clone()
    }

    pub(crate) fn written(&self) -> usize {
        self.seen().written
    }

    /// Waits until the screen shows this text, except for the parts that [`normalize`] replaces.
    #[track_caller]
    pub(crate) fn shows(&self, expected: &str) {
        let expected = expected.trim_matches('\n');
        let lines: Vec<&str> = expected
            .lines()
            .map(|line| line.strip_prefix("        ").unwrap_or(line))
            .collect();
        let expected = lines.join("\n");
        let began = Instant::now();
        while normalize(&self.text()) != expected {
            if began.elapsed() > TIMEOUT {
                panic!(
                    "expected:\n{expected}\n\nfound:\n{}",
                    normalize(&self.text())
                );
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[track_caller]
    pub(crate) fn until(&self, what: &str, condition: impl FnMut(&str) -> bool) {
        self.within(TIMEOUT, what, condition);
    }

    #[track_caller]
    pub(crate) fn within(
        &self,
        timeout: Duration,
        what: &str,
        mut condition: impl FnMut(&str) -> bool,
    ) {
        let began = Instant::now();
        while !condition(&self.text()) {
            assert!(
                began.elapsed() < timeout,
                "timed out waiting for {what}; found:\n{}",
                self.text()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn modes(&self) -> Termios {
        self.modes_if_any().unwrap()
    }

    /// Sets the terminal's modes, like a shell that gets the terminal back.
    pub(crate) fn set_modes(&self, modes: &Termios) {
        tcsetattr(self.theirs.as_ref().unwrap(), SetArg::TCSANOW, modes).unwrap();
    }

    pub(crate) fn modes_if_any(&self) -> nix::Result<Termios> {
        tcgetattr(self.theirs.as_ref().unwrap())
    }

    /// Waits until nothing has been written for this long.
    #[track_caller]
    pub(crate) fn quiet_for(&self, time: Duration) {
        let (began, mut since, mut written) = (Instant::now(), Instant::now(), self.written());
        while since.elapsed() < time {
            assert!(began.elapsed() < TIMEOUT * 4, "hotrun should stop writing");
            thread::sleep(Duration::from_millis(20));
            if self.written() != written {
                (since, written) = (Instant::now(), self.written());
            }
        }
    }

    /// Makes the terminal stop accepting output, as over a stalled connection, or start accepting it again.
    pub(crate) fn stall(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Release);
    }

    /// Closes the terminal, as closing its window does.
    pub(crate) fn close(&mut self) {
        self.ours = None;
        self.closed.store(true, Ordering::Release);
    }

    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                began.elapsed() < TIMEOUT,
                "hotrun is still running:\n{}",
                self.text()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(mut from: fs::File, seen: Arc<Mutex<Seen>>, [closed, stalled]: [Arc<AtomicBool>; 2]) {
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while !closed.load(Ordering::Acquire) {
            let mut fds = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, 50_u16) == Ok(0) {
                continue;
            }
            if stalled.load(Ordering::Acquire) {
                thread::sleep(Duration::from_millis(5));
                continue;
            }
            let Ok(count @ 1..) = from.read(&mut buffer) else {
                break;
            };
            seen.lock().unwrap().process(&buffer[..count]);
        }
    });
}

#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < TIMEOUT, "timed out waiting for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Replaces pids, times and ports, and the width of the spaces around them, because they differ from run to run.
pub(crate) fn normalize(text: &str) -> String {
    let all = [
        (r"pid \d+", "pid N"),
        (r"127\.0\.0\.1:\d+", "127.0.0.1:P"),
        (r"\b\d+(\.\d+)?(ms|µs)|\b\d+\.\d+s|\d\d:\d\d:\d\d", "T"),
        (r"\b\d+s of", "Ts of"),
        (r"   +(\S)", "   $1"),
    ];
    let mut text = text.to_owned();
    for (pattern, with) in all {
        text = Regex::new(pattern)
            .unwrap()
            .replace_all(&text, with)
            .into_owned();
    }
    text.trim_start_matches('\n').to_owned()
}
