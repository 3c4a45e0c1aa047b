//! The kernel: small safe wrappers, and the only code that differs between systems.
//!
//! Modules that read `/proc` are the same on every system: without `/proc` they find nothing.

pub mod cleanup;
pub mod credentials;
mod descriptors;
mod errno_hint;
pub mod fd_limit;
pub mod fs_event;
mod intercept;
pub mod mounts;
pub mod process;
pub mod process_tree;
pub mod scm_rights;
pub mod signals;
pub mod socket_holders;
mod sockets;
pub mod terminal;

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

/// Whether connections can be steered between the sockets of one address (`SO_ATTACH_REUSEPORT_CBPF`, `socket(7)`).
pub const STEERING: bool = cfg!(target_os = "linux");

/// Whether a process can inherit the orphans among its descendants. Elsewhere a process that leaves its process group and
/// loses its parent is out of reach.
pub const SUBREAPER: bool = cfg!(target_os = "linux");

/// The value of the test hook `name`, which an integration test sets as the environment variable `HOTRUN_TEST_name`.
///
/// Builds without the feature `test-hooks`, such as releases, have no hooks.
pub fn test_hook(name: &str) -> Option<String> {
    #[cfg(feature = "test-hooks")]
    return std::env::var(format!("HOTRUN_TEST_{name}")).ok();
    #[cfg(not(feature = "test-hooks"))]
    {
        let _ = name;
        None
    }
}
