mod advance;
mod built;
#[cfg(test)]
pub(super) mod canonical;
mod configured;
mod notified;
mod part;
mod query;
mod quit;
mod recovery;
mod requests;

use self::requests::Artifacts;
use super::leaving::Leaving;
use super::{
    Action, ArtifactId, Cause, Effect, Ended, Event, Failure, GenEffect, GenEvent, GenId,
    GenNotice, Notice, Policy, Request, Time,
};
use configured::Signals;
use notified::Watchdog;
use recovery::Recovery;

/// What the machine answers to an event: what to do, in this order, and what to tell.
#[must_use]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// To be performed in order.
    pub effects: Vec<Effect>,
    /// To be shown in order.
    pub notices: Vec<Notice>,
}

/// A reason to make a generation that nothing was done about yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Wanted {
    action: Action,
    cause: Cause,
    /// The user asked for it, and since then nothing was started: what is built is started, whatever it is.
    forced: bool,
}

/// The generation whose build runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Building {
    id: GenId,
    since: Time,
    cause: Cause,
    cancelled: bool,
    forced: bool,
}

/// The generation that is to be started as soon as there is room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Next {
    id: GenId,
    cause: Cause,
    artifact: ArtifactId,
}

/// The generation that was started and is not live yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Candidate {
    id: GenId,
    artifact: ArtifactId,
    /// Whether the artifact is an earlier one.
    again: bool,
    since: Time,
    /// By when it must be ready.
    until: Time,
    /// When it became ready; the switch is under way since then.
    ready: Option<Time>,
    /// Which signals it is to get once it is live: what it has read when it started may be outdated.
    owed: Signals,
}

/// The end that the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Quit {
    /// When hotrun ends even if something is left.
    until: Time,
    clean: bool,
    finished: bool,
}

/// The state machine of a reload: which generation is in which phase, and what follows.
///
/// ```
/// use hotrun::reload::{
///     ArtifactId, BuildOutcome, Effect, Event, GenEffect, GenEvent, GenId, Machine, Policy, Time,
/// };
///
/// let mut machine = Machine::new(Policy::default());
/// let (now, id, artifact) = (Time::START, GenId::FIRST, ArtifactId::FIRST);
/// let effects = machine.handle(now, Event::Begin).effects;
/// assert_eq!(effects, [Effect::Generation(id, GenEffect::Build)]);
/// let built = GenEvent::BuildEnded(BuildOutcome::Built { artifact, kept: true });
/// let effects = machine.handle(now, Event::Generation(id, built)).effects;
/// assert_eq!(effects, [Effect::Generation(id, GenEffect::Start { artifact })]);
/// let effects = machine.handle(now, Event::Generation(id, GenEvent::Ready)).effects;
/// assert_eq!(effects, [Effect::Generation(id, GenEffect::Switch)]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    policy: Policy,
    upcoming: GenId,
    wanted: Option<Wanted>,
    building: Option<Building>,
    next: Option<Next>,
    candidate: Option<Candidate>,
    live: Option<GenId>,
    leaving: Vec<Leaving>,
    /// Which of the started generations are known to listen.
    listening: Vec<GenId>,
    /// Which of them have shown otherwise that they are servers.
    servers: Vec<GenId>,
    /// Those that have to give a sign of life, or were made to end for want of one.
    watchdogs: Vec<Watchdog>,
    /// Whether a generation has stored something for the one after it.
    stores: bool,
    /// What there is to start from.
    artifacts: Artifacts,
    /// What follows should the live one crash, or because it did.
    recovery: Recovery,
    /// Whether changes wait, and the most thorough of those that do.
    paused: bool,
    held: Option<Action>,
    held_signals: Signals,
    /// Whether those who wait are told that nothing comes by itself.
    answers: bool,
    quit: Option<Quit>,
}

impl Machine {
    /// A machine that has done nothing yet; [`Event::Begin`] sets it going.
    pub const fn new(policy: Policy) -> Self {
        let artifacts = Artifacts::new(policy.builds);
        Self {
            policy,
            upcoming: GenId::FIRST,
            wanted: None,
            building: None,
            next: None,
            candidate: None,
            live: None,
            leaving: Vec::new(),
            listening: Vec::new(),
            servers: Vec::new(),
            watchdogs: Vec::new(),
            stores: false,
            artifacts,
            recovery: Recovery::NONE,
            paused: false,
            held: None,
            held_signals: Signals::NONE,
            answers: false,
            quit: None,
        }
    }

    /// What follows from `event`, which happened at `now`. `now` never goes back.
    pub fn handle(&mut self, now: Time, event: Event) -> Response {
        let mut out = Response::default();
        if self.quit.is_some_and(|quit| quit.finished) {
            return out;
        }
        match event {
            Event::Begin => self.want(Action::Build, Cause::Begin),
            Event::Changed(action) => self.changed(action),
            Event::Requested(request) => self.requested(now, request, &mut out),
            Event::ConfigChanged { signal } => self.configured(signal, &mut out),
            Event::Generation(id, event) => self.generation(now, id, event, &mut out),
            Event::Tick => self.tick(now, &mut out),
        }
        self.advance(now, &mut out);
        out
    }

    fn generation(&mut self, now: Time, id: GenId, event: GenEvent, out: &mut Response) {
        match event {
            GenEvent::BuildEnded(outcome) => self.build_ended(now, id, outcome, out),
            GenEvent::StartFailed => self.start_failed(now, id, out),
            GenEvent::Listening => self.listens(id),
            GenEvent::IsServer => self.serves_as_told(id),
            GenEvent::Ready => self.ready(now, id, out),
            GenEvent::Switched => self.switched(now, id, out),
            GenEvent::SwitchFailed => self.switch_failed(now, id, out),
            GenEvent::Quiescent => {
                self.leave(id, out, |leaving, policy| leaving.settled(now, policy));
            }
            GenEvent::StopSignalChecked { handled } => {
                self.leave(id, out, |leaving, _| leaving.inspected(handled));
            }
            GenEvent::Idle => self.leave(id, out, |leaving, _| leaving.idle()),
            GenEvent::Exited { ended, survivors } => self.exited(now, id, ended, survivors, out),
            GenEvent::Gone => self.gone(now, id, out),
            GenEvent::ExtendTimeout { by } => self.extended(now, id, by, out),
            GenEvent::StoredFds => self.stores(id, out),
            GenEvent::Watchdog(message) => self.watchdog(now, id, message, out),
            GenEvent::ReloadSignalSent { signal, handled } => {
                self.signalled(id, signal, handled, out);
            }
        }
    }

    /// The next moment at which the machine wants [`Event::Tick`], if there is one.
    pub fn deadline(&self) -> Option<Time> {
        let starting = self.candidate.filter(|candidate| candidate.ready.is_none());
        let starting = starting.map(|candidate| candidate.until);
        let leaving = self
            .leaving
            .iter()
            .filter_map(|leaving| leaving.deadline(&self.policy));
        let quit = self
            .quit
            .filter(|quit| !quit.finished)
            .map(|quit| quit.until);
        let watchdogs = self.watchdog_deadlines();
        let again = self.recovery.deadline().filter(|_| self.quit.is_none());
        let all = leaving.chain(starting).chain(watchdogs);
        all.chain(quit).chain(again).min()
    }

    fn want(&mut self, action: Action, cause: Cause) {
        if self.quit.is_some() {
            return;
        }
        self.recovery.wished();
        let before = self.wanted;
        self.wanted = Some(Wanted {
            action: before.map_or(action, |wanted| wanted.action.max(action)),
            cause,
            forced: cause == Cause::Request || before.is_some_and(|wanted| wanted.forced),
        });
    }

    fn requested(&mut self, now: Time, request: Request, out: &mut Response) {
        match request {
            Request::Reload => self.reload(),
            Request::Pause => self.pause(out),
            Request::Resume => self.resume(out),
            Request::Undo => self.undo(out),
            Request::KillDraining => self.kill_draining(now, out),
            Request::Quit if self.quit.is_none() => self.begin_quit(now, out),
            // Whoever asks again only insists if he says so: a closed terminal asks more than once.
            Request::Quit => {}
            Request::QuitNow => self.quit_now(now, out),
        }
    }

    fn ready(&mut self, now: Time, id: GenId, out: &mut Response) {
        let aborted = self.is_aborted(id);
        let Some(candidate) = self
            .candidate
            .as_mut()
            .filter(|candidate| candidate.id == id && candidate.ready.is_none() && !aborted)
        else {
            return;
        };
        candidate.ready = Some(now);
        out.notices.push(Notice::Generation(
            id,
            GenNotice::Ready {
                took: now.since(candidate.since),
            },
        ));
        out.effects.push(Effect::Generation(id, GenEffect::Switch));
        self.wake_watchdog(now, id);
    }

    fn switched(&mut self, now: Time, id: GenId, out: &mut Response) {
        let Some(candidate) = self
            .candidate
            .take_if(|candidate| candidate.id == id && candidate.ready.is_some())
        else {
            return self.came_back(now, id, true, out);
        };
        let took = candidate
            .ready
            .map_or_else(Default::default, |ready| now.since(ready));
        out.notices
            .push(Notice::Generation(id, GenNotice::Live { took }));
        let old = self.live.replace(id);
        self.serves(now, (id, candidate.artifact), old);
        self.rolled_back(candidate.again);
        if let Some(old) = old {
            self.retire(now, old, out);
        }
        out.effects.extend(candidate.owed.effects(id));
    }

    fn switch_failed(&mut self, now: Time, id: GenId, out: &mut Response) {
        if let Some(candidate) = self
            .candidate
            .take_if(|candidate| candidate.id == id && candidate.ready.is_some())
        {
            self.dismiss(now, candidate.id, out);
            self.failed_to_follow(&candidate, Failure::Switch, out);
        } else {
            self.came_back(now, id, false, out);
        }
    }

    fn start_failed(&mut self, now: Time, id: GenId, out: &mut Response) {
        if let Some(candidate) = self.candidate.take_if(|candidate| candidate.id == id) {
            self.keep_waiting(id, out);
            self.forget(id, out);
            self.failed_to_follow(&candidate, Failure::Start, out);
        } else {
            // It was given up before it was known that it can't be started.
            self.release(now, id, out);
        }
    }

    /// The first process ended. One that leaves the rest of its tree behind on purpose (it ended well) goes on
    /// in them, as a daemon does.
    fn exited(&mut self, now: Time, id: GenId, ended: Ended, survivors: bool, out: &mut Response) {
        if survivors && ended.success() {
            return self.leave(id, out, |leaving, _| leaving.exited());
        }
        if let Some(candidate) = self.lose_candidate(id, out) {
            self.abandon(now, id, survivors, out);
            self.failed_to_follow(&candidate, Failure::ExitedEarly(ended), out);
        } else if self.live.take_if(|live| *live == id).is_some() {
            self.lose_live(now, (id, Some(ended), survivors), out);
        } else {
            self.leave(id, out, |leaving, _| leaving.exited());
        }
    }

    fn gone(&mut self, now: Time, id: GenId, out: &mut Response) {
        if let Some(candidate) = self.lose_candidate(id, out) {
            self.abandon(now, id, false, out);
            self.failed_to_follow(&candidate, Failure::Vanished, out);
        } else if self.live.take_if(|live| *live == id).is_some() {
            self.lose_live(now, (id, None, false), out);
        }
        self.release(now, id, out);
    }

    fn tick(&mut self, now: Time, out: &mut Response) {
        let late = |candidate: &mut Candidate| candidate.ready.is_none() && now >= candidate.until;
        if let Some(candidate) = self.candidate.take_if(late) {
            self.dismiss(now, candidate.id, out);
            self.failed_to_follow(&candidate, Failure::ReadyTimeout, out);
        }
        self.watch(now, out);
        for leaving in &mut self.leaving {
            let step = leaving.tick(now, &self.policy);
            let killed = step.contains(&Effect::Generation(leaving.id, GenEffect::Kill));
            out.effects.extend(step);
            if killed {
                out.notices.push(Notice::Generation(
                    leaving.id,
                    GenNotice::Killing {
                        why: leaving.how,
                        after: now.since(leaving.since),
                    },
                ));
            }
        }
        if let Some(quit) = self.quit.as_mut().filter(|quit| now >= quit.until) {
            quit.clean = false;
            quit.finished = true;
            out.effects.push(Effect::Finish { clean: false });
        }
    }
}
