//! No tree to see: a program is known by its first process and that one's group.

use std::path::PathBuf;

/// Whether this system lets us see a process tree.
pub const KNOWN: bool = false;

/// What a signal would do to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// What the kernel does by itself, mostly to end it.
    Default,
    /// Nothing.
    Ignored,
    /// A handler runs.
    Caught,
    /// The runtime of its language catches everything, so nothing can be said of the program.
    Blanket,
}

/// What is known of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its parent.
    pub parent: i32,
    /// Whether it is stopped.
    pub stopped: bool,
    /// Whether it has ended, and waits to be taken in by its parent.
    pub ended: bool,
}

impl Status {
    /// What this signal would do to it: unknown.
    pub fn reaction(&self, _signal: i32) -> Reaction {
        Reaction::Default
    }
}

/// What is known of this process: nothing.
pub fn status(_pid: i32) -> Option<Status> {
    None
}

/// When this process was started: unknown.
pub fn started(_pid: i32) -> Option<u64> {
    None
}

/// The children of this process: unknown.
pub fn children(_pid: i32) -> Vec<i32> {
    Vec::new()
}

/// All that descends from this process: unknown.
pub fn descendants(_root: i32) -> Vec<i32> {
    Vec::new()
}

/// Whether the process holds a socket: unknown.
pub fn holds_socket(_pid: i32) -> Option<bool> {
    None
}

/// The file that the process executes: not to be had.
pub fn executable(_pid: i32) -> Option<PathBuf> {
    None
}
