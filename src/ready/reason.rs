use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Why a generation counts as ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyReason {
    /// It sent `READY=1`.
    Notified,
    /// It waits for connections on all its sockets.
    Accepting,
    /// It has had its sockets for a second, and the system does not show whether it waits for connections.
    Listening,
    /// It has opened no socket, and has run for 500 ms.
    Running,
    /// It responded with this HTTP status.
    Responded(u16),
    /// It accepted a connection.
    Connected,
    /// It printed a matching line.
    Printed,
    /// The command succeeded.
    CommandSucceeded,
    /// The delay has passed.
    Delayed,
}

impl ReadyReason {
    /// Whether only a server can become ready in this way. A job can also print lines, open files and keep running.
    #[must_use]
    pub const fn implies_server(self) -> bool {
        match self {
            Self::Notified | Self::Accepting | Self::Listening => true,
            Self::Responded(_) | Self::Connected => true,
            Self::Running | Self::Printed | Self::CommandSucceeded | Self::Delayed => false,
        }
    }
}

impl fmt::Display for ReadyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Notified => f.write_str("it sent `READY=1`"),
            Self::Accepting => f.write_str("it waits for connections"),
            Self::Listening => f.write_str("it has been listening for 1s"),
            Self::Running => f.write_str("it has run for 500ms"),
            Self::Responded(status) => write!(f, "it responded with status {status}"),
            Self::Connected => f.write_str("it accepted a connection"),
            Self::Printed => f.write_str("it printed a matching line"),
            Self::CommandSucceeded => f.write_str("the command succeeded"),
            Self::Delayed => f.write_str("the delay has passed"),
        }
    }
}

/// Why a generation can never become ready, whatever the program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyError {
    /// The rule needs a socket, and the program has none.
    NoSocket,
    /// The notify socket is closed.
    NotifyClosed,
    /// The output ended without a matching line.
    OutputEnded,
}

impl ReadyError {
    /// What to do next.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::NoSocket => {
                "pass a socket with `--listen`, or use `--ready log:REGEX`, `exec:COMMAND` or `delay:DURATION`"
            }
            Self::NotifyClosed => "use another `--ready`, such as `listen` or `delay:DURATION`",
            Self::OutputEnded => {
                "compare the program's output with the expression of `--ready log:REGEX`"
            }
        }
    }
}

impl fmt::Display for ReadyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSocket => "readiness can't be checked because the program has no socket",
            Self::NotifyClosed => "readiness can't be checked because there is no notify socket",
            Self::OutputEnded => "the program closed its output before it printed a matching line",
        })
    }
}

impl std::error::Error for ReadyError {}

/// Why a generation is not ready yet. Reported if it runs into the timeout.
#[derive(Debug)]
pub enum UnreadyReason {
    /// It does not wait for connections on the socket with this index.
    NotAccepting(usize),
    /// It has not opened a socket.
    NoSocket,
    /// It does not listen on an address that the previous generation listens on.
    Missing(SocketAddr),
    /// It has sent notifications, but not `READY=1`.
    NotReady,
    /// The probe could not connect.
    Unreachable(io::Error),
    /// The probe got this HTTP status.
    Status(u16),
    /// The probe got a response that is not HTTP/1.
    NotHttp,
    /// The connection was closed before the probe got a response.
    Closed,
    /// The probe got no response within a second.
    NoResponse,
    /// The command failed.
    CommandFailed,
    /// The command took too long and was killed.
    CommandTimedOut,
    /// The command could not be started.
    CommandNotStarted(io::Error),
}

impl fmt::Display for UnreadyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAccepting(index) => {
                write!(
                    f,
                    "it does not wait for connections on socket {}",
                    index + 1
                )
            }
            Self::NoSocket => f.write_str("it has not opened a socket"),
            Self::Missing(address) => write!(f, "it does not listen on `{address}`"),
            Self::NotReady => f.write_str("it sent notifications, but not `READY=1`"),
            Self::Unreachable(error) => write!(f, "the probe could not connect: {error}"),
            Self::Status(status) => write!(f, "the probe got status {status}"),
            Self::NotHttp => f.write_str("the probe got a response that is not HTTP/1"),
            Self::Closed => {
                f.write_str("the connection of the probe was closed without a response")
            }
            Self::NoResponse => f.write_str("the probe got no response within 1s"),
            Self::CommandFailed => f.write_str("the command of `--ready exec:` failed"),
            Self::CommandTimedOut => {
                f.write_str("the command of `--ready exec:` took more than 10s")
            }
            Self::CommandNotStarted(error) => {
                write!(f, "cannot start the command of `--ready exec:`: {error}")
            }
        }
    }
}
