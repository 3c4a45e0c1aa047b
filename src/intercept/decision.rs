//! Decides how to reply to a `bind`, `listen` or `connect` call. Of the rows that apply to a socket, the first one
//! counts:
//!
//! | call | socket | reply |
//! | --- | --- | --- |
//! | any | neither TCP nor UDP, in another network namespace, or bound to one device | the kernel handles the call |
//! | `bind` | already bound by the same call, whose reply was lost | success |
//! | `bind` | already bound | the kernel handles the call, and refuses it |
//! | `bind` | conflicts with another socket of the program | `EADDRINUSE` |
//! | `bind` | UDP with `SO_REUSEADDR` or `SO_REUSEPORT` | the kernel handles the call |
//! | `bind` | overlaps a `--listen` address, but is not the same | `EADDRINUSE`, and hotrun explains why |
//! | `bind` | overlaps the address of a hotrun listener | hotrun sets `SO_REUSEPORT`, and the kernel binds the socket |
//! | `bind` | any other | the kernel binds the socket exclusively, and hotrun sets `SO_REUSEPORT` afterwards |
//! | `listen` | not bound as above, or UDP | the kernel handles the call |
//! | `listen` | already listening | hotrun applies the new backlog, but does not shorten the queue |
//! | `listen` | conflicts with another listening socket of the program | `EADDRINUSE` |
//! | `listen` | any other | hotrun makes the socket listen and adds it to the group of its address |
//! | `connect` | UDP, or of a generation that is no longer starting | the kernel handles the call |
//! | `connect` | to another machine, or to a local address that no hotrun listener covers | the kernel handles the call |
//! | `connect` | new connections to the address reach the generation anyway | the kernel handles the call |
//! | `connect` | the generation has a listener in the group that gets these connections | hotrun diverts the socket's source port to that listener, and the kernel handles the call |
//! | `connect` | the generation listens on a wider address | the kernel handles the call, and another generation answers |
//! | `connect` | any other | `ECONNREFUSED` |
//!
//! A UDP socket joins its group when it is bound, so hotrun performs its bind. The kernel handles every `bind` or
//! `connect` to port 0 or to an address that is not an IP address, and all other calls.
//!
//! Apart from the one about a wider address, the `connect` rows give a starting generation the results that it would
//! get if no other generation existed, for example when it checks whether its port is free or sends itself requests to
//! warm up.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

use crate::os;
use crate::socket::{Endpoint, Neighbours, ReachedGroup, Transport};

/// The address that a program binds a socket to, and how it shares the address with its other sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) endpoint: Endpoint,
    /// The program's `SO_REUSEADDR`.
    pub(super) reuse_address: bool,
    /// The program's `SO_REUSEPORT`, which allows several of its sockets to share the address.
    pub(super) reuse_port: bool,
}

impl Binding {
    /// Describes the binding of this socket to this address. Returns `None` unless this is a TCP or UDP socket of the
    /// address's family, in our network namespace and not bound to one device: the kernel handles the calls for other
    /// sockets.
    pub(super) fn of(socket: &Socket, address: SocketAddr) -> io::Result<Option<Self>> {
        let Some(transport) = transport(socket)? else {
            return Ok(None);
        };
        let other_family = os::family(socket)? != i32::from(Domain::for_address(address));
        // A socket in another network namespace, or one that is bound to a device, does not conflict with ours.
        if other_family || !os::is_of_our_network(socket) || os::is_of_one_device(socket) {
            return Ok(None);
        }
        Ok(Some(Self {
            endpoint: Endpoint {
                address,
                only_v6: address.is_ipv6() && socket.only_v6()?,
                transport,
            },
            reuse_address: socket.reuse_address()?,
            reuse_port: socket.reuse_port()?,
        }))
    }
}

fn transport(socket: &Socket) -> io::Result<Option<Transport>> {
    let protocol = os::protocol(socket)?;
    Ok(match socket.r#type()? {
        Type::STREAM if protocol == libc::IPPROTO_TCP || os::is_multipath(socket) => {
            Some(Transport::Tcp)
        }
        Type::DGRAM if protocol == libc::IPPROTO_UDP => Some(Transport::Udp),
        _ => None,
    })
}

/// A socket that a thread of the program is binding.
pub(super) struct BindingSocket {
    pub(super) socket: Socket,
    pub(super) binding: Binding,
    pub(super) thread: i32,
}

/// A bound socket whose address the next generation's sockets can share.
#[derive(Debug)]
pub(super) struct ProgramSocket {
    /// The socket's `SO_COOKIE`. Unlike a descriptor or an inode, it is never reused.
    pub(super) cookie: u64,
    pub(super) inode: u64,
    pub(super) binding: Binding,
    pub(super) listens: bool,
    /// The thread that bound the socket.
    pub(super) thread: i32,
}

/// One generation's sockets whose addresses other sockets can share.
///
/// The kernel does not report when a program closes a socket. So before reporting a conflict with one of these sockets,
/// remove those that no process holds.
#[derive(Debug, Default)]
pub(super) struct ProgramSockets(pub(super) Vec<ProgramSocket>);

/// A `bind` call.
#[derive(Clone, Copy, Debug)]
pub(super) struct BindCall {
    /// The socket's `SO_COOKIE`.
    pub(super) cookie: u64,
    pub(super) thread: i32,
    pub(super) binding: Binding,
    /// Whether the socket is already bound to an address.
    pub(super) bound: bool,
    /// Whether the kernel can lose a reply, so that the thread repeats its call (see `InterceptedCalls::reply`).
    pub(super) may_repeat: bool,
    pub(super) neighbours: Neighbours,
}

/// How to reply to a `bind` call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnBind {
    /// Let the kernel handle the call.
    PassOn,
    /// Report success: the thread is repeating a call that has already been performed.
    Repeated,
    /// Report that the address is in use, as the kernel would if no other generation existed.
    InUse,
    /// Report that the address is in use, because this `--listen` address overlaps it.
    Listed(Endpoint),
    /// Have the socket bound so that the next generation's sockets can share the address.
    Bind {
        /// Whether the bind needs `SO_REUSEPORT`, because the address overlaps that of one of our listeners. Otherwise
        /// the bind is exclusive, even if the program has set the option, and hotrun sets it afterwards. If the socket
        /// shared a group with a stranger's, such as another hotrun's, each side would break the other's steering.
        shared: bool,
    },
}

/// How to reply to a `listen` call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnListen {
    /// Let the kernel handle the call.
    PassOn,
    /// Report that the address is in use.
    InUse,
    /// The socket is already listening: apply the new backlog, but do not make the queue shorter than hotrun has made
    /// it.
    Again,
    /// Make the socket listen, and add it to the group of this address.
    Join(Endpoint),
}

/// How to reply to a `connect` call of a generation that is starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnConnect {
    /// Let the kernel handle the call.
    PassOn,
    /// Report that nobody listens, as the kernel would if no other generation existed.
    Refused,
    /// Divert the socket's source port to this generation's listener on this address, and let the kernel handle the call.
    ToItself(Endpoint),
}

/// Returns the address that the kernel connects to when a program passes this one: an unspecified address means
/// loopback (`__ip_route_output_key` in `net/ipv4/route.c`, `tcp_v6_connect` in `net/ipv6/tcp_ipv6.c`).
pub(super) fn destination(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip().to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Decides how to reply to a `connect` to this [`destination`], an address of this machine. `reached` contains the
/// groups whose address covers it.
pub(super) fn on_connect(to: SocketAddr, reached: &[ReachedGroup]) -> OnConnect {
    // The kernel prefers the most specific listener (`compute_score` in `net/ipv4/inet_hashtables.c`).
    let breadth = |one: &&ReachedGroup| {
        let own = one.endpoint.address.ip().to_canonical();
        (own.is_unspecified(), own.is_ipv6() != to.is_ipv6())
    };
    let Some(lands) = reached.iter().min_by_key(breadth) else {
        return OnConnect::PassOn;
    };
    if lands.is_target {
        OnConnect::PassOn
    } else if lands.listens {
        OnConnect::ToItself(lands.endpoint)
    } else if reached.iter().any(|one| one.listens) {
        OnConnect::PassOn
    } else {
        OnConnect::Refused
    }
}

impl ProgramSockets {
    /// Decides how to reply to a `bind`.
    pub(super) fn on_bind(&self, call: &BindCall) -> OnBind {
        let BindCall { binding, .. } = call;
        let shares = binding.reuse_address || binding.reuse_port;
        let mut others = self.others(call.cookie);
        if call.may_repeat && self.has_performed(call) {
            OnBind::Repeated
        } else if call.bound {
            OnBind::PassOn
        } else if others.any(|other| other.forbids_bind(binding)) {
            OnBind::InUse
        } else if binding.endpoint.transport == Transport::Udp && shares {
            // The socket is for multicast, or the program shares the address between its own sockets.
            OnBind::PassOn
        } else if let Some(listed) = call.neighbours.listed {
            OnBind::Listed(listed)
        } else {
            let shared = call.neighbours.ours;
            OnBind::Bind { shared }
        }
    }

    /// Decides how to reply to a `listen` on the socket with this `SO_COOKIE`. If `listens` is set, the socket is
    /// already listening.
    pub(super) fn on_listen(&self, cookie: u64, listens: bool) -> OnListen {
        let Some(binding) = self.binding(cookie) else {
            return OnListen::PassOn;
        };
        let mut others = self.others(cookie);
        if binding.endpoint.transport == Transport::Udp {
            OnListen::PassOn
        } else if listens {
            OnListen::Again
        } else if others.any(|other| other.forbids_listen(&binding)) {
            OnListen::InUse
        } else {
            OnListen::Join(binding.endpoint)
        }
    }

    fn others(&self, cookie: u64) -> impl Iterator<Item = &ProgramSocket> {
        self.0.iter().filter(move |one| one.cookie != cookie)
    }

    pub(super) fn binding(&self, cookie: u64) -> Option<Binding> {
        let one = self.0.iter().find(|one| one.cookie == cookie);
        one.map(|one| one.binding)
    }

    pub(super) fn set_listening(&mut self, cookie: u64) {
        let mut all = self.0.iter_mut();
        if let Some(own) = all.find(|one| one.cookie == cookie) {
            own.listens = true;
        }
    }

    /// Whether the address of another of the program's sockets overlaps this one. That socket may have been closed, so
    /// find out before reporting a conflict.
    pub(super) fn any_overlaps(&self, cookie: u64, endpoint: Endpoint) -> bool {
        let mut others = self.others(cookie);
        others.any(|other| other.binding.endpoint.overlaps(&endpoint))
    }

    /// Whether the thread has already bound this socket to this address.
    fn has_performed(&self, call: &BindCall) -> bool {
        let key = |one: &ProgramSocket| (one.cookie, one.thread, one.binding.endpoint);
        let called = (call.cookie, call.thread, call.binding.endpoint);
        self.0.iter().any(|one| key(one) == called)
    }

    /// Whether the program has several listening sockets for which it has set `SO_REUSEPORT` itself.
    pub(super) fn several_share(&self) -> bool {
        let shares = |one: &&ProgramSocket| one.listens && one.binding.reuse_port;
        self.0.iter().filter(shares).count() > 1
    }
}

impl ProgramSocket {
    /// Follows `inet_bind_conflict` in `net/ipv4/inet_connection_sock.c` and `udp_lib_lport_inuse` in `net/ipv4/udp.c`.
    fn forbids_bind(&self, new: &Binding) -> bool {
        let both_reuse = self.binding.reuse_address && new.reuse_address && !self.listens;
        self.conflicts(new) && !both_reuse
    }

    fn forbids_listen(&self, new: &Binding) -> bool {
        self.listens && self.conflicts(new)
    }

    fn conflicts(&self, new: &Binding) -> bool {
        let both_share = self.binding.reuse_port && new.reuse_port;
        self.binding.endpoint.overlaps(&new.endpoint) && !both_share
    }
}

#[cfg(test)]
mod tests;
