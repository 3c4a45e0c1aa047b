//! When builds run, and what becomes of what they make.

use crate::build::{Launch, Plan};
use crate::error::Failure;
use crate::os::hint_for_error;
use crate::reload::{Action, ArtifactId, BuildOutcome, Event, GenEvent, GenId};
use crate::ui::{Level, Mode, Report};
use crate::watch::Moment;

use super::inbox::{Built, Input};
use super::running::Running;
use super::state::Driver;
use super::{build, setup};

impl Driver {
    pub(super) fn build(&mut self, id: GenId) -> Option<GenEvent> {
        let progress = match self.config.ui.mode {
            Mode::Live | Mode::Json => true,
            Mode::Plain | Mode::Off => false,
        };
        let known = |(id, running): (&GenId, &Running)| Some((*id, running.fingerprint.clone()?));
        let request = build::BuildRequest {
            id,
            plan: self.builds.plan.clone(),
            cleanup: self.cleanup(),
            known: self.generations.iter().filter_map(known).collect(),
            progress,
        };
        // This build also contains the changes for which one was put off.
        self.builds.trigger.cancel();
        self.watch.watch.build_begins();
        let began = Moment::now();
        match build::start(request, began.wall, &self.inbox, &self.feed) {
            Ok(active) => {
                self.builds.started(active, began);
                None
            }
            Err(error) => {
                let hint = hint_for_error(error.as_ref());
                let text = format!("cannot start the build: {error:#}");
                self.feed.error(text, hint);
                Some(GenEvent::BuildEnded(BuildOutcome::Failed))
            }
        }
    }

    /// Starts the build that was put off.
    pub(super) fn start_postponed_build(&mut self) {
        self.builds.trigger.cancel();
        self.handle(Event::Changed(Action::Build));
    }

    /// A build succeeded: keeps what it made.
    pub(super) fn built(&mut self, id: GenId, built: Result<Box<Built>, Failure>) {
        let outcome = match built {
            Ok(built) => self.keep(id, *built),
            Err(error) => {
                self.feed.error(error.message(), error.first_hint());
                BuildOutcome::Failed
            }
        };
        self.handle(Event::Generation(id, GenEvent::BuildEnded(outcome)));
    }

    fn keep(&mut self, id: GenId, built: Built) -> BuildOutcome {
        let Built {
            launch,
            fingerprint,
            like,
        } = built;
        // That generation may have ended or begun to drain by now.
        let like = like.filter(|like| self.machine.phase(*like).stays());
        let known = like.and_then(|like| Some((like, self.machine.artifact(like)?)));
        let (artifact, outcome) = match known {
            Some((like, artifact)) => (artifact, BuildOutcome::Unchanged { like }),
            None => {
                let (artifact, kept) = self.keep_executable(id, &launch);
                (artifact, BuildOutcome::Built { artifact, kept })
            }
        };
        self.artifacts.set_newest(artifact, launch, fingerprint);
        outcome
    }

    /// Keeps the executable to roll back to. If that fails, everything else still works.
    fn keep_executable(&mut self, id: GenId, launch: &Launch) -> (ArtifactId, bool) {
        let machine = &self.machine;
        let kept = self
            .artifacts
            .keep(id, launch, |artifact| machine.needs(artifact));
        match kept {
            Ok(Some((artifact, new))) => {
                if new {
                    self.feed.report(Report::ArtifactKept { id });
                }
                return (artifact, true);
            }
            Ok(None) => {}
            Err(error) => {
                let text = format!("cannot keep the executable of gen {id}: {error}");
                self.feed.message(Level::Detail, text, None);
            }
        }
        (self.artifacts.new_id(), false)
    }

    /// Reads cargo's configuration and toolchain again. In a thread: this runs cargo, and rustup may take minutes to
    /// install a toolchain.
    pub(super) fn renew_plan(&mut self) {
        let (config, inbox) = (self.config.clone(), self.inbox.clone());
        self.builds.plan_requests += 1;
        let number = self.builds.plan_requests;
        tokio::task::spawn_blocking(move || {
            let planned = Plan::new(&setup::plan_options(&config));
            inbox.input(Input::Planned { number, planned });
        });
    }

    /// Of two requests the older one may finish last.
    pub(super) fn planned(&mut self, number: u32, planned: Result<Plan, Failure>) {
        if number < self.builds.plan_requests {
            return;
        }
        match planned {
            Ok(plan) => self.builds.plan = plan,
            // The build will fail too, with cargo's own message.
            Err(error) => self
                .feed
                .message(Level::Warning, error.message(), error.first_hint()),
        }
    }
}
