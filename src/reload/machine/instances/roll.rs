//! Decides which instance follows the first one next, and when all go back.

use super::state::{Instances, Leader};
use crate::reload::machine::{Machine, Turn};
use crate::reload::{Action, ArtifactId, Cause, Event, GenId, GenNotice, Reaction, Request, Time};

impl Instances {
    pub(super) fn note(&mut self, index: usize, id: GenId, notice: GenNotice) {
        if let GenNotice::Starting { cause } = notice
            && index == 0
        {
            match cause {
                Cause::Crash | Cause::Unhealthy => self.same = Some(id),
                Cause::Undo | Cause::RollBack => self.back = Some(id),
                Cause::Begin
                | Cause::Change
                | Cause::Request
                | Cause::InheritFds
                | Cause::Follow => {}
            }
        }
        let failed = matches!(notice, GenNotice::Failed { .. });
        if self.following == Some(id) && (failed || matches!(notice, GenNotice::Live { .. })) {
            self.following = None;
            if let Some(leader) = &mut self.leader {
                leader.failed |= failed;
            }
        }
    }

    /// Starts the next instance that has not followed the leader, unless another one is being started.
    pub(super) fn follow(&mut self, now: Time, all: &mut Reaction) {
        let Some(leader) = self.update_leader() else {
            return;
        };
        if leader.failed {
            return self.go_back(now, leader, all);
        }
        while !self.machines.iter().any(Machine::is_starting)
            && let Some(next) = self.followed.iter().position(|it| *it != Some(leader.id))
        {
            self.followed[next] = Some(leader.id);
            let index = next + 1;
            let serves = self.machines[index].live_generation();
            // It has not followed the generation from which the leader has gone back.
            let unchanged = serves.is_some_and(|live| live.artifact == leader.artifact);
            if unchanged && self.back == Some(leader.id) {
                continue;
            }
            self.step(index, all, |machine| machine.follow(now, leader.artifact));
            let machine = &self.machines[index];
            let queued = machine.queued.map(|queued| queued.id);
            self.following = queued.or_else(|| Some(machine.candidate()?.id));
        }
    }

    /// The leader, unless the first instance serves nothing.
    fn update_leader(&mut self) -> Option<Leader> {
        let first = &self.machines[0];
        let live = first.live_generation().filter(|_| !first.is_quitting())?;
        if let Some(leader) = self.leader.filter(|leader| leader.id == live.id) {
            return Some(leader);
        }
        let (id, artifact) = (live.id, live.artifact);
        let before = self.leader;
        let previous = first
            .artifacts
            .previous
            .filter(|it| first.artifacts.kept.contains(it));
        let leader = match before.filter(|_| self.same == Some(id)) {
            Some(before) => Leader {
                id,
                artifact,
                ..before
            },
            None => Leader {
                id,
                artifact,
                can_go_back: !live.rolled_back
                    && before
                        .is_some_and(|it| it.artifact != artifact && previous == Some(it.artifact)),
                failed: false,
            },
        };
        if let Some(before) = before.filter(|_| self.same == Some(id)) {
            let followed = self
                .followed
                .iter_mut()
                .filter(|it| **it == Some(before.id));
            followed.for_each(|it| *it = Some(id));
        }
        self.leader = Some(leader);
        self.leader
    }

    /// Makes the first instance go back to the artifact before, because another one has failed to follow it.
    fn go_back(&mut self, now: Time, leader: Leader, all: &mut Reaction) {
        if !leader.can_go_back || self.machines[0].is_busy() {
            return;
        }
        self.leader = Some(Leader {
            can_go_back: false,
            ..leader
        });
        let undo = Event::Requested(Request::Undo);
        self.step(0, all, |machine| machine.handle(now, undo));
    }
}

impl Machine {
    /// Starts the artifact that the first instance serves.
    fn follow(&mut self, now: Time, artifact: ArtifactId) -> Reaction {
        let reaction = Reaction::default();
        let mut turn = Turn { now, reaction };
        self.artifacts.built(artifact);
        self.schedule(Action::Restart, Cause::Follow);
        self.advance(&mut turn);
        self.keep_own_paths(&mut turn);
        turn.reaction
    }
}
