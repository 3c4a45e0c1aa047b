//! What a build made: recognised by its [`Fingerprint`], and kept in the [`Store`] so that hotrun can roll back to it.
//!
//! A kept executable has a hard link beside the original. An open descriptor alone would not do: a program started from
//! one reads `NAME (deleted)` as its own path (`proc_pid_exe(5)`), so it could not start itself again, and a script
//! would see `/proc/self/fd/N` as its name and inherit that descriptor. A memory file would also change the directory
//! that `$ORIGIN` and the program's resources are relative to. A copy would take disk space and time, and starting a
//! file just written can fail with `ETXTBSY` if another thread forked during the write.

mod fingerprint;
mod store;

pub use fingerprint::{Fingerprint, find};
pub use store::{GLOB, Store, display_name};
