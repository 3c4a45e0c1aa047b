//! Decides which member of a `SO_REUSEPORT` group gets a connection, and which member may leave.
//!
//! The kernel keeps the members of a group in an array. A socket joins at the end when it starts listening; when one
//! leaves, the last member takes its place (`__reuseport_detach_sock` in `net/core/sock_reuseport.c`). For an index
//! beyond the end, the kernel chooses among all members by a hash (`run_bpf_filter`, `reuseport_select_sock`). Until
//! the next steering program is attached, the old one runs against the changed array. So a listener may leave only if
//! the old program is still right, or harmless, for the group without it.

use super::types::{Owner, Steering};
use crate::os::Instruction;
use crate::reload::GenId;

/// The largest number of source ports that are diverted at a time, which bounds the length of the steering program. The
/// oldest one gives way: its connection has probably been made.
const MAX_DIVERTED: usize = 16;

/// One element of the kernel's array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupMember {
    pub(super) owner: Owner,
    /// Whether connections in it are forwarded to the live generation.
    pub(super) forwarded: bool,
}

/// The owners that get a group's new connections: percentages, each with the owners that get equal parts of it.
pub(super) type Pool = [(u8, Vec<Owner>)];

/// The steering state of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Reuseport {
    /// The diverted source ports, each with the generation that its connections are for.
    diverted: Vec<(u16, GenId)>,
    /// The steering of the program that the kernel runs. `None` until the first is attached.
    pub(super) attached: Option<Steering>,
}

impl Reuseport {
    /// Diverts connections from this source port to this generation. `None` ends the diversion.
    pub(super) fn divert(&mut self, port: u16, to: Option<GenId>) {
        self.diverted.retain(|(this, _)| *this != port);
        self.diverted.extend(to.map(|id| (port, id)));
        if self.diverted.len() > MAX_DIVERTED {
            self.diverted.remove(0);
        }
    }

    /// Returns the steering that must be attached. Returns `None` if the kernel already has it, or if no owner in the
    /// pool has a member.
    pub(super) fn lacking(&self, members: &[GroupMember], pool: &Pool) -> Option<Steering> {
        let pool = pool.iter();
        let pool = pool.map(|(percent, owners)| (*percent, indices(members, owners)));
        let pool = pool.filter(|(_, targets)| !targets.is_empty()).collect();
        let diverted = self
            .diverted
            .iter()
            .map(|(port, id)| (*port, indices(members, &[Owner::Generation(*id)])));
        let diverted = diverted
            .filter(|(_, targets)| !targets.is_empty())
            .collect();
        let wanted = Steering { pool, diverted };
        let lacks = !wanted.pool.is_empty() && self.attached.as_ref() != Some(&wanted);
        lacks.then_some(wanted)
    }

    /// Returns the indices where a new connection may land with the program that the kernel runs.
    pub(super) fn landings(&self, members: usize) -> Vec<usize> {
        let Some(attached) = &self.attached else {
            return (0..members).collect();
        };
        let targets = attached.targets().map(|index| *index as usize);
        match targets.clone().all(|index| index < members) {
            true => targets.collect(),
            false => (0..members).collect(),
        }
    }

    /// Whether the member at `index`, which is not in the pool and not the only one, may leave now. Until the next
    /// program is attached, every connection must land in a member of the pool, or in one from which it is forwarded.
    pub(super) fn may_leave(&self, members: &[GroupMember], index: usize, pool: &Pool) -> bool {
        let mut after = members.to_vec();
        after.swap_remove(index);
        let fine = |member: &GroupMember| is_in(pool, member.owner) || member.forwarded;
        let Some(attached) = &self.attached else {
            return after.iter().all(fine);
        };
        let mut targets = attached.targets();
        let mut diverted = attached.diverted.iter();
        targets.all(|index| landings(&after, *index).iter().all(fine))
            && diverted.all(|(port, indices)| self.diversion_safe(&after, pool, *port, indices))
    }

    /// Whether connections from a diverted port still land in the right members. A port that is no longer diverted counts
    /// as unused. A probe must not even land in a member that is forwarded, because another generation would respond to
    /// it.
    fn diversion_safe(
        &self,
        after: &[GroupMember],
        pool: &Pool,
        port: u16,
        indices: &[u32],
    ) -> bool {
        let mut diverted = self.diverted.iter();
        let found = diverted.find(|(this, _)| *this == port);
        let own = |member: &GroupMember| match found {
            Some((_, id)) => member.owner == Owner::Generation(*id),
            None => is_in(pool, member.owner),
        };
        let mut indices = indices.iter();
        indices.all(|index| landings(after, *index).iter().all(own))
    }
}

/// Whether an owner gets new connections.
pub(super) fn is_in(pool: &Pool, owner: Owner) -> bool {
    pool.iter().any(|(_, owners)| owners.contains(&owner))
}

fn indices(members: &[GroupMember], owners: &[Owner]) -> Vec<u32> {
    let numbered = (0..).zip(members);
    let own = numbered.filter(|(_, member)| owners.contains(&member.owner));
    own.map(|(index, _)| index).collect()
}

/// Returns the members where a connection may land if the program returns `index`, whatever the hash.
fn landings(members: &[GroupMember], index: u32) -> &[GroupMember] {
    let index = index as usize;
    members.get(index..=index).unwrap_or(members)
}

// Codes of BPF instructions: class, size, mode, operation and source in one number
// (`include/uapi/linux/bpf_common.h`, `filter.h`).
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF: u16 = 0x28;
const LOAD_WORD: u16 = 0x20;
const AND: u16 = 0x54;
const MODULO: u16 = 0x94;
const JUMP: u16 = 0x05;

/// Added to an offset to make it relative to the network header (`SKF_NET_OFF`). Otherwise, an offset is relative to
/// the packet data, which starts after the TCP header.
const NETWORK: u32 = -0x10_0000_i32 as u32;
/// The offset from which each load returns a new 32-bit random number (`SKF_AD_OFF + SKF_AD_RANDOM`).
const RANDOM: u32 = (-0x1000_i32 + 56) as u32;
/// The offsets of the source port, after an IPv4 header without options and after an IPv6 header without extensions.
const PORT_BEHIND_V4: u32 = 20;
const PORT_BEHIND_V6: u32 = 40;

impl Steering {
    /// Returns the BPF program for this steering.
    pub(in crate::socket) fn program(&self) -> Vec<Instruction> {
        let mut program = Vec::new();
        if !self.diverted.is_empty() {
            program.extend(load_source_port());
        }
        for (port, targets) in &self.diverted {
            let pick = pick(targets);
            // A conditional jump can skip at most 255 instructions, an unconditional one any number.
            program.push(Instruction::jump_if_equal(u32::from(*port), 1, 0));
            program.push(Instruction::plain(JUMP, pick.len() as u32));
            program.extend(pick);
        }
        let Some(((_, rest), shares)) = self.pool.split_last() else {
            return program;
        };
        if !shares.is_empty() {
            program.push(Instruction::plain(LOAD_WORD, RANDOM));
            program.push(Instruction::plain(MODULO, 100));
        }
        let mut boundary = 0;
        for (percent, targets) in shares {
            let pick = pick(targets);
            boundary += u32::from(*percent);
            program.push(Instruction::jump_if_at_least(boundary, 0, 1));
            program.push(Instruction::plain(JUMP, pick.len() as u32));
            program.extend(pick);
        }
        program.extend(pick(rest));
        program
    }

    /// Returns the indices of all members in the pool.
    fn targets(&self) -> impl Iterator<Item = &u32> + Clone {
        self.pool.iter().flat_map(|(_, targets)| targets)
    }
}

/// Loads the source port. A dual-stack socket receives both IPv4 and IPv6, so the family is read from the packet.
fn load_source_port() -> [Instruction; 6] {
    [
        Instruction::plain(LOAD_BYTE, NETWORK),
        Instruction::plain(AND, 0xf0),
        Instruction::jump_if_equal(0x40, 0, 2),
        Instruction::plain(LOAD_HALF, NETWORK + PORT_BEHIND_V4),
        Instruction::plain(JUMP, 1),
        Instruction::plain(LOAD_HALF, NETWORK + PORT_BEHIND_V6),
    ]
}

/// Returns instructions that choose one of `targets` at random, all with equal probability.
fn pick(targets: &[u32]) -> Vec<Instruction> {
    let Some((last, others)) = targets.split_last() else {
        return Vec::new();
    };
    let mut pick = Vec::new();
    if !others.is_empty() {
        pick.push(Instruction::plain(LOAD_WORD, RANDOM));
        pick.push(Instruction::plain(MODULO, targets.len() as u32));
    }
    for (chosen, target) in (0..).zip(others) {
        pick.push(Instruction::jump_if_equal(chosen, 0, 1));
        pick.push(Instruction::plain(Instruction::RETURN, *target));
    }
    pick.push(Instruction::plain(Instruction::RETURN, *last));
    pick
}

#[cfg(test)]
mod tests;
