use super::artifacts::Artifacts;
use super::generation::{GenState, Generation, SignalSet};
use crate::reload::{Action, ArtifactId, Cause, GenFailure, GenId, Phase, Policy, Time};

/// The reload state machine: keeps track of the phase of each generation, and decides what to do next.
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
    /// Whether the next successful build is started even if it is unchanged, because the user asked for a reload or a
    /// change requires a restart, and no generation has started since.
    pub(super) must_start: bool,
    pub(super) building: Option<Building>,
    pub(super) queued: Option<Queued>,
    /// The generations that were started and are not gone, oldest first. At most one is starting or ready, and at most
    /// one is live.
    pub(super) generations: Vec<Generation>,
    pub(super) artifacts: Artifacts,
    pub(super) recovery: Recovery,
    /// Whether a generation has stored descriptors for the next one.
    pub(super) stores_fds: bool,
    /// When to restore the live generation's paths again.
    pub(super) restore_at: Option<Time>,
    /// The changes that are held back, if hotrun is paused.
    pub(super) paused: Option<HeldBack>,
    /// Whether waiting clients may get an error response.
    pub(super) responding: bool,
    /// Whether files were touched, and it is not known yet whether anything has changed.
    pub(super) change_seen: bool,
    pub(super) waiting: Waiting,
    /// Whether new connections are held although a generation is live.
    pub(super) holds_new: bool,
    pub(super) quit: Option<Quit>,
}

/// A change or a request that has not been acted on yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pending {
    pub(super) action: Action,
    pub(super) cause: Cause,
}

/// The generation that is being built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Building {
    pub(super) id: GenId,
    pub(super) since: Time,
    pub(super) cause: Cause,
    pub(super) cancelled: bool,
}

/// The generation that is started as soon as no other generation has to end first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Queued {
    pub(super) id: GenId,
    pub(super) cause: Cause,
    pub(super) artifact: ArtifactId,
    pub(super) room: Room,
}

/// Whether there is enough memory for a queued generation. Matters only while another one is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Room {
    Unknown,
    /// The memory is being measured.
    Measuring,
    Known,
    /// There was too little, so the start waits until this generation, which was kept, is gone.
    AfterEndOf(GenId),
}

/// Changes that are held back while hotrun is paused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct HeldBack {
    pub(super) build: bool,
    pub(super) restart: bool,
    pub(super) signals: SignalSet,
}

/// The state of hotrun while it is quitting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Quit {
    /// When hotrun exits even if something is still running.
    pub(super) until: Time,
    pub(super) clean: bool,
    pub(super) finished: bool,
}

/// What decides how hotrun recovers from a crash of the live generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Recovery {
    /// If the live generation crashes before this time, its artifact is blamed.
    pub(super) blame_until: Option<Time>,
    /// The artifact that was live before the live one, even if it crashed. If both are the same, the artifact is not to
    /// blame for a crash.
    pub(super) replaced: Option<ArtifactId>,
    /// The generation that was live before the live one. It may go live again while it is draining. So may a generation
    /// that is kept, even if it is an older one.
    pub(super) before: Option<GenId>,
    pub(super) crash: Option<Crash>,
    /// The generation that hotrun is trying to make live again because its successor crashed. The switch may still be
    /// refused.
    pub(super) restoring: Option<GenId>,
    /// Whether the generation that was live last is a server. Any other program may be a job that has finished.
    pub(super) is_server: bool,
    /// How many starts were caused by crashes alone since the last change or request.
    pub(super) starts: u8,
}

/// The failure that left no generation live. Kept until another generation is live or recovery has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Crash {
    pub(super) id: GenId,
    pub(super) artifact: ArtifactId,
    pub(super) failure: GenFailure,
    /// Whether the artifact is to blame, so that hotrun rolls back.
    pub(super) blamed: bool,
    /// When the artifact is started again.
    pub(super) restart_at: Option<Time>,
}

/// Whether new connections wait for the next generation, although one is live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Waiting {
    /// No newer generation is being built or started, and none may be about to be.
    No,
    /// They wait until this time at most.
    Until(Time),
    /// They have waited for long enough. The next ones do not wait until hotrun has come to rest: builds that take too
    /// long would otherwise hold them again and again.
    TooLong,
}

impl Waiting {
    pub(super) fn deadline(self) -> Option<Time> {
        match self {
            Self::Until(until) => Some(until),
            Self::No | Self::TooLong => None,
        }
    }
}

impl Machine {
    /// Creates a machine, which waits for [`Event::Begin`](crate::reload::Event::Begin).
    pub fn new(policy: Policy) -> Self {
        Self {
            upcoming: GenId::FIRST,
            pending: None,
            must_start: false,
            building: None,
            queued: None,
            generations: Vec::new(),
            artifacts: Artifacts {
                newest: (!policy.builds).then_some(ArtifactId::FIRST),
                ..Artifacts::default()
            },
            recovery: Recovery::default(),
            stores_fds: false,
            restore_at: None,
            paused: None,
            responding: false,
            change_seen: false,
            waiting: Waiting::No,
            holds_new: false,
            quit: None,
            policy,
        }
    }

    /// The next time at which the machine needs an [`Event::Tick`](crate::reload::Event::Tick), if any.
    pub fn deadline(&self) -> Option<Time> {
        let generations = self.generations.iter();
        let paused = self.paused.is_some();
        let generations = generations.filter_map(|known| known.deadline(paused));
        let other = match self.quit {
            Some(quit) if quit.finished => return None,
            Some(quit) => Some(quit.until),
            None => self.recovery.crash.and_then(|crash| crash.restart_at),
        };
        let all = generations.chain(other).chain(self.restore_at);
        let all = all.chain(self.change_waits_until());
        all.chain(self.waiting.deadline()).min()
    }

    /// The policy that the machine follows.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The generation to which new connections go.
    pub fn live(&self) -> Option<GenId> {
        self.live_generation().map(|live| live.id)
    }

    /// The newest generation that is ready, whether it is live already or not.
    pub fn newest_ready(&self) -> Option<GenId> {
        let is_ready = |known: &&Generation| {
            matches!(known.phase(), Phase::Ready | Phase::Sharing | Phase::Live)
        };
        let newest = self.generations.iter().rev().find(is_ready);
        newest.map(|known| known.id)
    }

    /// Whether hotrun is quitting.
    pub const fn is_quitting(&self) -> bool {
        self.quit.is_some()
    }

    /// Whether changes are held back.
    pub const fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// The phase of a generation. A queued generation counts as building, an unknown one as gone.
    pub fn phase(&self, id: GenId) -> Phase {
        let building = self.building.is_some_and(|building| building.id == id);
        let queued = self.queued.is_some_and(|queued| queued.id == id);
        match self.find(id) {
            Some(known) => known.phase(),
            None if building || queued => Phase::Building,
            None => Phase::Gone,
        }
    }

    /// The artifact that this generation was started from.
    pub fn artifact(&self, id: GenId) -> Option<ArtifactId> {
        self.find(id).map(|known| known.artifact)
    }

    /// All artifacts that may still be started. Others need not be kept.
    pub fn needed(&self) -> impl Iterator<Item = ArtifactId> {
        let Artifacts {
            newest,
            live,
            previous,
            ..
        } = self.artifacts;
        let crashed = self.recovery.crash.map(|crash| crash.artifact);
        let queued = self.queued.map(|queued| queued.artifact);
        let candidate = self.candidate().map(|candidate| candidate.artifact);
        let before = self.recovery.before.and_then(|id| self.artifact(id));
        let kept = self.kept().and_then(|id| self.artifact(id));
        let all = [
            newest, live, previous, queued, candidate, before, kept, crashed,
        ];
        all.into_iter().flatten()
    }

    pub(super) const fn new_id(&mut self) -> GenId {
        let id = self.upcoming;
        self.upcoming.0 += 1;
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
        known.find(|known| known.state == GenState::Live)
    }

    /// The generation that is kept, because it may go live again.
    pub(super) fn kept(&self) -> Option<GenId> {
        let mut generations = self.generations.iter();
        let kept = generations.find(|known| known.is_kept());
        kept.map(|known| known.id)
    }

    /// The generation that was started and has not gone live yet.
    pub(super) fn candidate(&self) -> Option<&Generation> {
        self.generations.iter().find(|known| known.is_candidate())
    }

    /// Whether the switch to the candidate is in progress.
    pub(super) fn is_switching(&self) -> bool {
        let ready = |known: &Generation| matches!(known.state, GenState::Ready { .. });
        self.generations.iter().any(ready)
    }
}
