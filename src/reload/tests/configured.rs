//! A change of configuration.

use super::process::Role;
use super::world::World;
use crate::reload::{Action, GenId};

impl World {
    /// What runs has to be told; if nothing does and nothing comes, it is started.
    pub(super) fn configured(&mut self) {
        if self.quitting.is_some() {
            return;
        }
        let staying = self.gens.iter_mut();
        let mut staying: Vec<_> = staying
            .filter(|known| known.role != Role::Leaving)
            .collect();
        for known in &mut staying {
            known.owed = true;
        }
        if staying.is_empty() && self.builds.is_empty() {
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
