//! What the driver owns.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::artifact;
use crate::build::Plan;
use crate::config::Config;
use crate::os::terminal::{self, Size};
use crate::process::notify::FdStore;
use crate::reload::{ArtifactId, GenId, Machine};
use crate::socket::Sockets;
use crate::ui::Feed;

use super::adopting::Adopting;
use super::builds::Builds;
use super::clock::Clock;
use super::commands::Commands;
use super::inbox::Inbox;
use super::log::Log;
use super::running::Running;
use super::watch_set::WatchSet;

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
    pub(super) adopting: Adopting,
    pub(super) builds: Builds,
    pub(super) artifacts: artifact::Store,
    /// The generations that were started and are not gone.
    pub(super) generations: BTreeMap<GenId, Running>,
    /// The descriptors that programs store for later generations.
    pub(super) fd_store: FdStore,
    /// The commands of rules.
    pub(super) commands: Commands,
    pub(super) watch: WatchSet,
    pub(super) reported: Reported,
    pub(super) ending: Ending,
    /// The size of the terminal.
    pub(super) size: Size,
    /// When to count connections next.
    pub(super) count_at: Instant,
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

impl Driver {
    pub(super) fn new(
        config: Config,
        plan: Plan,
        watch: WatchSet,
        (sockets, adopting): (Sockets, Adopting),
        inbox: Inbox,
        feed: Feed,
    ) -> Result<Self> {
        let builds = plan.build_command()?.is_some();
        let mut artifacts = artifact::Store::default();
        if !builds {
            artifacts.set_newest(ArtifactId::FIRST, plan.launch(&mut plan.output())?, None);
        }
        Ok(Self {
            log: None,
            machine: Machine::new(config.policy(builds, adopting.works())),
            clock: Clock::start(),
            inbox,
            feed,
            sockets,
            adopting,
            builds: Builds::new(plan),
            artifacts,
            generations: BTreeMap::new(),
            fd_store: FdStore::new().context("opening the descriptor store")?,
            commands: Commands::default(),
            watch,
            reported: Reported::default(),
            ending: Ending::default(),
            size: terminal::size(),
            count_at: Instant::now(),
            config,
        })
    }
}
