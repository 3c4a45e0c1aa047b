//! Types for intercepted system calls, defined on every system. See [`seccomp`](super::seccomp).

use std::fmt;
use std::io;

/// A system call whose caller is waiting for the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The call's id, unique within one [`InterceptedCalls`](super::seccomp::InterceptedCalls).
    pub id: u64,
    /// The calling thread, which need not be the leader of its process.
    pub thread: i32,
    /// The system call and its arguments.
    pub syscall: Syscall,
}

/// An intercepted system call. Its arguments are untrusted: the kernel has not checked them yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syscall {
    /// `bind(2)`.
    Bind {
        /// The caller's descriptor.
        fd: i32,
        /// The location of the address in the caller's memory.
        address: u64,
        /// The length of the address in bytes, as claimed by the caller.
        length: u32,
    },
    /// `listen(2)`.
    Listen {
        /// The caller's descriptor.
        fd: i32,
        /// The requested length of the queue.
        backlog: i32,
    },
    /// `connect(2)`, with an address that may be an IP address, judging by its length.
    Connect {
        /// The caller's descriptor.
        fd: i32,
        /// The location of the address in the caller's memory.
        address: u64,
        /// The length of the address in bytes, as claimed by the caller.
        length: u32,
    },
    /// A call that opens a file for writing, or renames or removes a file. A renamed file has two paths.
    Write([Option<FileArgument>; 2]),
}

/// An argument that names a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileArgument {
    /// The caller's descriptor of the directory to which a relative path refers, or `AT_FDCWD`.
    pub dir: i32,
    /// The location of the path in the caller's memory.
    pub path: u64,
    /// Whether the call follows a symbolic link.
    pub follows: bool,
}

/// The reply to an intercepted call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The kernel performs the call as usual.
    Continue,
    /// The call returns 0 without being performed.
    Success,
    /// The call fails with this `errno`, a positive number, without being performed.
    Errno(i32),
}

/// The result of waiting for an intercepted call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A call was intercepted; its caller is waiting for a reply.
    Call(Call),
    /// No process is left that could make a call.
    Ended,
    /// The wait was stopped, or its timeout has expired.
    Stopped,
}

/// Why calls cannot be intercepted here.
#[derive(Debug)]
pub enum Unavailable {
    /// The kernel is too old; this is its release.
    OldKernel(String),
    /// The kernel refused the filter.
    Seccomp(io::Error),
    /// Another seccomp listener already intercepts the calls of every process that hotrun starts.
    Busy,
    /// A program's descriptors cannot be duplicated.
    Pidfd(io::Error),
    /// A program's memory cannot be read.
    Memory(io::Error),
    /// No child process could be started to test interception.
    Process(io::Error),
    /// The intercepted call did not return in time.
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
            Self::Busy => {
                f.write_str("a sandbox or another hotrun already intercepts system calls")
            }
            Self::Pidfd(error) => write!(f, "the kernel refuses `pidfd_getfd`: {error}"),
            Self::Memory(error) => {
                write!(f, "the kernel refuses access to `/proc/PID/mem`: {error}")
            }
            Self::Process(error) => {
                write!(f, "cannot start a process to test interception: {error}")
            }
            Self::Silent => f.write_str("an intercepted system call did not return in time"),
            Self::Unsupported => f.write_str("not supported on this system or processor"),
        }
    }
}

impl std::error::Error for Unavailable {}

impl Unavailable {
    /// Returns a hint about what the user can do.
    pub fn hint(&self) -> &'static str {
        match matches!(self, Self::Pidfd(_) | Self::Memory(_)) {
            false => {
                "a program that takes its sockets from `--listen ADDRESS` needs no interception"
            }
            true => {
                "in a container, `--cap-add SYS_PTRACE` allows interception; elsewhere, \
                 `sysctl kernel.yama.ptrace_scope=1` does; a program that takes its sockets from \
                 `--listen ADDRESS` needs no interception"
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
