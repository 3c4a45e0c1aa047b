//! Linux.

mod netlink;
pub mod reuseport;
pub mod sock_diag;
pub mod socket_holders;
pub mod tcp_info;
pub mod unix_diag;

/// Whether sockets of one address can be steered between (`SO_ATTACH_REUSEPORT_CBPF`, `socket(7)`).
pub const STEERING: bool = true;
