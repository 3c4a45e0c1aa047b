use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::address::Address;
use crate::os::Holder;

/// The holder of an address that we want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupant {
    /// The process, if we may see it.
    pub holder: Option<Holder>,
    /// The user id of its owner, where the system tells.
    pub uid: Option<u32>,
}

/// Why a listening socket could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another process listens there.
    InUse {
        /// The address.
        address: Address,
        /// Its holder, if known.
        occupant: Option<Occupant>,
    },
    /// Only privileged processes may bind the port.
    Privileged {
        /// The address.
        address: SocketAddr,
    },
    /// This machine does not have the IP address.
    NotLocal {
        /// The address.
        address: SocketAddr,
    },
    /// A file that is not a socket is at the path of a unix socket. hotrun does not remove it.
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// Two sockets would have the same address.
    SameAddress {
        /// The address.
        address: Address,
    },
    /// Two sockets would have the same name.
    SameName {
        /// The name.
        name: String,
    },
    /// This system cannot steer connections between sockets.
    NoSteering,
    /// Anything else.
    Io {
        /// The operation and its object, as in ``listening on `ADDRESS` ``.
        doing: String,
        /// The error of the system.
        error: io::Error,
    },
}

impl OpenError {
    pub(super) fn at_path(doing: &str, path: &Path, error: io::Error) -> Self {
        Self::Io {
            doing: format!("{doing} `{}`", path.display()),
            error,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::InUse { address, occupant } => Some(in_use(occupant.as_ref(), address)),
            Self::Privileged { address } => Some(format!(
                "use a port from 1024 up, or allow this one: `sysctl net.ipv4.ip_unprivileged_port_start={}`, or give \
                 hotrun CAP_NET_BIND_SERVICE",
                address.port()
            )),
            Self::NotLocal { .. } => Some(
                "use an address of this machine, such as `127.0.0.1`, or `[::]` for all addresses"
                    .to_owned(),
            ),
            Self::NotASocket { path } => Some(format!(
                "choose another path, or remove `{}` yourself",
                path.display()
            )),
            Self::SameAddress { .. } => Some("remove one of them".to_owned()),
            Self::SameName { .. } => Some("give each socket its own name".to_owned()),
            Self::NoSteering | Self::Io { .. } => None,
        }
    }
}

fn in_use(occupant: Option<&Occupant>, address: &Address) -> String {
    let what = match address {
        Address::Tcp(_) => "port",
        Address::Unix(_) => "path",
    };
    match occupant.and_then(|occupant| occupant.holder.as_ref()) {
        Some(holder) => format!(
            "stop it (`kill {}`), or listen on another {what}",
            holder.pid
        ),
        None => format!("listen on another {what}, or find its process with `ss -lptux` as root"),
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
            Self::SameAddress { address } => write!(f, "`{address}` is given twice"),
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
            } => write!(f, "a process of user id {uid}"),
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
