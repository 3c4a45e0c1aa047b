//! Shares of new connections for a generation beside the live one.

use std::collections::BTreeSet;

use super::kernel::{Member, Model};
use super::rules::{Rule, Serving};
use super::setting::{Life, Move};
use super::world::World;
use crate::reload::GenId;
use crate::socket::table::{GroupId, ListenerId, Steering, TableInput};

/// The generation that has a share, and how it loses it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Sharing {
    id: Option<GenId>,
    /// Whether the share has ended. A steering program that could not be replaced still chooses the generation.
    ended: bool,
    /// The listeners of the generation, if its processes are gone but the table does not know yet.
    left: BTreeSet<ListenerId>,
}

impl Sharing {
    pub(super) fn rename(&mut self, rename: impl Fn(ListenerId) -> ListenerId) {
        self.left = self.left.iter().map(|id| rename(*id)).collect();
    }

    fn has(&self, id: GenId) -> bool {
        self.id == Some(id) && !self.ended
    }
}

impl Model {
    /// Whether a connection may land in this member because its generation has a share. A unix socket's path leads to
    /// the live generation.
    pub(super) fn shares(&self, group: GroupId, member: Member) -> bool {
        let Sharing { id, left, .. } = &self.sharing;
        let own = id.is_some_and(|id| self.held_by(member, id));
        let left = member.is_some_and(|listener| left.contains(&listener));
        self.arrays[&group].endpoint.is_some() && (own || left)
    }

    pub(super) fn sharing_dies(&mut self, id: GenId) {
        if self.sharing.id == Some(id) {
            let socks = self.socks.iter();
            let own = socks.filter(|(_, sock)| sock.held == Some(id));
            self.sharing.left.extend(own.map(|(listener, _)| *listener));
        }
    }

    /// Whether a connection may land in a member that has a share, at an address where the live generation listens.
    fn lands_in_share(&self) -> bool {
        let Serving::Live(live) = self.serving else {
            return false;
        };
        let mut groups = self
            .arrays
            .keys()
            .filter(|group| self.listens(**group, live));
        groups.any(|group| {
            let landings = self.landings(*group);
            landings.iter().any(|member| self.shares(*group, *member))
        })
    }
}

impl World {
    pub(super) fn share_moves(&self, id: GenId, ready: bool) -> Vec<Move> {
        let one = self.get(id);
        let (mut moves, sharing) = (Vec::new(), &self.model.sharing);
        let beside = matches!(self.model.serving, Serving::Live(live) if live != id);
        if beside && one.life != Life::Gone && !one.draining && sharing.has(id) {
            moves.push(Move::StopSharing(id));
        }
        let free = sharing.id.is_none() || sharing.has(id);
        let may = one.life == Life::Running && ready && !one.served && !one.draining;
        if beside && may && free && self.budget.shares > 0 {
            moves.push(Move::Share(id));
        }
        moves
    }

    /// Gives the generation a share of 10 %, or 50 % if it has one.
    pub(super) fn share(&mut self, id: GenId) {
        self.budget.shares -= 1;
        let before = std::mem::take(&mut self.model.sharing);
        let percent = if before.has(id) { 50 } else { 10 };
        let disturbed = self.model.disturbed || self.model.unsteered;
        let programs = self.programs();
        self.model.sharing.id = Some(id);
        let shared = self.handle(TableInput::Share { id, percent });
        if shared {
            // The caller gets its reply before the table is tidied up.
            self.check_share(id, percent);
        }
        self.tidy();
        if !shared {
            self.model.sharing = before;
            let same = disturbed || programs == self.programs();
            self.model.check(Rule::AllOrNothing, same, |_| {
                format!("the share of {id} failed, but the steering has changed")
            });
        }
    }

    fn programs(&self) -> Vec<(GroupId, Steering)> {
        let programs = self.model.arrays.iter().filter_map(|(group, array)| {
            let program = array.program.as_ref()?;
            Some((*group, program.clone()))
        });
        programs.collect()
    }

    /// Checks that this generation gets its share at every address where the live one listens as well.
    fn check_share(&mut self, id: GenId, percent: u8) {
        let Serving::Live(live) = self.model.serving else {
            return;
        };
        if self.model.disturbed || self.has_strangers() || self.model.holds_new {
            return;
        }
        let groups: Vec<GroupId> = self.model.arrays.keys().copied().collect();
        for group in groups {
            let model = &self.model;
            let array = &model.arrays[&group];
            let both = model.listens(group, id) && model.listens(group, live);
            if !both || array.endpoint.is_none() || model.is_hidden(group) {
                continue;
            }
            let all = |indices: &[u32], id| {
                let mut indices = indices.iter();
                indices.all(|index| model.held_by(array.members[*index as usize], id))
            };
            let pool = array.program.as_ref().map(|program| &program.pool[..]);
            let fine = match pool {
                Some([(share, own), (rest, others)]) => {
                    *share == percent && *rest == 100 - percent && all(own, id) && all(others, live)
                }
                Some(_) | None => false,
            };
            self.model.check(Rule::AllOrNothing, fine, |this| {
                let program = &this.arrays[&group].program;
                format!("{id} gets {percent} %, but {program:?} is attached")
            });
        }
    }

    pub(super) fn stop_sharing(&mut self, id: GenId) {
        self.tell(TableInput::Share { id, percent: 0 });
        self.leaves(Some(id));
    }

    /// Called after an input that ends the share of this generation or, if that is the live one or `None`, every share:
    /// checks that no connection lands there.
    pub(super) fn leaves(&mut self, id: Option<GenId>) {
        let undecided = !matches!(self.model.serving, Serving::Live(_));
        let Some(sharing) = self.model.sharing.id else {
            return;
        };
        let leaves = id.is_none_or(|id| id == sharing);
        // From now on, it gets all connections, or connections are held.
        if undecided || self.model.serving == Serving::Live(sharing) {
            self.model.sharing = Sharing::default();
        } else if leaves {
            self.model.sharing.ended = true;
            let works = self.model.fails.is_none() && !self.model.disturbed;
            let lands = works && !self.model.unsteered && self.model.lands_in_share();
            self.model.check(Rule::LandsWhereItIsServed, !lands, |_| {
                format!("{sharing} has left the pool, but gets connections")
            });
        }
    }

    /// Forgets a share that has ended once no connection lands there.
    pub(super) fn share_has_ended(&mut self) {
        if self.model.sharing.ended && !self.model.lands_in_share() {
            self.model.sharing = Sharing::default();
        }
    }

    pub(super) fn shares_only_if_asked(&mut self) {
        let ended = self.model.sharing.ended;
        self.model.check(Rule::ComesToRest, !ended, |this| {
            format!("{:?} still gets connections", this.sharing)
        });
    }
}
