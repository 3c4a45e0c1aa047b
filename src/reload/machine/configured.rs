//! A change that the program takes over by itself, on a signal.

use super::{Machine, Response};
use crate::reload::{Action, Cause, Effect, GenEffect, GenId, GenNotice, Notice};

/// Signals that a generation is to get, one bit for each number from 1 to 64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Signals(u64);

impl Signals {
    pub(super) const NONE: Self = Self(0);

    pub(super) fn add(&mut self, signal: i32) {
        self.0 |= bit(signal);
    }

    pub(super) fn effects(self, id: GenId) -> impl Iterator<Item = Effect> {
        self.numbers()
            .map(move |signal| Effect::Generation(id, GenEffect::SendReloadSignal { signal }))
    }

    pub(super) fn numbers(self) -> impl Iterator<Item = i32> {
        (1..=64).filter(move |signal| self.0 & bit(*signal) != 0)
    }
}

/// A number that is no signal has none.
fn bit(signal: i32) -> u64 {
    let place = u32::try_from(signal - 1).ok();
    place
        .and_then(|place| 1_u64.checked_shl(place))
        .unwrap_or(0)
}

impl Machine {
    /// One that starts may not handle the signal yet, and die of it: it gets it once it is live. One that will be
    /// started reads what is there then.
    pub(super) fn configured(&mut self, signal: i32, out: &mut Response) {
        if self.quit.is_some() {
            return;
        }
        if self.paused {
            return self.held_signals.add(signal);
        }
        self.recovery.configured(signal);
        if let Some(id) = self.live {
            out.effects.push(Effect::Generation(
                id,
                GenEffect::SendReloadSignal { signal },
            ));
        }
        if let Some(candidate) = &mut self.candidate {
            candidate.owed.add(signal);
        }
        let comes = self.candidate.is_some() || self.next.is_some() || self.building.is_some();
        if self.live.is_none() && !comes {
            self.want(Action::Restart, Cause::Change);
        }
    }

    pub(super) fn signalled(&mut self, id: GenId, signal: i32, handled: bool, out: &mut Response) {
        if self.live != Some(id) || self.quit.is_some() {
            return;
        }
        if handled {
            return out.notices.push(Notice::Generation(
                id,
                GenNotice::ReloadSignalSent { signal },
            ));
        }
        out.notices.push(Notice::Generation(
            id,
            GenNotice::ReloadSignalUnhandled { signal },
        ));
        self.want(Action::Restart, Cause::Change);
    }
}
