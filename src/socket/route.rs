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

/// A way to one generation's listener at one address, whichever generation is live.
#[derive(Clone)]
pub struct Route {
    pub(super) listening: Listening,
    pub(super) way: Way,
}

#[derive(Clone)]
pub(super) enum Way {
    /// By a source port that is steered there.
    Steered {
        inbox: Inbox,
        group: GroupId,
        id: GenId,
        address: SocketAddr,
    },
    /// By the listener's own name. Each has another.
    Path(PathBuf),
    /// By the address itself: there is one socket for all generations.
    Plain(SocketAddr),
}

impl Route {
    /// The address, as clients know it: what a probe writes into its `Host`.
    pub fn listening(&self) -> &Listening {
        &self.listening
    }

    /// Connects to that listener. This may be called any number of times, also at once. Dropping the future gives up the
    /// attempt; there is no timeout.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if the generation does not listen there any longer, and what `connect` reports.
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

/// The port is bound before it is diverted, so that no other connection comes from it. Once the handshake is done the
/// listener has been chosen, and the port is like all others again.
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

/// A socket bound to a free port, on the address to which it will connect.
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

/// Where to connect to a listener on `address`. One for all addresses is reached by loopback, by IPv4's if there is no
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
