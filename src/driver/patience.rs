use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::ready::UnreadyReason;

/// Why a generation is not ready yet: told if it never is.
#[derive(Clone, Default)]
pub(super) struct Patience(Arc<Mutex<Option<UnreadyReason>>>);

impl Patience {
    /// Where the last reason is put.
    pub(super) fn recorder(&self) -> Box<dyn FnMut(UnreadyReason) + Send> {
        let last = self.0.clone();
        Box::new(move |reason| {
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
        })
    }

    /// What was missing when it was last looked at.
    pub(super) fn last(&self) -> Option<String> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().map(ToString::to_string)
    }
}

impl fmt::Debug for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Patience").field(&self.last()).finish()
    }
}
