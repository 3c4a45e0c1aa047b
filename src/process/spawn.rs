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

use super::start_request::StdioMode;
use super::{Control, Pty, Reports, SpawnError, Spec, guardian, monitor, orphans, start_request};
use crate::os;
use crate::os::terminal::Size;

/// What a program may print before it has to wait for us, where the system lets us choose.
const PIPE_BYTES: i32 = 256 * 1024;

/// A guardian that does not read for so long will never do so.
const PATIENCE: Duration = Duration::from_secs(5);

/// A program that was started, or is about to be refused.
#[derive(Debug)]
pub struct Process {
    /// What can be done to it.
    pub control: Control,
    /// What becomes of it.
    pub reports: Reports,
    /// What its tree prints; ends when the tree has closed it. Somebody has to read it.
    pub stdout: pipe::Receiver,
    /// The same for errors.
    pub stderr: pipe::Receiver,
}

/// A program that was started on a terminal of its own, or is about to be refused.
#[derive(Debug)]
pub struct PtyProcess {
    /// What can be done to it.
    pub control: Control,
    /// What becomes of it.
    pub reports: Reports,
    /// What its tree prints, on either of its outputs, and where it reads. Somebody has to read it.
    pub pty: Pty,
}

/// Starts programs, each under a guardian. To be used inside of a tokio runtime with I/O and time.
///
/// # Errors
/// [`SpawnError`]. A program that cannot be executed is not one of them: its guardian says so in a
/// [`Report::Refused`](super::Report::Refused).
pub fn spawn(spec: Spec) -> Result<Process, SpawnError> {
    Spawner::default().spawn(spec)
}

/// The same on a new terminal of this size, which controls the program's session: Ctrl-C at hotrun's terminal does
/// not reach it, and what it does with `/dev/tty` does not reach hotrun's. `reads`: whether its standard input is
/// that terminal, and not empty.
///
/// # Errors
/// [`SpawnError`], as for [`spawn`].
pub fn spawn_on_pty(spec: Spec, size: Size, reads: bool) -> Result<PtyProcess, SpawnError> {
    Spawner::default().spawn_on_pty(spec, size, reads)
}

/// Which executable to take for guardians.
#[derive(Clone, Debug)]
pub struct Spawner {
    exe: PathBuf,
}

impl Default for Spawner {
    /// This very executable. On Linux by `/proc`, where it stays the same file when a newer one is
    /// installed over it.
    fn default() -> Self {
        let itself = Path::new("/proc/self/exe");
        let named = || std::env::current_exe().unwrap_or_else(|_| "hotrun".into());
        let exe = if itself.exists() {
            itself.into()
        } else {
            named()
        };
        Self { exe }
    }
}

impl Spawner {
    /// The `hotrun` at this path.
    pub fn at(exe: impl Into<PathBuf>) -> Self {
        Self { exe: exe.into() }
    }

    /// See [`spawn`].
    ///
    /// # Errors
    /// [`SpawnError`].
    // By value: the descriptors in it are closed once they are the program's.
    #[expect(clippy::needless_pass_by_value)]
    pub fn spawn(&self, spec: Spec) -> Result<Process, SpawnError> {
        let (stdout, stdout_writer) = output().map_err(SpawnError::Channel)?;
        let (stderr, stderr_writer) = output().map_err(SpawnError::Channel)?;
        let output = [stdout_writer, stderr_writer].map(Stdio::from);
        let (control, reports) = self.begin(&spec, StdioMode::Pipes, output)?;
        let receiver = |pipe: PipeReader| pipe::Receiver::from_owned_fd(pipe.into());
        Ok(Process {
            control,
            reports,
            stdout: receiver(stdout).map_err(SpawnError::Channel)?,
            stderr: receiver(stderr).map_err(SpawnError::Channel)?,
        })
    }

    /// See [`spawn_on_pty`].
    ///
    /// # Errors
    /// [`SpawnError`].
    #[expect(clippy::needless_pass_by_value)]
    pub fn spawn_on_pty(
        &self,
        spec: Spec,
        size: Size,
        reads: bool,
    ) -> Result<PtyProcess, SpawnError> {
        let (ours, programs) = os::terminal::open(size).map_err(SpawnError::Terminal)?;
        let stdio = match reads {
            true => StdioMode::Terminal,
            false => StdioMode::Screen,
        };
        let second = programs.try_clone().map_err(SpawnError::Terminal)?;
        let (control, reports) = self.begin(&spec, stdio, [programs, second].map(Stdio::from))?;
        Ok(PtyProcess {
            control,
            reports,
            pty: Pty::new(ours).map_err(SpawnError::Terminal)?,
        })
    }

    /// Starts the guardian and tells it what to start.
    fn begin(
        &self,
        spec: &Spec,
        stdio: StdioMode,
        output: [Stdio; 2],
    ) -> Result<(Control, Reports), SpawnError> {
        start_request::check(spec)?;
        let body = start_request::encode(spec, stdio)?;
        let (socket, guardians) = UnixStream::pair().map_err(SpawnError::Channel)?;
        let child = self
            .start(guardians, output)
            .map_err(|error| SpawnError::Guardian(self.exe.clone(), error))?;
        // Whatever goes wrong from here on, the guardian sees the end of its socket.
        connect(child, socket, &body, spec).map_err(SpawnError::Channel)
    }

    /// Starts a guardian. In std's own way, without code of ours between fork and exec, so it may be
    /// `posix_spawn`, which does not copy our page tables.
    fn start(&self, socket: UnixStream, [stdout, stderr]: [Stdio; 2]) -> io::Result<Child> {
        let mut command = Command::new(&self.exe);
        command
            .arg0("hotrun")
            .arg(guardian::MODE)
            // No folder of anybody's is kept from being unmounted or removed.
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(socket)))
            .stdout(stdout)
            .stderr(stderr)
            // Not in the terminal's foreground group: Ctrl-C is for hotrun alone.
            .process_group(0);
        // The writers' last copies here go with the command, at the end of this function.
        let mut command = tokio::process::Command::from(command);
        orphans::start_guardian(|| command.spawn(), Child::id)
    }
}

/// A pipe for output.
fn output() -> io::Result<(PipeReader, PipeWriter)> {
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
    socket.set_write_timeout(Some(PATIENCE))?;
    // That the guardian is already gone shows in the reports.
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
