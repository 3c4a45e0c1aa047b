use crate::reload::machine::Machine;
use crate::reload::{ArtifactId, Fresh, GenId, Phase, Policy, Time};

/// The machines of all instances. Usually there is only one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Instances {
    /// The first one builds; the others follow it.
    pub(super) machines: Vec<Machine>,
    /// For each instance except the first one, the leader that it has followed.
    pub(super) followed: Vec<Option<GenId>>,
    pub(super) leader: Option<Leader>,
    /// The generation with which an instance is following the leader.
    pub(super) following: Option<GenId>,
    /// The newest start of the first instance that the others need not follow, because it only replaces a generation
    /// that has failed.
    pub(super) same: Option<GenId>,
    /// The newest start of the first instance that goes back to an earlier artifact. An instance that still serves that
    /// artifact need not follow.
    pub(super) back: Option<GenId>,
    /// Whether clients get an error response.
    pub(super) responding: bool,
    /// Whether [`Effect::Finish`](crate::reload::Effect) has been requested.
    pub(super) finished: bool,
    /// Whether every instance that has finished did so in time.
    pub(super) clean: bool,
}

/// The first instance's generation that serves or served last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Leader {
    pub(super) id: GenId,
    pub(super) artifact: ArtifactId,
    /// Whether the first instance can go back to the artifact that it served before.
    pub(super) can_go_back: bool,
    /// Whether an instance has failed to follow it.
    pub(super) failed: bool,
}

impl Instances {
    /// Creates the machines of `count` instances, at least one.
    pub fn new(policy: Policy, count: usize) -> Self {
        let others = Policy {
            builds: false,
            fresh: Fresh::Off,
            ..policy.clone()
        };
        let others = (1..count).map(|_| Machine::new(others.clone()));
        let machines: Vec<_> = [Machine::new(policy)].into_iter().chain(others).collect();
        Self {
            followed: vec![None; machines.len() - 1],
            machines,
            leader: None,
            following: None,
            same: None,
            back: None,
            responding: false,
            finished: false,
            clean: true,
        }
    }

    /// The next time at which the machines need an [`Event::Tick`](crate::reload::Event::Tick), if any.
    pub fn deadline(&self) -> Option<Time> {
        self.machines.iter().filter_map(Machine::deadline).min()
    }

    /// The policy of the first machine.
    pub fn policy(&self) -> &Policy {
        self.machines[0].policy()
    }

    /// The live generations, that of the first instance first.
    pub fn live(&self) -> impl Iterator<Item = GenId> {
        self.machines.iter().filter_map(Machine::live)
    }

    /// The live generations of the other instances than this generation's.
    pub fn beside(&self, id: GenId) -> Vec<GenId> {
        let own = |machine: &&Machine| machine.phase(id) != Phase::Gone;
        let others = self.machines.iter().filter(|machine| !own(machine));
        others.filter_map(Machine::live).collect()
    }

    /// The newest generation that is ready, whether it is live already or not.
    pub fn newest_ready(&self) -> Option<GenId> {
        self.machines.iter().filter_map(Machine::newest_ready).max()
    }

    /// Whether hotrun is quitting.
    pub fn is_quitting(&self) -> bool {
        self.machines[0].is_quitting()
    }

    /// Whether changes are held back.
    pub fn is_paused(&self) -> bool {
        self.machines[0].is_paused()
    }

    /// Whether a generation is being built, is queued, or is starting.
    pub fn is_busy(&self) -> bool {
        self.machines.iter().any(Machine::is_busy)
    }

    /// The machine that decides about this generation. That of a generation that is gone is not known.
    fn machine(&self, id: GenId) -> Option<(usize, &Machine)> {
        let mut machines = self.machines.iter().enumerate();
        machines.find(|(_, machine)| machine.phase(id) != Phase::Gone)
    }

    /// The number of the instance to which this generation belongs, from 0. `None`: the generation is gone.
    pub fn instance(&self, id: GenId) -> Option<usize> {
        self.machine(id).map(|(index, _)| index)
    }

    /// The phase of a generation. A queued generation counts as building, an unknown one as gone.
    pub fn phase(&self, id: GenId) -> Phase {
        let found = self.machine(id);
        found.map_or(Phase::Gone, |(_, machine)| machine.phase(id))
    }

    /// The artifact that this generation was started from.
    pub fn artifact(&self, id: GenId) -> Option<ArtifactId> {
        self.machine(id)
            .and_then(|(_, machine)| machine.artifact(id))
    }

    /// All artifacts that may still be started. Others need not be kept.
    pub fn needed(&self) -> impl Iterator<Item = ArtifactId> {
        self.machines.iter().flat_map(Machine::needed)
    }
}
