//! What is said to who connects while nothing serves.

use std::sync::{Arc, PoisonError};

use crate::reload::{Failure, GenId};
use crate::socket::Answerer;
use crate::socket::pending::{Reason, Responder};

use super::Driver;

impl Driver {
    /// Whoever asks over HTTP is told how this generation failed.
    pub(super) fn answer_for(&mut self, id: GenId, failure: Failure) {
        if !self.config.error_page {
            return;
        }
        let words = self.feed.words();
        let reason = move || {
            let words = words.lock().unwrap_or_else(PoisonError::into_inner);
            Reason {
                what: format!("gen {id} {failure}"),
                said: words.about(id, failure),
            }
        };
        let answers: Arc<dyn Answerer> = Arc::new(Responder::new(reason));
        let answered = self.sockets.answer(&answers);
        self.told("answering who connects", answered);
    }
}
