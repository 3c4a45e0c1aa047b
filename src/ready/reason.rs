use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Why a generation counts as ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyReason {
    /// The program sent `READY=1`.
    Notified,
    /// The program is waiting for connections on all its sockets.
    Accepting,
    /// The program has had its sockets for a second, and the system does not show whether it is waiting for
    /// connections.
    Listening,
    /// The program has opened no socket, and has run for 500 ms.
    Running,
    /// The program responded to the probe with this HTTP status.
    Responded(u16),
    /// The program accepted a connection.
    Connected,
    /// The program printed a matching line.
    Printed,
    /// The `exec:` command succeeded.
    CommandSucceeded,
    /// The `delay:` duration has passed.
    Delayed,
}

impl ReadyReason {
    /// Whether only a server can become ready for this reason. A job can also keep running, print a line or make a
    /// command succeed.
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
            Self::Accepting => f.write_str("it is waiting for connections"),
            Self::Listening => f.write_str("it has been listening for 1s"),
            Self::Running => f.write_str("it has run for 500ms"),
            Self::Responded(status) => write!(f, "it responded with status {status}"),
            Self::Connected => f.write_str("it accepted a connection"),
            Self::Printed => f.write_str("it printed a matching line"),
            Self::CommandSucceeded => f.write_str("the `--ready exec:` command succeeded"),
            Self::Delayed => f.write_str("the delay has passed"),
        }
    }
}

/// The addresses that a generation does not listen on, although the previous generation does or connections are waiting
/// there.
#[derive(Clone, Debug)]
pub struct Lack {
    /// The missing addresses.
    pub missing: Vec<SocketAddr>,
    /// The addresses that the generation does listen on.
    pub addresses: Vec<SocketAddr>,
    /// Whether the generation lacks nothing else. If so, it goes live without these addresses at the timeout.
    pub otherwise_ready: bool,
}

/// Says what the generation does not do, as in "it does not listen on `127.0.0.1:80`".
impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it does not listen on {}", list(&self.missing))?;
        match self.addresses.is_empty() {
            true => Ok(()),
            false => write!(f, ", only on {}", list(&self.addresses)),
        }
    }
}

/// Lists addresses, as in "`127.0.0.1:80` and `127.0.0.1:81`".
#[must_use]
pub fn list(addresses: &[SocketAddr]) -> String {
    let all: Vec<String> = addresses.iter().map(|one| format!("`{one}`")).collect();
    match all.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        Some(_) | None => all.concat(),
    }
}

/// Why a generation is not ready yet. Reported if the generation is not ready in time.
#[derive(Debug)]
pub enum UnreadyReason {
    /// The program is not waiting for connections on the socket with this index.
    NotAccepting(usize),
    /// The program has not opened a socket.
    NoSocket,
    /// The program does not listen on every address that it must listen on.
    Missing(Lack),
    /// The program has sent notifications, but not `READY=1`.
    NotReady,
    /// The probe could not connect.
    Unreachable(io::Error),
    /// The probe got this HTTP status.
    Status(u16),
    /// The probe got a response that is not HTTP/1.
    NotHttp,
    /// The probe's connection was closed without a response.
    Closed,
    /// The probe got no response within a second.
    NoResponse,
    /// The program closed its output before it printed a matching line.
    OutputEnded,
    /// The `exec:` command failed.
    CommandFailed,
    /// The `exec:` command took too long and was killed.
    CommandTimedOut,
    /// The `exec:` command could not be started.
    CommandNotStarted(io::Error),
}

impl UnreadyReason {
    /// Returns the addresses that are missing, if that is the reason.
    #[must_use]
    pub fn lack(&self) -> Option<&Lack> {
        if let Self::Missing(lack) = self {
            Some(lack)
        } else {
            None
        }
    }

    /// Returns the index of the socket on which the program is not waiting, if that is the reason.
    #[must_use]
    pub fn not_accepting(&self) -> Option<usize> {
        if let Self::NotAccepting(index) = self {
            Some(*index)
        } else {
            None
        }
    }
}

impl fmt::Display for UnreadyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAccepting(index) => {
                let number = index + 1;
                write!(f, "it is not waiting for connections on socket {number}")
            }
            Self::NoSocket => f.write_str("it has not opened a socket"),
            Self::Missing(lack) => lack.fmt(f),
            Self::NotReady => f.write_str("it sent notifications, but not `READY=1`"),
            Self::Unreachable(error) => write!(f, "the probe could not connect: {error}"),
            Self::Status(status) => write!(f, "the probe got status {status}"),
            Self::NotHttp => f.write_str("the probe got a response that is not HTTP/1"),
            Self::Closed => f.write_str("the probe's connection was closed without a response"),
            Self::NoResponse => f.write_str("the probe got no response within 1s"),
            Self::OutputEnded => {
                f.write_str("it closed its output before it printed a matching line")
            }
            Self::CommandFailed => f.write_str("the `--ready exec:` command failed"),
            Self::CommandTimedOut => f.write_str("the `--ready exec:` command took more than 10s"),
            Self::CommandNotStarted(error) => {
                write!(f, "cannot start the `--ready exec:` command: {error}")
            }
        }
    }
}

/// Why a generation was not ready at the last check.
#[derive(Clone, Debug, Default)]
pub struct LastUnreadyReason(Arc<Mutex<Option<UnreadyReason>>>);

impl LastUnreadyReason {
    /// Returns a closure that stores each reason it is called with.
    pub fn recorder(&self) -> Box<dyn FnMut(UnreadyReason) + Send> {
        let last = self.0.clone();
        Box::new(move |reason| {
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
        })
    }

    /// The last stored reason, if any.
    pub fn get(&self) -> Option<String> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().map(ToString::to_string)
    }
}
