//! The paths of the unix sockets that programs have bound themselves. Another generation may remove such a path, usually
//! just before it binds the path or when it ends.

use std::time::Duration;

use super::generation::{GenState, OwnPaths};
use super::{Machine, Turn};
use crate::reload::{Effect, GenEffect, GenId};

/// How often the paths are restored while another generation is ending, which may remove them at any time.
const RESTORE_INTERVAL: Duration = Duration::from_millis(20);

impl Machine {
    /// Records that the program listens on a path that hotrun has not linked yet.
    pub(super) fn listens_on_path(&mut self, id: GenId) {
        if let Some(known) = self.find_mut(id) {
            known.own_paths = OwnPaths::Found;
        }
    }

    /// Keeps the live generation's paths as soon as there is another generation, which may remove them. Restores them
    /// while others are ending, and once more when those are gone, but not while one is starting: it may be about to bind
    /// the same paths.
    pub(super) fn keep_own_paths(&mut self, turn: &mut Turn) {
        let waits = self.restore_at.take().filter(|at| turn.now < *at);
        let alone = self.generations.len() == 1;
        let starts = self.candidate().is_some();
        let mut generations = self.generations.iter();
        let ends = generations
            .any(|known| matches!(known.state, GenState::Draining(drain) if !drain.may_stay()));
        let mut generations = self.generations.iter_mut();
        let Some(live) = generations.find(|known| known.state == GenState::Live) else {
            return;
        };
        let effects = &mut turn.reaction.effects;
        if live.own_paths == OwnPaths::Found && !alone {
            live.own_paths = OwnPaths::Kept;
            effects.insert(0, Effect::Generation(live.id, GenEffect::KeepPaths));
        }
        if live.own_paths != OwnPaths::Kept || starts {
            return;
        }
        let is_release =
            |effect: &Effect| matches!(effect, Effect::Generation(_, GenEffect::Release));
        if ends && waits.is_none() || effects.iter().any(is_release) {
            effects.push(Effect::Generation(live.id, GenEffect::RestorePaths));
        }
        let next = waits.unwrap_or(turn.now.plus(RESTORE_INTERVAL));
        self.restore_at = ends.then_some(next);
    }
}
