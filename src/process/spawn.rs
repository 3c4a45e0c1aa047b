use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::unix::pipe;

use super::start_request::{self, Spec, StdioMode};
use super::{Control, ProgramEvents, Pty, control, guardian, orphans};
use crate::os;
use crate::os::terminal::Size;

/// The size of an output pipe in bytes. A program that prints more must wait until hotrun reads. Set only on Linux.
const PIPE_BYTES: i32 = 256 * 1024;

/// How long a guardian may take to read its start request.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// A program that was started, or for which [`ProgramEvent::Refused`](super::ProgramEvent::Refused) will follow.
#[derive(Debug)]
pub struct Process {
    /// Controls the process tree.
    pub control: Control,
    /// The program's events.
    pub events: ProgramEvents,
    /// The tree's standard output. Must be read. Ends once every process of the tree has closed it.
    pub stdout: pipe::Receiver,
    /// The tree's standard error. Must be read. Ends once every process of the tree has closed it.
    pub stderr: pipe::Receiver,
}

/// The executable to use for guardians.
#[derive(Clone, Debug)]
pub struct Spawner {
    exe: PathBuf,
}

impl Default for Spawner {
    /// Uses this executable. On Linux, it is found through `/proc/self/exe`, which still refers to this file after a
    /// newer version has been installed over it.
    fn default() -> Self {
        let itself = Path::new("/proc/self/exe");
        let named = || std::env::current_exe().unwrap_or_else(|_| "hotrun".into());
        let exe = itself.exists().then(|| itself.into());
        Self {
            exe: exe.unwrap_or_else(named),
        }
    }
}

impl Spawner {
    /// Uses the `hotrun` at this path.
    pub fn at(exe: impl Into<PathBuf>) -> Self {
        Self { exe: exe.into() }
    }

    /// Starts a program under a guardian. Requires a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// A program that cannot be executed is not an error, but reported as
    /// [`ProgramEvent::Refused`](super::ProgramEvent::Refused).
    // Takes the spec by value, so that hotrun's copies of its descriptors are closed when the function returns.
    #[expect(clippy::needless_pass_by_value)]
    pub fn spawn(&self, spec: Spec) -> Result<Process> {
        const DOING: &str = "cannot create a pipe";
        let (stdout, stdout_writer) = output_pipe().context(DOING)?;
        let (stderr, stderr_writer) = output_pipe().context(DOING)?;
        let output = [stdout_writer, stderr_writer].map(Stdio::from);
        let (control, events) = self.start(&spec, StdioMode::Pipes, output)?;
        let receiver = |pipe: PipeReader| pipe::Receiver::from_owned_fd(pipe.into());
        Ok(Process {
            control,
            events,
            stdout: receiver(stdout).context(DOING)?,
            stderr: receiver(stderr).context(DOING)?,
        })
    }

    /// Starts a program on a new pty of this size, which is the controlling terminal of the program's own session. As a
    /// result, a Ctrl-C in hotrun's terminal does not reach the program, and the program's changes to `/dev/tty` do not
    /// affect hotrun's terminal. If `reads` is true, the pty is also the program's standard input; otherwise, standard
    /// input is empty. The output must be read from the returned pty.
    #[expect(clippy::needless_pass_by_value)]
    pub fn spawn_on_pty(
        &self,
        spec: Spec,
        size: Size,
        reads: bool,
    ) -> Result<(Control, ProgramEvents, Pty)> {
        const DOING: &str = "cannot create a pty";
        let (ours, programs) = os::terminal::open(size).context(DOING)?;
        let stdio = match reads {
            true => StdioMode::Pty,
            false => StdioMode::PtyOutput,
        };
        let second = programs.try_clone().context(DOING)?;
        let (control, events) = self.start(&spec, stdio, [programs, second].map(Stdio::from))?;
        Ok((control, events, Pty::new(ours).context(DOING)?))
    }

    /// Starts a guardian and sends it the request. None of hotrun's code runs between fork and exec, so that std can
    /// use `posix_spawn`, which does not copy hotrun's page tables.
    fn start(
        &self,
        spec: &Spec,
        stdio: StdioMode,
        [stdout, stderr]: [Stdio; 2],
    ) -> Result<(Control, ProgramEvents)> {
        const DOING: &str = "cannot reach the guardian";
        let request = start_request::encode(spec, stdio)?;
        let (socket, guardians) = UnixStream::pair().context("cannot create a socket pair")?;
        let mut command = Command::new(&self.exe);
        command
            // `pkill -f hotrun` must not find the guardian either (see `guardian::main`).
            .arg0("guardian")
            .arg(guardian::MODE)
            // In any other directory, the guardian would prevent that directory's file system from being unmounted.
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(guardians)))
            .stdout(stdout)
            .stderr(stderr)
            // Keeps the guardian out of the terminal's foreground group, because a Ctrl-C is only for hotrun.
            .process_group(0);
        let mut command = tokio::process::Command::from(command);
        let started = orphans::start_guardian(&mut command);
        let guardian = started.with_context(|| {
            let exe = self.exe.display();
            format!("cannot start the guardian from `{exe}`")
        })?;
        // Closes hotrun's last copies of the pipe writers and of the guardian's socket.
        drop(command);
        // If anything fails from here on, the guardian reads end of file on its socket and exits.
        let sent = socket
            .set_write_timeout(Some(WRITE_TIMEOUT))
            .and_then(|()| start_request::send(&socket, &request, spec));
        match sent {
            // The guardian is already gone, which an event will report.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Ok(()) | Err(_) => sent.context(DOING)?,
        }
        control::supervise(socket, guardian).context(DOING)
    }
}

fn output_pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    os::widen_pipe(&writer, PIPE_BYTES);
    Ok((reader, writer))
}
