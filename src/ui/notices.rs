//! What notices mean for the renderers.

use super::Model;
use crate::reload::{Failure, GenNotice, Notice};

pub(super) fn build_fails(notice: Notice) -> bool {
    matches!(
        notice,
        Notice::Generation(
            _,
            GenNotice::Failed {
                failure: Failure::Build,
                ..
            }
        )
    )
}

/// Whether a build begins, or a start without a build.
pub(super) fn starts_reload(notice: Notice, model: &Model) -> bool {
    if let Notice::Generation(id, GenNotice::Starting { .. }) = notice {
        return !model.generations.contains_key(&id);
    }
    matches!(notice, Notice::Generation(_, GenNotice::Building { .. }))
}
