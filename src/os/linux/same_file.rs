//! Whether two descriptors are one.

use std::os::fd::{AsFd, AsRawFd};

/// What `kcmp(2)` is asked for: whether two descriptors are duplicates (`KCMP_FILE`, `include/uapi/linux/kcmp.h`).
const FILE: libc::c_int = 0;

/// Whether the two descriptors are duplicates of each other. Where the kernel does not say (`kcmp(2)` may be left out of
/// it, or forbidden in a container), only sockets are known to be.
pub fn is_duplicate(one: &impl AsFd, other: &impl AsFd) -> bool {
    let (first, second) = (one.as_fd().as_raw_fd(), other.as_fd().as_raw_fd());
    let own = nix::unistd::getpid().as_raw();
    // SAFETY: the call touches no memory, and compares what this process has at two numbers.
    let order = unsafe { libc::syscall(libc::SYS_kcmp, own, own, FILE, first, second) };
    match order {
        -1 => crate::os::is_same_socket(one, other),
        order => order == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::is_duplicate;

    #[test]
    fn a_duplicate_is_told_from_the_other_end() {
        let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(is_duplicate(&here, &here.try_clone().unwrap()));
        assert!(!is_duplicate(&here, &there));
        let (reader, writer) = std::io::pipe().unwrap();
        assert!(!is_duplicate(&reader, &writer));
    }
}
