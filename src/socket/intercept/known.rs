use crate::socket::Endpoint;

use super::decision::{Claim, Other};

/// How many sockets are known before it is asked which of them are still there.
const MANY: usize = 1024;

/// A socket of the program that was bound by us.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) cookie: u64,
    pub(super) inode: u64,
    pub(super) claim: Claim,
    pub(super) listens: bool,
    /// The thread that bound it: it may have to be told twice (`InterceptedCalls::reply`).
    pub(super) thread: i32,
}

impl Bound {
    /// Whether it is another socket that may be in the way.
    fn meets(&self, cookie: u64, endpoint: Endpoint) -> bool {
        self.cookie != cookie && self.claim.endpoint.overlaps(&endpoint)
    }
}

/// What is known of a program's sockets. A socket that is closed is not told of: whoever asks has to look which are held.
#[derive(Debug, Default)]
pub(super) struct Known(Vec<Bound>);

impl Known {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, bound: Bound) {
        self.0.push(bound);
    }

    /// Whether it is time to forget those that are closed.
    pub(super) fn is_large(&self) -> bool {
        self.0.len() >= MANY
    }

    pub(super) fn claim(&self, cookie: u64) -> Option<Claim> {
        let one = self.0.iter().find(|one| one.cookie == cookie);
        one.map(|one| one.claim)
    }

    /// Whether this thread has bound the same socket to the same address.
    pub(super) fn was_told(&self, cookie: u64, thread: i32, endpoint: Endpoint) -> bool {
        self.0.iter().any(|one| {
            one.cookie == cookie && one.thread == thread && one.claim.endpoint == endpoint
        })
    }

    pub(super) fn listens(&mut self, cookie: u64) {
        for one in self.0.iter_mut().filter(|one| one.cookie == cookie) {
            one.listens = true;
        }
    }

    pub(super) fn has(&self, inode: u64) -> bool {
        self.0.iter().any(|one| one.inode == inode)
    }

    pub(super) fn any_listens(&self) -> bool {
        self.0.iter().any(|one| one.listens)
    }

    /// Whether several share their address by the program's own wish.
    pub(super) fn several_share(&self) -> bool {
        let shares = |one: &&Bound| one.listens && one.claim.reuse_port;
        self.0.iter().filter(shares).count() > 1
    }

    /// Whether there are others that may be in the way of this one.
    pub(super) fn any_meets(&self, cookie: u64, endpoint: Endpoint) -> bool {
        self.0.iter().any(|one| one.meets(cookie, endpoint))
    }

    pub(super) fn others(&self, cookie: u64, endpoint: Endpoint) -> Vec<Other> {
        let others = self.0.iter().filter(|one| one.meets(cookie, endpoint));
        let other = |one: &Bound| Other {
            claim: one.claim,
            listens: one.listens,
        };
        others.map(other).collect()
    }

    /// Whether all are held.
    pub(super) fn all(&self, held: impl Fn(u64) -> bool) -> bool {
        self.0.iter().all(|one| held(one.inode))
    }

    /// Keeps those that are held.
    pub(super) fn keep(&mut self, held: impl Fn(u64) -> bool) {
        self.0.retain(|one| held(one.inode));
    }
}
