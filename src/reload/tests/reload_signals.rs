//! Configuration changes.

use super::process::{Gen, Role};
use super::world::World;
use crate::reload::{Action, GenId};

impl World {
    /// Every running generation is owed the signal. If none is running or on its way, one is started.
    pub(super) fn configured(&mut self) {
        if self.quitting.is_some() {
            return;
        }
        // A draining generation gets the signal if it is live again after a crash.
        let may_come_back = |known: &Gen| known.still_serves_its_own();
        for known in &mut self.gens {
            known.owed |= known.role != Role::Leaving || may_come_back(known);
        }
        let stays = |known: &Gen| known.role != Role::Leaving;
        if !self.gens.iter().any(stays) && self.builds.is_empty() {
            self.change(Action::Restart);
        }
    }

    pub(super) fn signalled(&mut self, id: GenId, handled: bool) {
        let Some(known) = self.find_mut(id) else {
            return;
        };
        known.signalling = false;
        if known.role == Role::Live && !handled {
            self.change(Action::Restart);
        }
    }
}
