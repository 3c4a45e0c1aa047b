//! Intercepted system calls, on every system. See [`seccomp`](super::seccomp).

use std::fmt;
use std::io;

/// A system call whose caller waits for the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its id, unique within one [`InterceptedCalls`](super::seccomp::InterceptedCalls).
    pub id: u64,
    /// The calling thread, which need not be the leader of its process.
    pub thread: i32,
    /// The call and its arguments.
    pub syscall: Syscall,
}

/// An intercepted call. Nothing in it can be trusted: the kernel has not checked it yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syscall {
    /// `bind(2)`.
    Bind {
        /// The caller's descriptor.
        fd: i32,
        /// Where the address is in the caller's memory.
        address: u64,
        /// Its length in bytes as the caller claims it.
        length: u32,
    },
    /// `listen(2)`.
    Listen {
        /// The caller's descriptor.
        fd: i32,
        /// The requested length of the queue.
        backlog: i32,
    },
}

/// The reply to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The kernel performs the call as usual.
    Continue,
    /// The call returns 0 without being performed.
    Success,
    /// The call fails with this `errno`, a positive number, without being performed.
    Errno(i32),
}

/// The result of waiting for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A caller waits.
    Call(Call),
    /// No process is left that could call.
    Ended,
    /// The wait was stopped.
    Stopped,
}

/// Why calls cannot be intercepted here.
#[derive(Debug)]
pub enum Unavailable {
    /// The kernel, with this release, is too old.
    OldKernel(String),
    /// The filter was refused.
    Seccomp(io::Error),
    /// Another listener already intercepts the calls of everything that we start.
    Busy,
    /// The descriptors of a program cannot be duplicated.
    Pidfd(io::Error),
    /// The memory of a program cannot be read.
    Memory(io::Error),
    /// No process could be started for the attempt.
    Process(io::Error),
    /// The attempt did not end in time.
    Silent,
    /// Not supported on this system or processor.
    Unsupported,
}

/// The oldest kernel with `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`.
pub(super) const OLDEST: (u32, u32) = (5, 19);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OldKernel(release) => {
                let (major, minor) = OLDEST;
                write!(f, "the kernel, `{release}`, is older than {major}.{minor}")
            }
            Self::Seccomp(error) => write!(f, "a seccomp filter is refused: {error}"),
            Self::Busy => f.write_str(
                "something around hotrun (a sandbox, another hotrun) already intercepts system calls",
            ),
            Self::Pidfd(error) => write!(f, "the kernel refuses `pidfd_getfd`: {error}"),
            Self::Memory(error) => write!(f, "the kernel refuses `process_vm_readv`: {error}"),
            Self::Process(error) => write!(f, "no process to try it with: {error}"),
            Self::Silent => f.write_str("an intercepted system call did not return in time"),
            Self::Unsupported => f.write_str("not supported on this system or processor"),
        }
    }
}

impl std::error::Error for Unavailable {}

impl Unavailable {
    /// What the user can do.
    pub fn hint(&self) -> &'static str {
        match matches!(self, Self::Pidfd(_) | Self::Memory(_)) {
            false => "a program that takes its sockets from `--listen ADDRESS` does not need this",
            true => {
                "in a container `--cap-add SYS_PTRACE` allows it, elsewhere \
                 `sysctl kernel.yama.ptrace_scope=1`; a program that takes its sockets from \
                 `--listen ADDRESS` does not need this"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_one_line_with_a_hint() {
        let error = || io::Error::from_raw_os_error(libc::EPERM);
        let all = [
            Unavailable::OldKernel("4.19.0".into()),
            Unavailable::Seccomp(error()),
            Unavailable::Busy,
            Unavailable::Pidfd(error()),
            Unavailable::Memory(error()),
            Unavailable::Process(error()),
            Unavailable::Silent,
            Unavailable::Unsupported,
        ];
        for reason in all {
            let text = reason.to_string();
            assert!(text.starts_with(char::is_lowercase), "{text}");
            assert!(!text.ends_with('.') && !text.contains('\n'), "{text}");
            assert!(reason.hint().contains("--listen"));
        }
    }
}
