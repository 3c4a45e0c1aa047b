//! Checks that a new generation gets its share of the new connections step by step (`--share`).

use super::ledger::{Ledger, Rule};
use super::process::{DrainStage, Gen, Role};
use super::world::World;
use crate::reload::machine::tests::Rename;
use crate::reload::{Cause, Event, GenEvent, Machine, Request, Time};

/// The share of a generation that is not live yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Sharing {
    /// Whether the generation gets a share first if another one is live.
    may: bool,
    /// Whether it is ready, and the switch to it has not begun.
    pub(super) on: bool,
    percent: u8,
    /// Whether it has had a share.
    pub(super) had: bool,
    /// Whether the check is running, and whether it has succeeded since the last step.
    checking: bool,
    passed: bool,
    /// When the next step is due.
    step_at: Option<Time>,
    /// The share that the user has asked for.
    asked: Option<u8>,
    /// Whether the check has failed or the share was refused.
    leaves: bool,
}

impl Sharing {
    pub(super) fn canonical(&self, known: &Gen, rename: &Rename) -> Self {
        match known.role {
            Role::Candidate => Self {
                step_at: self.step_at.map(|at| rename.time(at)),
                ..*self
            },
            Role::Live | Role::Draining => Self::default(),
        }
    }
}

impl Gen {
    fn shares(&self) -> bool {
        self.role == Role::Candidate && self.share.on && !self.is_aborted()
    }

    pub(super) fn share_reports(&self, events: &mut Vec<Event>) {
        if self.shares() && self.share.checking {
            let checked = |passed| Event::Generation(self.id, GenEvent::ShareChecked { passed });
            events.extend([true, false].map(checked));
        }
        if self.shares() && self.share.percent > 0 {
            events.push(Event::Generation(self.id, GenEvent::ShareFailed));
        }
    }

    pub(super) fn share_cooperates(&self) -> Option<Event> {
        let passed = true;
        self.shares().then_some(match self.share.checking {
            true => Event::Generation(self.id, GenEvent::ShareChecked { passed }),
            false => Event::Requested(Request::ShareAll),
        })
    }
}

impl World {
    pub(super) fn has_sharing(&self) -> bool {
        self.gens.iter().any(Gen::shares)
    }

    pub(super) fn may_share(&self, cause: Option<Cause>) -> Sharing {
        let repairs = matches!(
            cause,
            Some(Cause::Undo | Cause::RollBack | Cause::Crash | Cause::Follow | Cause::Unhealthy)
        );
        Sharing {
            may: !repairs && !self.policy.share.is_empty(),
            ..Sharing::default()
        }
    }

    /// A generation has become ready.
    pub(super) fn ready_to_share(&mut self) {
        let (now, live) = (self.now, self.live());
        let ready = |known: &&mut Gen| known.role == Role::Candidate && known.ready;
        for known in self.gens.iter_mut().filter(ready) {
            if known.share.may && live.is_some() {
                (known.share.may, known.share.on) = (false, true);
                known.share.step_at = Some(now);
            }
        }
    }

    /// Records an event that concerns the share.
    pub(super) fn share_happens(&mut self, event: Event) {
        let steps = self.policy.share.clone();
        let Some(known) = self.gens.iter_mut().find(|known| known.shares()) else {
            return;
        };
        let (share, single) = (&mut known.share, steps.is_single());
        let percent = share.percent;
        let points = single && percent > 0;
        if event == Event::Generation(known.id, GenEvent::ShareFailed) {
            share.leaves |= percent > 0;
        }
        for passed in [true, false] {
            if event == Event::Generation(known.id, GenEvent::ShareChecked { passed }) {
                share.leaves |= share.checking && !passed;
                share.passed |= share.checking && passed;
                share.checking = false;
            }
        }
        let asks = |request| event == Event::Requested(request) && self.quitting.is_none();
        if asks(Request::ShareMore) {
            let more = points.then(|| (percent + 10).min(99));
            share.asked = more.or_else(|| steps.after(percent));
        } else if asks(Request::ShareLess) {
            let less = points.then(|| percent.saturating_sub(10).max(1));
            share.asked = less.or_else(|| steps.before(percent));
        } else if asks(Request::ShareAll) {
            share.asked = Some(100);
        }
    }

    /// Whether this share is due or asked for.
    fn may_step_to(&self, percent: u8, share: &Sharing) -> bool {
        let next = self.policy.share.after(share.percent) == Some(percent);
        let due = share.step_at.is_some_and(|at| self.now >= at) && !self.paused;
        let checked = !self.policy.share_check || share.passed;
        share.asked == Some(percent) || next && due && checked
    }

    /// Whether the switch to this candidate may begin.
    pub(super) fn may_take_all(&self, known: &mut Gen) -> bool {
        let share = std::mem::replace(&mut known.share.on, false);
        let sick = self
            .gens
            .iter()
            .any(|live| live.role == Role::Live && live.sick);
        !share || self.live().is_none() || sick || self.may_step_to(100, &known.share)
    }

    pub(super) fn share(&self, percent: u8, known: &mut Gen) -> bool {
        let share = known.share;
        if percent == 0 {
            let newer = self.undone || !known.answers_all || known.asked;
            let refused = !share.on && self.switching.is_none();
            let fine = known.role == Role::Candidate && share.had && self.live().is_some();
            known.retire(self.now, &self.policy, DrainStage::OwesQuiescent);
            return fine && (newer || refused || share.leaves);
        }
        let fine = known.shares() && self.live().is_some() && self.quitting.is_none();
        let fine = fine && self.may_step_to(percent, &share);
        let follows = self.policy.share.after(percent).is_some();
        let every = self.policy.share_every.filter(|_| follows);
        known.share = Sharing {
            percent,
            had: true,
            passed: false,
            asked: None,
            step_at: every.map(|every| self.now.plus(every)),
            ..share
        };
        fine && percent < 100
    }

    pub(super) fn check_share(&self, known: &mut Gen) -> bool {
        let first = !std::mem::replace(&mut known.share.checking, true);
        first && self.policy.share_check && known.shares()
    }

    /// Whether a candidate that is ready may be stopped at once, because it has never had a share.
    pub(super) fn ends_before_its_share(&self, known: &Gen) -> bool {
        let newer = self.undone || !known.answers_all || known.asked;
        known.share.on && !known.share.had && (newer || known.share.leaves)
    }

    /// Checks that everything that concerns shares was done.
    pub(super) fn shares_are_right(&self, event: Event, machine: &Machine, ledger: &mut Ledger) {
        let sick = |live: &Gen| live.role == Role::Live && !live.sick;
        let healthy = self.gens.iter().any(sick);
        for known in &self.gens {
            let share = known.share;
            let runs = known.shares() && self.quitting.is_none();
            let due = share.step_at.filter(|_| !self.paused);
            let late = due.is_some_and(|at| self.now >= at) && event == Event::Tick;
            let acts = !late || share.checking;
            let wakes = due.is_none_or(|at| {
                share.checking || machine.deadline().is_some_and(|deadline| deadline <= at)
            });
            let heard = share.asked.is_none_or(|asked| asked == share.percent);
            let fine = healthy && !share.leaves && acts && wakes && heard;
            ledger.check(Rule::Shares, !runs || fine, || {
                format!("{known:?} should have left, moved on or taken all")
            });
        }
    }
}
