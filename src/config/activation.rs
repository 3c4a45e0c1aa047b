//! The sockets that hotrun itself was started with (`sd_listen_fds(3)`).

use std::net::SocketAddr;

use nix::sys::socket::{SockaddrStorage, getsockname};

use crate::error::Failure;
use crate::socket::{Address, ListenSpec};

/// The descriptor of the first socket (`SD_LISTEN_FDS_START`).
const FIRST: i32 = 3;

/// The sockets that another program, such as `systemd-socket-activate`, has opened for hotrun.
///
/// # Errors
///
/// One of them is not a TCP socket.
pub(super) fn sockets() -> Result<Vec<ListenSpec>, Failure> {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let number = |name| variable(name).parse::<u32>().unwrap_or(0);
    let count = match number("LISTEN_PID") == std::process::id() {
        true => i32::try_from(number("LISTEN_FDS")).unwrap_or(0),
        false => 0,
    };
    let names = variable("LISTEN_FDNAMES");
    // The sockets of one systemd unit have the same name.
    let is_unique = |name: &&str| names.split(':').filter(|other| other == name).count() == 1;
    let mut name = names.split(':').map(|name| Some(name).filter(is_unique));
    let specs = (FIRST..)
        .take(usize::try_from(count).unwrap_or(0))
        .map(|fd| {
            let name = name.next().flatten().filter(|name| !name.is_empty());
            Ok(ListenSpec {
                name: name.map(str::to_owned),
                address: Address::Tcp(tcp_address(fd).ok_or_else(|| unusable(fd))?),
                inherited: Some(fd),
            })
        });
    specs.collect()
}

fn tcp_address(fd: i32) -> Option<SocketAddr> {
    let address = getsockname::<SockaddrStorage>(fd).ok()?;
    let v4 = address
        .as_sockaddr_in()
        .map(|v4| SocketAddr::V4((*v4).into()));
    v4.or_else(|| {
        address
            .as_sockaddr_in6()
            .map(|v6| SocketAddr::V6((*v6).into()))
    })
}

fn unusable(fd: i32) -> Failure {
    let text = format!(
        "hotrun was started with descriptor {fd} (`LISTEN_FDS`), which is not a TCP socket"
    );
    Failure::usage(text)
        .hint("start hotrun without this socket, and use `--listen`, as in `--listen unix:PATH`")
}
