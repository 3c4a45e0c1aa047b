use std::io;
use std::os::fd::AsFd;

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not told here.
///
/// # Errors
/// Always [`io::ErrorKind::Unsupported`].
pub fn cookie(_socket: &impl AsFd) -> io::Result<u64> {
    unsupported()
}

/// Not told here.
///
/// # Errors
/// Always [`io::ErrorKind::Unsupported`].
pub fn family(_socket: &impl AsFd) -> io::Result<i32> {
    unsupported()
}

/// Not told here.
///
/// # Errors
/// Always [`io::ErrorKind::Unsupported`].
pub fn protocol(_socket: &impl AsFd) -> io::Result<i32> {
    unsupported()
}

/// There is no such thing here that would be in the way.
pub fn is_multipath(_socket: &impl AsFd) -> bool {
    false
}

/// Not told here.
///
/// # Errors
/// Always [`io::ErrorKind::Unsupported`].
pub fn is_listening(_socket: &impl AsFd) -> io::Result<bool> {
    unsupported()
}

/// There is but one here.
pub fn is_of_our_network(_socket: &impl AsFd) -> bool {
    true
}

/// Not told here.
pub fn is_of_one_device(_socket: &impl AsFd) -> bool {
    false
}
