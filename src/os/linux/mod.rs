//! Linux.

pub mod accepting;
mod being_written;
pub mod credentials;
mod descriptors;
pub mod hangup;
mod in_use;
pub mod mounts;
mod netlink;
pub mod pidfd_set;
pub mod privilege;
pub mod process_tree;
pub mod reuseport;
pub mod seccomp;
pub mod sock_diag;
pub mod socket_holders;
mod socket_options;
mod subreaper;
pub mod tcp_info;
pub mod unix_diag;

pub use being_written::is_being_written;
pub use descriptors::{
    RECEIVE_CLOSED_ON_EXEC, close_from, close_on_exec_from, is_duplicate, output_files, widen_pipe,
};
pub use in_use::{is_in_use, mark_in_use};
pub use socket_options::{
    cookie, family, is_listening, is_multipath, is_of_one_device, is_of_our_network, protocol,
};
pub use subreaper::{
    SUBREAPER, become_subreaper, name_process, signal_at_parents_end, single_threaded,
};

/// Whether sockets of one address can be steered between (`SO_ATTACH_REUSEPORT_CBPF`, `socket(7)`).
pub const STEERING: bool = true;
