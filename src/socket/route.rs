use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use tokio::net::{TcpSocket, TcpStream, UnixStream};

use super::address::Address;
use super::bind::connectable_path;
use super::listening::Listening;
use super::owner::{Inbox, Owner};
use super::stream::Stream;
use super::table::{Group, GroupId, Input, does_not_listen};
use crate::reload::GenId;

/// A way to one generation's slot of one address, whoever is live.
#[derive(Clone)]
pub struct Route {
    pub(super) listening: Listening,
    pub(super) way: Way,
}

#[derive(Clone)]
pub(super) enum Way {
    /// By a source port that the group's program sends there.
    Steered {
        inbox: Inbox,
        group: GroupId,
        id: GenId,
        address: SocketAddr,
    },
    /// By the slot's own name, of which a new one stands for each generation.
    Path(PathBuf),
    /// By the address itself: there is one socket for all generations.
    Plain(SocketAddr),
}

impl Route {
    /// The address to which it leads, as everybody else reaches it: what a probe writes into its `Host`.
    pub fn listening(&self) -> &Listening {
        &self.listening
    }

    /// A new connection to that slot. It may be called any number of times, also at once; dropping the future gives
    /// the attempt up. There is no timeout.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if the generation listens there no more, and what connecting gives.
    pub async fn dial(&self) -> io::Result<Stream> {
        match &self.way {
            Way::Steered {
                inbox,
                group,
                id,
                address,
            } => {
                let (socket, to) = reserve(*address)?;
                let dialled = dial_steered(inbox, (*group, *id), socket, to).await;
                dialled.map(Stream::Tcp)
            }
            Way::Path(path) => dial_path(path).await.map(Stream::Unix),
            Way::Plain(address) => dial_plain(*address).await.map(Stream::Tcp),
        }
    }
}

async fn dial_path(path: &Path) -> io::Result<UnixStream> {
    let (path, _directory) = connectable_path(path)?;
    UnixStream::connect(path).await
}

async fn dial_plain(address: SocketAddr) -> io::Result<TcpStream> {
    let mut result = Err(io::ErrorKind::AddrNotAvailable.into());
    for to in within_reach(address) {
        result = TcpStream::connect(to).await;
        if result.is_ok() {
            break;
        }
    }
    result
}

/// The port is reserved first and sent to the slot then, so that nobody else's connection from this machine comes from it; once the
/// handshake is done the program has chosen, and the port is like any other again.
async fn dial_steered(
    inbox: &Inbox,
    (group, id): (GroupId, GenId),
    socket: TcpSocket,
    to: SocketAddr,
) -> io::Result<TcpStream> {
    let port = socket.local_addr()?.port();
    let _diversion = Diversion { inbox, group, port };
    inbox.handle(Input::Divert { group, port, id })?;
    socket.connect(to).await
}

/// A socket bound to a free port of the address that it shall connect to.
fn reserve(address: SocketAddr) -> io::Result<(TcpSocket, SocketAddr)> {
    let mut result = Err(io::ErrorKind::AddrNotAvailable.into());
    for to in within_reach(address) {
        result = reserve_for(to).map(|socket| (socket, to));
        if result.is_ok() {
            break;
        }
    }
    result
}

fn reserve_for(to: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if to.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    let mut from = to;
    from.set_port(0);
    socket.bind(from)?;
    Ok(socket)
}

/// Where to connect for somebody who listens on `address`: all addresses are reached by loopback, IPv4's if there is no
/// other.
fn within_reach(address: SocketAddr) -> Vec<SocketAddr> {
    let ips: Vec<IpAddr> = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => vec![Ipv4Addr::LOCALHOST.into()],
        IpAddr::V6(ip) if ip.is_unspecified() => {
            vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]
        }
        IpAddr::V4(_) | IpAddr::V6(_) => return vec![address],
    };
    ips.into_iter()
        .map(|ip| SocketAddr::new(ip, address.port()))
        .collect()
}

/// A source port that leads to one generation while this lives.
struct Diversion<'a> {
    inbox: &'a Inbox,
    group: GroupId,
    port: u16,
}

impl Drop for Diversion<'_> {
    fn drop(&mut self) {
        let (group, port) = (self.group, self.port);
        self.inbox.send(Input::Restore { group, port });
    }
}

impl Owner {
    /// The way to this generation's listener in a group.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if it has none.
    pub(super) fn way(&self, group: &Group, id: GenId, inbox: &Inbox) -> io::Result<Way> {
        let none = || does_not_listen(id);
        let listener = group.of(id).next().filter(|_| group.listens(id));
        let listener = listener.ok_or_else(none)?;
        let name = self.applier.name(listener.id);
        let address = self.applier.address(group.id).ok_or_else(none)?;
        Ok(match (address, name) {
            (_, Some(name)) => Way::Path(name.file.clone()),
            (Address::Unix(path), None) => Way::Path(path.clone()),
            (Address::Tcp(address), None) => Way::Steered {
                inbox: inbox.clone(),
                group: group.id,
                id,
                address: *address,
            },
        })
    }
}
