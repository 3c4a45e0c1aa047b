use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::net::unix::pipe;
use tokio::process::Child;

use super::start_request::{self, StdioMode};
use super::{Control, Pty, Reports, SpawnError, Spec, guardian, monitor, orphans};
use crate::os;
use crate::os::terminal::Size;

/// How many bytes a program may print before it waits for hotrun to read them. Only Linux lets us choose.
const PIPE_BYTES: i32 = 256 * 1024;

/// A guardian that does not read for this long never will.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// A program that was started, or that is about to be refused.
#[derive(Debug)]
pub struct Process {
    /// Controls it.
    pub control: Control,
    /// What happens to it.
    pub reports: Reports,
    /// The standard output of its tree, which ends when the tree has closed it. It must be read.
    pub stdout: pipe::Receiver,
    /// The standard error of its tree, likewise.
    pub stderr: pipe::Receiver,
}

/// A program that was started on a pty of its own, or that is about to be refused.
#[derive(Debug)]
pub struct PtyProcess {
    /// Controls it.
    pub control: Control,
    /// What happens to it.
    pub reports: Reports,
    /// Standard output, standard error and input of its tree. It must be read.
    pub pty: Pty,
}

/// The executable to use for guardians.
#[derive(Clone, Debug)]
pub struct Spawner {
    exe: PathBuf,
}

impl Default for Spawner {
    /// This executable. On Linux it is found through `/proc`, where it stays the same file when a newer version is installed
    /// over it.
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
    /// The `hotrun` at this path.
    pub fn at(exe: impl Into<PathBuf>) -> Self {
        Self { exe: exe.into() }
    }

    /// Starts a program under a guardian. Requires a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// [`SpawnError`]. A program that cannot be executed is reported as [`Report::Refused`](super::Report::Refused) instead.
    // By value: our copies of its descriptors are closed once the program has them.
    #[expect(clippy::needless_pass_by_value)]
    pub fn spawn(&self, spec: Spec) -> Result<Process, SpawnError> {
        let (stdout, stdout_writer) = output_pipe().map_err(SpawnError::Channel)?;
        let (stderr, stderr_writer) = output_pipe().map_err(SpawnError::Channel)?;
        let output = [stdout_writer, stderr_writer].map(Stdio::from);
        let (control, reports) = self.start(&spec, StdioMode::Pipes, output)?;
        let receiver = |pipe: PipeReader| pipe::Receiver::from_owned_fd(pipe.into());
        Ok(Process {
            control,
            reports,
            stdout: receiver(stdout).map_err(SpawnError::Channel)?,
            stderr: receiver(stderr).map_err(SpawnError::Channel)?,
        })
    }

    /// Starts a program on a new pty of this size, which is the controlling terminal of the program's session: Ctrl-C at
    /// hotrun's terminal does not reach the program, and what it does with `/dev/tty` does not reach hotrun's terminal. With
    /// `reads`, its standard input is the pty too; otherwise it is empty.
    #[expect(clippy::needless_pass_by_value)]
    pub fn spawn_on_pty(
        &self,
        spec: Spec,
        size: Size,
        reads: bool,
    ) -> Result<PtyProcess, SpawnError> {
        let (ours, programs) = os::terminal::open(size).map_err(SpawnError::Pty)?;
        let stdio = match reads {
            true => StdioMode::Pty,
            false => StdioMode::PtyOutput,
        };
        let second = programs.try_clone().map_err(SpawnError::Pty)?;
        let (control, reports) = self.start(&spec, stdio, [programs, second].map(Stdio::from))?;
        Ok(PtyProcess {
            control,
            reports,
            pty: Pty::new(ours).map_err(SpawnError::Pty)?,
        })
    }

    /// Starts the guardian and sends it the request.
    fn start(
        &self,
        spec: &Spec,
        stdio: StdioMode,
        output: [Stdio; 2],
    ) -> Result<(Control, Reports), SpawnError> {
        let body = start_request::encode(spec, stdio)?;
        let (socket, guardians) = UnixStream::pair().map_err(SpawnError::Channel)?;
        let child = self
            .start_guardian(guardians, output)
            .map_err(|error| SpawnError::Guardian(self.exe.clone(), error))?;
        // If anything fails from here on, the guardian sees the end of its socket.
        connect(child, socket, &body, spec).map_err(SpawnError::Channel)
    }

    /// No code of ours runs between fork and exec, so std may use `posix_spawn`, which does not copy our page tables.
    fn start_guardian(
        &self,
        socket: UnixStream,
        [stdout, stderr]: [Stdio; 2],
    ) -> io::Result<Child> {
        let mut command = Command::new(&self.exe);
        command
            .arg0("hotrun")
            .arg(guardian::MODE)
            // A process in any other directory keeps it from being unmounted.
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(socket)))
            .stdout(stdout)
            .stderr(stderr)
            // Outside of the terminal's foreground group: Ctrl-C is for hotrun alone.
            .process_group(0);
        // Our last copies of the writers are closed with the command, at the end of this function.
        let mut command = tokio::process::Command::from(command);
        orphans::start_guardian(|| command.spawn(), Child::id)
    }
}

fn output_pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    os::widen_pipe(&writer, PIPE_BYTES);
    Ok((reader, writer))
}

fn connect(
    child: Child,
    socket: UnixStream,
    body: &[u8],
    spec: &Spec,
) -> io::Result<(Control, Reports)> {
    socket.set_write_timeout(Some(WRITE_TIMEOUT))?;
    // If the guardian is already gone, the reports say so.
    match start_request::send(&socket, body, spec) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
        Ok(()) | Err(_) => {}
    }
    socket.set_nonblocking(true)?;
    let gone = Arc::new(AtomicBool::new(false));
    let pid = child.id().map_or(0, u32::cast_signed);
    let reading = tokio::net::UnixStream::from_std(socket.try_clone()?)?;
    let control = Control::new(socket, pid, gone.clone());
    Ok((control, monitor::monitor(reading, child, gone)))
}
