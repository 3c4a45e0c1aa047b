//! Everything else.

pub mod reuseport;
pub mod sock_diag;
pub mod socket_holders;
pub mod tcp_info;
pub mod unix_diag;

/// Whether sockets of one address can be steered between: no call for it is known here.
pub const STEERING: bool = false;
