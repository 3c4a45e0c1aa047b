//! The response to HTTP requests while no generation is live.

use std::sync::{Arc, PoisonError};

use crate::reload::{Failure, GenId};
use crate::socket::Respond;
use crate::socket::pending::{Reason, Responder};

use super::state::Driver;

impl Driver {
    /// From now on, HTTP requests get a response that tells how this generation failed.
    pub(super) fn answer_for(&mut self, id: GenId, failure: Failure) {
        if !self.config.error_page {
            return;
        }
        let recent = self.feed.recent_output();
        let reason = move || {
            let recent = recent.lock().unwrap_or_else(PoisonError::into_inner);
            Reason {
                summary: format!("gen {id} {failure}"),
                details: recent.explain(id, failure),
            }
        };
        let responder: Arc<dyn Respond> = Arc::new(Responder::new(reason));
        let started = self.sockets.respond(&responder);
        self.report_failure("responding to connections", started);
    }
}
