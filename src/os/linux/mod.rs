//! Linux.

mod being_written;
pub use being_written::is_being_written;
pub mod changes;
pub mod credentials;
pub mod deaths;
mod descriptors;
mod identity;
mod lineage;
pub mod process_tree;
pub mod waiting;

pub use descriptors::{
    RECEIVE_CLOSED_ON_EXEC, close_from, close_on_exec_from, output_files, widen_pipe,
};
pub use identity::{
    cookie, family, is_listening, is_multipath, is_of_one_device, is_of_our_network, protocol,
};
pub use lineage::{
    SUBREAPER, become_subreaper, highest_signal, name_process, sender, signal_at_parents_end,
    single_threaded,
};
pub mod hang_up;
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
