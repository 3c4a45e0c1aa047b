use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::Address;
use crate::os::Holder;

/// Who has an address that we wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupant {
    /// The process, unless it is hidden from us.
    pub holder: Option<Holder>,
    /// The user that the socket belongs to, where the system tells.
    pub uid: Option<u32>,
}

/// Why [`Sockets::open`](super::Sockets::open) could not open all that it should.
#[derive(Debug)]
pub enum OpenError {
    /// Somebody else listens there.
    InUse {
        /// Where.
        address: Address,
        /// Who, as far as it can be told.
        occupant: Option<Occupant>,
    },
    /// The port is one that only privileged processes may bind.
    Privileged {
        /// Where.
        address: SocketAddr,
    },
    /// The IP address is none of this machine's.
    NotLocal {
        /// Where.
        address: SocketAddr,
    },
    /// What is at the path of a unix socket is something else, and is not ours to remove.
    NotASocket {
        /// Where.
        path: PathBuf,
    },
    /// Two sockets were asked for on one address.
    SameAddress {
        /// Which.
        address: Address,
    },
    /// Two sockets were given one name.
    SameName {
        /// Which.
        name: String,
    },
    /// This system has no steering.
    NoSteering,
    /// Anything else.
    Io {
        /// What was being done, to what.
        doing: String,
        /// What the system said.
        error: io::Error,
    },
}

impl OpenError {
    /// What to do next, where that can be said.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::InUse {
                address: Address::Tcp(_),
                occupant,
            } => Some(in_use(occupant.as_ref(), "port")),
            Self::InUse {
                address: Address::Unix(_),
                occupant,
            } => Some(in_use(occupant.as_ref(), "path")),
            Self::Privileged { address } => Some(format!(
                "listen on a port from 1024 up, or allow this one: `sysctl net.ipv4.ip_unprivileged_port_start={}`, \
                 or CAP_NET_BIND_SERVICE for hotrun",
                address.port()
            )),
            Self::NotLocal { .. } => Some(
                "use an address of this machine, `127.0.0.1` or `[::]` for all of them".to_owned(),
            ),
            Self::NotASocket { path } => Some(format!(
                "choose another path, or remove `{}` yourself",
                path.display()
            )),
            Self::SameAddress { .. } => Some("leave one of them out".to_owned()),
            Self::SameName { .. } => Some("give each its own name".to_owned()),
            Self::NoSteering | Self::Io { .. } => None,
        }
    }
}

fn in_use(occupant: Option<&Occupant>, what: &str) -> String {
    match occupant.and_then(|occupant| occupant.holder.as_ref()) {
        Some(holder) => format!(
            "stop it (`kill {}`), or listen on another {what}",
            holder.pid
        ),
        None => format!("listen on another {what}, or find out who has it as root: `ss -lptux`"),
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse {
                address,
                occupant: Some(occupant),
            } => write!(f, "`{address}` is in use by {occupant}"),
            Self::InUse {
                address,
                occupant: None,
            } => write!(f, "`{address}` is in use"),
            Self::Privileged { address } => {
                write!(f, "no permission to listen on port `{}`", address.port())
            }
            Self::NotLocal { address } => {
                write!(f, "`{}` is not an address of this machine", address.ip())
            }
            Self::NotASocket { path } => {
                write!(f, "`{}` exists and is not a socket", path.display())
            }
            Self::SameAddress { address } => write!(f, "`{address}` is to be listened on twice"),
            Self::SameName { name } => write!(f, "two sockets have the name `{name}`"),
            Self::NoSteering => f.write_str("this system cannot steer between sockets"),
            Self::Io { doing, error } => write!(f, "{doing}: {error}"),
        }
    }
}

impl fmt::Display for Occupant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self {
                holder: Some(Holder { pid, name }),
                ..
            } => write!(f, "`{name}` (pid {pid})"),
            Self {
                holder: None,
                uid: Some(uid),
            } => write!(f, "a process of the user with id {uid}"),
            Self {
                holder: None,
                uid: None,
            } => f.write_str("another process"),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            Self::InUse { .. }
            | Self::Privileged { .. }
            | Self::NotLocal { .. }
            | Self::NotASocket { .. }
            | Self::SameAddress { .. }
            | Self::SameName { .. }
            | Self::NoSteering => None,
        }
    }
}
