//! Linux.

pub mod credentials;
pub mod waiting;

/// Whether sockets of one address can be steered between (`SO_ATTACH_REUSEPORT_CBPF`, `socket(7)`).
pub const STEERING: bool = true;
