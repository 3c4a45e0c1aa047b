//! What came of waiting.

use std::fmt;
use std::io;
use std::net::SocketAddr;

/// By what it was told that the generation is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It sent `READY=1`.
    Notified,
    /// Somebody waits on every socket that was passed.
    Waits,
    /// It has held its sockets for a second, and whether somebody waits on them can't be seen.
    Holds,
    /// It opens no socket, and has lived for 500 ms.
    Lives,
    /// It answered with this status.
    Answered(u16),
    /// It took a connection.
    Connected,
    /// It printed the line.
    Printed,
    /// The command succeeded.
    Succeeded,
    /// The time is over.
    Delayed,
}

impl How {
    /// Whether only a server gets ready like that. What a job does is opened, printed or waited for as well.
    #[must_use]
    pub const fn is_of_a_server(self) -> bool {
        match self {
            Self::Notified | Self::Waits | Self::Holds | Self::Answered(_) | Self::Connected => {
                true
            }
            Self::Lives | Self::Printed | Self::Succeeded | Self::Delayed => false,
        }
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Notified => f.write_str("it sent `READY=1`"),
            Self::Waits => f.write_str("it waits for connections"),
            Self::Holds => f.write_str("it has held its sockets for 1s"),
            Self::Lives => f.write_str("it has lived for 500ms"),
            Self::Answered(status) => write!(f, "it answered with status {status}"),
            Self::Connected => f.write_str("it took a connection"),
            Self::Printed => f.write_str("it printed the line"),
            Self::Succeeded => f.write_str("the command succeeded"),
            Self::Delayed => f.write_str("the delay is over"),
        }
    }
}

/// Why readiness can never be told, whatever the program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It could only be told by sockets, and none is passed.
    NoSockets,
    /// Nobody listens to the program's notifications any more.
    NoNotifySocket,
    /// Its output has ended without the line.
    OutputEnded,
}

impl Why {
    /// What to do next.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::NoSockets => {
                "pass a socket with `--listen`, or use `--ready log:REGEX`, `exec:CMD` or `delay:DUR`"
            }
            Self::NoNotifySocket => "use another `--ready`, such as `listen` or `delay:DUR`",
            Self::OutputEnded => {
                "look at what it printed, and at the expression of `--ready log:REGEX`"
            }
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSockets => "readiness can't be told without a passed socket",
            Self::NoNotifySocket => "readiness can't be told without a notify socket",
            Self::OutputEnded => "the program closed its output before it printed the line",
        })
    }
}

impl std::error::Error for Why {}

/// What is missing so far: after a readiness time-out it says what was waited for.
#[derive(Debug)]
pub enum Trouble {
    /// Nobody waits on the socket with this index.
    NobodyWaits(usize),
    /// It listens on nothing.
    NothingOpened,
    /// It does not listen where the one before it does.
    Missing(SocketAddr),
    /// It has told something, and not `READY=1`.
    NotYetReady,
    /// No connection could be made.
    Unreachable(io::Error),
    /// The answer has this status.
    Status(u16),
    /// The answer is not HTTP/1.
    Foreign,
    /// The connection ended before there was an answer.
    HungUp,
    /// There was no answer within a second.
    Silent,
    /// The command failed.
    CommandFailed,
    /// The command took too long and was given up.
    CommandSlow,
    /// The command could not be run.
    CommandRefused(io::Error),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NobodyWaits(index) => write!(f, "nobody waits on socket {}", index + 1),
            Self::NothingOpened => f.write_str("it has not listened on anything"),
            Self::Missing(address) => write!(f, "it does not listen on `{address}`"),
            Self::NotYetReady => f.write_str("it reports, but has not sent `READY=1`"),
            Self::Unreachable(error) => write!(f, "no connection: {error}"),
            Self::Status(status) => write!(f, "the probe was answered with status {status}"),
            Self::Foreign => f.write_str("the probe was answered, but not in HTTP/1"),
            Self::HungUp => f.write_str("the probe's connection ended without an answer"),
            Self::Silent => f.write_str("the probe got no answer within 1s"),
            Self::CommandFailed => f.write_str("the command of `--ready exec:` failed"),
            Self::CommandSlow => f.write_str("the command of `--ready exec:` took more than 10s"),
            Self::CommandRefused(error) => {
                write!(f, "the command of `--ready exec:` can't be run: {error}")
            }
        }
    }
}
