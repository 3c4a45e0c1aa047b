use std::io;
use std::net::SocketAddr;

use crate::os::seccomp::Unavailable;
use crate::socket::open_error::OpenError;

/// What happened to a program's sockets.
#[derive(Debug)]
pub enum InterceptEvent {
    /// The program listens. The next generation can share the address.
    Listens {
        /// The address.
        address: SocketAddr,
        /// Whether nobody listened there before.
        first: bool,
    },
    /// The program is about to learn that an address is in use. Comes before anything that the program does about it;
    /// the holder follows in [`Self::InUse`].
    Refused,
    /// Another process has the address.
    InUse(OpenError),
    /// An address of `--listen` overlaps the one that the program binds.
    Listed {
        /// The program's address.
        address: SocketAddr,
        /// The address of `--listen`.
        listed: SocketAddr,
    },
    /// The program runs without interception.
    NotIntercepted(Unavailable),
    /// A socket could not be adopted. The kernel has handled the call.
    NotAdopted {
        /// The address, if known.
        address: Option<SocketAddr>,
        /// The reason.
        error: io::Error,
    },
}
