//! Decides how to reply to a `bind` or `listen` call. Pure.

use super::binding::Binding;
use crate::socket::adopter::Neighbours;
use crate::socket::endpoint::{Endpoint, Transport};

/// A socket that hotrun has bound for the program.
#[derive(Debug)]
pub(super) struct ProgramSocket {
    /// `SO_COOKIE`, which the kernel never reuses, unlike a descriptor or an inode.
    pub(super) cookie: u64,
    pub(super) inode: u64,
    pub(super) binding: Binding,
    pub(super) listens: bool,
    /// The thread that bound the socket. It may repeat its call (see `InterceptedCalls::reply`).
    pub(super) thread: i32,
}

/// The sockets that one generation has bound.
///
/// The kernel does not report when a program closes a socket. So before a conflict with one of these counts, the
/// sockets that no process holds must be removed.
#[derive(Debug, Default)]
pub(super) struct ProgramSockets(pub(super) Vec<ProgramSocket>);

/// How to reply to a `bind` call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnBind {
    /// Let the kernel handle the call.
    PassOn,
    /// Report that the address is in use, as the kernel would if no other generation existed.
    InUse,
    /// Report that the address is in use, because this `--listen` address overlaps it.
    Listed(Endpoint),
    /// Bind the socket on behalf of the program.
    Bind {
        /// Whether the bind needs `SO_REUSEPORT`, because another generation has the address. Otherwise hotrun binds
        /// exclusively and sets the option afterwards, even if the program has set it. In a group with strangers, such
        /// as another hotrun, each side would break the other's steering.
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
    /// The socket is already listening: set the new backlog, but do not shorten the queue that hotrun has set.
    Again,
    /// Make the socket a listener of its group.
    Join(Binding),
}

impl ProgramSockets {
    /// Decides how to reply to a `bind` of the socket `cookie`.
    pub(super) fn on_bind(&self, cookie: u64, binding: &Binding, around: Neighbours) -> OnBind {
        let shares = binding.reuse_address || binding.reuse_port;
        if self.others(cookie).any(|other| other.forbids_bind(binding)) {
            OnBind::InUse
        } else if binding.endpoint.transport == Transport::Udp && shares {
            // This is multicast, or the program shares the address between its own sockets.
            OnBind::PassOn
        } else if let Some(listed) = around.listed {
            OnBind::Listed(listed)
        } else {
            OnBind::Bind {
                shared: around.ours,
            }
        }
    }

    /// Decides how to reply to a `listen` on the socket `cookie`. `listens` means that it is already listening.
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

    /// Whether another socket's address overlaps this one. That socket may have been closed, so check before reporting
    /// a conflict.
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

    /// Whether several sockets are listening for which the program itself has set `SO_REUSEPORT`.
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
