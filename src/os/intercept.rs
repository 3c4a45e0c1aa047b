//! The words in which a trapped system call is spoken of, on every system.

use std::fmt;
use std::io;
use std::str::FromStr;

use super::test_hook;

/// A system call whose caller waits for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its number, never given twice by one [`InterceptedCalls`](super::seccomp::InterceptedCalls).
    pub id: u64,
    /// The thread that called, which need not be the leader of its process.
    pub thread: i32,
    /// What it asks for.
    pub syscall: Syscall,
}

/// What a trapped call asks for. Nothing in it is to be trusted: the kernel has not looked at it yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syscall {
    /// `bind(2)`.
    Bind {
        /// The caller's descriptor.
        fd: i32,
        /// Where the address is, in the caller's memory.
        address: u64,
        /// Its length in bytes, as the caller has it: anything.
        length: u32,
    },
    /// `listen(2)`.
    Listen {
        /// The caller's descriptor.
        fd: i32,
        /// The length of the queue that it wishes for.
        backlog: i32,
    },
}

/// What the caller gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The kernel performs the call, as if nobody had looked.
    Continue,
    /// The call returns 0 without being performed.
    Success,
    /// The call fails with this `errno`, a positive number, without being performed.
    Errno(i32),
}

/// What comes next from trapped programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Somebody waits.
    Call(Call),
    /// No process is left that could call.
    Ended,
    /// The caller of this was asked to stop.
    Stopped,
}

/// Why programs cannot be trapped here.
#[derive(Debug)]
pub enum Unavailable {
    /// The kernel, with this release, does not know what is needed.
    OldKernel(String),
    /// The filter was refused.
    Seccomp(io::Error),
    /// Somebody else's listener sees the system calls of all that we start.
    Busy,
    /// The program's descriptors are out of reach.
    Pidfd(io::Error),
    /// The program's memory is out of reach.
    Memory(io::Error),
    /// The process to try it with could not be had.
    Process(io::Error),
    /// It was tried and did not come to its end in time.
    Silent,
    /// No such thing on this system or processor.
    Unsupported,
}

/// The oldest kernel with `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`.
pub(super) const OLDEST: &str = "5.19";

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OldKernel(release) => {
                write!(f, "the kernel, `{release}`, is older than {OLDEST}")
            }
            Self::Seccomp(error) => write!(f, "a seccomp filter is refused: {error}"),
            Self::Busy => f.write_str(
                "something around hotrun (a sandbox, another hotrun) already answers system calls",
            ),
            Self::Pidfd(error) => {
                write!(
                    f,
                    "a program's sockets are out of reach (`pidfd_getfd`): {error}"
                )
            }
            Self::Memory(error) => {
                write!(
                    f,
                    "a program's memory is out of reach (`process_vm_readv`): {error}"
                )
            }
            Self::Process(error) => write!(f, "no process to try it with: {error}"),
            Self::Silent => f.write_str("a system call was not answered in time"),
            Self::Unsupported => f.write_str("this system or processor has no such thing"),
        }
    }
}

impl std::error::Error for Unavailable {}

impl Unavailable {
    /// What would help.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::OldKernel(_)
            | Self::Seccomp(_)
            | Self::Busy
            | Self::Process(_)
            | Self::Silent
            | Self::Unsupported => {
                "a program that takes its sockets from `--listen ADDRESS` needs none of it"
            }
            Self::Pidfd(_) | Self::Memory(_) => {
                "in a container `--cap-add SYS_PTRACE` allows it, elsewhere \
                 `sysctl kernel.yama.ptrace_scope=1`; a program that takes its sockets from \
                 `--listen ADDRESS` needs none of it"
            }
        }
    }
}

/// A refusal that a test asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestRefusal {
    /// [`Unavailable::OldKernel`]
    Kernel,
    /// [`Unavailable::Seccomp`]
    Seccomp,
    /// [`Unavailable::Busy`]
    Busy,
    /// [`Unavailable::Pidfd`]
    Pidfd,
}

impl TestRefusal {
    /// The refusal that the test hook `REFUSE` names.
    pub fn asked() -> Option<Self> {
        test_hook("REFUSE")?.parse().ok()
    }
}

impl FromStr for TestRefusal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "kernel" => Ok(Self::Kernel),
            "seccomp" => Ok(Self::Seccomp),
            "busy" => Ok(Self::Busy),
            "pidfd" => Ok(Self::Pidfd),
            other => Err(format!("no refusal is called `{other}`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_one_sentence_and_comes_with_a_hint() {
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
