//! Starts the program that a [`StartRequest`] describes.

use std::convert::Infallible;
use std::ffi::{CString, OsStr};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, chdir, dup2_stdin, execve, getpid, getppid, setpgid, tcsetpgrp};

use crate::os::fd_limit;
use crate::os::process::{fork, place, raise, signal_at_parents_end};
use crate::os::scm_rights;
use crate::os::seccomp;
use crate::os::signals::reset_signals;
use crate::process::start_request::{StartRequest, StdioMode};
use crate::process::wire::{self, Refusal, StartStep};

/// The number of a program's first socket or stored descriptor (`SD_LISTEN_FDS_START`, `sd_listen_fds(3)`).
const FIRST: i32 = 3;

/// Starts the program. Returns its pid and, if its calls are intercepted, a duplicate of the seccomp listener. Returns
/// after the exec has succeeded, or after the failed process was reaped.
pub(super) fn start(request: StartRequest) -> Result<(Pid, Option<OwnedFd>), Refusal> {
    // The child sends the listener, and reports a failure, through this socket. Exec closes it, so end of file without a
    // report means success.
    let (mut report, childs) = UnixStream::pair().map_err(setup)?;
    let mut parts = Some((request, childs));
    let guardian = getpid();
    let pid = fork(|| {
        let Some((request, socket)) = parts.take() else {
            return 1;
        };
        // `top` is above the numbers that `place` uses.
        let top = FIRST + i32::try_from(request.sockets.len()).unwrap_or(0);
        let Ok(socket) = raise(&socket.into(), top) else {
            return 127;
        };
        let Err(refusal) = become_program(request, guardian, top, socket.as_fd());
        let _ = UnixStream::from(socket).write_all(wire::to_line(&refusal).as_bytes());
        127
    })
    .map_err(setup)?;
    // Closes the guardian's copies. Otherwise, the socket and the interception channel would never reach end of file,
    // and the program's sockets would remain open.
    drop(parts);
    let mut first = [0; 4];
    let received = scm_rights::receive(report.as_fd(), &mut first).map_err(setup)?;
    let (length, listener) = (received.length, received.descriptors.into_iter().next());
    let mut text = match listener {
        Some(_) => String::new(),
        None => String::from_utf8_lossy(&first[..length]).into_owned(),
    };
    let _ = report.read_to_string(&mut text);
    if text.is_empty() {
        return Ok((pid, listener));
    }
    let _ = nix::sys::wait::waitpid(pid, None);
    Err(wire::from_line(&text).unwrap_or(setup(Errno::EIO)))
}

fn setup(error: impl Into<io::Error>) -> Refusal {
    Refusal::new(StartStep::Setup, error)
}

/// Runs in the program's process until its exec, and returns only if a step fails.
fn become_program(
    mut request: StartRequest,
    guardian: Pid,
    top: i32,
    socket: BorrowedFd<'_>,
) -> Result<Infallible, Refusal> {
    let own = Pid::from_raw(0);
    // The program gets its own process group: signals that it sends to its group do not reach the guardian, and the
    // group can be killed in one step that no fork escapes.
    setpgid(own, own).map_err(setup)?;
    // If hotrun and the guardian are killed at the same time, nothing else ends this process. The guardian has only one
    // thread, so its end is that of the thread.
    signal_at_parents_end(Signal::SIGKILL).map_err(setup)?;
    if getppid() != guardian {
        return Err(Refusal::new(StartStep::Guardian, Errno::ESRCH));
    }
    let attached = match request.stdio {
        StdioMode::Pipes => Ok(()),
        // Puts the program into the foreground of its pty. `SIGTTOU` must still be blocked, because it stops a
        // background process that does this (`tcsetpgrp(3)`).
        StdioMode::PtyOutput => tcsetpgrp(io::stdout(), getpid()),
        StdioMode::Pty => tcsetpgrp(io::stdout(), getpid()).and_then(|()| dup2_stdin(io::stdout())),
    };
    attached.map_err(setup)?;
    reset_signals();
    chdir(request.workdir.as_c_str()).map_err(|errno| Refusal::new(StartStep::Workdir, errno))?;
    if request.listen_pid {
        set_pid_variables(&mut request);
    }
    let channel = request.intercept.take().map(|channel| raise(&channel, top));
    let channel = channel.transpose().map_err(setup)?;
    place(std::mem::take(&mut request.sockets), FIRST).map_err(setup)?;
    // Must come after `place`, because there may be more descriptors than the limit allows. If this fails, the program
    // keeps the guardian's limit.
    let _ = request.fd_limit.map(fd_limit::set);
    // Comes just before exec, so that none of hotrun's own calls are intercepted.
    if let Some(channel) = channel {
        let installed = seccomp::install(&[socket, channel.as_fd()], request.reports_writes);
        installed.map_err(setup)?;
    }
    Err(exec(&request))
}

/// Sets `LISTEN_PID` and `WATCHDOG_PID`, so that libraries in child processes ignore the sockets and the watchdog
/// (`sd_watchdog_enabled(3)`).
fn set_pid_variables(request: &mut StartRequest) {
    // Cannot fail, because neither the names nor a pid contains a zero byte.
    let variable = |name: &str| CString::new(format!("{name}={}", getpid())).ok();
    let is_watchdog = |pair: &CString| pair.as_bytes().starts_with(b"WATCHDOG_USEC=");
    if request.env.iter().any(is_watchdog) {
        request.env.extend(variable("WATCHDOG_PID"));
    }
    if !request.sockets.is_empty() {
        request.env.extend(variable("LISTEN_PID"));
    }
}

/// Like `execvp(3)`, but searches the program's own `PATH`, and behaves the same with every C library.
fn exec(request: &StartRequest) -> Refusal {
    let name = &request.argv[0];
    if name.is_empty() || name.as_bytes().contains(&b'/') {
        return exec_file(name, request);
    }
    let mut env = request.env.iter();
    let path = env.find_map(|pair| pair.as_bytes().strip_prefix(b"PATH="));
    let mut worst = Errno::ENOENT;
    for directory in path.unwrap_or(b"/bin:/usr/bin").split(|byte| *byte == b':') {
        // An empty entry means the working directory.
        let directory: &[u8] = if directory.is_empty() {
            b"."
        } else {
            directory
        };
        let Ok(file) = CString::new([directory, b"/", name.as_bytes()].concat()) else {
            continue;
        };
        let refusal = exec_file(&file, request);
        match refusal.errno {
            _ if refusal.step == StartStep::Interpreter => return refusal,
            // A later directory may still contain an executable file of this name.
            libc::EACCES => worst = Errno::EACCES,
            libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT => {}
            _ => return refusal,
        }
    }
    Refusal::new(StartStep::Exec, worst)
}

fn exec_file(file: &CString, request: &StartRequest) -> Refusal {
    let Err(mut errno) = execve(file, &request.argv, &request.env);
    let exists = || std::fs::exists(OsStr::from_bytes(file.as_bytes())).unwrap_or(false);
    if errno == Errno::ENOENT && exists() {
        return Refusal::new(StartStep::Interpreter, errno);
    }
    if errno == Errno::ENOEXEC {
        // The file is neither a binary nor a script that names its interpreter. Traditionally, such files are run as
        // shell scripts.
        let mut argv = vec![c"/bin/sh".to_owned(), file.clone()];
        argv.extend_from_slice(&request.argv[1..]);
        Err(errno) = execve(c"/bin/sh", &argv, &request.env);
    }
    Refusal::new(StartStep::Exec, errno)
}
