use std::collections::BTreeMap;
use std::time::Duration;

use super::Report;
use crate::reload::{Failure, GenId, Notice, Phase};

/// What is known of a generation that is not gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Where it is in its life.
    pub phase: Phase,
    /// The program's pid, once it is started.
    pub pid: Option<i32>,
    /// How long after its start it was ready.
    pub ready: Option<Duration>,
    /// How long it may drain.
    pub drain: Option<Duration>,
    /// Whether it failed or was given up, and only its processes are left.
    pub failed: bool,
}

/// What is known of everything: a pure fold of the reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// The generations that are not gone.
    pub generations: BTreeMap<GenId, Generation>,
    /// The open sockets: name and address.
    pub listening: Vec<(String, String)>,
    /// Whether hotrun is ending.
    pub quitting: bool,
}

impl Model {
    /// Takes in one more report.
    pub fn fold(&mut self, report: &Report) {
        match report {
            Report::Notice(notice) => self.fold_notice(notice),
            Report::Listening { name, address } => {
                self.listening.push((name.clone(), address.clone()));
            }
            Report::Spawned { id, pid } => {
                if let Some(generation) = self.generations.get_mut(id) {
                    generation.pid = Some(*pid);
                }
            }
            Report::Watching { .. }
            | Report::Changed { .. }
            | Report::Diagnostic { .. }
            | Report::BuildLine { .. }
            | Report::Output { .. }
            | Report::OutputEnded { .. }
            | Report::Message { .. } => {}
        }
    }

    fn fold_notice(&mut self, notice: &Notice) {
        match notice {
            Notice::Building { id, .. } => self.enter(*id, Phase::Building),
            Notice::Starting { id, .. } => self.enter(*id, Phase::Starting),
            Notice::Live { id, .. } => self.enter(*id, Phase::Live),
            Notice::Ready { id, took } => {
                self.enter(*id, Phase::Ready);
                self.generation(*id).ready = Some(*took);
            }
            Notice::Draining { id, timeout } => {
                self.enter(*id, Phase::Draining);
                self.generation(*id).drain = Some(*timeout);
            }
            Notice::Superseded { id } => self.fail(*id),
            Notice::Failed { id, failure, .. } => match failure {
                Failure::Build | Failure::Start => drop(self.generations.remove(id)),
                Failure::EndedEarly(_)
                | Failure::ReadyTimeout
                | Failure::Switch
                | Failure::Crashed(_)
                | Failure::Lost => self.fail(*id),
            },
            Notice::BuildCancelled { id }
            | Notice::Outdated { id }
            | Notice::Unchanged { id, .. }
            | Notice::Gone { id, .. } => {
                self.generations.remove(id);
            }
            Notice::Quitting { .. } => self.quitting = true,
            Notice::Built { .. }
            | Notice::Signalled { .. }
            | Notice::Unhandled { .. }
            | Notice::Killing { .. }
            | Notice::Waiting => {}
        }
    }

    /// Nothing good comes of it any more; its processes are not gone yet.
    fn fail(&mut self, id: GenId) {
        self.enter(id, Phase::Draining);
        self.generation(id).failed = true;
    }

    fn generation(&mut self, id: GenId) -> &mut Generation {
        let new = Generation {
            phase: Phase::Building,
            pid: None,
            ready: None,
            drain: None,
            failed: false,
        };
        self.generations.entry(id).or_insert(new)
    }

    fn enter(&mut self, id: GenId, phase: Phase) {
        self.generation(id).phase = phase;
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
mod tests {
    use super::*;
    use crate::reload::{Cause, Failure, Stopped};

    const ONE: GenId = GenId::new(1);
    const TWO: GenId = GenId::new(2);
    const MOMENT: Duration = Duration::from_millis(5);

    fn model(notices: &[Notice]) -> Model {
        let mut model = Model::default();
        for notice in notices {
            model.fold(&Report::Notice(notice.clone()));
        }
        model
    }

    fn beside() -> Vec<Notice> {
        vec![
            Notice::Building {
                id: ONE,
                cause: Cause::Begin,
            },
            Notice::Starting {
                id: ONE,
                cause: Cause::Begin,
            },
            Notice::Ready {
                id: ONE,
                took: MOMENT,
            },
            Notice::Live {
                id: ONE,
                took: MOMENT,
            },
            Notice::Building {
                id: TWO,
                cause: Cause::Change,
            },
        ]
    }

    #[test]
    fn a_build_is_no_overlap_and_a_start_is() {
        let mut notices = beside();
        assert!(!model(&notices).overlaps(ONE));
        notices.push(Notice::Starting {
            id: TWO,
            cause: Cause::Change,
        });
        let model = model(&notices);
        assert!(model.overlaps(ONE) && model.overlaps(TWO));
        assert_eq!(model.live(), Some(ONE));
    }

    #[test]
    fn the_overlap_ends_with_the_old_one_or_with_a_failure_of_the_new_one() {
        let mut notices = beside();
        notices.push(Notice::Starting {
            id: TWO,
            cause: Cause::Change,
        });
        let mut failed = notices.clone();
        failed.push(Notice::Failed {
            id: TWO,
            failure: Failure::ReadyTimeout,
            live: Some(ONE),
        });
        assert!(model(&failed).overlaps(ONE), "its last words may come");
        failed.push(Notice::Gone {
            id: TWO,
            how: Stopped::Drained,
            took: MOMENT,
        });
        assert!(!model(&failed).overlaps(ONE));
        notices.push(Notice::Draining {
            id: ONE,
            timeout: MOMENT,
        });
        notices.push(Notice::Live {
            id: TWO,
            took: MOMENT,
        });
        assert!(model(&notices).overlaps(TWO));
        notices.push(Notice::Gone {
            id: ONE,
            how: Stopped::Drained,
            took: MOMENT,
        });
        assert!(!model(&notices).overlaps(TWO));
        assert_eq!(model(&notices).live(), Some(TWO));
    }

    #[test]
    fn the_pid_and_the_times_are_kept() {
        let mut model = model(&beside());
        model.fold(&Report::Spawned { id: ONE, pid: 42 });
        let generation = &model.generations[&ONE];
        assert_eq!((generation.pid, generation.ready), (Some(42), Some(MOMENT)));
    }
}
