//! What the kernel gives: small safe wrappers, the one place that differs between systems.

pub mod handoff;
mod happened;
pub mod leftovers;
pub mod open_files;
pub mod reap;
pub mod received;
mod sockets;
pub mod start;
pub mod terminal;
mod trapped;

pub use happened::{How, Told};
pub use sockets::*;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub use linux::*;

#[cfg(not(target_os = "linux"))]
mod portable;
#[cfg(not(target_os = "linux"))]
pub use portable::*;
