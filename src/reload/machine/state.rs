use super::artifacts::Artifacts;
use super::generation::{Generation, State};
use super::recovery_state::Recovery;
use super::signals::Signals;
use crate::reload::{Action, ArtifactId, Cause, GenId, Policy, Time};

/// A reason to make a generation that has not been acted on yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pending {
    pub(super) action: Action,
    pub(super) cause: Cause,
    /// The user asked for it, and nothing was started since: what is built is started even if it is unchanged.
    pub(super) forced: bool,
}

/// The generation that is being built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Building {
    pub(super) id: GenId,
    pub(super) since: Time,
    pub(super) cause: Cause,
    pub(super) cancelled: bool,
    pub(super) forced: bool,
}

/// The generation that is started as soon as there is room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Queued {
    pub(super) id: GenId,
    pub(super) cause: Cause,
    pub(super) artifact: ArtifactId,
}

/// Changes that are held back while hotrun is paused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct HeldBack {
    pub(super) action: Option<Action>,
    pub(super) signals: Signals,
}

/// hotrun is quitting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Quit {
    /// When hotrun ends even if something is left.
    pub(super) until: Time,
    pub(super) clean: bool,
    pub(super) finished: bool,
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
    pub(super) policy: Policy,
    /// The id of the next generation.
    pub(super) upcoming: GenId,
    pub(super) pending: Option<Pending>,
    pub(super) building: Option<Building>,
    pub(super) queued: Option<Queued>,
    /// All that were started and are not gone, the oldest first. At most one is starting or ready, and one live.
    pub(super) generations: Vec<Generation>,
    pub(super) artifacts: Artifacts,
    pub(super) recovery: Recovery,
    /// Whether a generation has stored descriptors for the one after it.
    pub(super) stores_fds: bool,
    /// The changes held back, while paused.
    pub(super) paused: Option<HeldBack>,
    /// Whether waiting clients may get an error response.
    pub(super) responding: bool,
    pub(super) quit: Option<Quit>,
}

impl Machine {
    /// A machine that has done nothing yet; [`Event::Begin`](crate::reload::Event::Begin) sets it going.
    pub const fn new(policy: Policy) -> Self {
        let artifacts = Artifacts::new(policy.builds);
        Self {
            policy,
            upcoming: GenId::FIRST,
            pending: None,
            building: None,
            queued: None,
            generations: Vec::new(),
            artifacts,
            recovery: Recovery::NONE,
            stores_fds: false,
            paused: None,
            responding: false,
            quit: None,
        }
    }

    pub(super) const fn new_id(&mut self) -> GenId {
        let id = self.upcoming;
        self.upcoming = id.next();
        id
    }

    pub(super) fn find(&self, id: GenId) -> Option<&Generation> {
        self.generations.iter().find(|known| known.id == id)
    }

    pub(super) fn find_mut(&mut self, id: GenId) -> Option<&mut Generation> {
        self.generations.iter_mut().find(|known| known.id == id)
    }

    pub(super) fn live_generation(&self) -> Option<&Generation> {
        let mut known = self.generations.iter();
        known.find(|known| known.state == State::Live)
    }

    /// The generation that was started and is not live yet.
    pub(super) fn candidate(&self) -> Option<&Generation> {
        self.generations.iter().find(|known| known.is_candidate())
    }

    /// Whether the switch to the candidate is under way.
    pub(super) fn is_switching(&self) -> bool {
        let ready = |known: &Generation| matches!(known.state, State::Ready { .. });
        self.generations.iter().any(ready)
    }
}
