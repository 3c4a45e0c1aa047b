//! Which generations get new connections: all of them go to the live one, or a share to one beside it, or equal shares
//! to several live ones, the instances of the program.

use std::io;

use super::Table;
use super::group::Group;
use super::types::{Common, Env, ListenerPhase, Owner, Share, does_not_listen};
use crate::reload::GenId;

impl Table {
    /// Makes this generation the target of every group in which it listens. Those `beside` it stay live. If one group cannot
    /// be steered, none is switched.
    pub(super) fn switch(&mut self, id: GenId, beside: &[GenId], env: &mut Env) -> io::Result<()> {
        let has_sockets = self.check_listens(id, env)?;
        let owner = Owner::Generation(id);
        let last = env.common.clone();
        let beside = beside.iter().filter(|beside| last.is_live(**beside));
        env.common.live = [&id].into_iter().chain(beside).copied().collect();
        env.common.share = None;
        let mut done: Vec<(&mut Group, Owner)> = Vec::new();
        for group in self.groups.iter_mut().filter(|group| group.may_serve(id)) {
            let before = group.target;
            group.target = owner;
            let steered = group.steer(env);
            done.push((group, before));
            if let Err(error) = steered {
                env.common = Common {
                    next: env.common.next,
                    ..last
                };
                for (group, before) in done {
                    group.target = before;
                    let _ = group.steer(env);
                }
                return Err(error);
            }
        }
        let listeners = done
            .into_iter()
            .flat_map(|(group, _)| group.owned_mut(owner));
        listeners.for_each(|listener| listener.phase = ListenerPhase::Served);
        if has_sockets {
            self.served.insert(id);
        }
        let own = self.hide_covered(env);
        for group in &mut self.groups {
            let covered = group.endpoint.is_some_and(|at| at.is_covered_by(&own));
            let owed = group.is_owed(&last) && !covered && !group.was_check(&own);
            group.went_live(owed, env);
        }
        Ok(())
    }

    /// Sends this percentage of new connections to a generation beside the live one, on the addresses where both listen.
    /// If one group cannot be steered, none is changed, unless the share ends: then steering is retried.
    pub(super) fn share(&mut self, id: GenId, percent: u8, env: &mut Env) -> io::Result<()> {
        let before = env.common.share;
        if percent == 0 {
            env.common.share = before.filter(|share| share.id != id);
            return self.on_each(env, Group::refresh);
        }
        let has_sockets = self.check_listens(id, env)?;
        if !env.common.is_served() || env.common.is_live(id) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        env.common.share = Some(Share { id, percent });
        let steered = self.on_each(env, Group::steer);
        if steered.is_err() {
            env.common.share = before;
            let _ = self.on_each(env, Group::steer);
        } else if has_sockets {
            self.served.insert(id);
        }
        steered
    }

    /// Checks that a generation can get new connections. Returns whether it has any sockets.
    fn check_listens(&mut self, id: GenId, env: &mut Env) -> io::Result<bool> {
        // First remove the listeners that were shut down, because that changes the indices.
        self.on_each(env, Group::refresh)?;
        // A generation must listen on every `--listen` address, but need not open every address that the previous one
        // opened. An address that it does not open is given up.
        let missing = |group: &Group| !group.is_adopted() && !group.may_serve(id);
        let has_sockets = self.groups.iter().any(|group| group.may_serve(id));
        // The generation got connections before, but has since closed its sockets, or its groups are hidden.
        let lost = self.served.contains(&id) && !has_sockets;
        let mut groups = self.groups.iter();
        match lost || groups.any(|group| missing(group) || group.hides(id)) {
            true => Err(does_not_listen(id)),
            false => Ok(has_sockets),
        }
    }
}

impl Group {
    /// The owners whose listeners should get the new connections at the moment: the receiver and, if that is a live
    /// generation, the other live ones here and the one that shares with them, unless it is draining or gone. The path of a
    /// unix socket leads to one listener only. So do the datagrams of an address: those of one client belong together.
    pub(super) fn pool(&self, common: &Common) -> Vec<(u8, Vec<Owner>)> {
        let receiver = self.receiver();
        let mut serving = self.serving(common).map(Owner::Generation);
        if self.is_path() || !serving.any(|owner| owner == receiver) {
            return vec![(100, vec![receiver])];
        }
        let serving = match self.carries_datagrams() {
            true => vec![receiver],
            false => self.serving(common).map(Owner::Generation).collect(),
        };
        match common.share.filter(|share| self.may_serve(share.id)) {
            Some(Share { id, percent }) => vec![
                (percent, vec![Owner::Generation(id)]),
                (100 - percent, serving),
            ],
            None => vec![(100, serving)],
        }
    }
}
