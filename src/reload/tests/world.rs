//! A world that acts as a correct driver: it knows what is running and which reports are outstanding, and therefore
//! what may happen next. It judges the machine by what a driver can see, and shares no code with the machine.

use super::fresh::NewConnections;
use super::past::Past;
use super::process::{Gen, Role};
use crate::reload::machine::tests::Rename;
use crate::reload::{GenId, Mode, Policy, Time, WhenBusy};

/// A running build.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Build {
    pub(super) id: GenId,
    pub(super) since: Time,
    pub(super) cancelled: bool,
    /// Whether no change that requires a build has come since this build began.
    pub(super) newest: bool,
    /// Whether no change at all has come since this build began.
    pub(super) answers_all: bool,
}

/// Where the kernel sends new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Steering {
    /// To a live generation.
    To(GenId),
    /// They wait for this starting generation or, if there is none, for the next one to start.
    Hold(Option<GenId>),
}

/// The state of hotrun while it is quitting.
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
    /// The switch that was made (`true`) or refused (`false`), and has not been reported yet.
    pub(super) switching: Option<(GenId, bool)>,
    /// Whether the next switch will be refused.
    pub(super) refuse: bool,
    pub(super) steering: Steering,
    /// Whether no change came after the newest successful build began, if there is one.
    pub(super) good: Option<bool>,
    /// The artifacts that can be started and rolled back to.
    pub(super) past: Past,
    /// Whether the build of the newest sources failed.
    pub(super) broken: bool,
    /// Whether the user asked for a reload or a change required a restart, and no generation has started since.
    pub(super) forced: bool,
    /// A build that produced what this generation was started from.
    pub(super) same: Option<(Build, GenId)>,
    /// Whether something has failed since the last change and the user was notified.
    pub(super) failure_reported: bool,
    /// Whether the user was notified that hotrun is waiting for a change.
    pub(super) waiting_reported: bool,
    /// Whether clients may get an error response.
    pub(super) responding: bool,
    pub(super) new: NewConnections,
    pub(super) quitting: Option<Quitting>,
    pub(super) finished: bool,
    /// Whether changes are held back, and what they require.
    pub(super) paused: bool,
    pub(super) held_build: bool,
    pub(super) held_restart: bool,
    pub(super) held_config: bool,
    /// Whether the user asked for an earlier artifact.
    pub(super) undo: bool,
    /// How many results of memory measurements are outstanding.
    pub(super) measuring: u8,
    /// The kept generation that must be gone before the next start, because there was too little memory.
    pub(super) makes_room: Option<GenId>,
    /// Whether the live generation has just crashed, and a kept one must go live again.
    pub(super) must_restore: bool,
    /// Whether the user has cancelled a reload, and no change that requires a build has come since.
    pub(super) undone: bool,
    /// Whether a generation is gone that could remove the live one's kept paths, and those have not been restored since.
    pub(super) unrestored: bool,
    /// Whether descriptors were stored for the next generation.
    pub(super) stores: bool,
    /// The live generation that ended, and whether no change came after its start. The generation may be gone before
    /// its failure is reported.
    pub(super) lost: Option<(GenId, bool)>,
    /// How many starts crashes alone have caused since the last change or request, and whether that change or request
    /// has not been acted on yet.
    pub(super) starts: (u8, bool),
    /// If the live generation crashes before this time, hotrun rolls back.
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
            last_build: GenId(0),
            last_start: GenId(0),
            switching: None,
            refuse: false,
            steering: Steering::Hold(None),
            good: None,
            past: Past::default(),
            broken: false,
            forced: false,
            same: None,
            failure_reported: false,
            waiting_reported: false,
            responding: false,
            new: NewConnections::default(),
            quitting: None,
            finished: false,
            paused: false,
            held_build: false,
            held_restart: false,
            held_config: false,
            undo: false,
            measuring: 0,
            makes_room: None,
            must_restore: false,
            undone: false,
            unrestored: false,
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
    pub(super) fn may_overlap(&self, known: &Gen) -> bool {
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

    /// The newest started generation that is not draining.
    pub(super) fn newest_started(&self) -> Option<GenId> {
        let staying = self
            .gens
            .iter()
            .filter(|known| known.role != Role::Draining);
        staying.map(|known| known.id).max()
    }

    /// Whether work in progress is cancelled when newer sources arrive.
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
            makes_room: self
                .makes_room
                .filter(|id| self.find(*id).is_some())
                .map(|id| rename.id(id)),
            past: match self.policy.rollback_within.is_zero() {
                true => Past::default(),
                false => self.past.canonical(rename),
            },
            policy: self.policy.clone(),
            now: Time::START,
            builds: builds.collect(),
            gens,
            same,
            last_build: GenId(0),
            last_start: GenId(0),
            starts: match self.policy.rollback_within.is_zero() {
                true => (0, false),
                false => self.starts,
            },
            soon: match self.live() {
                Some(_) if self.soon > self.now => rename.time(self.soon),
                Some(_) | None => Time::START,
            },
            switching: self.switching.map(|(id, done)| (rename.id(id), done)),
            lost: match (self.switching_back(), self.lost) {
                (Some(_), Some((_, answers_all))) => Some((GenId(0), answers_all)),
                (Some(_) | None, _) => None,
            },
            steering: match self.steering {
                Steering::To(id) => Steering::To(rename.id(id)),
                Steering::Hold(id) => Steering::Hold(id.map(|id| rename.id(id))),
            },
            new: NewConnections {
                until: self.new.until.map(|until| rename.time(until)),
                ..self.new
            },
            quitting: self.quitting.map(|quitting| Quitting {
                until: rename.time(quitting.until),
                ..quitting
            }),
            ..*self
        }
    }
}
