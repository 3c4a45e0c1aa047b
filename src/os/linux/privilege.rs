//! The privilege to bind low ports.

use std::fs;

/// `CAP_NET_BIND_SERVICE` (`include/uapi/linux/capability.h`).
const BIND_SERVICE: u32 = 10;

/// Binding a port below this requires a privilege (`ip_unprivileged_port_start`, `ip(7)`).
pub fn first_unprivileged_port() -> u16 {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    text.ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(1024)
}

/// Whether a thread may bind those ports (`CapEff` in `proc_pid_status(5)`); `None` if unknown.
pub fn may_bind(thread: i32) -> Option<bool> {
    let effective = super::process_tree::status_field(thread, "CapEff:")?;
    let effective = u64::from_str_radix(&effective, 16).ok()?;
    Some(effective & 1 << BIND_SERVICE != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_may_bind_low_ports() {
        let own = may_bind(nix::unistd::gettid().as_raw()).unwrap();
        // A container may have taken the capability away from root. Nobody gives it to ordinary users.
        assert!(own || !nix::unistd::geteuid().is_root() || first_unprivileged_port() == 0);
        assert_eq!(may_bind(i32::MAX), None);
        // `kthreadd` has every capability. It is invisible in a pid namespace.
        assert_eq!(may_bind(2).or(Some(true)), Some(true));
    }
}
