//! Who may bind which port: not told here.

/// Ports below this are for those who may.
pub fn first_unprivileged_port() -> u16 {
    1024
}

/// Nothing is known.
pub fn may_bind(_thread: i32) -> Option<bool> {
    None
}
