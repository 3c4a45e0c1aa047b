use std::fmt;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use hotrun::os::process_tree;

use crate::harness::leftovers::{self, MARK, new_mark};
use crate::harness::{PATIENCE, Project, until};

/// hotrun on a terminal of its own, that nobody looks at.
pub(super) struct Terminal {
    script: Child,
    keys: ChildStdin,
    hotrun: i32,
    mark: String,
    typescript: PathBuf,
}

impl Terminal {
    /// `line` is a shell's, and ends with hotrun's arguments.
    pub(super) fn start(project: &Project, arguments: &str) -> Self {
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
            .expect("`script` can be started");
        let keys = script.stdin.take().expect("it is piped");
        let pid = i32::try_from(script.id()).expect("a pid is an i32");
        let hotrun = until("hotrun on its terminal", PATIENCE, || {
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

    pub(super) fn press(&mut self, key: &str) {
        let pressed = self.keys.write_all(key.as_bytes());
        pressed.expect("hotrun runs");
    }

    /// Nothing runs but one generation.
    pub(super) fn is_calm(&self) {
        until("one generation alone", PATIENCE, || {
            let children = process_tree::children(self.hotrun);
            (children.len() == 1).then_some(())
        });
    }

    pub(super) fn weight(&self) -> Weight {
        let entries = |what: &str| {
            let entries = fs::read_dir(format!("/proc/{}/{what}", self.hotrun));
            entries.expect("hotrun runs").flatten()
        };
        let names = entries("task").map(|task| fs::read_to_string(task.path().join("comm")));
        let (helpers, threads): (Vec<_>, Vec<_>) = names
            .flatten()
            .partition(|name| name.trim() == "tokio-rt-worker");
        assert!(helpers.len() <= HELPERS, "{} helpers", helpers.len());
        let status = fs::read_to_string(format!("/proc/{}/status", self.hotrun));
        let status = status.expect("hotrun runs");
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let memory = memory.and_then(|line| line.trim().strip_suffix(" kB"));
        Weight {
            descriptors: entries("fd").count(),
            threads: threads.len(),
            kib: memory
                .and_then(|kib| kib.trim().parse().ok())
                .expect("a size in KiB"),
        }
    }

    /// It ends as it was asked to, and nothing is left.
    pub(super) fn quit(mut self) {
        self.press("q");
        let status = until("the end of hotrun", PATIENCE, || {
            self.script.try_wait().expect("it is our child")
        });
        assert!(status.success(), "hotrun ends with {status}");
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
        // Only after a failure is there anything that bears our mark.
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

/// So many threads at most do what would hold up the one that decides. One that was needed once stays for good.
const HELPERS: usize = 16;

/// What hotrun takes of the machine while nothing happens; without its helper threads.
#[derive(Clone, Copy)]
pub(super) struct Weight {
    descriptors: usize,
    threads: usize,
    kib: usize,
}

impl Weight {
    /// Of slots that the order of their group keeps from being closed there may be more at one time than at another.
    pub(super) fn least(self, other: Self) -> Self {
        Self {
            descriptors: self.descriptors.min(other.descriptors),
            threads: self.threads.min(other.threads),
            kib: self.kib.min(other.kib),
        }
    }

    /// As much as that, or up to 5 % more.
    #[track_caller]
    pub(super) fn is_at_most(&self, other: &Self) {
        let fine = |now: usize, then: usize| now * 100 <= then * 105;
        let all = fine(self.descriptors, other.descriptors)
            && fine(self.threads, other.threads)
            && fine(self.kib, other.kib);
        assert!(all, "it grows: from {other} to {self}");
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            descriptors,
            threads,
            kib,
        } = self;
        write!(f, "{descriptors} descriptors, {threads} threads, {kib} KiB")
    }
}

/// A moment in which something may go wrong.
pub(super) fn moment() {
    std::thread::sleep(Duration::from_millis(150));
}
