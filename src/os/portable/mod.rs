//! Everything else.

pub mod credentials;
pub mod waiting;

/// Whether sockets of one address can be steered between: no call for it is known here.
pub const STEERING: bool = false;
