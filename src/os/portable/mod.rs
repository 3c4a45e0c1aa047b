//! All other systems. What they lack is unsupported, unknown, or never happens; callers do with less.
//!
//! The functions are documented on the side of Linux.

#![allow(missing_docs)]

pub mod credentials;
mod in_use;
pub mod mounts;
mod processes;
pub mod seccomp;
mod sockets;

pub use in_use::{is_in_use, mark_in_use};
pub use processes::{
    SUBREAPER, accepting, become_subreaper, close_from, close_on_exec_from, is_being_written,
    name_process, output_files, pidfd_set, privilege, process_tree, signal_at_parents_end,
    single_threaded, widen_pipe,
};
pub use sockets::{
    RECEIVE_CLOSED_ON_EXEC, STEERING, cookie, family, hangup, is_duplicate, is_listening,
    is_multipath, is_of_one_device, is_of_our_network, protocol, reuseport, sock_diag,
    socket_holders, tcp_info, unix_diag,
};
