use std::sync::{Arc, Mutex, PoisonError};

use super::UnreadyReason;

/// Why a generation is not ready yet, as of the last check.
#[derive(Clone, Debug, Default)]
pub struct LastUnreadyReason(Arc<Mutex<Option<UnreadyReason>>>);

impl LastUnreadyReason {
    /// Stores each reason it is called with.
    pub fn recorder(&self) -> Box<dyn FnMut(UnreadyReason) + Send> {
        let last = self.0.clone();
        Box::new(move |reason| {
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
        })
    }

    /// The last reason, if there was one.
    pub fn get(&self) -> Option<String> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().map(ToString::to_string)
    }
}
