//! What hotrun says in addition to the machine's notices.

use std::sync::PoisonError;

use crate::reload::{Ended, Failure, GenId, GenNotice, Notice};
use crate::ui::{Level, Report};

use super::state::Driver;

impl Driver {
    pub(super) fn notice(&mut self, notice: Notice) {
        let conflict = self.conflict(&notice);
        let unready = self.unready_reason(&notice);
        self.feed.report(Report::Notice(notice));
        if let Some(reason) = unready {
            let hint = "`--ready` sets another condition, `--ready-timeout` allows more time";
            self.feed.error(reason, Some(hint.into()));
        }
        if let Some((id, live)) = conflict {
            let text = format!(
                "gen {id} may be unable to run beside gen {live}, for example because of a lock"
            );
            let hint = "if so, `--stop-first` ends the old generation first, and holds connections until then";
            self.feed.message(Level::Info, text, Some(hint.into()));
        }
    }

    /// Why a generation did not become ready in time.
    fn unready_reason(&self, notice: &Notice) -> Option<String> {
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
        self.generations.get(id)?.unready_reason.get()
    }

    /// Whether a generation may have exited because it cannot run beside another one, and nothing else explains it.
    /// Reported once.
    fn conflict(&mut self, notice: &Notice) -> Option<(GenId, GenId)> {
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
        let recent = self.feed.recent_output();
        let recent = recent.lock().unwrap_or_else(PoisonError::into_inner);
        if self.reported.explained.contains(id) || !recent.may_mind_other_instance(*id) {
            return None;
        }
        let reported = std::mem::replace(&mut self.reported.stop_first, true);
        (!reported).then_some((*id, *live))
    }
}
