//! Decides which connections hotrun accepts, and what it does with them.

use std::io;

use super::group::Group;
use super::types::{Env, Op, Owner};
use crate::socket::Endpoint;
use crate::unclaimed::UnclaimedPolicy;

impl Group {
    /// Sets the policy for connections that no program accepts. `serving`: the addresses on which the live generation
    /// can serve clients.
    pub(super) fn set_policy(&mut self, serving: &[Endpoint], env: &mut Env) {
        let narrower = self.endpoint.map(|at| at.preferred(serving));
        let narrower = narrower.unwrap_or_default();
        let policy = match env.common.is_served() {
            true if env.common.responds && self.receiver() == Owner::Waiting => {
                UnclaimedPolicy::Respond
            }
            true if self.is_hidden() || self.serves(&env.common) => UnclaimedPolicy::Forward,
            // A generation has listened on this wider address, perhaps only to check whether its port is free.
            true if !narrower.is_empty() => UnclaimedPolicy::ForwardTo(narrower),
            false if env.common.responds => UnclaimedPolicy::Respond,
            // A program that a newer one replaces may reach its first `accept` just before the stop signal kills it.
            false if env.common.reloading => UnclaimedPolicy::Take,
            true | false => UnclaimedPolicy::Wait,
        };
        if policy != self.policy {
            self.policy = policy.clone();
            let group = self.id;
            let _ = env.kernel.perform(Op::SetPolicy { group, policy });
        }
    }

    /// Starts the missing forwarders. If some fail, starts the rest and returns the last error.
    pub(super) fn start_forwarding(&mut self, env: &mut Env) -> io::Result<()> {
        let mut result = Ok(());
        if !self.may_accept() {
            return result;
        }
        let takes = env.common.responds || matches!(self.policy, UnclaimedPolicy::ForwardTo(_));
        for listener in &mut self.listeners {
            let held = matches!(listener.owner, Owner::Next | Owner::Waiting);
            let wanted = listener.retired || takes && held;
            if wanted && !listener.forwards {
                let id = listener.id;
                let started = env.kernel.perform(Op::Forward { listener: id });
                listener.forwards = started.is_ok();
                result = started.and(result);
            }
        }
        result
    }
}
