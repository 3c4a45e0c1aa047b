use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvError, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc::UnboundedSender;

use super::debounce::{Debounce, State};
use super::git::Git;
use super::snapshot::{Snapshot, now, since_1970};
use super::system::System;
use super::tree::Tree;
use super::{Filter, Message, Trouble, WatchSpec, WatchUpdate};
use crate::os::{self, How, Told};

/// What the thread waits for.
#[derive(Debug)]
pub(super) enum Input {
    /// What the system tells, in order.
    Told(Vec<Told>),
    /// A build begins, at this time.
    Build(SystemTime),
    /// A build has taught something.
    Update(WatchUpdate),
    /// The watch was dropped.
    Stop,
}

/// What there is to do next.
enum Next {
    Told(Vec<Told>),
    Build(SystemTime),
    Update(WatchUpdate),
    Nothing,
    Stop,
}

/// The thread that watches.
pub(super) struct Worker {
    spec: WatchSpec,
    filter: Filter,
    tree: Tree,
    snapshot: Snapshot,
    debounce: Debounce,
    git: Git,
    /// What is still to be read ahead, in reverse order.
    unread: Vec<PathBuf>,
    /// When the newest build began that has not taught anything yet.
    build: Option<Duration>,
    /// Of which something was heard since then that did not count, and when: the build may have read it.
    passed_over: BTreeMap<PathBuf, Duration>,
    /// Whether it was told, since something was told last, that the system drops events.
    told_of_overflow: bool,
    messages: UnboundedSender<Message>,
}

impl Worker {
    pub(super) fn new(
        spec: WatchSpec,
        filter: Filter,
        system: Option<Box<dyn System>>,
        messages: UnboundedSender<Message>,
    ) -> Self {
        Self {
            filter,
            tree: Tree::new(system, spec.poll),
            snapshot: Snapshot::new(),
            debounce: Debounce::new(spec.debounce),
            git: Git::around(spec.places()),
            unread: Vec::new(),
            build: None,
            passed_over: BTreeMap::new(),
            told_of_overflow: false,
            messages,
            spec,
        }
    }

    pub(super) fn run(mut self, inputs: &Receiver<Input>) {
        self.cover(self.snapshot.started());
        self.tell(Message::Watching {
            dirs: self.tree.len(),
            files: self.snapshot.len(),
        });
        loop {
            match self.next(inputs) {
                Next::Told(mut told) => {
                    // What is dropped twice in a row is looked for once.
                    told.dedup();
                    told.into_iter().for_each(|told| self.told(told));
                }
                Next::Build(began) => self.build_begins(since_1970(began)),
                Next::Update(revision) => self.update(revision),
                Next::Nothing => {}
                Next::Stop => return,
            }
            if self.messages.is_closed() {
                return;
            }
            self.poll();
            self.ask_for_writers();
            self.flush();
        }
    }

    fn deadline(&mut self) -> Option<Instant> {
        let polls = self.tree.polled.deadline(Instant::now());
        let settled = self.debounce.deadline();
        let silent = self.debounce.silent_at();
        settled.into_iter().chain(polls).chain(silent).min()
    }

    fn look_into(&mut self, dir: &Path) {
        let mut paths = self.snapshot.within(dir);
        self.tree.try_again(dir);
        for (path, is_dir) in self.tree.read(dir) {
            if !is_dir {
                paths.push(path);
            } else if !self.tree.knows(&path) {
                self.dir_appeared(&path);
                // On the way to a root, and watched for nothing else: it has appeared once.
                if self.is_at_root(&path) && !self.tree.knows(&path) {
                    self.tree.polled.insert(&path);
                }
            }
        }
        paths.retain(|path| self.snapshot.differs(path));
        for path in paths {
            self.heard_of(&path, State::Unsure);
        }
        // Should it come again, it is found where it was. Nobody looks for a root but here.
        if !self.is_at_root(dir) && !dir.exists() {
            self.tree.polled.remove(dir);
        }
    }

    /// Looks for what nobody tells, when it is time to.
    fn poll(&mut self) {
        let began = Instant::now();
        if self
            .tree
            .polled
            .deadline(began)
            .is_none_or(|deadline| began < deadline)
        {
            return;
        }
        for dir in self.tree.polled.dirs() {
            self.look_into(&dir);
        }
        self.tell_troubles();
        let now = Instant::now();
        self.tree.polled.looked(now, now - began);
    }

    /// Of files that somebody writes nothing was heard for a while. Who truncates a file by its path never opens it, and
    /// so never closes it; and what was whole before somebody else began to write to it has waited long enough.
    fn ask_for_writers(&mut self) {
        let now = Instant::now();
        for (path, was_whole) in self.debounce.silent(now) {
            let goes_on = !was_whole && os::is_being_written(&path);
            let state = if goes_on {
                State::Written
            } else {
                State::Unsure
            };
            self.debounce.touch(path, state, now);
        }
    }

    /// Waits for an event, or for the time at which something has settled. As long as there are files to read
    /// ahead, one is read and nothing is waited for.
    fn next(&mut self, inputs: &Receiver<Input>) -> Next {
        let received = if let Some(file) = self.unread.pop() {
            self.snapshot.read_ahead(&file);
            inputs
                .try_recv()
                .map_err(|error| error == TryRecvError::Disconnected)
        } else if let Some(deadline) = self.deadline() {
            let wait = deadline.saturating_duration_since(Instant::now());
            inputs
                .recv_timeout(wait)
                .map_err(|error| error == RecvTimeoutError::Disconnected)
        } else {
            inputs.recv().map_err(|RecvError| true)
        };
        match received {
            Ok(Input::Told(told)) => Next::Told(told),
            Ok(Input::Build(began)) => Next::Build(began),
            Ok(Input::Update(revision)) => Next::Update(revision),
            Ok(Input::Stop) | Err(true) => Next::Stop,
            Err(false) => Next::Nothing,
        }
    }

    fn told(&mut self, told: Told) {
        match told {
            Told::Happened(path, how) => self.heard_of(&path, state_after(how)),
            Told::Overflow => self.rescan(),
            Told::Deaf(reason) => {
                self.tree.do_without_system();
                self.debounce.close_all(Instant::now());
                let limited = false;
                self.tell(Message::Trouble(Trouble::NoWatch { reason, limited }));
            }
        }
    }

    /// Something happened at `path`. What, is looked at now only as far as directories are concerned: they
    /// have to be watched before more happens in them.
    fn heard_of(&mut self, path: &Path, state: State) {
        match path.symlink_metadata() {
            // A symbolic link is not followed: what it leads to is watched where it is, or not at all.
            Ok(metadata) if metadata.is_dir() => self.dir_appeared(path),
            Ok(_) if self.counts(path) => {
                self.debounce.touch(path.to_owned(), state, Instant::now());
            }
            Ok(_) => self.pass_over(path),
            Err(_) => self.gone(path),
        }
    }

    fn counts(&mut self, path: &Path) -> bool {
        self.filter.file(path) || self.filter.is_outdated_by(path)
    }

    fn dir_appeared(&mut self, path: &Path) {
        let mut files = Vec::new();
        if self.is_at_root(path) {
            self.renew_filter();
            files = self.tree.cover(&mut self.filter);
        } else {
            self.tree.grow(path, &mut self.filter, &mut files);
        }
        self.tell_troubles();
        // It may be another directory than the one in which these were, or one in the place of a file.
        let known = self.snapshot.below(path).into_iter();
        files.extend(known.filter(|path| self.snapshot.differs(path)));
        for file in files {
            if self.counts(&file) {
                self.debounce.touch(file, State::Unsure, Instant::now());
            } else {
                self.pass_over(&file);
            }
        }
    }

    /// A file or a directory is gone; which of the two, nobody can say any more. What was never known there (a file
    /// that somebody wrote to put it in the place of another) has come to nothing.
    fn gone(&mut self, path: &Path) {
        if !self.snapshot.knows(path) {
            self.debounce.forget(path);
        } else if self.counts(path) || self.filter.dir(path) {
            self.debounce
                .touch(path.to_owned(), State::Unsure, Instant::now());
        }
        if !self.counts(path) {
            self.pass_over(path);
        }
        self.tree.lost(path);
        if !self.is_at_root(path) {
            return;
        }
        for root in self.spec.places().map(Path::to_owned).collect::<Vec<_>>() {
            if root.starts_with(path) {
                self.tree.anchor(&root);
            }
        }
        // It may have come back before it was waited for.
        if path.is_dir() {
            self.dir_appeared(path);
        }
    }

    /// Whether `path` is a root, or a root is below it.
    fn is_at_root(&self, path: &Path) -> bool {
        self.spec.places().any(|root| root.starts_with(path))
    }

    fn renew_filter(&mut self) {
        // The patterns are those that were accepted at the start.
        if let Ok(filter) = Filter::new(&self.spec) {
            self.filter = filter;
        }
    }

    /// Watches anew by the ignore files as they are now. What is found was there, and ignored, except for what has changed
    /// along with them.
    fn ignore_files_changed(&mut self, changed: &[PathBuf]) {
        self.renew_filter();
        self.suppose(changed.iter());
        self.cover(now());
        self.tree.prune(&mut self.filter);
    }

    /// Watches all that passes the filter. A file that is not known yet is a change only if it has changed
    /// since `since`.
    fn cover(&mut self, since: Duration) {
        for file in self.tree.cover(&mut self.filter) {
            if self.snapshot.note(&file, since) && self.filter.file(&file) {
                self.debounce.touch(file, State::Unsure, Instant::now());
            }
        }
        self.unread = self.snapshot.unread();
        self.unread.reverse();
        self.tell_troubles();
    }

    /// The system has dropped events: compares everything with what is known. Whatever dropped them may go on.
    fn rescan(&mut self) {
        self.debounce.close_all(Instant::now());
        self.renew_filter();
        self.tree.forget_gone();
        let found = self.tree.cover(&mut self.filter);
        let known = self.snapshot.paths().cloned();
        let mut paths: BTreeSet<PathBuf> = found.into_iter().chain(known).collect();
        paths.retain(|path| self.snapshot.differs(path));
        for path in paths {
            self.heard_of(&path, State::Unsure);
        }
        self.tell_troubles();
        if !std::mem::replace(&mut self.told_of_overflow, true) {
            self.tell(Message::Trouble(Trouble::Overflow));
        }
    }

    /// Tells what has settled, if its content is another.
    fn flush(&mut self) {
        let now = Instant::now();
        let git_works = || self.debounce.goes_on(now) && self.git.is_busy();
        let more = || self.tree.has_more() || git_works();
        if self.debounce.is_due(now) && more() && self.debounce.postpone(now) {
            return;
        }
        let Some(paths) = self.debounce.take(now) else {
            return;
        };
        self.find_lost_roots();
        self.told_of_overflow = false;
        if paths.iter().any(|path| self.filter.is_outdated_by(path)) {
            self.ignore_files_changed(&paths);
        }
        let mut changed = BTreeSet::new();
        for path in paths {
            // What does not count by itself is here because it was a directory, perhaps.
            let counts = self.counts(&path);
            changed.extend(if counts {
                self.snapshot.update(&path)
            } else {
                self.snapshot.forget_gone(&path)
            });
        }
        // What is gone was known, which is not to say that it counts.
        changed.retain(|path| self.filter.file(path));
        self.tell_changed(changed);
    }

    /// The end of a directory in which somebody works, as hotrun and its program mostly do, is told of nobody but its
    /// parent: the directory itself is there until they leave (`inotify(7)`, `IN_DELETE_SELF`). What was in it is told.
    /// Another one may be in its place by now.
    fn find_lost_roots(&mut self) {
        let known = self.spec.places().filter(|root| self.tree.knows(root));
        for root in known.map(Path::to_owned).collect::<Vec<_>>() {
            if !root.exists() {
                self.gone(&root);
            } else if self.tree.is_another(&root) {
                self.dir_appeared(&root);
            }
        }
    }

    fn tell_changed(&self, changed: BTreeSet<PathBuf>) {
        if !changed.is_empty() {
            let paths = changed.into_iter().collect();
            let heard = self.debounce.heard();
            self.tell(Message::Changed { paths, heard });
        }
    }

    fn tell_troubles(&mut self) {
        for trouble in self.tree.troubles() {
            self.tell(Message::Trouble(trouble));
        }
    }

    fn tell(&self, message: Message) {
        // Nobody listens any more: the next turn of the loop ends it.
        let _ = self.messages.send(message);
    }
}

fn state_after(how: How) -> State {
    match how {
        How::Whole => State::Done,
        How::Written => State::Written,
        How::Other => State::Unsure,
    }
}

#[cfg(test)]
mod tests;
mod updates;
