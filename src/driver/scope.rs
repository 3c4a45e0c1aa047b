//! What the watch learns from builds: which files count.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::build::{BuildInputs, Plan, WatchRoots};
use crate::os;
use crate::reload::GenId;
use crate::watch::{InputSet, WatchUpdate};

use super::Driver;
use super::inbox::{Inbox, Input};

/// What a build has taught about its inputs.
#[derive(Debug)]
pub(super) struct Lesson {
    pub(super) id: GenId,
    /// When the build began.
    pub(super) began: SystemTime,
    pub(super) taught: Taught,
}

#[derive(Debug)]
pub(super) enum Taught {
    /// It was good, and made from exactly this.
    Exact(BuildInputs),
    /// It failed, or does not say: everything in here may be what the next one needs.
    Anything(WatchRoots),
}

/// Asks what may matter now that a build does not say it. In a thread: it runs cargo.
pub(super) fn ask_anew(id: GenId, began: SystemTime, mut plan: Plan, inbox: &Inbox) {
    let Plan::Cargo(_) = &plan else {
        return;
    };
    let inbox = inbox.clone();
    tokio::task::spawn_blocking(move || {
        // A manifest that cargo cannot read: what was known stays.
        let roots = plan.watch_roots().unwrap_or_default();
        let taught = Taught::Anything(roots);
        inbox.input(Input::Learnt(Lesson { id, began, taught }));
    });
}

/// Directories in which nothing counts. What is printed into the watched folder (`hotrun … > log`) would cause what
/// prints more.
pub(super) fn ignored(roots: &WatchRoots) -> Vec<PathBuf> {
    let printed = os::output_files();
    roots.ignored.iter().cloned().chain(printed).collect()
}

/// What to watch where the user does not say.
pub(super) fn places(roots: &WatchRoots) -> Vec<PathBuf> {
    roots.dirs.iter().chain(&roots.files).cloned().collect()
}

impl Driver {
    /// Lets the watch know. What the user names by `--watch` stays as it is.
    pub(super) fn learn(&mut self, lesson: Lesson) {
        let Lesson { id, began, taught } = lesson;
        // Asking takes a moment; a newer build may have been faster.
        if !self.config.watch.is_empty() || self.lessons > Some(id) {
            return;
        }
        self.lessons = Some(id);
        let revision = match taught {
            Taught::Exact(inputs) => self.exactly(inputs, began),
            Taught::Anything(roots) => self.anything(roots, began),
        };
        self.watch.update(revision);
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
        // What is not known any more when a manifest breaks.
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
        // What a good build has read may be missing now, wherever that is, and come back.
        roots.extend(self.inputs.iter().cloned());
        WatchUpdate {
            roots,
            ignored_dirs: ignored(&self.roots),
            inputs: None,
            since,
        }
    }
}
