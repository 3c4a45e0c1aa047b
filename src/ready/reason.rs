use std::fmt;
use std::net::SocketAddr;

/// Why a generation counts as ready. `Display` says what the program did.
#[allow(missing_docs, reason = "the text of a variant describes it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyReason {
    Notified,
    Accepting,
    /// The system does not show whether the program is waiting for connections.
    Listening,
    /// The program has opened no socket.
    Running,
    Responded(u16),
    Connected,
    Printed,
    CommandSucceeded,
    Delayed,
}

impl ReadyReason {
    /// Whether only a server can become ready for this reason. A job can also keep running, print a line or make a
    /// command succeed.
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

/// Why a generation is not ready yet. Reported if the generation is not ready in time.
#[derive(Debug)]
pub enum UnreadyReason {
    /// The program is not waiting for connections on the socket with this index.
    NotAccepting(usize),
    /// The program does not listen on every address that the previous generation listens on or where connections are
    /// waiting.
    Missing {
        /// The missing addresses.
        missing: Vec<SocketAddr>,
        /// The addresses that the program does listen on.
        addresses: Vec<SocketAddr>,
        /// Whether the program lacks nothing else. If so, it goes live without these addresses at the timeout.
        otherwise_ready: bool,
    },
    /// Anything else, as in "it has not opened a socket".
    Other(String),
}

impl fmt::Display for UnreadyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAccepting(index) => {
                let number = index + 1;
                write!(f, "it is not waiting for connections on socket {number}")
            }
            Self::Missing {
                missing, addresses, ..
            } => {
                write!(f, "it does not listen on {}", list(missing))?;
                match addresses.is_empty() {
                    true => Ok(()),
                    false => write!(f, ", only on {}", list(addresses)),
                }
            }
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl<T: Into<String>> From<T> for UnreadyReason {
    fn from(text: T) -> Self {
        Self::Other(text.into())
    }
}

/// Lists addresses, as in "`127.0.0.1:80`, `127.0.0.1:81` and 3 more".
pub fn list(addresses: &[SocketAddr]) -> String {
    const MAX_NAMED: usize = 4;
    let mut items: Vec<String> = addresses.iter().map(|one| format!("`{one}`")).collect();
    if items.len() > MAX_NAMED {
        let more = items.split_off(MAX_NAMED - 1).len();
        items.push(format!("{more} more"));
    }
    match items.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        Some(_) | None => items.concat(),
    }
}
