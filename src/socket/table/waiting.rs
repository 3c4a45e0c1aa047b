//! Holds new connections although a generation is live, because a newer one is being built or started (`--fresh`).
//!
//! They wait in a listener of their own. The newer program gets none of them before it is live: it may fail before. Once
//! they need not wait any longer, the listener is orphaned, so that they are forwarded to the live generation. That is
//! why unix connections and datagrams, which are never forwarded, do not wait.

use std::io;

use super::group::Group;
use super::types::{Env, Listener, ListenerId, ListenerPhase, Origin, Owner};

impl Group {
    /// The owner whose listeners should get the new connections at the moment.
    pub(super) fn receiver(&self) -> Owner {
        let mut waiting = self.waiting();
        waiting.next().map_or(self.target, |one| one.owner)
    }

    fn waiting(&self) -> impl Iterator<Item = &Listener> {
        let waiting = |one: &&Listener| one.owner == Owner::Waiting;
        self.listeners().iter().filter(waiting)
    }

    /// Opens the listener in which new connections wait, or orphans it if they need not wait. If hotrun has responded to
    /// connections in it, a forwarder still accepts from it, so another one takes its place.
    pub(super) fn hold_new(&mut self, env: &mut Env) -> io::Result<()> {
        let holds = env.common.holds_new && self.serves(&env.common) && self.may_accept();
        let responds = env.common.responds;
        let ended = |one: &&Listener| !holds || one.forwards && !responds;
        let ended: Vec<ListenerId> = self.waiting().filter(ended).map(|one| one.id).collect();
        let held = match holds && self.waiting().count() == ended.len() {
            true => self.open_waiting(env),
            false => Ok(()),
        };
        self.orphan(&ended, env).and(held)
    }

    fn open_waiting(&mut self, env: &mut Env) -> io::Result<()> {
        self.open(Owner::Waiting, Origin::Hotrun, env)?;
        if let Some(listener) = self.listeners.last_mut() {
            // Its owner never becomes live.
            listener.phase = ListenerPhase::Served;
        }
        self.close_deferred(env);
        self.steer(env)
    }
}
