use std::fmt;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use hotrun::os::process_tree;

use crate::harness::leftovers::{self, MARK, new_mark};
use crate::harness::{Project, TIMEOUT, until};

/// The name of hotrun's log, next to the watched directory.
pub(crate) const LOG: &str = "log";

/// hotrun on its own terminal, which `script` records.
pub(crate) struct Terminal {
    script: Child,
    keys: ChildStdin,
    hotrun: i32,
    mark: String,
    typescript: PathBuf,
}

impl Terminal {
    /// Starts hotrun with these arguments, which the shell expands.
    pub(crate) fn start(project: &Project, arguments: &str) -> Self {
        let mark = new_mark();
        let hotrun = env!("CARGO_BIN_EXE_hotrun");
        let line = format!("stty rows 40 cols 100; exec '{hotrun}' {arguments}");
        let mut command = Command::new("script");
        crate::harness::run::without_cargo(&mut command);
        let mut script = command
            .args(["-qfec", &line])
            .arg(project.beside("typescript"))
            .current_dir(project.work())
            .env(MARK, &mark)
            .env("HOTRUN_LOG", project.beside(LOG))
            .env("TERM", "xterm-256color")
            .env("SHELL", "/bin/sh")
            .env("TMPDIR", project.tmp())
            .env("XDG_RUNTIME_DIR", project.tmp())
            .env_remove("CI")
            .env_remove("NO_COLOR")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("can start `script`");
        let keys = script.stdin.take().expect("stdin is piped");
        let pid = i32::try_from(script.id()).expect("a pid fits into an i32");
        let hotrun = until("hotrun is running on its terminal", TIMEOUT, || {
            let mut children = process_tree::children(pid).into_iter();
            children.find(|child| comm(*child) == "hotrun")
        });
        Self {
            script,
            keys,
            hotrun,
            mark,
            typescript: project.beside("typescript"),
        }
    }

    pub(crate) fn press(&mut self, key: &str) {
        let pressed = self.keys.write_all(key.as_bytes());
        pressed.expect("hotrun is running");
    }

    /// Waits until hotrun has only this many guardians: of one generation and of each source.
    pub(crate) fn wait_until_idle(&self, guardians: usize) {
        until("only one generation is running", TIMEOUT, || {
            let children = process_tree::children(self.hotrun);
            (children.len() == guardians).then_some(())
        });
    }

    pub(super) fn usage(&self) -> Usage {
        let entries = |what: &str| {
            let entries = fs::read_dir(format!("/proc/{}/{what}", self.hotrun));
            entries.expect("hotrun is running").flatten()
        };
        let names = entries("task").map(|task| fs::read_to_string(task.path().join("comm")));
        let (workers, threads): (Vec<_>, Vec<_>) = names
            .flatten()
            .partition(|name| name.trim() == "tokio-rt-worker");
        assert!(
            workers.len() <= MAX_WORKERS,
            "{} threads for blocking work",
            workers.len()
        );
        let status = fs::read_to_string(format!("/proc/{}/status", self.hotrun));
        let status = status.expect("hotrun is running");
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let memory = memory.and_then(|line| line.trim().strip_suffix(" kB"));
        Usage {
            descriptors: entries("fd").count(),
            threads: threads.len(),
            kib: memory
                .and_then(|kib| kib.trim().parse().ok())
                .expect("`VmRSS` is a size in KiB"),
        }
    }

    /// Quits hotrun, and checks that no process is left behind.
    pub(crate) fn quit(mut self) {
        self.press("q");
        let status = until("hotrun exits", TIMEOUT, || {
            self.script.try_wait().expect("can wait for `script`")
        });
        assert!(status.success(), "hotrun exited with {status}");
        leftovers::no_process(&self.mark);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let shown = fs::read(&self.typescript).unwrap_or_default();
            let last = &shown[shown.len().saturating_sub(20_000)..];
            let text = String::from_utf8_lossy(last);
            crate::harness::say(&console::strip_ansi_codes(&text));
        }
        let _ = self.script.kill();
        let _ = self.script.wait();
        // Only a failed test leaves processes with this mark behind.
        for (pid, _) in leftovers::marked(&self.mark) {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

fn comm(pid: i32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm"));
    name.unwrap_or_default().trim().to_owned()
}

/// The maximum number of threads for blocking work. The runtime never stops a thread that it has started.
const MAX_WORKERS: usize = 16;

/// The resources that an idle hotrun uses, except its threads for blocking work.
#[derive(Clone, Copy)]
pub(super) struct Usage {
    descriptors: usize,
    threads: usize,
    kib: usize,
}

impl Usage {
    /// The minimum of each value. Single measurements vary, because some listeners may have to stay open to preserve
    /// the order of their reuseport group.
    pub(super) fn least(self, other: Self) -> Self {
        Self {
            descriptors: self.descriptors.min(other.descriptors),
            threads: self.threads.min(other.threads),
            kib: self.kib.min(other.kib),
        }
    }

    /// Checks that each value is at most 5% higher than in the earlier measurement.
    #[track_caller]
    pub(super) fn assert_no_growth_since(&self, other: &Self) {
        let fine = |now: usize, then: usize| now * 100 <= then * 105;
        let all = fine(self.descriptors, other.descriptors)
            && fine(self.threads, other.threads)
            && fine(self.kib, other.kib);
        assert!(all, "usage has grown from {other} to {self}");
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            descriptors,
            threads,
            kib,
        } = self;
        write!(f, "{descriptors} descriptors, {threads} threads, {kib} KiB")
    }
}

/// Sleeps briefly, so that the previous action can take effect.
pub(super) fn short_pause() {
    std::thread::sleep(Duration::from_millis(150));
}
