//! The kernel: small safe wrappers, and the only code that differs between systems.

pub mod cleanup;
mod errno_hint;
pub mod fd_limit;
pub mod fork_exec;
pub mod fs_event;
mod intercept;
pub mod reap;
pub mod scm_rights;
pub mod signals;
mod sockets;
pub mod terminal;
mod test_hook;

pub use errno_hint::{hint_for_errno, hint_for_error};
pub use sockets::*;
pub use test_hook::test_hook;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub use linux::*;

#[cfg(not(target_os = "linux"))]
mod portable;
#[cfg(not(target_os = "linux"))]
pub use portable::*;
