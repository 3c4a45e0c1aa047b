//! A world that acts as an honest driver: it knows what is running and which reports are outstanding, and so what may
//! happen next. It judges the machine by what a driver can see, and shares no code with it.
//!
//! Long because it lists every event and every effect.

use super::past::Past;
use super::process::{Drain, Gen, Role, Watch};
use crate::reload::machine::tests::Rename;
use crate::reload::{
    Action, ArtifactId, BuildOutcome, Ended, Event, GenEvent, GenId, Mode, Policy, Request, Time,
    WatchdogMessage, WhenBusy,
};

/// A running build.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Build {
    pub(super) id: GenId,
    pub(super) since: Time,
    pub(super) cancelled: bool,
    /// No change that requires a build came after it began.
    pub(super) newest: bool,
    /// No change at all came after it began.
    pub(super) answers_all: bool,
    /// The user asked for it, or for one that it replaced.
    pub(super) forced: bool,
}

/// Where the kernel sends new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Steering {
    /// To a live generation.
    To(GenId),
    /// They wait for this starting generation, or for the next one to start.
    Hold(Option<GenId>),
}

/// hotrun is quitting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Quitting {
    pub(super) until: Time,
    pub(super) at_once: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) policy: Policy,
    pub(super) now: Time,
    pub(super) begun: bool,
    pub(super) builds: Vec<Build>,
    pub(super) gens: Vec<Gen>,
    pub(super) last_build: GenId,
    pub(super) last_start: GenId,
    /// The switch that was made or refused and not reported yet.
    pub(super) switching: Option<(GenId, bool)>,
    /// The next switch will be refused.
    pub(super) refuse: bool,
    pub(super) steering: Steering,
    /// Whether there is a good build, and no change came after the newest one began.
    pub(super) good: Option<bool>,
    /// What can be started and rolled back to.
    pub(super) past: Past,
    /// The newest sources do not build.
    pub(super) broken: bool,
    /// The user asked for a reload that no build has begun for.
    pub(super) forced: bool,
    /// A build that made what this generation was started from.
    pub(super) same: Option<(Build, GenId)>,
    /// Something failed since the last change, and the user was notified.
    pub(super) told_failure: bool,
    /// The user was notified that hotrun waits for a change.
    pub(super) told_waiting: bool,
    /// Clients may get an error response.
    pub(super) answering: bool,
    pub(super) quitting: Option<Quitting>,
    pub(super) finished: bool,
    /// Changes are held back, and the most thorough action among them.
    pub(super) paused: bool,
    pub(super) held: Option<Action>,
    pub(super) held_config: bool,
    /// The user asked for an earlier artifact.
    pub(super) undo: bool,
    /// Descriptors were stored for the next generation.
    pub(super) stores: bool,
    /// The live generation that ended, and whether no change came after its start. It may be gone before its failure is
    /// reported.
    pub(super) lost: Option<(GenId, bool)>,
    /// The starts due to crashes alone since the last change or request, and whether that is still to be acted on.
    pub(super) starts: (u8, bool),
    /// Until when a crash of the live generation leads to a rollback.
    pub(super) soon: Time,
}

impl World {
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            policy,
            now: Time::START,
            begun: false,
            builds: Vec::new(),
            gens: Vec::new(),
            last_build: GenId::new(0),
            last_start: GenId::new(0),
            switching: None,
            refuse: false,
            steering: Steering::Hold(None),
            good: None,
            past: Past::default(),
            broken: false,
            forced: false,
            same: None,
            told_failure: false,
            told_waiting: false,
            answering: false,
            quitting: None,
            finished: false,
            paused: false,
            held: None,
            held_config: false,
            undo: false,
            stores: false,
            lost: None,
            starts: (0, false),
            soon: Time::START,
        }
    }

    pub(super) fn find(&self, id: GenId) -> Option<&Gen> {
        self.gens.iter().find(|known| known.id == id)
    }

    pub(super) fn find_mut(&mut self, id: GenId) -> Option<&mut Gen> {
        self.gens.iter_mut().find(|known| known.id == id)
    }

    /// Whether another generation may be started beside this one.
    pub(super) fn bears_company(&self, known: &Gen) -> bool {
        match self.policy.mode {
            _ if self.stores => false,
            Mode::Overlap => true,
            Mode::StopFirst => false,
            Mode::Auto => known.listens,
        }
    }

    pub(super) fn live(&self) -> Option<GenId> {
        let live = self.gens.iter().find(|known| known.role == Role::Live);
        live.map(|known| known.id)
    }

    /// The newest started generation that does not drain.
    pub(super) fn newest_started(&self) -> Option<GenId> {
        let staying = self.gens.iter().filter(|known| known.role != Role::Leaving);
        staying.map(|known| known.id).max()
    }

    /// All events that the driver may report next.
    pub(super) fn reports(&self) -> Vec<Event> {
        if let Some(back) = self.switching_back() {
            return vec![back];
        }
        let mut events = Vec::new();
        for &Build { id, cancelled, .. } in &self.builds {
            let ended = |outcome| Event::Generation(id, GenEvent::BuildEnded(outcome));
            let artifact = ArtifactId::new(id.get());
            let built = |kept| BuildOutcome::Built { artifact, kept };
            events.extend([built(false), BuildOutcome::Failed].map(ended));
            if cancelled {
                events.push(ended(BuildOutcome::Cancelled));
            }
            if !self.policy.roll_back_within.is_zero() {
                events.push(ended(built(true)));
            }
            let newest = self.newest_started();
            events.extend(newest.map(|like| ended(BuildOutcome::Unchanged { like })));
        }
        events.extend(self.switching.map(Self::switch_report));
        for known in &self.gens {
            known.reports(self.policy.mode == Mode::Auto, &mut events);
        }
        events
    }

    /// A switch back is reported at once, before any other event. The machine does not rely on that for other switches.
    fn switching_back(&self) -> Option<Event> {
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

    /// Whether a switch may follow from this event.
    pub(super) fn may_switch_after(&self, event: Event) -> bool {
        let Event::Generation(id, GenEvent::Exited { .. } | GenEvent::Gone) = event else {
            return matches!(event, Event::Generation(_, GenEvent::Ready));
        };
        self.live() == Some(id) && self.gens.iter().any(Gen::still_serves_its_own)
    }

    /// Records an event that the machine is about to get.
    pub(super) fn happen(&mut self, event: Event) {
        match event {
            Event::Begin => {
                self.begun = true;
                self.change(Action::Build);
            }
            Event::Changed(action) if self.paused => {
                self.held = Some(self.held.map_or(action, |held| held.max(action)));
            }
            Event::Changed(action) => self.change(action),
            Event::Requested(Request::Reload) => {
                self.held = None;
                self.forced = self.quitting.is_none();
                self.change(Action::Build);
            }
            Event::Requested(Request::Pause) => self.paused = true,
            Event::Requested(Request::Resume) => {
                self.paused = false;
                if std::mem::take(&mut self.held_config) {
                    self.configured();
                }
                if let Some(action) = self.held.take() {
                    self.change(action);
                }
            }
            // The response shows what follows from it.
            Event::Requested(Request::Undo) => {}
            Event::Requested(Request::KillDraining) => {
                let leaving = self
                    .gens
                    .iter_mut()
                    .filter(|known| known.role == Role::Leaving);
                leaving.for_each(|known| known.to_be_killed = true);
            }
            Event::ConfigChanged { .. } if self.paused => self.held_config = true,
            Event::ConfigChanged { .. } => self.configured(),
            Event::Generation(id, GenEvent::ReloadSignalSent { handled, .. }) => {
                self.signalled(id, handled);
            }
            Event::Requested(Request::Quit) if self.quitting.is_some() => {}
            Event::Requested(Request::Quit) => self.quit(false),
            Event::Requested(Request::QuitNow) => self.quit(true),
            Event::Generation(id, GenEvent::BuildEnded(outcome)) => self.build_ended(id, outcome),
            Event::Generation(id, GenEvent::Switched) => self.switched(id),
            Event::Generation(id, GenEvent::SwitchFailed) => self.switch_failed(id),
            Event::Generation(
                id,
                GenEvent::StartFailed
                | GenEvent::Ready
                | GenEvent::Listening
                | GenEvent::IsServer
                | GenEvent::Quiescent
                | GenEvent::StopSignalChecked { .. }
                | GenEvent::Idle
                | GenEvent::Exited { .. }
                | GenEvent::Gone,
            ) => {
                let now = self.now;
                let stop_timeout = self.policy.stop_timeout;
                let policy = self.policy.clone();
                let live = self.live();
                if let Some(known) = self.find_mut(id) {
                    known.happen(event, now, now.plus(stop_timeout));
                    if let (Event::Generation(_, GenEvent::Ready), Some(period)) =
                        (event, policy.watchdog)
                    {
                        known.watch = Watch::Until(now.plus(period));
                    }
                }
                self.recognise(id);
                // It crashed or vanished.
                if live.is_some() && self.live().is_none() {
                    self.lose_live(id, event);
                    self.lost = self.find(id).map(|known| (id, known.answers_all));
                }
                let lost = |(id, _): &(GenId, bool)| {
                    self.find(*id)
                        .is_none_or(|known| known.role == Role::Leaving)
                };
                if self.switching.as_ref().is_some_and(lost) {
                    self.switching = None;
                }
            }
            Event::Generation(id, GenEvent::ExtendTimeout { by }) => self.extended(id, by),
            Event::Generation(id, GenEvent::StoredFds) => self.stored(id),
            Event::Generation(id, GenEvent::Watchdog(sign)) => self.signed(id, sign),
            Event::Tick => {}
        }
    }

    pub(super) fn change(&mut self, action: Action) {
        if self.quitting.is_some() {
            return;
        }
        self.told_failure = false;
        self.wish();
        let build = self.policy.builds && action == Action::Build;
        if build {
            self.good = self.good.map(|_| false);
            self.broken = false;
        }
        for running in &mut self.builds {
            running.answers_all = false;
            running.newest &= !build;
        }
        for known in &mut self.gens {
            known.answers_all = false;
            known.newest &= !build;
        }
        self.lost = None;
    }

    fn quit(&mut self, at_once: bool) {
        let killed = self.now.plus(self.policy.kill_timeout);
        let stopped = killed.plus(self.policy.stop_timeout);
        let before = self.quitting.map_or(stopped, |quitting| quitting.until);
        let until = if at_once { before.min(killed) } else { before };
        let kill = self.now.plus(self.policy.stop_timeout);
        for known in &mut self.gens {
            known.until = match known.role {
                Role::Candidate | Role::Live => kill,
                Role::Leaving => known.until.min(kill),
            };
        }
        self.quitting = Some(Quitting { until, at_once });
    }

    fn build_ended(&mut self, id: GenId, outcome: BuildOutcome) {
        let Some(index) = self.builds.iter().position(|build| build.id == id) else {
            return;
        };
        let build = self.builds.remove(index);
        let given_up = match outcome {
            BuildOutcome::Cancelled => true,
            BuildOutcome::Failed => build.cancelled,
            BuildOutcome::Built { .. } | BuildOutcome::Unchanged { .. } => !build.newest,
        };
        // What the user asked of this build is asked of the next one.
        self.forced |= given_up && build.forced;
        match outcome {
            BuildOutcome::Built { artifact, kept } => {
                if kept {
                    self.past.keep(artifact);
                }
                self.past.made(artifact);
                self.good = Some(build.newest);
            }
            BuildOutcome::Unchanged { like } => {
                let known = self.find(like).filter(|known| known.role != Role::Leaving);
                let made = known.map_or(ArtifactId::FIRST, |known| known.artifact);
                self.past.made(made);
                self.good = Some(build.newest);
                self.same = Some((build, like));
            }
            BuildOutcome::Failed if build.newest => {
                self.broken = true;
                self.told_failure |= build.answers_all;
            }
            BuildOutcome::Failed | BuildOutcome::Cancelled => {}
        }
    }

    fn switched(&mut self, id: GenId) {
        let (now, policy) = (self.now, self.policy.clone());
        self.switching = None;
        if self
            .find(id)
            .is_none_or(|known| known.role != Role::Candidate)
        {
            // It is live again, or had to leave at once.
            if self.live() == Some(id) {
                self.past.lost = None;
            }
            return;
        }
        self.serves(id);
        for known in &mut self.gens {
            if known.id == id && known.role == Role::Candidate {
                known.role = Role::Live;
            } else if known.role == Role::Live {
                known.retire(now, &policy, Drain::OwesSettle);
            }
        }
    }

    fn switch_failed(&mut self, id: GenId) {
        let (now, policy) = (self.now, self.policy.clone());
        self.switching = None;
        let back = self.find_mut(id).filter(|known| known.role == Role::Live);
        if let Some(known) = back {
            known.retire(now, &policy, Drain::OwesSettle);
        }
    }

    /// What a cooperative world does next; `None` at rest.
    pub(super) fn cooperate(&self) -> Option<Event> {
        if !self.begun {
            return Some(Event::Begin);
        }
        if let Some(&Build { id, cancelled, .. }) = self.builds.first() {
            let outcome = match cancelled {
                true => BuildOutcome::Cancelled,
                false => BuildOutcome::Built {
                    artifact: ArtifactId::new(id.get()),
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

    /// Unexpected events: late, repeated, or about a generation that is gone.
    pub(super) fn stale(&self) -> Vec<Event> {
        if self.switching_back().is_some() {
            return Vec::new();
        }
        let expected = self.reports();
        let mut ids: Vec<GenId> = self.gens.iter().map(|known| known.id).collect();
        ids.extend(self.builds.iter().map(|build| build.id));
        // An unknown generation stands for all that are gone.
        ids.push(GenId::new(0));
        let all = ids.iter().flat_map(|id| all_about(*id));
        all.filter(|event| !expected.contains(event) && !self.would_be_a_lie(*event))
            .collect()
    }

    /// Whether this event would be wrong, not just late.
    fn would_be_a_lie(&self, event: Event) -> bool {
        match event {
            Event::Generation(
                id,
                GenEvent::StartFailed | GenEvent::Exited { .. } | GenEvent::Gone,
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
                GenEvent::Listening
                | GenEvent::IsServer
                | GenEvent::ExtendTimeout { .. }
                | GenEvent::StoredFds
                | GenEvent::Watchdog(_),
            ) => self.find(id).is_some(),
            Event::Generation(id, GenEvent::Switched | GenEvent::SwitchFailed) => {
                self.switching.is_some_and(|(switching, _)| switching == id)
            }
            Event::Begin
            | Event::Changed(_)
            | Event::ConfigChanged { .. }
            | Event::Requested(_)
            | Event::Generation(
                _,
                GenEvent::Ready
                | GenEvent::Quiescent
                | GenEvent::StopSignalChecked { .. }
                | GenEvent::Idle,
            )
            | Event::Tick => false,
        }
    }

    /// Whether work in progress is given up for newer sources.
    pub(super) fn cancels(&self) -> bool {
        self.policy.when_busy == WhenBusy::Cancel
    }

    pub(super) fn canonical(&self, rename: &Rename) -> Self {
        let mut gens = self.gens.clone();
        for known in &mut gens {
            known.canonical(rename);
        }
        gens.sort_unstable_by_key(|known| known.id);
        let builds = self.builds.iter().map(|build| Build {
            id: rename.id(build.id),
            since: Time::START,
            ..build.clone()
        });
        let same = None;
        Self {
            past: match self.policy.roll_back_within.is_zero() {
                true => Past::default(),
                false => self.past.canonical(rename),
            },
            policy: self.policy.clone(),
            now: Time::START,
            builds: builds.collect(),
            gens,
            same,
            last_build: GenId::new(0),
            last_start: GenId::new(0),
            starts: match self.policy.roll_back_within.is_zero() {
                true => (0, false),
                false => self.starts,
            },
            soon: match self.live() {
                Some(_) if self.soon > self.now => rename.time(self.soon),
                Some(_) | None => Time::START,
            },
            switching: self.switching.map(|(id, done)| (rename.id(id), done)),
            lost: match (self.switching_back(), self.lost) {
                (Some(_), Some((_, answers_all))) => Some((GenId::new(0), answers_all)),
                (Some(_) | None, _) => None,
            },
            steering: match self.steering {
                Steering::To(id) => Steering::To(rename.id(id)),
                Steering::Hold(id) => Steering::Hold(id.map(|id| rename.id(id))),
            },
            quitting: self.quitting.map(|quitting| Quitting {
                until: rename.time(quitting.until),
                ..quitting
            }),
            ..*self
        }
    }
}

/// The end of a first process.
pub(super) const fn exited(id: GenId, code: i32, survivors: bool) -> Event {
    let ended = Ended::Code(code);
    Event::Generation(id, GenEvent::Exited { ended, survivors })
}

fn all_about(id: GenId) -> Vec<Event> {
    let handles_stop = true;
    let mut events = vec![
        Event::Generation(id, GenEvent::StartFailed),
        Event::Generation(id, GenEvent::Listening),
        Event::Generation(id, GenEvent::IsServer),
        Event::Generation(id, GenEvent::Ready),
        Event::Generation(id, GenEvent::Switched),
        Event::Generation(id, GenEvent::SwitchFailed),
        Event::Generation(id, GenEvent::Quiescent),
        Event::Generation(
            id,
            GenEvent::StopSignalChecked {
                handled: handles_stop,
            },
        ),
        Event::Generation(id, GenEvent::Idle),
        exited(id, 1, false),
        Event::Generation(id, GenEvent::Gone),
    ];
    let by = std::time::Duration::from_secs(1);
    events.extend([
        Event::Generation(id, GenEvent::ExtendTimeout { by }),
        Event::Generation(id, GenEvent::StoredFds),
    ]);
    let signs = [
        WatchdogMessage::Ping,
        WatchdogMessage::Period(by),
        WatchdogMessage::Trigger,
    ];
    events.extend(signs.map(|sign| Event::Generation(id, GenEvent::Watchdog(sign))));
    events.push(Event::Generation(
        id,
        GenEvent::ReloadSignalSent {
            signal: 1,
            handled: false,
        },
    ));
    let artifact = ArtifactId::new(id.get());
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
