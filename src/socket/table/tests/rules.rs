//! The promises that are checked after each op and each input.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::kernel::{Member, Model, PROBE_PORT};
use crate::reload::GenId;
use crate::socket::Transport;
use crate::socket::table::{GroupId, Op};
use crate::unclaimed::UnclaimedPolicy;

/// A promise that every op must keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Rule {
    /// No connection is lost because hotrun closes a listener. The exception is a unix connection that the program left
    /// behind although its path already led to another listener.
    NothingLost,
    /// hotrun never accepts a unix connection, because forwarding would give it hotrun's identity.
    IdentityKept,
    /// A new connection reaches the live generation, the one that has a share, or a listener from which it is forwarded. While no generation is
    /// live, the connection waits where the next one will find it, or gets a response.
    LandsWhereItIsServed,
    /// hotrun never leaves an address without a listener, unless it removes the whole group.
    NeverRefused,
    /// An address that a live generation has served is refused only after hotrun has reported that it is given up.
    NotInSilence,
    /// A probe reaches only the generation that it is meant for.
    ProbesReachTheirOwn,
    /// A switch or a share changes every address or none.
    AllOrNothing,
    /// No connection is forwarded to the listener that it came from.
    NoLoop,
    /// A connection that no program accepts is forwarded if the live generation serves its address with another socket,
    /// which the kernel prefers for new connections.
    ForwardedToNarrower,
    /// No program is given a listener from which a forwarder or another running program still accepts.
    NotShared,
    /// Every listener that can be closed is eventually closed, and every waiting connection is eventually served. After
    /// that, the table has no more deadlines.
    ComesToRest,
}

/// The number of rules.
pub(super) const RULES: usize = Rule::ComesToRest as usize + 1;

/// The generation that must get new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Serving {
    /// This generation, from its switch until it is asked to stop.
    Live(GenId),
    /// Either of these generations, during a switch from the first to the second.
    Either(Option<GenId>, GenId),
    /// Connections are held.
    Held,
    /// A generation has crashed or is draining, and the driver has not decided what to do next.
    Undecided,
}

const ORDINARY_PORT: u16 = 1;

impl Model {
    pub(super) fn check(&mut self, rule: Rule, holds: bool, what: impl FnOnce(&Self) -> String) {
        self.checked[rule as usize] += 1;
        if !holds {
            let text = what(self);
            self.broken.push((rule, text));
        }
    }

    /// Returns the members in which a new connection may land. If there are several, any of them may be chosen.
    pub(super) fn landings(&self, group: GroupId) -> Vec<Member> {
        self.landings_from(group, ORDINARY_PORT)
    }

    fn landings_from(&self, group: GroupId, port: u16) -> Vec<Member> {
        let array = &self.arrays[&group];
        if array.endpoint.is_none() {
            return array.linked.into_iter().map(Some).collect();
        }
        let Some(program) = &array.program else {
            return array.members.clone();
        };
        let mut diverted = program.diverted.iter();
        let own = diverted.find(|(this, _)| *this == port);
        let pool = program.pool.iter().flat_map(|(_, indices)| indices);
        let indices: Vec<u32> = match own {
            Some((_, indices)) => indices.clone(),
            None => pool.copied().collect(),
        };
        let mut landings: Vec<Member> = Vec::new();
        for index in indices {
            match array.members.get(index as usize) {
                Some(member) => landings.push(*member),
                None => return array.members.clone(),
            }
        }
        landings
    }

    pub(super) fn is_hidden(&self, group: GroupId) -> bool {
        let mut socks = self.socks.values().filter(|sock| sock.group == group);
        socks.any(|sock| sock.hidden)
    }

    pub(super) fn held_by(&self, member: Member, id: GenId) -> bool {
        member.is_some_and(|listener| {
            let sock = self.socks.get(&listener);
            sock.is_some_and(|sock| sock.held == Some(id))
        })
    }

    /// Whether this is a listener that no program has.
    fn is_ours(&self, member: Member) -> bool {
        let sock = member.and_then(|listener| self.socks.get(&listener));
        sock.is_some_and(|sock| sock.held.is_none() && !sock.own)
    }

    /// Checks that new TCP connections wait, unless the live generation does not listen at their address.
    pub(super) fn new_connections_wait(&mut self, id: GenId) {
        let groups: Vec<GroupId> = self.arrays.keys().copied().collect();
        for group in groups {
            let array = &self.arrays[&group];
            let tcp = array
                .endpoint
                .is_some_and(|at| at.transport == Transport::Tcp);
            let landings = self.landings(group);
            let waits = landings.iter().all(|member| self.is_ours(*member));
            let exempt = self.is_hidden(group) || !self.listens(group, id);
            self.check(Rule::LandsWhereItIsServed, waits || !tcp || exempt, |_| {
                format!("held although {id} is live: {landings:?}")
            });
        }
    }

    fn is_forwarded(&self, group: GroupId, member: Member) -> bool {
        self.arrays[&group].policy == UnclaimedPolicy::Forward && self.is_forwarder(member)
    }

    fn is_forwarder(&self, member: Member) -> bool {
        let sock = member.and_then(|listener| self.socks.get(&listener));
        sock.is_some_and(|sock| sock.forwards)
    }

    /// Returns the groups where a connection may land in a stranger's socket.
    pub(super) fn groups_astray(&self) -> BTreeSet<GroupId> {
        let groups = self.arrays.keys().copied();
        groups
            .filter(|group| self.landings(*group).contains(&None))
            .collect()
    }

    /// Checks what must hold at all times.
    pub(super) fn check_instant(&mut self, when: &Op) {
        let astray = self.groups_astray();
        let kept = astray.is_subset(&self.astray);
        self.check(Rule::LandsWhereItIsServed, kept, |_| {
            format!("after {when:?}: a stranger gets connections of {astray:?}")
        });
        if self.disturbed || self.unsteered {
            return;
        }
        let groups: Vec<GroupId> = self.arrays.keys().copied().collect();
        for group in groups {
            if self.is_hidden(group) || self.arrays[&group].members.is_empty() {
                continue;
            }
            let landings = self.landings(group);
            let fine = landings.iter().all(|member| self.may_land(group, *member));
            self.check(Rule::LandsWhereItIsServed, fine, |this| {
                format!("after {when:?}: {landings:?}, {:?}", this.serving)
            });
            let Some((_, id)) = self.probe.filter(|(at, _)| *at == group) else {
                continue;
            };
            if self.listens(group, id) {
                let landings = self.landings_from(group, PROBE_PORT);
                let own = landings.iter().all(|member| self.held_by(*member, id));
                self.check(Rule::ProbesReachTheirOwn, own, |_| {
                    format!("after {when:?}: {landings:?} for {id}")
                });
            }
        }
    }

    fn may_land(&self, group: GroupId, member: Member) -> bool {
        let by = |id: GenId| {
            let waits = self.holds_new && self.is_ours(member);
            let served = self.held_by(member, id) || self.is_forwarded(group, member);
            let served = served || self.shares(group, member) || self.held_beside(member);
            !self.listens(group, id) || served || waits
        };
        match self.serving {
            Serving::Live(id) => by(id),
            Serving::Either(None, _) => true,
            Serving::Either(Some(one), other) => by(one) || by(other),
            Serving::Held | Serving::Undecided => true,
        }
    }

    /// Checks what must hold after an input has been handled.
    pub(super) fn check_after(&mut self) {
        let lost = self.lost_in.take();
        self.check(Rule::NothingLost, lost.is_none(), |_| {
            format!("a connection was lost in {lost:?}")
        });
        let emptied = self.emptied.take();
        self.check(Rule::NeverRefused, emptied.is_none(), |_| {
            format!("no socket listens in {emptied:?}")
        });
        let groups: Vec<GroupId> = self.arrays.keys().copied().collect();
        for group in groups {
            if self.is_hidden(group) {
                continue;
            }
            let landings = self.landings(group);
            if let Serving::Live(id) = self.serving {
                let dead = self.listens(group, id) && landings.is_empty();
                let fine = !dead || self.disturbed || self.unsteered;
                self.check(Rule::NeverRefused, fine, |_| {
                    format!("{id} listens in {group:?}, where no client arrives")
                });
            }
            if self.serving == Serving::Held && !self.arrays[&group].is_udp() {
                let waits = landings.iter().all(|member| self.may_wait(group, *member));
                let waits = waits || self.disturbed || self.unsteered || self.stuck;
                self.check(Rule::LandsWhereItIsServed, waits, |_| {
                    format!("held: {landings:?}")
                });
            }
            let taken = |member: &Member| self.is_forwarder(*member);
            let to = self.destinations(group);
            let forwards = |to: &IpAddr| self.arrays[&group].policy.forwards(*to);
            let loops = to.iter().any(forwards) && landings.iter().any(taken);
            let calm = self.disturbed || self.unsteered || !loops;
            self.check(Rule::NoLoop, calm, |_| format!("{landings:?} in {group:?}"));
        }
    }

    /// Whether a connection that lands in this member may stay there: no forwarder takes it, so that it waits for the
    /// next generation. Always true while hotrun responds, or if a program itself has opened sockets in the group: then
    /// the next generation gets none of hotrun's.
    fn may_wait(&self, group: GroupId, member: Member) -> bool {
        let sock = member.and_then(|listener| self.socks.get(&listener));
        let array = &self.arrays[&group];
        let responds = array.policy == UnclaimedPolicy::Respond;
        responds || array.opened || sock.is_some_and(|sock| !sock.forwards)
    }

    pub(super) fn shared(&self, id: GenId) -> bool {
        let mut socks = self.socks.values();
        socks.any(|sock| sock.held == Some(id) && sock.forwards)
    }
}
