//! Long random walks through the machine with a world that misbehaves, in virtual time.

use std::time::Duration;

use proptest::prelude::*;

use super::any_event::any_event;
use super::ledger::Ledger;
use super::pair::{Move, Pair};
use super::process::{Gen, Role};
use crate::reload::{
    Action, BuildOutcome, Effect, Event, Fresh, GenEvent, Machine, Mode, Policy, Request, Time,
    WhenBusy,
};

/// How the world misbehaves.
#[derive(Clone, Copy, Debug)]
struct Behaviour {
    /// Builds take at least this many milliseconds.
    slow_builds: u64,
    never_ready: bool,
    ignores_stop: bool,
    crashes_while_draining: bool,
    /// A killed process tree still exists for at least this many milliseconds after its time limit.
    kills_refused: u64,
    breaks_builds: bool,
}

/// One step of a walk.
#[derive(Clone, Copy, Debug)]
enum WalkStep {
    /// One of the events that the driver may report, and whether the switch that it leads to is refused.
    Report(prop::sample::Index, bool),
    Pass(u64),
    /// Wait until this many milliseconds after the machine's deadline.
    Wake(u64),
    /// A file is touched, or those that were touched have been examined.
    Touch,
    Change(Action),
    Configure,
    Request(Request),
    /// One of the notifications that a program may send.
    Notify(prop::sample::Index),
}

const STEP: Duration = Duration::from_millis(1);

fn behaviours() -> impl Strategy<Value = Behaviour> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let slow = prop_oneof![Just(0), 1..5_000_u64];
    let refused = prop_oneof![Just(0), 1..8_000_u64];
    (flags, slow, refused).prop_map(|(flags, slow_builds, kills_refused)| Behaviour {
        slow_builds,
        never_ready: flags.0 && flags.1,
        ignores_stop: flags.1,
        crashes_while_draining: flags.2,
        kills_refused,
        breaks_builds: flags.3 && flags.2,
    })
}

prop_compose! {
    fn policies()(
        builds in any::<bool>(),
        mode in prop::sample::select(vec![Mode::Overlap, Mode::StopFirst, Mode::Auto]),
        queue in any::<bool>(),
        fresh in prop::sample::select(vec![Fresh::Off, Fresh::Wait, Fresh::Strict]),
        // With zero, a generation would be late in the same tick that starts it.
        ready in 1..3_000_u64,
        stop in 0..3_000_u64,
        delay in 0..600_u64,
        kill in 0..3_000_u64,
        back in prop_oneof![1 => Just(0), 2 => 1..3_000_u64],
        keep in prop_oneof![2 => Just(0), 1 => 1..6_000_u64],
        watchdog in prop_oneof![3 => Just(None), 1 => (1..3_000_u64).prop_map(Some)],
        share in prop::sample::select(vec!["", "10%", "1%,99%", "10%,50%,100%"]),
        every in prop_oneof![Just(None), (1..1_000_u64).prop_map(Some)],
        share_check in any::<bool>(),
    ) -> Policy {
        Policy {
            builds,
            mode,
            passes_sockets: mode != Mode::Auto,
            when_busy: if queue { WhenBusy::Queue } else { WhenBusy::Cancel },
            fresh,
            share: share.parse().unwrap_or_default(),
            share_every: every.map(Duration::from_millis),
            share_check,
            ready_timeout: Duration::from_millis(ready),
            stop_timeout: Duration::from_millis(stop),
            stop_delay_max: Duration::from_millis(delay),
            watchdog: watchdog.map(Duration::from_millis),
            rollback_within: Duration::from_millis(back),
            keep: Duration::from_millis(keep),
            kill_timeout: Duration::from_millis(kill),
        }
    }
}

fn steps() -> impl Strategy<Value = WalkStep> {
    let reports = (any::<prop::sample::Index>(), prop::bool::weighted(0.1));
    let actions = prop_oneof![Just(Action::Build), Just(Action::Restart)];
    let requests = prop_oneof![
        10 => Just(Request::Reload),
        4 => Just(Request::Pause),
        6 => Just(Request::Resume),
        10 => Just(Request::Undo),
        5 => Just(Request::ShareMore),
        3 => Just(Request::ShareLess),
        3 => Just(Request::ShareAll),
        3 => Just(Request::KillDraining),
        2 => Just(Request::Quit),
        1 => Just(Request::QuitNow),
    ];
    prop_oneof![
        50 => reports.prop_map(|(index, refuse)| WalkStep::Report(index, refuse)),
        20 => (0..300_u64).prop_map(WalkStep::Pass),
        15 => (0..20_u64).prop_map(WalkStep::Wake),
        2 => (0..20_000_u64).prop_map(WalkStep::Wake),
        10 => Just(WalkStep::Touch),
        10 => actions.prop_map(WalkStep::Change),
        5 => Just(WalkStep::Configure),
        8 => any::<prop::sample::Index>().prop_map(WalkStep::Notify),
        3 => requests.prop_map(WalkStep::Request),
    ]
}

/// A walk in progress.
struct Walk {
    pair: Pair,
    behaviour: Behaviour,
    ledger: Ledger,
}

impl Walk {
    fn new(policy: &Policy, behaviour: Behaviour) -> Self {
        let mut walk = Self {
            pair: Pair::new(policy),
            behaviour,
            ledger: Ledger::default(),
        };
        walk.go(Move::Send(Event::Begin));
        walk
    }

    fn go(&mut self, action: Move) {
        self.pair.step(action, &mut self.ledger);
        self.pair.ignores_stale_events(&mut self.ledger);
        let broken = self.ledger.take_broken();
        assert!(broken.is_empty(), "{action:?}: {broken:?}");
    }

    fn step(&mut self, step: WalkStep) {
        match step {
            WalkStep::Report(index, refuse) => {
                let events = self.reports();
                if !events.is_empty() {
                    let event = *index.get(&events);
                    self.go(match refuse {
                        true => Move::SendAndRefuse(event),
                        false => Move::Send(event),
                    });
                }
            }
            WalkStep::Pass(time) => self.go(Move::Pass(
                STEP * u32::try_from(time).expect("the step fits into 32 bits"),
            )),
            WalkStep::Wake(late) => self.wake(Duration::from_millis(late)),
            WalkStep::Touch => {
                if let Some(event) = self.pair.world.seen_or_settled() {
                    self.go(Move::Send(event));
                }
            }
            WalkStep::Change(action) => self.go(Move::Send(Event::Changed(action))),
            WalkStep::Notify(index) => {
                let notifications = self.pair.world.notifications();
                if !notifications.is_empty() {
                    self.go(Move::Send(*index.get(&notifications)));
                }
            }
            WalkStep::Configure => self.go(Move::Send(Event::ConfigChanged { signal: 1 })),
            WalkStep::Request(request) => self.go(Move::Send(Event::Requested(request))),
        }
    }

    fn wake(&mut self, late: Duration) {
        if let Some(deadline) = self.pair.machine.deadline() {
            self.go(Move::Pass(deadline.since(self.pair.world.now) + late));
        }
    }

    /// The events that a world with this behaviour may report.
    fn reports(&self) -> Vec<Event> {
        let mut events = self.pair.world.reports();
        events.extend(self.pair.world.rare_reports());
        events
            .into_iter()
            .filter(|event| self.may(*event))
            .collect()
    }

    fn may(&self, event: Event) -> bool {
        let world = &self.pair.world;
        match event {
            Event::Generation(id, GenEvent::BuildEnded(outcome)) => {
                let since = world.builds.iter().find(|build| build.id == id);
                let slow = Duration::from_millis(self.behaviour.slow_builds);
                let took = since
                    .is_some_and(|build| build.cancelled || world.now >= build.since.plus(slow));
                took && !(self.behaviour.breaks_builds
                    && matches!(outcome, BuildOutcome::Built { .. }))
            }
            Event::Generation(_, GenEvent::Ready) => !self.behaviour.never_ready,
            Event::Generation(id, GenEvent::Exited { .. } | GenEvent::Gone { .. }) => {
                world.find(id).is_some_and(|known| self.may_end(known))
            }
            Event::Begin
            | Event::ChangeSeen
            | Event::ChangesSettled
            | Event::ConfigChanged { .. }
            | Event::Generation(
                _,
                GenEvent::ReloadSignalSent { .. }
                | GenEvent::ReportsWrites
                | GenEvent::StartFailed
                | GenEvent::WarmUpFailed
                | GenEvent::Listening
                | GenEvent::IsServer
                | GenEvent::ListensOnPath
                | GenEvent::LacksAddresses { .. }
                | GenEvent::Switched
                | GenEvent::SwitchFailed
                | GenEvent::ShareFailed
                | GenEvent::ShareChecked { .. }
                | GenEvent::Quiescent
                | GenEvent::HandlesStopSignal
                | GenEvent::Idle
                | GenEvent::ExtendTimeout { .. }
                | GenEvent::StoredFds
                | GenEvent::Watchdog(_)
                | GenEvent::Liveness { .. },
            )
            | Event::Changed(_)
            | Event::Requested(_)
            | Event::MemoryMeasured { .. }
            | Event::Tick => true,
        }
    }

    fn may_end(&self, known: &Gen) -> bool {
        let refused = Duration::from_millis(self.behaviour.kills_refused);
        if known.killed {
            return self.pair.world.now >= known.until.plus(refused);
        }
        match known.role {
            Role::Draining if known.stopped => !self.behaviour.ignores_stop,
            Role::Draining => self.behaviour.crashes_while_draining || known.forwarded,
            Role::Candidate | Role::Live => true,
        }
    }

    /// Checks that the world comes to rest if nothing new is requested, even while it keeps misbehaving.
    fn rest(&mut self) {
        for _ in 0..2_000 {
            let Some(action) = self.pair.cooperate(Duration::from_millis(500)) else {
                return self.at_rest();
            };
            let allowed = match action {
                Move::Send(event) => self.may(event),
                Move::SendAndRefuse(_) | Move::Pass(_) => true,
            };
            if allowed {
                self.go(action);
            } else {
                self.act_otherwise();
            }
        }
        panic!("the world does not come to rest: {:?}", self.pair);
    }

    /// Called when the expected event never happens in this world: sends another event, or lets time pass.
    fn act_otherwise(&mut self) {
        let reports = self.reports();
        let failed = |event: &&Event| {
            matches!(
                event,
                Event::Generation(_, GenEvent::BuildEnded(_) | GenEvent::Switched)
            )
        };
        match reports.iter().find(failed) {
            Some(event) => self.go(Move::Send(*event)),
            None => self.go(Move::Pass(Duration::from_millis(500))),
        }
    }

    fn at_rest(&mut self) {
        let Pair { machine, world } = &self.pair;
        world.at_rest(machine, &mut self.ledger);
        let broken = self.ledger.take_broken();
        assert!(broken.is_empty(), "at rest: {broken:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_walk_keeps_the_rules_and_comes_to_rest(
        policy in policies(),
        behaviour in behaviours(),
        steps in prop::collection::vec(steps(), 50..150),
    ) {
        let mut walk = Walk::new(&policy, behaviour);
        steps.into_iter().for_each(|step| walk.step(step));
        walk.rest();
    }

    #[test]
    fn quitting_finishes_once_even_if_nothing_is_reported(
        policy in policies(),
        behaviour in behaviours(),
        steps in prop::collection::vec(steps(), 0..60),
        at_once in any::<bool>(),
    ) {
        let mut walk = Walk::new(&policy, behaviour);
        steps.into_iter().for_each(|step| walk.step(step));
        let request = if at_once { Request::QuitNow } else { Request::Quit };
        walk.step(WalkStep::Request(request));
        for _ in 0..100 {
            walk.wake(Duration::ZERO);
        }
        prop_assert!(walk.pair.world.finished);
    }

    /// The machine must not panic, and must not return an excessive number of effects.
    #[test]
    fn the_machine_survives_arbitrary_events(
        policy in policies(),
        events in prop::collection::vec((any_event(), 0..400_u64), 0..200),
    ) {
        let mut machine = Machine::new(policy);
        let mut now = Time::START;
        let mut finishes = 0;
        for (event, passed) in events {
            now = now.plus(Duration::from_millis(passed));
            let effects = machine.handle(now, event).effects;
            prop_assert!(finishes == 0 || effects.is_empty());
            prop_assert!(effects.len() < 100);
            let is_finish = |effect: &&Effect| matches!(effect, Effect::Finish { .. });
            finishes += effects.iter().filter(is_finish).count();
        }
        prop_assert!(finishes <= 1);
    }
}
