//! Makes a program's `shutdown(2)` of some connections do nothing.

use std::io;
use std::os::fd::RawFd;
use std::thread;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::filter::{ARCHITECTURE, LOAD_WORD, NATIVE, NUMBER, SECOND_ARGUMENT};
use crate::os::Instruction;
use crate::os::linux::stopped_thread::StoppedThread;
use crate::os::process_tree::status_field;

/// The offset of the lower half of the first argument in `struct seccomp_data`.
const FIRST_ARGUMENT: u32 = 16;

/// Makes `shutdown(2)` with `SHUT_WR` succeed without any effect on these descriptors, in all threads of the process and in
/// its future children. (With `SHUT_RDWR`, a program also wakes a thread of its own that reads.) It remains so if the
/// process closes such a descriptor and opens another one with its number, so use this only for a process that is about to
/// end. One of its sleeping threads is stopped for about a tenth of a millisecond; its system call may fail with `EINTR`.
/// If the thread cannot be set going again as before, the process is killed.
///
/// `intercepted`: whether the process has the filter of [`install`](super::install).
///
/// A seccomp filter from the program's start on would make every `shutdown` slower. This one is installed late, by a system
/// call that the thread is made to perform.
///
/// # Errors
/// `EPERM` without the right to trace the process, or if a debugger traces it. `ENOTSUP` if it has a seccomp filter of its
/// own, which may kill it for such a call, if no thread sleeps in a system call, or if the architecture is not supported.
pub fn ignore_shutdown(pid: i32, descriptors: &[RawFd], intercepted: bool) -> io::Result<()> {
    let program = filter(NATIVE.ok_or(Errno::ENOTSUP)?, descriptors);
    let filters = |pid| -> Option<u32> { status_field(pid, "Seccomp_filters:")?.parse().ok() };
    let own = filters(std::process::id().cast_signed());
    let expected = own.map(|own| own + u32::from(intercepted));
    // Strict mode allows no such call, and has no filter (`SECCOMP_MODE_STRICT`).
    let is_strict = status_field(pid, "Seccomp:").is_some_and(|mode| mode == "1");
    if expected.is_none() || filters(pid) > expected || is_strict {
        return Err(Errno::ENOTSUP.into());
    }
    // The kernel detaches a tracer that ends from all that it traces, so this thread ends after an error, too.
    let tracer = thread::Builder::new().name("ignore shutdown".into());
    let installed = tracer.spawn(move || install(pid, &program))?.join();
    installed.unwrap_or_else(|_| Err(io::Error::other("the tracing thread has panicked")))
}

fn install(pid: i32, program: &[Instruction]) -> io::Result<()> {
    let mut thread = StoppedThread::of(pid)?;
    let installed = install_in(&mut thread, program);
    let resumed = thread.resume();
    let is_gone = |error: &io::Error| error.raw_os_error() == Some(libc::ESRCH);
    if resumed.as_ref().is_err_and(|error| !is_gone(error)) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    resumed.and(installed)
}

fn install_in(thread: &mut StoppedThread, program: &[Instruction]) -> io::Result<()> {
    /// The size of `struct sock_fprog`: the number of instructions, padding, and the address of the first.
    const HEAD: usize = 16;
    let mut bytes = vec![0; HEAD];
    bytes[..2].copy_from_slice(&(program.len() as u16).to_ne_bytes());
    for Instruction { code, jt, jf, k } in program {
        bytes.extend(code.to_ne_bytes());
        bytes.extend([*jt, *jf]);
        bytes.extend(k.to_ne_bytes());
    }
    let length = bytes.len() as u64;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let nowhere = u64::MAX;
    let map = [0, length, protection as u64, flags as u64, nowhere];
    let address = thread.call(libc::SYS_mmap, &map)?;
    bytes[8..HEAD].copy_from_slice(&(address + HEAD as u64).to_ne_bytes());
    let installed = thread.write(address, &bytes).and_then(|()| {
        let mode = libc::SECCOMP_SET_MODE_FILTER.into();
        let flags = libc::SECCOMP_FILTER_FLAG_TSYNC | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
        let mut set = || thread.call(libc::SYS_seccomp, &[mode, flags, address]);
        match set() {
            // As in `filter::install`.
            Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
                let no_new_privs = [libc::PR_SET_NO_NEW_PRIVS as u64, 1];
                thread.call(libc::SYS_prctl, &no_new_privs)?;
                thread.call(libc::SYS_seccomp, &[mode, flags, address])
            }
            result => result,
        }
    });
    thread.call(libc::SYS_munmap, &[address, length])?;
    match installed? {
        0 => Ok(()),
        // The id of a thread with other filters.
        _ => Err(Errno::ENOTSUP.into()),
    }
}

fn filter(architecture: u32, descriptors: &[RawFd]) -> Vec<Instruction> {
    let allow = Instruction::plain(Instruction::RETURN, libc::SECCOMP_RET_ALLOW);
    // With the value 0 of `errno`, the call succeeds.
    let succeed = Instruction::plain(Instruction::RETURN, libc::SECCOMP_RET_ERRNO);
    let mut program = vec![
        Instruction::plain(LOAD_WORD, ARCHITECTURE),
        Instruction::jump_if_equal(architecture, 1, 0),
        allow,
        Instruction::plain(LOAD_WORD, NUMBER),
        Instruction::jump_if_equal(libc::SYS_shutdown as u32, 1, 0),
        allow,
        Instruction::plain(LOAD_WORD, SECOND_ARGUMENT),
        Instruction::jump_if_equal(libc::SHUT_WR as u32, 1, 0),
        allow,
        Instruction::plain(LOAD_WORD, FIRST_ARGUMENT),
    ];
    for descriptor in descriptors {
        let descriptor = descriptor.cast_unsigned();
        program.extend([Instruction::jump_if_equal(descriptor, 0, 1), succeed]);
    }
    program.push(allow);
    program
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::process::{Command, Stdio};

    use super::*;

    /// Shuts its connections down after a second, and prints which of them ended.
    const PROGRAM: &str = "
import os, socket, sys, threading, time
pairs = [socket.socketpair() for _ in range(2)]
def end(*_):
    for here, there in pairs: here.shutdown(socket.SHUT_WR)
    for here, there in pairs:
        there.settimeout(0.2)
        try: print('ended' if there.recv(1) == b'' else 'data')
        except TimeoutError: print('open')
    sys.stdout.flush()
    os._exit(0)
def sleep():
    began = time.monotonic()
    time.sleep(1)
    print('slept', round(time.monotonic() - began, 1), flush=True)
    end()
threading.Thread(target=sleep).start()
print(pairs[0][0].fileno(), flush=True)
sys.stdin.read()
";

    #[test]
    fn a_shutdown_of_one_descriptor_is_ignored_and_the_other_one_works() {
        let mut command = Command::new("python3");
        command.args(["-c", PROGRAM]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                assert!(std::env::var("CI").is_err(), "`python3` is missing");
                let _ = writeln!(std::io::stderr(), "SKIPPED: cannot run `python3`: {error}");
                return;
            }
        };
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let pid = child.id().cast_signed();
        let descriptor = line.trim().parse().unwrap();
        ignore_shutdown(pid, &[descriptor], false).unwrap();
        // With hotrun's filter, there could be two.
        ignore_shutdown(pid, &[descriptor], true).unwrap();
        let refused = ignore_shutdown(pid, &[descriptor], true).unwrap_err();
        assert_eq!(
            refused.raw_os_error(),
            Some(libc::ENOTSUP),
            "it has filters of its own"
        );
        let input = child.stdin.take();
        input.as_ref().unwrap().write_all(b"more").unwrap();
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "slept 1.0\nopen\nended\n");
        assert!(child.wait().unwrap().success());
    }
}
