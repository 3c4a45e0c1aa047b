//! The builds, as the driver sees them: what runs, what ran, and how to build next.

use std::path::Path;
use std::sync::atomic::Ordering;

use crate::build::Plan;
use crate::process::Control;
use crate::watch::{LockFileWindow, Moment, SelfTrigger};

use super::build::ActiveBuild;

/// The builds.
pub(super) struct Builds {
    pub(super) plan: Plan,
    /// How often a new plan was requested.
    pub(super) plan_requests: u32,
    pub(super) active: Option<ActiveBuild>,
    /// Builds that have ended and left processes running, which are killed at the end.
    past: Vec<Control>,
    /// Finds builds that write their own inputs.
    pub(super) trigger: SelfTrigger,
    /// When cargo may have written `Cargo.lock` in the newest build.
    lock_file: Option<LockFileWindow>,
}

impl Builds {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            plan,
            plan_requests: 0,
            active: None,
            past: Vec::new(),
            trigger: SelfTrigger::default(),
            lock_file: None,
        }
    }

    pub(super) fn started(&mut self, active: ActiveBuild, began: Moment) {
        self.trigger.started(began.monotonic);
        self.lock_file = Some(active.lock_file.clone());
        self.active = Some(active);
    }

    /// The active build has ended. Returns whether it had been cancelled.
    pub(super) fn ended(&mut self) -> bool {
        let now = Moment::now();
        self.trigger.ended(now);
        if let Some(window) = &mut self.lock_file {
            window.ended = Some(now.wall);
        }
        self.past.retain(|control| !control.pids().is_empty());
        self.active.take().is_some_and(|build| {
            self.past.push(build.control);
            build.cancelled.load(Ordering::Relaxed)
        })
    }

    /// Kills what past builds left running, such as the daemon of a compiler cache.
    pub(super) fn kill_leftovers(&self) {
        self.past.iter().for_each(Control::kill);
    }

    /// Whether cargo itself wrote this `Cargo.lock`, for a changed manifest.
    pub(super) fn wrote_lock_file(&self, path: &Path) -> bool {
        let Some(window) = self
            .lock_file
            .as_ref()
            .filter(|_| path.ends_with("Cargo.lock"))
        else {
            return false;
        };
        let written = std::fs::metadata(path).and_then(|metadata| metadata.modified());
        written.is_ok_and(|written| window.contains(written))
    }
}
