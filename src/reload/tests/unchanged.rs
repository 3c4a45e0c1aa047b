//! A build that makes what is running already.

use super::ledger::{Ledger, Rule};
use super::world::World;
use crate::reload::GenId;

impl World {
    /// The generation that stays was started from what the build made, and the user asked for no more.
    pub(super) fn unchanged(&mut self, id: GenId, like: GenId, ledger: &mut Ledger) {
        let newest = self.newest_started();
        let (build, same) = match self.same.take() {
            Some((build, same)) => (Some(build), Some(same)),
            None => (None, None),
        };
        let fits = build.as_ref().is_some_and(|build| {
            build.id == id && build.newest && build.answers_all && !build.forced
        });
        let fine = fits && same == Some(like) && newest == same && self.quitting.is_none();
        ledger.check(Rule::NothingForgotten, fine, || {
            format!("{id} unchanged from {like}, but {build:?} was like {same:?}")
        });
        if let Some(known) = self.find_mut(like) {
            known.newest = true;
            known.answers_all = true;
        }
    }

    /// What is running already is not started again.
    pub(super) fn same_is_kept(&mut self, ledger: &mut Ledger) {
        let Some((build, like)) = self.same.take() else {
            return;
        };
        let asked = build.forced || !build.newest || !build.answers_all;
        let older = self.newest_started() != Some(like);
        let due = asked || older || self.quitting.is_some();
        ledger.check(Rule::Protocol, due, || {
            format!("{build:?} made what {like} runs, and it is started")
        });
    }
}
