//! What the driver owns.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use crate::artifact;
use crate::build::{Plan, WatchRoots};
use crate::config::Config;
use crate::os::terminal::Size;
use crate::process::Control;
use crate::process::notify::FdStore;
use crate::reload::{GenId, Machine};
use crate::socket::Sockets;
use crate::ui::Feed;
use crate::watch::{LockFileWindow, SelfTrigger, Watch};

use super::clock::Clock;
use super::generation::Running;
use super::inbox::Inbox;
use super::log::Log;

/// How hotrun ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether every program ended when it was asked to.
    pub clean: bool,
    /// The number of the signal that ended hotrun, if one did.
    pub signal: Option<i32>,
}

/// Everything that lives as long as hotrun.
pub(super) struct Driver {
    pub(super) config: Config,
    pub(super) log: Option<Log>,
    pub(super) machine: Machine,
    pub(super) clock: Clock,
    pub(super) inbox: Inbox,
    pub(super) feed: Feed,
    pub(super) sockets: Sockets,
    /// Whether the sockets that programs open themselves are adopted.
    pub(super) adopts: bool,
    pub(super) builds: Builds,
    pub(super) artifacts: artifact::Store,
    /// The generations that were started and are not gone.
    pub(super) generations: BTreeMap<GenId, Running>,
    /// The descriptors that programs store for later generations.
    pub(super) fd_store: FdStore,
    /// The commands of rules that have run or must run, by their shell lines.
    pub(super) commands: BTreeMap<String, Command>,
    pub(super) watch: WatchSet,
    pub(super) reported: Reported,
    pub(super) ending: Ending,
    /// The size of the terminal.
    pub(super) size: Size,
    /// When to count connections next.
    pub(super) count_at: Instant,
}

/// The current build, and how to build next.
pub(super) struct Builds {
    pub(super) plan: Plan,
    /// How often a new plan was requested.
    pub(super) plan_requests: u32,
    pub(super) active: Option<ActiveBuild>,
    /// Finds builds that write their own inputs.
    pub(super) trigger: SelfTrigger,
    /// When cargo may have written `Cargo.lock` in the newest build.
    pub(super) lock_file: Option<LockFileWindow>,
}

impl Builds {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            plan,
            plan_requests: 0,
            active: None,
            trigger: SelfTrigger::default(),
            lock_file: None,
        }
    }
}

pub(super) struct ActiveBuild {
    pub(super) control: Control,
    pub(super) cancelled: bool,
}

/// The command of a rule, `--on GLOB=run:COMMAND`.
#[derive(Default)]
pub(super) struct Command {
    /// Set while it runs. Everything it has started is killed when this is dropped.
    pub(super) control: Option<Control>,
    /// Whether it must run again when it has ended or a pause is over.
    pub(super) pending: bool,
    /// Finds commands that cause themselves to run.
    pub(super) trigger: SelfTrigger,
}

/// The watch and what it depends on.
pub(super) struct WatchSet {
    pub(super) watch: Watch,
    /// What to watch without `--watch`.
    pub(super) roots: WatchRoots,
    /// The files that the last successful build read.
    pub(super) inputs: Vec<PathBuf>,
    /// The newest build that changed what is watched.
    pub(super) newest: Option<GenId>,
    /// Whether the watch has reported that it watches, so that the first build could begin.
    pub(super) begun: bool,
}

impl WatchSet {
    pub(super) const fn new(watch: Watch, roots: WatchRoots) -> Self {
        Self {
            watch,
            roots,
            inputs: Vec::new(),
            newest: None,
            begun: false,
        }
    }
}

/// Why and how hotrun ends.
#[derive(Default)]
pub(super) struct Ending {
    /// When a signal first requested the end.
    pub(super) requested: Option<Instant>,
    /// The number of the last signal that did.
    pub(super) signal: Option<i32>,
    /// Set at the end.
    pub(super) outcome: Option<Outcome>,
}

/// What the user already knows.
#[derive(Default)]
pub(super) struct Reported {
    /// The generations for which hotrun has reported why they cannot run.
    pub(super) explained: BTreeSet<GenId>,
    /// Whether hotrun has suggested `--stop-first`.
    pub(super) stop_first: bool,
    /// Whether hotrun has said that it does not store listeners.
    pub(super) listeners: bool,
}
