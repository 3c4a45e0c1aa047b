//! A change of configuration.

use super::process::{Gen, Role};
use super::world::World;
use crate::reload::{Action, GenId};

impl World {
    /// What runs has to be told; if nothing does and nothing comes, it is started.
    pub(super) fn configured(&mut self) {
        if self.quitting.is_some() {
            return;
        }
        // Who may come back after a crash is told then.
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
