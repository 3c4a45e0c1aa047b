//! From a [`StartRequest`] to a running program.

use std::ffi::{CString, OsStr};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::unistd::{Pid, chdir, dup2_stdin, execve, getpid, setpgid, tcsetpgrp};

use crate::os::fd_limit;
use crate::os::fork_exec::{fork, place, raise, reset_signals};
use crate::os::seccomp::Filter;
use crate::process::start_request::{StartRequest, StdioMode};
use crate::process::{Refusal, Step};

/// The first descriptor that a program is handed (`SD_LISTEN_FDS_START`, `sd_listen_fds(3)`).
const FIRST: i32 = 3;

/// Starts the program. When this returns its exec has succeeded, or nothing is left of it.
pub(super) fn start(launch: StartRequest) -> Result<Pid, Refusal> {
    let refused = |step| {
        move |error: io::Error| Refusal {
            step,
            errno: error.raw_os_error().unwrap_or(0),
        }
    };
    // The program's process says through this pipe why it could not become the program. Exec closes
    // it, so that its end without a word means success.
    let (mut said, why) = io::pipe().map_err(refused(Step::Fork))?;
    let trap = Filter::new();
    let mut parts = Some((launch, why));
    let pid = fork(|| match parts.take() {
        Some((launch, why)) => child(launch, &why.into(), &trap),
        None => 1,
    })
    .map_err(refused(Step::Fork))?;
    // Our copies: of the pipe and of the trap's channel, or their end would never come; of the sockets, or they
    // would stay open.
    drop(parts);
    let mut bytes = Vec::new();
    let _ = said.read_to_end(&mut bytes);
    if bytes.is_empty() {
        return Ok(pid);
    }
    let _ = nix::sys::wait::waitpid(pid, None);
    Err(Refusal::from_bytes(&bytes).unwrap_or(Refusal {
        step: Step::Fork,
        errno: Errno::EIO as i32,
    }))
}

/// The program's process, up to its exec. Returns only if that fails, with its exit status.
fn child(launch: StartRequest, why: &OwnedFd, trap: &Filter) -> i32 {
    // A group of its own, apart from the guardian's: what the program does to its group does not hit
    // its guardian, and a kill of the group is one step that no fork slips through.
    let grouped =
        setpgid(Pid::from_raw(0), Pid::from_raw(0)).and_then(|()| take_terminal(launch.stdio));
    reset_signals();
    // Above everything that `place` fills.
    let top = FIRST + i32::try_from(launch.sockets.len()).unwrap_or(0);
    let Ok(why) = raise(why, top) else {
        return 127;
    };
    let refusal = match grouped {
        Ok(()) => become_program(launch, trap, top),
        Err(errno) => Refusal {
            step: Step::Descriptors,
            errno: errno as i32,
        },
    };
    let _ = io::PipeWriter::from(why).write_all(&refusal.bytes());
    127
}

/// In the foreground of its terminal, if it has one. That is done while `SIGTTOU` is still blocked, which stops whoever
/// does this in the background otherwise (`tcsetpgrp(3)`).
fn take_terminal(stdio: StdioMode) -> nix::Result<()> {
    match stdio {
        StdioMode::Pipes => Ok(()),
        StdioMode::Screen => tcsetpgrp(io::stdout(), getpid()),
        StdioMode::Terminal => {
            tcsetpgrp(io::stdout(), getpid())?;
            dup2_stdin(io::stdout())
        }
    }
}

fn become_program(mut launch: StartRequest, trap: &Filter, top: i32) -> Refusal {
    let refusal = |step, errno: Errno| Refusal {
        step,
        errno: errno as i32,
    };
    if let Err(errno) = chdir(launch.workdir.as_c_str()) {
        return refusal(Step::Workdir, errno);
    }
    if launch.listen_pid {
        name_pid(&mut launch);
    }
    let channel = match descriptors(&mut launch, top) {
        Ok(channel) => channel,
        Err(error) => {
            let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
            return refusal(Step::Descriptors, errno);
        }
    };
    // Behind its descriptors, of which it may be passed more. Without it, it has our own limit.
    let _ = launch.open_files.map(fd_limit::set);
    // The last thing before exec: what comes earlier is ours, and is not to be asked about.
    if let Some(channel) = channel
        && let Err(errno) = trap.install(channel.as_fd())
    {
        return refusal(Step::Descriptors, errno);
    }
    exec(&launch)
}

/// For libraries that want to know that they are meant. Left out, it means everybody (`sd_watchdog_enabled(3)`).
fn name_pid(launch: &mut StartRequest) {
    // Only digits: there is no zero byte that could make this fail.
    let own = |name: &str| CString::new(format!("{name}={}", getpid())).ok();
    let watched = |pair: &CString| pair.as_bytes().starts_with(b"WATCHDOG_USEC=");
    if launch.env.iter().any(watched) {
        launch.env.extend(own("WATCHDOG_PID"));
    }
    if !launch.sockets.is_empty() {
        launch.env.extend(own("LISTEN_PID"));
    }
}

/// Puts the sockets where the program looks for them, and gives the channel of its trap, above them and closed on exec.
fn descriptors(launch: &mut StartRequest, top: i32) -> io::Result<Option<OwnedFd>> {
    let channel = launch.intercept.take().map(|channel| raise(&channel, top));
    let channel = channel.transpose()?;
    place(std::mem::take(&mut launch.sockets), FIRST)?;
    Ok(channel)
}

/// As `execvp(3)`, but with the program's own `PATH` and the same on every C library.
fn exec(launch: &StartRequest) -> Refusal {
    let name = launch.argv[0].as_bytes();
    if name.is_empty() || name.contains(&b'/') {
        return exec_file(&launch.argv[0], launch);
    }
    let mut worst = Errno::ENOENT;
    for folder in launch.path().as_bytes().split(|byte| *byte == b':') {
        let Some(file) = join(folder, name) else {
            continue;
        };
        let refusal = exec_file(&file, launch);
        match refusal.errno {
            _ if refusal.step == Step::Interpreter => return refusal,
            // Another folder may still have one that may be executed.
            libc::EACCES => worst = Errno::EACCES,
            libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT => {}
            _ => return refusal,
        }
    }
    Refusal {
        step: Step::Exec,
        errno: worst as i32,
    }
}

/// An empty folder in `PATH` is the working directory.
fn join(folder: &[u8], name: &[u8]) -> Option<CString> {
    let folder = if folder.is_empty() { b"." } else { folder };
    CString::new([folder, b"/", name].concat()).ok()
}

fn exec_file(file: &CString, launch: &StartRequest) -> Refusal {
    let Err(errno) = execve(file, &launch.argv, &launch.env);
    let exists = || std::fs::exists(OsStr::from_bytes(file.as_bytes())).unwrap_or(false);
    let (step, errno) = if errno == Errno::ENOEXEC {
        // Neither a binary nor a script that names its interpreter: the shell's, by old custom.
        (Step::Exec, exec_shell(file, launch))
    } else if errno == Errno::ENOENT && exists() {
        (Step::Interpreter, errno)
    } else {
        (Step::Exec, errno)
    };
    Refusal {
        step,
        errno: errno as i32,
    }
}

fn exec_shell(file: &CString, launch: &StartRequest) -> Errno {
    let mut argv = vec![c"/bin/sh".to_owned(), file.clone()];
    argv.extend_from_slice(&launch.argv[1..]);
    let Err(errno) = execve(c"/bin/sh", &argv, &launch.env);
    errno
}
