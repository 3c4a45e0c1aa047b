//! Does somebody wait on a socket? No call is known here that tells.

/// What can be seen of a socket. Never made here; the same as on Linux, so that callers are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// A process waits on it.
    Somebody,
    /// Everything could be seen, and nobody waits on it.
    Nobody,
    /// A process that may wait on it could not be looked into.
    Hidden,
}

/// `None`: it cannot be told here, and the caller falls back to the time that has passed.
#[must_use]
pub fn waiting(_pids: &[i32], _sockets: &[u64]) -> Option<Vec<Waiting>> {
    None
}
