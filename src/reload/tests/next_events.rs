//! The events that may happen next in the world.

use super::process::{DrainStage, Gen, Role};
use super::world::{Build, World};
use crate::reload::{
    ArtifactId, BuildOutcome, Ended, Event, GenEvent, GenId, Mode, Request, WatchdogMessage,
};

impl World {
    /// All events that the driver may report next.
    pub(super) fn reports(&self) -> Vec<Event> {
        if let Some(back) = self.switching_back() {
            return vec![back];
        }
        let mut events = Vec::new();
        for &Build { id, cancelled, .. } in &self.builds {
            let ended = |outcome| Event::Generation(id, GenEvent::BuildEnded(outcome));
            let artifact = ArtifactId(id.0);
            let built = |kept| BuildOutcome::Built { artifact, kept };
            events.extend([built(false), BuildOutcome::Failed].map(ended));
            if cancelled {
                events.push(ended(BuildOutcome::Cancelled));
            }
            if !self.policy.rollback_within.is_zero() {
                events.push(ended(built(true)));
            }
            let newest = self.newest_started();
            events.extend(newest.map(|like| ended(BuildOutcome::Unchanged { like })));
        }
        events.extend(self.switching.map(Self::switch_report));
        events.extend(self.measured());
        for known in &self.gens {
            known.reports(self.policy.mode == Mode::Auto, &mut events);
        }
        events
    }

    /// The report of a switch back to an older generation, which comes before any other event. The machine relies on
    /// that order only for such a switch.
    pub(super) fn switching_back(&self) -> Option<Event> {
        let (id, _) = self.switching?;
        let forth = self.find(id)?.role == Role::Candidate;
        self.switching.filter(|_| !forth).map(Self::switch_report)
    }

    const fn switch_report((id, done): (GenId, bool)) -> Event {
        match done {
            true => Event::Generation(id, GenEvent::Switched),
            false => Event::Generation(id, GenEvent::SwitchFailed),
        }
    }

    /// Whether this event may lead to a switch.
    pub(super) fn may_switch_after(&self, event: Event) -> bool {
        let Event::Generation(id, GenEvent::Exited { .. } | GenEvent::Gone { .. }) = event else {
            return matches!(
                event,
                Event::Generation(_, GenEvent::Ready) | Event::Requested(Request::ShareAll)
            );
        };
        let takes_over = self.has_sharing() || self.gens.iter().any(Gen::is_unforwarded);
        self.live() == Some(id) && takes_over
    }

    /// The next event in a cooperative world, or `None` at rest.
    pub(super) fn cooperate(&self) -> Option<Event> {
        if !self.begun {
            return Some(Event::Begin);
        }
        if self.new.seen {
            return Some(Event::ChangesSettled);
        }
        if let Some(measured) = self.measured().next() {
            return Some(measured);
        }
        if let Some(&Build { id, cancelled, .. }) = self.builds.first() {
            let outcome = match cancelled {
                true => BuildOutcome::Cancelled,
                false => BuildOutcome::Built {
                    artifact: ArtifactId(id.0),
                    kept: false,
                },
            };
            return Some(Event::Generation(id, GenEvent::BuildEnded(outcome)));
        }
        if let Some(switching) = self.switching {
            return Some(Self::switch_report(switching));
        }
        self.gens.iter().find_map(Gen::cooperate)
    }

    /// Stale events: late or repeated ones, and those from a generation that is gone.
    pub(super) fn stale(&self) -> Vec<Event> {
        if self.switching_back().is_some() {
            return Vec::new();
        }
        let expected = self.reports();
        let mut ids: Vec<GenId> = self.gens.iter().map(|known| known.id).collect();
        ids.extend(self.builds.iter().map(|build| build.id));
        // An unknown generation represents all generations that are gone.
        ids.push(GenId(0));
        let all = ids.iter().flat_map(|id| all_about(*id));
        let (available, needed) = (1, 2);
        let all = all.chain([Event::MemoryMeasured { available, needed }]);
        all.filter(|event| !expected.contains(event) && !self.is_false(*event))
            .collect()
    }

    /// Whether this event would be wrong, not just late.
    fn is_false(&self, event: Event) -> bool {
        match event {
            Event::Generation(
                id,
                GenEvent::StartFailed | GenEvent::Exited { .. } | GenEvent::Gone { .. },
            ) => self.find(id).is_some(),
            Event::Generation(id, GenEvent::BuildEnded(_)) => {
                self.builds.iter().any(|build| build.id == id)
            }
            Event::Generation(id, GenEvent::ReloadSignalSent { .. }) => {
                self.find(id).is_some_and(|known| known.role == Role::Live)
            }
            // Not stale: a running program may listen and send notifications at any time.
            Event::Generation(
                id,
                GenEvent::ReportsWrites
                | GenEvent::Listening
                | GenEvent::IsServer
                | GenEvent::ListensOnPath
                | GenEvent::LacksAddresses { .. }
                | GenEvent::ExtendTimeout { .. }
                | GenEvent::StoredFds
                | GenEvent::Watchdog(_)
                | GenEvent::Liveness { .. },
            ) => self.find(id).is_some(),
            Event::Generation(id, GenEvent::Switched | GenEvent::SwitchFailed) => {
                self.switching.is_some_and(|(switching, _)| switching == id)
            }
            Event::Generation(id, GenEvent::HandlesStopSignal) => self
                .find(id)
                .is_some_and(|known| known.drain == DrainStage::AwaitingIdle),
            Event::Begin
            | Event::ChangeSeen
            | Event::ChangesSettled
            | Event::Changed(_)
            | Event::ConfigChanged { .. }
            | Event::Requested(_)
            | Event::MemoryMeasured { .. }
            | Event::Generation(
                _,
                GenEvent::Ready
                | GenEvent::WarmUpFailed
                | GenEvent::ShareFailed
                | GenEvent::ShareChecked { .. }
                | GenEvent::Quiescent
                | GenEvent::Idle,
            )
            | Event::Tick => false,
        }
    }
}

/// The event for the end of a first process.
pub(super) const fn exited(id: GenId, code: i32, survivors: bool) -> Event {
    let ended = Ended::Code(code);
    Event::Generation(id, GenEvent::Exited { ended, survivors })
}

/// The event for the end of the last process.
pub(super) const fn gone(id: GenId) -> Event {
    let in_use = None;
    Event::Generation(id, GenEvent::Gone { in_use })
}

fn all_about(id: GenId) -> Vec<Event> {
    let mut events = vec![
        Event::Generation(id, GenEvent::ReportsWrites),
        Event::Generation(id, GenEvent::StartFailed),
        Event::Generation(id, GenEvent::Listening),
        Event::Generation(id, GenEvent::IsServer),
        Event::Generation(id, GenEvent::ListensOnPath),
        Event::Generation(id, GenEvent::Ready),
        Event::Generation(id, GenEvent::WarmUpFailed),
        Event::Generation(id, GenEvent::Switched),
        Event::Generation(id, GenEvent::SwitchFailed),
        Event::Generation(id, GenEvent::ShareFailed),
        Event::Generation(id, GenEvent::ShareChecked { passed: true }),
        Event::Generation(id, GenEvent::ShareChecked { passed: false }),
        Event::Generation(id, GenEvent::Quiescent),
        Event::Generation(id, GenEvent::HandlesStopSignal),
        Event::Generation(id, GenEvent::Idle),
        exited(id, 1, false),
        gone(id),
    ];
    let by = std::time::Duration::from_secs(1);
    events.extend([
        Event::Generation(id, GenEvent::ExtendTimeout { by }),
        Event::Generation(id, GenEvent::StoredFds),
        Event::Generation(
            id,
            GenEvent::LacksAddresses {
                otherwise_ready: true,
            },
        ),
    ]);
    let messages = [
        WatchdogMessage::Ping,
        WatchdogMessage::Period(by),
        WatchdogMessage::Trigger,
    ];
    events.extend(messages.map(|message| Event::Generation(id, GenEvent::Watchdog(message))));
    events.push(Event::Generation(id, GenEvent::Liveness { alive: false }));
    events.push(Event::Generation(
        id,
        GenEvent::ReloadSignalSent {
            signal: 1,
            handled: false,
        },
    ));
    let artifact = ArtifactId(id.0);
    let kept = false;
    let outcomes = [
        BuildOutcome::Built { artifact, kept },
        BuildOutcome::Unchanged { like: id },
        BuildOutcome::Failed,
        BuildOutcome::Cancelled,
    ];
    events.extend(outcomes.map(|outcome| Event::Generation(id, GenEvent::BuildEnded(outcome))));
    events
}
