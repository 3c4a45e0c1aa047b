//! Drains the kept generation before a start if there is too little memory for three generations.

use super::generation::Generation;
use super::state::Room;
use super::{Machine, Turn};
use crate::reload::{Effect, GenNotice};

impl Machine {
    /// Whether the queued generation may start as far as memory is concerned. It must not wait for a measurement if no
    /// other generation is kept: there is nothing that could make room.
    pub(super) fn has_room(&mut self, turn: &mut Turn) -> bool {
        let is_kept = self.kept().is_some();
        let Some(queued) = &mut self.queued else {
            return false;
        };
        match queued.room {
            Room::Unknown if is_kept => {
                queued.room = Room::Measuring;
                turn.reaction.effects.push(Effect::MeasureMemory);
                false
            }
            Room::Measuring => false,
            Room::Unknown | Room::Known => true,
            // It may also have gone live again.
            Room::AfterEndOf(id) => !self.find(id).is_some_and(Generation::is_draining),
        }
    }

    /// Handles the result of [`Effect::MeasureMemory`].
    pub(super) fn memory_measured(&mut self, available: u64, needed: u64, turn: &mut Turn) {
        let kept = self.kept().filter(|_| available < needed);
        let queued = self.queued.as_mut();
        let Some(queued) = queued.filter(|queued| queued.room == Room::Measuring) else {
            return;
        };
        queued.room = kept.map_or(Room::Known, Room::AfterEndOf);
        if let Some(id) = kept {
            let too_little = GenNotice::MakesRoom { available, needed };
            turn.notice(id, too_little);
            self.retire(id, turn);
        }
    }
}
