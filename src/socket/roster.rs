use std::collections::HashSet;

use super::steer::Steering;
use crate::reload::GenId;

/// What names a slot within its group; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key(pub(super) u64);

/// Whose a slot is: a generation's, or the next one's that will be prepared.
pub(super) type Owner = Option<GenId>;

/// Whose a slot is that nobody takes connections from any more: no generation has this number.
pub(super) const NOBODY: Owner = Some(GenId::new(0));

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Member {
    key: Key,
    owner: Owner,
}

/// Which slot has which index, and which program the kernel runs: the bookkeeping of one reuse-port group, pure.
///
/// The kernel keeps the members in an array. A socket joins at the end when it listens; when one leaves, the
/// last member takes its place (`__reuseport_detach_sock` in `net/core/sock_reuseport.c`). An index beyond the
/// end makes the kernel choose among all members by a hash (`run_bpf_filter`, `reuseport_select_sock`). All this
/// happens between the closing of a slot and our next program, so a slot may leave only if the old program is
/// right, or harmless, for the group without it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Roster {
    members: Vec<Member>,
    target: Owner,
    diverted: Vec<(u16, GenId)>,
    /// What the kernel's program does; none was ever attached as long as this is `None`.
    attached: Option<Steering>,
}

impl Roster {
    /// A slot listens from now on.
    pub(super) fn join(&mut self, key: Key, owner: Owner) {
        self.members.push(Member { key, owner });
    }

    /// A slot listens no more.
    pub(super) fn leave(&mut self, key: Key) {
        if let Some(index) = self.members.iter().position(|member| member.key == key) {
            self.members.swap_remove(index);
        }
        if self.members.is_empty() {
            // The kernel's group ends with its last member, and its program with it (`reuseport_detach_sock`).
            self.attached = None;
        }
    }

    /// A slot is another one's now.
    pub(super) fn give(&mut self, key: Key, owner: Owner) {
        for member in self.members.iter_mut().filter(|member| member.key == key) {
            member.owner = owner;
        }
    }

    /// New connections shall go to the slots of `owner`; to whose they went before.
    pub(super) fn aim(&mut self, owner: Owner) -> Owner {
        std::mem::replace(&mut self.target, owner)
    }

    /// Connections from this source port shall go to the slots of `id`.
    pub(super) fn divert(&mut self, port: u16, id: GenId) {
        self.restore(port);
        self.diverted.push((port, id));
    }

    /// Connections from this source port are like any other again.
    pub(super) fn restore(&mut self, port: u16) {
        self.diverted.retain(|(this, _)| *this != port);
    }

    /// The steering that the kernel lacks: what shall be, unless the kernel's program does just that, or nothing
    /// can be done because the target has no slot.
    pub(super) fn lacking(&self) -> Option<Steering> {
        self.wanted()
            .filter(|wanted| self.attached.as_ref() != Some(wanted))
    }

    /// The kernel has this program now.
    pub(super) fn attached(&mut self, steering: Steering) {
        self.attached = Some(steering);
    }

    /// Whether a slot may be closed now: with the program that the kernel runs, no connection that comes before
    /// the next program may land in a slot that is not meant for it. Unless that is one of those from which connections
    /// are `carried` to where they belong.
    pub(super) fn may_leave(&self, key: Key, carried: &[Key]) -> bool {
        let after = self.without(key);
        if self.owner(key).is_none_or(|owner| owner == self.target)
            || after.indices(self.target).is_empty()
        {
            return false;
        }
        let fine = |member: &Member| member.owner == self.target || carried.contains(&member.key);
        let Some(attached) = &self.attached else {
            return after.members.iter().all(fine);
        };
        let targets_safe = attached
            .targets
            .iter()
            .all(|index| after.landings(*index).iter().all(fine));
        targets_safe
            && attached
                .diverted
                .iter()
                .all(|(port, targets)| after.diversion_safe(*port, targets))
    }

    fn without(&self, key: Key) -> Self {
        let mut after = self.clone();
        after.leave(key);
        after
    }

    fn owner(&self, key: Key) -> Option<Owner> {
        self.members
            .iter()
            .find(|member| member.key == key)
            .map(|member| member.owner)
    }

    fn wanted(&self) -> Option<Steering> {
        let targets = self.indices(self.target);
        let diverted = self
            .diverted
            .iter()
            .map(|(port, id)| (*port, self.indices(Some(*id))));
        let diverted = diverted
            .filter(|(_, targets)| !targets.is_empty())
            .collect();
        (!targets.is_empty()).then_some(Steering { targets, diverted })
    }

    fn indices(&self, owner: Owner) -> Vec<u32> {
        (0..)
            .zip(&self.members)
            .filter(|(_, member)| member.owner == owner)
            .map(|(index, _)| index)
            .collect()
    }

    /// Where a connection for which the program returns `index` may land, whatever the hash.
    fn landings(&self, index: u32) -> &[Member] {
        let index = index as usize;
        self.members.get(index..=index).unwrap_or(&self.members)
    }

    /// A port that is no longer diverted is nobody's: the one that had it has given it up.
    fn diversion_safe(&self, port: u16, targets: &[u32]) -> bool {
        let id = self
            .diverted
            .iter()
            .find(|(this, _)| *this == port)
            .map(|(_, id)| *id);
        let owner = id.map_or(self.target, Some);
        // Not even to one that is carried: a probe would be answered by another generation.
        let own = |member: &Member| member.owner == owner;
        targets
            .iter()
            .all(|index| self.landings(*index).iter().all(own))
    }

    /// All members, for the choice of one to attach the program to.
    pub(super) fn keys(&self) -> HashSet<Key> {
        self.members.iter().map(|member| member.key).collect()
    }
}

#[cfg(test)]
mod tests;
