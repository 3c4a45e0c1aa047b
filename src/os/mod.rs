//! Small, safe wrappers around kernel interfaces, and almost the only code that differs between systems.
//!
//! Modules that read `/proc` are the same on every system: where there is no `/proc`, they find nothing.

pub mod cleanup;
pub mod credentials;
mod descriptors;
mod errno_hint;
pub mod fd_limit;
pub mod fs_event;
mod intercept;
pub mod memory;
pub mod mounts;
pub mod process;
pub mod process_tree;
pub mod scm_rights;
pub mod signals;
pub mod socket_holders;
mod sockets;
pub mod terminal;

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use descriptors::*;
pub use errno_hint::{hint_for_errno, hint_for_error};
pub use sockets::*;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub use linux::*;

#[cfg(not(target_os = "linux"))]
mod portable;
#[cfg(not(target_os = "linux"))]
pub use portable::*;

/// The kernel's longest tick (`CONFIG_HZ=100`). The clock for file timestamps (`ktime_get_coarse_real_ts64`) lags
/// behind by up to one tick, and the ages of sockets are measured in ticks.
pub const KERNEL_TICK: Duration = Duration::from_millis(10);

/// When a file's inode changed (`st_ctime`). Unlike the modification time, it cannot be set by a program, and a rename
/// updates it.
pub fn change_time(metadata: &Metadata) -> SystemTime {
    let seconds = u64::try_from(metadata.ctime()).unwrap_or(0);
    let nanoseconds = u32::try_from(metadata.ctime_nsec()).unwrap_or(0);
    UNIX_EPOCH + Duration::new(seconds, nanoseconds)
}

/// Whether connections can be steered among the sockets of one address (`SO_ATTACH_REUSEPORT_CBPF`, `socket(7)`).
pub const STEERING: bool = cfg!(target_os = "linux");

/// Whether a process can become the parent of its orphaned descendants. Where this is not possible, a process that
/// leaves its process group and loses its parent is out of reach.
pub const SUBREAPER: bool = cfg!(target_os = "linux");

/// Returns the hour, the minute and the second of the local time (`localtime_r(3)`).
pub fn local_time() -> [i32; 3] {
    let mut now = 0;
    // SAFETY: `time` writes to the integer that the pointer refers to.
    unsafe { libc::time(&raw mut now) };
    // SAFETY: all zeros is a valid `tm`: integers, and a null pointer to the name of the time zone.
    let mut local: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: `localtime_r` reads the integer and writes the `tm`. hotrun never changes `TZ`.
    unsafe { libc::localtime_r(&raw const now, &raw mut local) };
    [local.tm_hour, local.tm_min, local.tm_sec]
}

/// Returns the value of the test hook `name`, which an integration test sets as the environment variable
/// `HOTRUN_TEST_name`.
///
/// Builds without the `test-hooks` feature, such as releases, have no hooks.
pub fn test_hook(name: &str) -> Option<String> {
    #[cfg(feature = "test-hooks")]
    return std::env::var(format!("HOTRUN_TEST_{name}")).ok();
    #[cfg(not(feature = "test-hooks"))]
    {
        let _ = name;
        None
    }
}
