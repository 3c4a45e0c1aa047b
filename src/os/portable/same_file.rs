//! Whether two descriptors are one.

use std::os::fd::AsFd;

/// Whether the two descriptors are duplicates of each other. Known of sockets alone.
pub fn is_duplicate(one: &impl AsFd, other: &impl AsFd) -> bool {
    crate::os::is_same_socket(one, other)
}
