//! Helpers that start programs and observe them.

use std::ffi::OsString;
use std::fs;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hotrun::process::output::Lines;
use hotrun::process::{Control, Process, ProgramEvent, ProgramEvents, Spawner, Spec};
use hotrun::reload::Ended;

/// Longer than any step of these tests takes, even on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// An environment variable whose value is different in each test.
pub(crate) const MARK: &str = "HOTRUN_TEST_MARK";

/// Marks the processes of one test, and kills those that the test leaves behind if it fails.
pub(crate) struct Mark(String);

impl Mark {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(format!(
            "{}-{count}-{:?}",
            std::process::id(),
            Instant::now()
        ))
    }

    pub(crate) fn value(&self) -> &str {
        &self.0
    }

    /// Every process with this mark in its environment, including the guardians of helpers.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let wanted = format!("{MARK}={}", self.0).into_bytes();
        let own = std::process::id().cast_signed();
        let has_mark = |pid: &i32| {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            *pid != own && environ.split(|byte| *byte == 0).any(|pair| pair == wanted)
        };
        numbers("/proc").into_iter().filter(has_mark).collect()
    }

    pub(crate) fn assert_none_left(&self) {
        // A killed process takes a moment to vanish.
        wait_until("all processes are gone", || self.processes().is_empty());
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        for pid in self.processes() {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL);
        }
    }
}

/// Returns the numeric names in a directory, which are pids or descriptors.
pub(crate) fn numbers(directory: &str) -> Vec<i32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// Polls until the condition holds. Panics if this takes longer than [`DEADLINE`].
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "timed out waiting until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Like [`wait_until`], but does not block the runtime.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "timed out waiting until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Awaits the future. Panics if it takes longer than [`DEADLINE`].
pub(crate) async fn within_deadline<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("timed out: {what}"),
    }
}

/// An environment variable with the path of the `hotrun` to test, for a user who may not read the build directory.
pub(crate) const HOTRUN: &str = "HOTRUN_TEST_PROGRAM";

/// The `hotrun` under test.
pub(crate) fn spawner() -> Spawner {
    let ours = || env!("CARGO_BIN_EXE_hotrun").into();
    Spawner::at(std::env::var_os(HOTRUN).unwrap_or_else(ours))
}

pub(crate) fn spec(mark: &Mark, argv: &[&str]) -> Spec {
    let path = std::env::var_os("PATH").unwrap_or_default();
    Spec {
        argv: argv.iter().map(OsString::from).collect(),
        env: vec![("PATH".into(), path), (MARK.into(), mark.value().into())],
        workdir: PathBuf::from("/"),
        sockets: Vec::new(),
        stored: Vec::new(),
        watchdog: None,
        listen_pid: true,
        notify: None,
        cleanup: Vec::new(),
        intercept: None,
        reports_writes: false,
    }
}

pub(crate) fn shell(mark: &Mark, script: &str) -> Running {
    Running::start(spec(mark, &["sh", "-c", script]))
}

pub(crate) fn python_or_skip() -> bool {
    installed_or_skip("python3", "-V")
}

/// Returns whether a program is installed; if not, reports the test as skipped, or fails in CI. `version` is the
/// argument that makes the program print its version.
pub(crate) fn installed_or_skip(name: &str, version: &str) -> bool {
    let found = std::process::Command::new(name)
        .arg(version)
        .output()
        .is_ok();
    assert!(
        found || std::env::var_os("CI").is_none(),
        "`{name}` is missing, but required in CI"
    );
    if !found {
        eprintln!("SKIPPED: `{name}` is missing");
    }
    found
}

/// Returns a descriptor from which this text can be read. It can be passed to a program like a socket.
pub(crate) fn holding(text: &str) -> OwnedFd {
    let (reader, mut writer) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut writer, text.as_bytes()).unwrap();
    reader.into()
}

/// A running program and its output.
pub(crate) struct Running {
    pub(crate) control: Control,
    pub(crate) events: ProgramEvents,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
}

impl Running {
    pub(crate) fn start(spec: Spec) -> Self {
        Self::from(spawner().spawn(spec).unwrap())
    }

    pub(crate) async fn event(&mut self) -> Option<ProgramEvent> {
        within_deadline("waiting for an event", self.events.next()).await
    }

    /// Waits until the program has started, and returns its pid.
    pub(crate) async fn started(&mut self) -> i32 {
        match self.event().await {
            Some(ProgramEvent::Started { pid }) => pid,
            other => panic!("the program was not started: {other:?}"),
        }
    }

    /// Returns the program's next line of output.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = Vec::new();
        while let Some(piece) = within_deadline("waiting for a line", self.stdout.next()).await {
            line.extend(piece.bytes);
            if piece.ends_line {
                break;
            }
        }
        String::from_utf8(line).unwrap()
    }

    /// Returns the remaining output once the tree has closed it.
    pub(crate) async fn rest(&mut self) -> Vec<String> {
        collect(&mut self.stdout).await
    }

    pub(crate) async fn errors(&mut self) -> Vec<String> {
        collect(&mut self.stderr).await
    }

    /// Waits until the first process and then the whole tree have ended. Returns how the first process ended, and
    /// whether others survived it.
    pub(crate) async fn end(&mut self) -> (Ended, bool) {
        let exited = self.event().await;
        let Some(ProgramEvent::Exited { ended, survivors }) = exited else {
            panic!("no exit was reported: {exited:?}");
        };
        assert_eq!(self.event().await, Some(ProgramEvent::Gone));
        assert_eq!(self.event().await, None);
        assert_eq!(self.control.pids(), Vec::<i32>::new());
        (ended, survivors)
    }
}

impl From<Process> for Running {
    fn from(process: Process) -> Self {
        Self {
            control: process.control,
            events: process.events,
            stdout: Lines::new(process.stdout),
            stderr: Lines::new(process.stderr),
        }
    }
}

async fn collect(lines: &mut Lines) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(piece) = within_deadline("waiting for the output to end", lines.next()).await {
        all.extend(piece.bytes);
        all.extend(piece.ends_line.then_some(b'\n'));
    }
    let text = String::from_utf8(all).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Returns the pid of a program's guardian.
pub(crate) fn guardian_of(program: i32) -> i32 {
    let status = fs::read_to_string(format!("/proc/{program}/status")).unwrap();
    let parent = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))
        .unwrap();
    parent.trim().parse().unwrap()
}

/// Waits until the process has exactly these descriptors. While it starts, its dynamic loader also has libraries open.
pub(crate) async fn wait_for_only_descriptors(pid: i32, numbers: &[i32]) {
    let what = format!("{numbers:?} are the only descriptors of process {pid}");
    until(&what, || {
        let files = open_files(pid);
        files.iter().map(|(fd, _)| fd).eq(numbers)
    })
    .await;
}

/// The open files of a process.
pub(crate) fn open_files(pid: i32) -> Vec<(i32, String)> {
    let directory = format!("/proc/{pid}/fd");
    let mut all: Vec<_> = numbers(&directory)
        .into_iter()
        .filter_map(|fd| {
            let target = fs::read_link(format!("{directory}/{fd}")).ok()?;
            Some((fd, target.to_str()?.to_owned()))
        })
        .collect();
    all.sort();
    all
}
