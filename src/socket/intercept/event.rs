use std::io;
use std::net::SocketAddr;

use crate::os::seccomp::Unavailable;
use crate::socket::OpenError;

/// What there is to tell of a program's sockets.
#[derive(Debug)]
pub enum InterceptEvent {
    /// It listens there now, by a socket that the next generation can share the address with.
    Listens {
        /// Where.
        address: SocketAddr,
        /// Whether nobody listened there before.
        first: bool,
    },
    /// An address that it wants is taken; who has it is told later. This comes before the program knows, and so before
    /// what it makes of it.
    Taken,
    /// Somebody else has the address.
    InUse(OpenError),
    /// An address of `--listen` is in the way of another one that it wants.
    Listed {
        /// Where it wanted to listen.
        address: SocketAddr,
        /// The address of `--listen`.
        listed: SocketAddr,
    },
    /// The program was started without being trapped.
    Untrapped(Unavailable),
    /// A socket could not be adopted, and the kernel did what was asked for.
    Missed {
        /// Where it wanted to listen.
        address: Option<SocketAddr>,
        /// Why.
        error: io::Error,
    },
}
