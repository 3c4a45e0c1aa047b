mod facts;
mod notices;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use super::{Level, Report, build_log, sanitize};
pub use facts::{Building, Generation, Last, Problem};

use crate::reload::{Cause, Failure, GenId, Phase, Stopped};

/// So many errors of a build are kept to be shown; the rest is counted.
const MOST_ERRORS: usize = 4;
/// So many lines of a build that says nothing else are shown.
const LAST_LINES: usize = 12;
/// So many files that changed are remembered.
const MOST_FILES: usize = 4;

/// What is known of everything: a pure fold of the reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// The generations that are not gone.
    pub generations: BTreeMap<GenId, Generation>,
    /// The sockets that hotrun itself has opened: name and address.
    pub listening: Vec<(String, String)>,
    /// Where the program listens by itself that served last, or the newest one before there was any.
    opened: Vec<String>,
    /// The build that runs.
    pub building: Option<Building>,
    /// Why the newest generation was made.
    pub cause: Option<Cause>,
    /// The first files whose change led to the newest generation.
    pub changed: Vec<PathBuf>,
    /// How many files that were.
    pub changes: usize,
    /// The files that changed last, until a generation is made because of them: a rule may do something else, or the
    /// next build is the one that has them.
    heard: (Vec<PathBuf>, usize),
    /// What became of the last generation that was built.
    pub last: Last,
    /// What is wrong with what was started, until something else is told.
    pub problem: Option<Problem>,
    /// The newest build that failed, until one succeeds: whatever happens meanwhile to what runs, the sources do not
    /// build.
    pub broken: Option<Problem>,
    /// The errors of the newest build, and how many.
    errors: (Vec<String>, usize),
    /// The last lines that it printed, and how many came before them.
    tail: (VecDeque<String>, usize),
    /// Whether what is live, or was live last, is of the build before the one that crashed.
    pub back: bool,
    /// Whether nothing is left to do until something changes, and nothing is live.
    pub waiting: bool,
    /// Whether changes wait until the user says otherwise.
    pub paused: bool,
    /// Whether some do.
    pub held: bool,
    /// Whether there may be an earlier build to go back to.
    pub undoable: bool,
    /// The newest generation whose build is kept.
    artifact: Option<GenId>,
    /// Whether one of those has been live.
    served: bool,
    /// When hotrun began to end, and how long that may take.
    pub quitting: Option<(Duration, Duration)>,
}

impl Model {
    /// Takes in one more report, which came at this moment of the user interface's own clock.
    pub fn fold(&mut self, report: &Report, now: Duration) {
        match report {
            Report::Notice(notice) => self.fold_notice(notice, now),
            Report::Listening {
                by: None,
                name,
                address,
                ..
            } => self.listening.push((name.clone(), address.clone())),
            Report::Listening {
                by: Some(id),
                address,
                ..
            } => self.opened(*id, address),
            Report::Spawned { id, pid, program } => {
                if let Some(generation) = self.generations.get_mut(id) {
                    generation.pid = Some(*pid);
                    generation.program.clone_from(program);
                }
            }
            Report::MainProcess { id, pid } => {
                if let Some(generation) = self.generations.get_mut(id) {
                    generation.pid = Some(*pid);
                }
            }
            Report::Status { id, text } => {
                if let Some(generation) = self.generations.get_mut(id) {
                    generation.status.clone_from(text);
                }
            }
            Report::Changed { paths } => {
                self.held |= self.paused;
                let first = paths.iter().take(MOST_FILES).cloned().collect();
                self.heard = (first, paths.len());
            }
            Report::Diagnostic {
                level, rendered, ..
            } => self.diagnostic(*level, rendered),
            Report::Progress { done, all, .. } => {
                if let Some(building) = &mut self.building {
                    building.progress = Some((*done, *all));
                    building.blocked = false;
                }
            }
            Report::BuildBlocked { .. } => {
                if let Some(building) = &mut self.building {
                    building.blocked = true;
                }
            }
            Report::Connections { id, count } => {
                if let Some(generation) = self.generations.get_mut(id) {
                    generation.connections = Some(*count);
                }
            }
            Report::ArtifactKept { id } => self.artifact = Some(*id),
            Report::BuildLine { text, .. } => {
                let (lines, before) = &mut self.tail;
                if lines.len() == LAST_LINES {
                    lines.pop_front();
                    *before += 1;
                }
                lines.push_back(sanitize::shortened(text).to_owned());
            }
            Report::Watching { .. }
            | Report::Output { .. }
            | Report::OutputEnded { .. }
            | Report::Message { .. } => {}
        }
    }

    /// A program has opened a socket by itself.
    fn opened(&mut self, id: GenId, address: &str) {
        if let Some(generation) = self.generations.get_mut(&id)
            && !generation.addresses.iter().any(|known| known == address)
        {
            generation.addresses.push(address.to_owned());
            if self.live().is_none_or(|live| live == id) {
                self.serves(id);
            }
        }
    }

    /// Connections go where this one listens.
    fn serves(&mut self, id: GenId) {
        if let Some(generation) = self.generations.get(&id) {
            self.opened.clone_from(&generation.addresses);
        }
    }

    /// Where connections wait while nothing is live.
    pub fn waits_at(&self) -> Option<&str> {
        let held = self.listening.iter().map(|(_, address)| address);
        held.chain(&self.opened).next().map(String::as_str)
    }

    fn diagnostic(&mut self, level: Level, rendered: &str) {
        match level {
            Level::Error => {
                self.errors.1 += 1;
                if self.errors.0.len() < MOST_ERRORS {
                    let lines: Vec<&str> = rendered.lines().map(sanitize::shortened).collect();
                    self.errors.0.push(lines.join("\n"));
                }
            }
            Level::Warning => self.last.warnings += 1,
            Level::Detail | Level::Info => {}
        }
    }

    fn building(&mut self, id: GenId, cause: Cause, now: Duration) {
        self.because(cause);
        self.because_of_files(cause);
        self.enter(id, Phase::Building, now);
        self.errors = Default::default();
        self.tail = Default::default();
        self.last = Last::default();
        self.building = Some(Building {
            id,
            since: now,
            progress: None,
            blocked: false,
        });
    }

    /// Something is under way again.
    fn because(&mut self, cause: Cause) {
        self.waiting = false;
        if cause == Cause::Request {
            self.held = false;
        }
        self.cause = Some(cause);
        if cause != Cause::Change {
            self.changed.clear();
            self.changes = 0;
        }
    }

    /// A generation is made that has what changed last.
    fn because_of_files(&mut self, cause: Cause) {
        let heard = std::mem::take(&mut self.heard);
        if cause == Cause::Change && heard.1 > 0 {
            (self.changed, self.changes) = heard;
        }
    }

    fn failed(&mut self, id: GenId, failure: Failure, now: Duration) {
        match failure {
            Failure::Build | Failure::Start => drop(self.generations.remove(&id)),
            Failure::ExitedEarly(_)
            | Failure::ReadyTimeout
            | Failure::Switch
            | Failure::Crashed(_)
            | Failure::Vanished => self.fail(id, now),
        }
        let mut problem = Problem {
            id,
            failure,
            errors: Vec::new(),
            count: 0,
        };
        if failure == Failure::Build {
            self.building = None;
            (problem.errors, problem.count) = self.take_errors();
            // What happened before it is old news.
            (self.broken, self.problem) = (Some(problem), None);
        } else {
            self.problem = Some(problem);
        }
    }

    /// What went wrong last.
    pub fn wrong(&self) -> Option<&Problem> {
        self.problem.as_ref().or(self.broken.as_ref())
    }

    /// Without an error in the compiler's own words, what was said last.
    fn take_errors(&mut self) -> (Vec<String>, usize) {
        let (mut errors, count) = std::mem::take(&mut self.errors);
        let (lines, before) = std::mem::take(&mut self.tail);
        if errors.is_empty() {
            let before = build_log::missing(before);
            let said: Vec<String> = before.into_iter().chain(lines).collect();
            errors.push(said.join("\n"));
        }
        (errors, count)
    }

    fn killing(&mut self, id: GenId, why: Stopped, now: Duration) {
        let generation = self.generation(id, now);
        generation.killed = match why {
            Stopped::Killed | Stopped::TimedOut => true,
            Stopped::Drained => false,
        };
    }

    /// Nothing good comes of it any more; its processes are not gone yet.
    fn fail(&mut self, id: GenId, now: Duration) {
        self.enter(id, Phase::Draining, now);
        self.generation(id, now).failed = true;
    }

    fn generation(&mut self, id: GenId, now: Duration) -> &mut Generation {
        let new = Generation {
            phase: Phase::Building,
            since: now,
            program: String::new(),
            pid: None,
            ready: None,
            served: None,
            drain: None,
            status: String::new(),
            addresses: Vec::new(),
            connections: None,
            failed: false,
            killed: false,
        };
        self.generations.entry(id).or_insert(new)
    }

    fn enter(&mut self, id: GenId, phase: Phase, now: Duration) {
        let generation = self.generation(id, now);
        generation.phase = phase;
        generation.since = now;
    }

    /// The generation to which new connections go.
    pub fn live(&self) -> Option<GenId> {
        self.generations
            .iter()
            .find(|(_, generation)| generation.phase == Phase::Live)
            .map(|(id, _)| *id)
    }

    /// Whether a program other than this generation's runs, so that their output must be told apart.
    pub fn overlaps(&self, id: GenId) -> bool {
        self.generations
            .iter()
            .any(|(other, generation)| *other != id && runs(generation.phase))
    }
}

fn runs(phase: Phase) -> bool {
    match phase {
        Phase::Starting | Phase::Ready | Phase::Live | Phase::Draining => true,
        Phase::Building | Phase::Gone => false,
    }
}

#[cfg(test)]
mod tests;
