//! The parts that exist only on Linux.

mod accepting;
mod being_written;
mod epoll;
mod netlink;
mod request_filter;
pub mod seccomp;
mod sock_diag;
mod socket_options;
mod stopped_thread;
mod unix_diag;

pub use accepting::accepting;
pub use being_written::{child_that_writes, is_being_written};
pub use epoll::{HangupSet, hung_up};
pub use request_filter::{dropped, hide_heads, hide_requests, show_requests};
pub use sock_diag::{
    tcp_connection, tcp_connections, tcp_half_open, tcp_listening, tcp_listening_at, tcp_queue,
};
pub use socket_options::{
    cookie, family, hide, is_listening, is_multipath, is_of_one_device, is_of_our_network,
    protocol, steer,
};
pub use unix_diag::{unix_connections, unix_listening, unix_queue};
