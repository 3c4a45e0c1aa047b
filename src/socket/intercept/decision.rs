//! How to reply to a bind or listen, given what is known. Pure.

use super::binding::Binding;
use crate::socket::adopter::Neighbours;
use crate::socket::endpoint::{Endpoint, Transport};

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
/// The kernel does not report that a program closes a socket. Before a conflict counts, remove those that no process
/// holds.
#[derive(Debug, Default)]
pub(super) struct ProgramSockets(pub(super) Vec<ProgramSocket>);

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
        // A socket that listens already only gets the new backlog.
        let Some(binding) = self.binding(cookie).filter(|one| tcp(one) && !listens) else {
            return OnListen::PassOn;
        };
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

    /// Whether several listen because the program itself sets `SO_REUSEPORT`.
    pub(super) fn several_share(&self) -> bool {
        let shares = |one: &&ProgramSocket| one.listens && one.binding.reuse_port;
        self.0.iter().filter(shares).count() > 1
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
mod tests;
