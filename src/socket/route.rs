//! Connects to one generation, whichever generation is live.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use tokio::net::{TcpSocket, UnixStream};

use super::address::Address;
use super::forward::Connection;
use super::owner::{Inbox, Owner};
use super::table::{Group, GroupId, Input};
use crate::reload::GenId;

/// A route to one generation's listener on one address.
#[derive(Clone)]
pub struct Route {
    /// The address, as clients know it.
    pub address: Address,
    way: Way,
}

#[derive(Clone)]
enum Way {
    /// Connect from a source port that is diverted to the generation.
    Port(Inbox, GroupId, GenId, SocketAddr),
    /// Connect to the listener's own name.
    Path(PathBuf),
}

impl Route {
    /// Connects to the listener, without a timeout. This may be called any number of times, even concurrently. Fails
    /// with [`io::ErrorKind::NotFound`] if the generation no longer listens there.
    pub async fn dial(&self) -> io::Result<Box<dyn Connection>> {
        match &self.way {
            Way::Path(path) => Ok(Box::new(UnixStream::connect(path).await?)),
            Way::Port(inbox, group, id, address) => {
                let (socket, to) = reserve(*address)?;
                // Bind the port before diverting it, so that no other connection can come from it. After the handshake
                // the kernel has chosen the listener, and the port no longer needs to be diverted.
                let (group, id) = (*group, *id);
                let port = socket.local_addr()?.port();
                let _diversion = Diversion { inbox, group, port };
                inbox.handle(Input::Divert { group, port, id })?;
                Ok(Box::new(socket.connect(to).await?))
            }
        }
    }
}

/// Binds a socket to a free port, and returns it with the address to connect to. A listener on all addresses is reached
/// over loopback, over IPv4 if there is no IPv6.
fn reserve(address: SocketAddr) -> io::Result<(TcpSocket, SocketAddr)> {
    let reserve = |ip: IpAddr| {
        let socket = match ip {
            IpAddr::V4(_) => TcpSocket::new_v4()?,
            IpAddr::V6(_) => TcpSocket::new_v6()?,
        };
        let mut to = address;
        to.set_ip(ip);
        let mut from = to;
        from.set_port(0);
        socket.bind(from)?;
        Ok((socket, to))
    };
    let v4 = Ipv4Addr::LOCALHOST.into();
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => reserve(v4),
        IpAddr::V6(ip) if ip.is_unspecified() => {
            reserve(Ipv6Addr::LOCALHOST.into()).or_else(|_: io::Error| reserve(v4))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => reserve(address.ip()),
    }
}

/// A source port that is diverted to one generation until the `Diversion` is dropped.
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
    /// Returns routes to this generation's listeners, one for each address that it listens on.
    pub(super) fn routes(&self, id: GenId, inbox: &Inbox) -> Vec<Route> {
        let groups = self.table.groups().iter();
        let groups = groups.filter(|group| !group.carries_datagrams() && group.listens(id));
        groups
            .filter_map(|group| self.route(group, id, inbox))
            .collect()
    }

    fn route(&self, group: &Group, id: GenId, inbox: &Inbox) -> Option<Route> {
        let address = self.applier.group(group.id).ok()?.address.clone();
        let name = self.applier.name(group.of(id).next()?.id);
        let way = match (&address, name) {
            (_, Some(name)) => Way::Path(name.bound.clone()),
            (Address::Unix(path), None) => Way::Path(path.clone()),
            (Address::Tcp(address), None) => Way::Port(inbox.clone(), group.id, id, *address),
        };
        Some(Route { address, way })
    }
}
