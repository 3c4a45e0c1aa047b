//! What is told of the machine's notices beside the notices themselves.

use std::sync::PoisonError;

use crate::reload::{Ended, Failure, GenId, GenNotice, Notice};
use crate::ui::{Level, Report};

use super::Driver;

impl Driver {
    pub(super) fn tell(&mut self, notice: Notice) {
        let company = self.minds_company(&notice);
        let missing = self.missing(&notice);
        self.feed.tell(Report::Notice(notice));
        if let Some(missing) = missing {
            let hint =
                "`--ready` chooses another sign of readiness, `--ready-timeout` gives it more time";
            self.feed.error(missing, Some(hint.into()));
        }
        if let Some((id, live)) = company {
            let text = format!(
                "gen {id} may be unable to run beside gen {live}: a lock, a database for one alone"
            );
            let hint =
                "if so, `--stop-first` ends the old one first, and connections wait meanwhile";
            self.feed.message(Level::Info, text, Some(hint.into()));
        }
    }

    /// What readiness waited for in vain.
    fn missing(&self, notice: &Notice) -> Option<String> {
        let Notice::Generation(
            id,
            GenNotice::Failed {
                failure: Failure::ReadyTimeout,
                ..
            },
        ) = notice
        else {
            return None;
        };
        self.generations.get(id)?.patience.last()
    }

    /// Whether a generation has ended beside another as one does that can't run twice, and has said nothing that
    /// explains it otherwise. It is told once: whoever has read it knows.
    fn minds_company(&mut self, notice: &Notice) -> Option<(GenId, GenId)> {
        let Notice::Generation(
            id,
            GenNotice::Failed {
                failure: Failure::ExitedEarly(Ended::Code(_)),
                live: Some(live),
            },
        ) = notice
        else {
            return None;
        };
        let words = self.feed.words();
        let words = words.lock().unwrap_or_else(PoisonError::into_inner);
        if self.explained.contains(id) || !words.may_be_of_company(*id) {
            return None;
        }
        let told = std::mem::replace(&mut self.told_of_company, true);
        (!told).then_some((*id, *live))
    }
}
