//! Linux.

mod being_written;
pub use being_written::is_being_written;
pub mod accepting;
pub mod credentials;
mod descriptors;
pub mod pidfd_set;
pub mod process_tree;
mod socket_options;
mod subreaper;

pub use descriptors::{
    RECEIVE_CLOSED_ON_EXEC, close_from, close_on_exec_from, output_files, widen_pipe,
};
pub use socket_options::{
    cookie, family, is_listening, is_multipath, is_of_one_device, is_of_our_network, protocol,
};
pub use subreaper::{
    SUBREAPER, become_subreaper, highest_signal, name_process, sender, signal_at_parents_end,
    single_threaded,
};
pub mod hangup;
pub mod mounts;
mod netlink;
pub mod privilege;
pub mod reuseport;
mod same_file;
pub use same_file::is_duplicate;
pub mod seccomp;
pub mod sock_diag;
pub mod socket_holders;
pub mod tcp_info;
pub mod unix_diag;

/// Whether sockets of one address can be steered between (`SO_ATTACH_REUSEPORT_CBPF`, `socket(7)`).
pub const STEERING: bool = true;
