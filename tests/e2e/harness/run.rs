//! Starts hotrun for a test.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use super::leftovers::{self, MARK, new_mark};
use super::{Project, Running};

/// The user and group `nobody`.
pub(crate) const NOBODY: &str = "65534";

/// A builder for hotrun's command line.
pub(crate) struct Run {
    pub(super) command: Command,
    pub(super) mark: String,
    pub(super) listens: bool,
    pub(super) address: Option<SocketAddr>,
    program: Vec<OsString>,
}

impl Run {
    /// Runs hotrun with `--ui json` as its only option, and without a command.
    pub(crate) fn new(project: &Project) -> Self {
        Self::from(Command::new(env!("CARGO_BIN_EXE_hotrun")), project)
    }

    /// Like [`Self::new`], but hotrun is started by a shell command that ends in `exec "$0" "$@"`.
    pub(crate) fn through(project: &Project, line: &str) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", line, env!("CARGO_BIN_EXE_hotrun")]);
        Self::from(shell, project)
    }

    /// Like [`Self::new`], but as the unprivileged user `nobody`, who is made the owner of the project.
    pub(crate) fn as_nobody(project: &Project) -> Self {
        let hotrun = project.hand_to_nobody(env!("CARGO_BIN_EXE_hotrun"));
        let mut command = Command::new("setpriv");
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
        command.arg(hotrun);
        let run = Self::from(command, project);
        run.env("HOME", project.tmp())
    }

    fn from(mut command: Command, project: &Project) -> Self {
        let mark = new_mark();
        without_cargo(&mut command);
        command
            .current_dir(project.work())
            .env(MARK, &mark)
            .env("TMPDIR", project.tmp())
            .env("XDG_RUNTIME_DIR", project.tmp())
            .args(["--ui", "json"])
            .stdin(Stdio::null());
        Self {
            command,
            mark,
            listens: false,
            address: None,
            program: Vec::new(),
        }
    }

    /// Listens on a port that the kernel chooses; see [`Running::address`].
    pub(crate) fn listen(self) -> Self {
        self.listen_on("127.0.0.1:0")
    }

    pub(crate) fn listen_on(mut self, address: &str) -> Self {
        self.listens = true;
        self.args(["--listen", address])
    }

    /// Records the address that the program binds itself; see [`Running::address`].
    pub(crate) fn opens(mut self, address: SocketAddr) -> Self {
        self.address = Some(address);
        self
    }

    pub(crate) fn arg(mut self, word: impl AsRef<OsStr>) -> Self {
        self.command.arg(word);
        self
    }

    pub(crate) fn args<W: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.command.args(words);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets the command after `--`.
    pub(crate) fn program<W: Into<OsString>>(mut self, argv: impl IntoIterator<Item = W>) -> Self {
        self.program = argv.into_iter().map(Into::into).collect();
        self
    }

    /// Starts hotrun, and reads its output in the background.
    pub(crate) fn spawn(mut self) -> Running {
        self.finish_line();
        Running::start(self)
    }

    /// Starts hotrun, waits for it to exit, and returns its exit code and output.
    #[track_caller]
    pub(crate) fn output(mut self) -> (Option<i32>, String) {
        self.listens = false;
        let mut running = self.spawn();
        let code = running.wait_for_exit().code();
        leftovers::no_process(&running.mark);
        (code, running.wait_for_all_events())
    }

    fn finish_line(&mut self) {
        if !self.program.is_empty() {
            self.command.arg("--").args(&self.program);
        }
    }
}

/// Removes the variables that cargo sets for tests, because a user's terminal does not have them.
pub(crate) fn without_cargo(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let set_by_cargo = text == "CARGO" || text.starts_with("CARGO_") && text != "CARGO_HOME";
        if set_by_cargo || text == "LD_LIBRARY_PATH" || text.starts_with("HOTRUN") {
            command.env_remove(&name);
        }
    }
}
