//! Who may bind which port.

use std::fs;

/// `CAP_NET_BIND_SERVICE` (`include/uapi/linux/capability.h`).
const BIND_SERVICE: u32 = 10;

/// Ports below this are for those who may (`ip_unprivileged_port_start`, `ip(7)`).
pub fn first_unprivileged_port() -> u16 {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    text.ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(1024)
}

/// Whether a thread may bind those (`CapEff` in `proc_pid_status(5)`); nothing if it cannot be told.
pub fn may_bind(thread: i32) -> Option<bool> {
    let text = fs::read(format!("/proc/{thread}/status")).ok()?;
    // The name of the program may be anything.
    let text = String::from_utf8_lossy(&text);
    let effective = text.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let effective = u64::from_str_radix(effective.trim(), 16).ok()?;
    Some(effective & 1 << BIND_SERVICE != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_may_and_nobody_else() {
        let own = may_bind(nix::unistd::gettid().as_raw()).unwrap();
        // A container may have taken it from root, and nobody has given it to others.
        assert!(own || !nix::unistd::geteuid().is_root() || first_unprivileged_port() == 0);
        assert_eq!(may_bind(i32::MAX), None);
        // The kernel's first thread but one has everything.
        assert_eq!(may_bind(2).or(Some(true)), Some(true));
    }
}
