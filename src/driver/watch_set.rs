//! Which files are watched, and what builds say about that.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::build::{BuildInputs, Plan, WatchRoots};
use crate::config::Config;
use crate::os;
use crate::reload::GenId;
use crate::watch::{InputSet, Watch, WatchUpdate};

use super::inbox::{Inbox, Inferred, Input, Lesson};

/// The watch and what it depends on.
pub(super) struct WatchSet {
    pub(super) watch: Watch,
    /// What to watch without `--watch`.
    roots: WatchRoots,
    /// The files that the last successful build read.
    inputs: Vec<PathBuf>,
    /// The newest build that changed what is watched.
    newest: Option<GenId>,
    /// Whether the watch has reported that it watches, so that the first build could begin.
    pub(super) begun: bool,
    /// Whether the watch has ended, which is a bug.
    pub(super) ended: bool,
}

/// Asks cargo what the next build may need. In a thread, because this runs cargo.
pub(super) fn ask_cargo(id: GenId, began: SystemTime, plan: Plan, inbox: &Inbox) {
    let Plan::Cargo(_) = &plan else {
        return;
    };
    let inbox = inbox.clone();
    tokio::task::spawn_blocking(move || {
        // If cargo cannot read a manifest, the roots stay as they are.
        let roots = plan.watch_roots().unwrap_or_default();
        let inferred = Inferred::Anything(roots);
        inbox.input(Input::Learnt(Lesson {
            id,
            began,
            inferred,
        }));
    });
}

/// Paths at which changes do not count. The output of hotrun itself (`hotrun … > log` in a watched directory) would
/// otherwise cause a build that causes more output.
pub(super) fn ignored(roots: &WatchRoots) -> Vec<PathBuf> {
    let output = os::output_files();
    roots.ignored.iter().cloned().chain(output).collect()
}

/// What to watch without `--watch`.
pub(super) fn places(roots: &WatchRoots) -> Vec<PathBuf> {
    roots.dirs.iter().chain(&roots.files).cloned().collect()
}

impl WatchSet {
    pub(super) const fn new(watch: Watch, roots: WatchRoots) -> Self {
        Self {
            watch,
            roots,
            inputs: Vec::new(),
            newest: None,
            begun: false,
            ended: false,
        }
    }

    /// Updates the watch, unless the user sets `--watch`.
    pub(super) fn learn(&mut self, lesson: Lesson, config: &Config) {
        let Lesson {
            id,
            began,
            inferred,
        } = lesson;
        // Cargo takes time to answer; a newer build may have finished first.
        if !config.watch.is_empty() || self.newest > Some(id) {
            return;
        }
        self.newest = Some(id);
        let update = match inferred {
            Inferred::Exact(inputs) => self.exactly(inputs, began),
            Inferred::Anything(roots) => self.anything(roots, began),
        };
        self.watch.update(update);
    }

    fn exactly(&mut self, inputs: BuildInputs, since: SystemTime) -> WatchUpdate {
        let BuildInputs {
            files,
            cargo_files,
            dirs,
            packages,
        } = inputs;
        let inputs = InputSet {
            files,
            any_extension: cargo_files,
            dirs,
        };
        self.inputs = inputs.files.union(&inputs.dirs).cloned().collect();
        // Needed when a manifest breaks, because cargo cannot list the packages then.
        self.roots.dirs = packages.into_iter().collect();
        WatchUpdate {
            roots: self.roots.dirs.clone(),
            ignored_dirs: ignored(&self.roots),
            inputs: Some(inputs),
            since,
        }
    }

    fn anything(&mut self, roots: WatchRoots, since: SystemTime) -> WatchUpdate {
        let WatchRoots {
            dirs,
            files,
            ignored: apart,
        } = roots;
        let used = |dir: &PathBuf| self.roots.dirs.contains(dir);
        let new: Vec<PathBuf> = dirs.into_iter().filter(|dir| !used(dir)).collect();
        self.roots.dirs.extend(new);
        if !files.is_empty() {
            self.roots.files = files;
            self.roots.ignored = apart;
        }
        let mut roots = places(&self.roots);
        // An input of the last successful build may be missing now, and may come back, wherever it is.
        roots.extend(self.inputs.iter().cloned());
        WatchUpdate {
            roots,
            ignored_dirs: ignored(&self.roots),
            inputs: None,
            since,
        }
    }
}
