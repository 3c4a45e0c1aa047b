//! How to reply to a bind or listen, given what is known. Pure.

use super::binding::Binding;
use crate::socket::adopter::Neighbours;
use crate::socket::endpoint::{Endpoint, Transport};

/// How many sockets a program may have before the closed ones are looked for.
const MANY: usize = 1024;

/// A socket that hotrun has bound for the program.
#[derive(Debug)]
pub(super) struct ProgramSocket {
    /// `SO_COOKIE`: unlike a descriptor or an inode, the kernel never uses it again.
    pub(super) cookie: u64,
    pub(super) inode: u64,
    pub(super) binding: Binding,
    pub(super) listens: bool,
    /// The thread that bound it. It may repeat its call (`InterceptedCalls::reply`).
    pub(super) thread: i32,
}

/// The bound sockets of one generation.
///
/// The kernel does not report that a program closes a socket. Before a conflict counts, [`Self::retain`] those that some
/// process holds.
#[derive(Debug, Default)]
pub(super) struct ProgramSockets(Vec<ProgramSocket>);

/// How to reply to a bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnBind {
    /// The kernel handles it.
    PassOn,
    /// The address is in use, as the kernel would say if the generation were alone.
    InUse,
    /// This address of `--listen` is in the way.
    Listed(Endpoint),
    /// hotrun binds it.
    Bind {
        /// Whether the bind needs `SO_REUSEPORT`, because another generation has the address. Otherwise hotrun binds
        /// exclusively and sets the option afterwards, even if the program has set it itself: in a group with strangers,
        /// another hotrun above all, each side would break the steering of the other.
        shared: bool,
    },
}

/// How to reply to a listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnListen {
    /// The kernel handles it.
    PassOn,
    /// The address is in use.
    InUse,
    /// It listens already, and gets the new backlog.
    Again,
    /// It becomes a listener of its group.
    Join(Binding),
}

impl ProgramSockets {
    /// The reply to binding the socket `cookie`.
    pub(super) fn on_bind(&self, cookie: u64, binding: &Binding, around: Neighbours) -> OnBind {
        let shares = binding.reuse_address || binding.reuse_port;
        if self.others(cookie).any(|other| other.forbids_bind(binding)) {
            OnBind::InUse
        } else if binding.endpoint.transport == Transport::Udp && shares {
            // Multicast, or a program that shares the address between its own sockets.
            OnBind::PassOn
        } else if let Some(listed) = around.listed {
            OnBind::Listed(listed)
        } else {
            OnBind::Bind {
                shared: around.ours,
            }
        }
    }

    /// The reply to a listen on the socket `cookie`, which `listens` already or not.
    pub(super) fn on_listen(&self, cookie: u64, listens: bool) -> OnListen {
        let tcp = |binding: &Binding| binding.endpoint.transport == Transport::Tcp;
        let Some(binding) = self.binding(cookie).filter(tcp) else {
            return OnListen::PassOn;
        };
        if listens {
            return OnListen::Again;
        }
        let mut others = self.others(cookie);
        match others.any(|other| other.forbids_listen(&binding)) {
            true => OnListen::InUse,
            false => OnListen::Join(binding),
        }
    }

    fn others(&self, cookie: u64) -> impl Iterator<Item = &ProgramSocket> {
        self.0.iter().filter(move |one| one.cookie != cookie)
    }

    pub(super) fn binding(&self, cookie: u64) -> Option<Binding> {
        let one = self.0.iter().find(|one| one.cookie == cookie);
        one.map(|one| one.binding)
    }

    /// Whether another socket overlaps. It may be closed, so look before this becomes a conflict.
    pub(super) fn any_overlaps(&self, cookie: u64, endpoint: Endpoint) -> bool {
        let mut others = self.others(cookie);
        others.any(|other| other.binding.endpoint.overlaps(&endpoint))
    }

    /// Whether this thread has already bound this socket to this address.
    pub(super) fn is_repeated(&self, cookie: u64, thread: i32, endpoint: Endpoint) -> bool {
        let key = |one: &ProgramSocket| (one.cookie, one.thread, one.binding.endpoint);
        self.0
            .iter()
            .any(|one| key(one) == (cookie, thread, endpoint))
    }

    pub(super) fn add(&mut self, socket: ProgramSocket) {
        self.0.push(socket);
    }

    pub(super) fn set_listening(&mut self, cookie: u64) {
        for one in self.0.iter_mut().filter(|one| one.cookie == cookie) {
            one.listens = true;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is time to look for closed ones.
    pub(super) fn are_many(&self) -> bool {
        self.0.len() >= MANY
    }

    pub(super) fn any_listens(&self) -> bool {
        self.0.iter().any(|one| one.listens)
    }

    /// Whether several listen because the program itself sets `SO_REUSEPORT`.
    pub(super) fn several_share(&self) -> bool {
        let shares = |one: &&ProgramSocket| one.listens && one.binding.reuse_port;
        self.0.iter().filter(shares).count() > 1
    }

    pub(super) fn has(&self, inode: u64) -> bool {
        self.0.iter().any(|one| one.inode == inode)
    }

    pub(super) fn all(&self, held: impl Fn(u64) -> bool) -> bool {
        self.0.iter().all(|one| held(one.inode))
    }

    pub(super) fn retain(&mut self, held: impl Fn(u64) -> bool) {
        self.0.retain(|one| held(one.inode));
    }
}

impl ProgramSocket {
    /// As `inet_bind_conflict` in `net/ipv4/inet_connection_sock.c` and `udp_lib_lport_inuse` in `net/ipv4/udp.c`.
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
mod tests {
    use super::*;

    /// The cookie of the socket in question. Others count down from it.
    const NEW: u64 = 100;
    const ALONE: Neighbours = Neighbours {
        ours: false,
        listed: None,
    };
    /// Another generation has the address.
    const OURS: Neighbours = Neighbours {
        ours: true,
        listed: None,
    };

    fn endpoint(address: &str) -> Endpoint {
        Endpoint::from(address.parse::<std::net::SocketAddr>().unwrap())
    }

    fn binding(address: &str) -> Binding {
        Binding {
            endpoint: endpoint(address),
            reuse_address: true,
            reuse_port: false,
        }
    }

    fn sockets(all: &[(Binding, bool)]) -> ProgramSockets {
        let sockets = all
            .iter()
            .zip(1..)
            .map(|((binding, listens), cookie)| ProgramSocket {
                cookie,
                inode: cookie,
                binding: *binding,
                listens: *listens,
                thread: 1,
            });
        ProgramSockets(sockets.collect())
    }

    fn listening(binding: Binding) -> ProgramSockets {
        sockets(&[(binding, true)])
    }

    fn bound(binding: Binding) -> ProgramSockets {
        sockets(&[(binding, false)])
    }

    /// The reply to a listen of a new socket beside `others`.
    fn on_listen(binding: Binding, mut others: ProgramSockets) -> OnListen {
        let mut new = bound(binding);
        new.0[0].cookie = NEW;
        others.0.append(&mut new.0);
        others.on_listen(NEW, false)
    }

    #[test]
    fn a_free_address_is_bound_exclusively() {
        let web = binding("0.0.0.0:80");
        let reply = sockets(&[]).on_bind(NEW, &web, ALONE);
        assert_eq!(reply, OnBind::Bind { shared: false });
    }

    #[test]
    fn an_address_of_another_generation_is_shared() {
        let web = binding("127.0.0.1:80");
        let reply = sockets(&[]).on_bind(NEW, &web, OURS);
        assert_eq!(reply, OnBind::Bind { shared: true });
    }

    #[test]
    fn a_program_cannot_bind_its_own_address_twice() {
        let web = binding("127.0.0.1:80");
        let everywhere = binding("0.0.0.0:80");
        for others in [listening(web), listening(everywhere)] {
            assert_eq!(others.on_bind(NEW, &web, OURS), OnBind::InUse);
        }
        // Both may be bound, and one may listen (`socket(7)`, SO_REUSEADDR).
        let shared = OnBind::Bind { shared: true };
        assert_eq!(bound(everywhere).on_bind(NEW, &web, OURS), shared);
        let strict = Binding {
            reuse_address: false,
            ..web
        };
        assert_eq!(bound(web).on_bind(NEW, &strict, OURS), OnBind::InUse);
        assert_eq!(bound(strict).on_bind(NEW, &web, OURS), OnBind::InUse);
        assert_eq!(on_listen(web, listening(everywhere)), OnListen::InUse);
        let elsewhere = listening(binding("127.0.0.2:80"));
        assert_eq!(elsewhere.on_bind(NEW, &web, OURS), shared);
    }

    #[test]
    fn a_program_that_sets_reuse_port_has_several_sockets() {
        let worker = Binding {
            reuse_port: true,
            ..binding("127.0.0.1:80")
        };
        let others = listening(worker);
        let shared = OnBind::Bind { shared: true };
        assert_eq!(others.on_bind(NEW, &worker, OURS), shared);
        let alone = binding("127.0.0.1:80");
        assert_eq!(others.on_bind(NEW, &alone, OURS), OnBind::InUse);
        assert_eq!(on_listen(worker, others), OnListen::Join(worker));
        let first = sockets(&[]).on_bind(NEW, &worker, ALONE);
        assert_eq!(first, OnBind::Bind { shared: false }, "not with strangers");
    }

    #[test]
    fn an_overlapping_address_of_listen_is_named() {
        let listed = endpoint("127.0.0.1:80");
        let around = Neighbours {
            ours: true,
            listed: Some(listed),
        };
        let reply = sockets(&[]).on_bind(NEW, &binding("0.0.0.0:80"), around);
        assert_eq!(reply, OnBind::Listed(listed));
    }

    #[test]
    fn shared_datagram_sockets_are_left_to_the_kernel() {
        let tcp = binding("0.0.0.0:53");
        let udp = Binding {
            endpoint: Endpoint {
                transport: Transport::Udp,
                ..tcp.endpoint
            },
            reuse_address: false,
            ..tcp
        };
        let multicast = Binding {
            reuse_address: true,
            ..udp
        };
        let shared = OnBind::Bind { shared: true };
        assert_eq!(sockets(&[]).on_bind(NEW, &udp, OURS), shared);
        assert_eq!(sockets(&[]).on_bind(NEW, &multicast, OURS), OnBind::PassOn);
        assert_eq!(bound(udp).on_bind(NEW, &udp, OURS), OnBind::InUse);
        assert_eq!(listening(tcp).on_bind(NEW, &udp, OURS), shared);
        assert_eq!(on_listen(udp, sockets(&[])), OnListen::PassOn);
    }

    #[test]
    fn a_socket_joins_once_and_only_if_hotrun_has_bound_it() {
        let web = binding("127.0.0.1:80");
        assert_eq!(sockets(&[]).on_listen(NEW, false), OnListen::PassOn);
        assert_eq!(on_listen(web, sockets(&[])), OnListen::Join(web));
        assert_eq!(bound(web).on_listen(1, true), OnListen::Again);
    }

    #[test]
    fn only_the_same_thread_repeats_a_bind() {
        let web = binding("127.0.0.1:80");
        let sockets = bound(web);
        assert!(sockets.is_repeated(1, 1, web.endpoint));
        assert!(!sockets.is_repeated(1, 2, web.endpoint));
        assert!(!sockets.is_repeated(2, 1, web.endpoint));
        assert!(!sockets.is_repeated(1, 1, endpoint("127.0.0.1:81")));
    }
}
