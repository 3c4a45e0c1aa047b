//! The sockets that hotrun itself was started with (`sd_listen_fds(3)`).

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
    let mut names_in_order = names.split(':');
    let spec = |fd| {
        let name = names_in_order.next().filter(|name| !name.is_empty());
        let address = getsockname::<SockaddrStorage>(fd).map(|address| address.to_string());
        let address = address.ok().and_then(|address| address.parse().ok());
        let unusable = || {
            Failure::usage(format!(
                "hotrun was started with descriptor {fd} (`LISTEN_FDS`), which is not a TCP socket"
            ))
            .hint(
                "start hotrun without this socket, and use `--listen`, as in `--listen unix:PATH`",
            )
        };
        Ok(ListenSpec {
            name: name.filter(is_unique).map(str::to_owned),
            address: Address::Tcp(address.ok_or_else(unusable)?),
            inherited: Some(fd),
        })
    };
    (FIRST..FIRST.saturating_add(count)).map(spec).collect()
}
