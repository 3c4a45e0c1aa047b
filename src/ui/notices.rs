//! What notices mean for the output of a build.

use super::Model;
use crate::reload::{Failure, GenNotice, Notice};

pub(super) fn build_begins(notice: Notice) -> bool {
    matches!(notice, Notice::Generation(_, GenNotice::Building { .. }))
}

/// Also if it fails; not if it is cancelled.
pub(super) fn build_ends(notice: Notice) -> bool {
    let ends = matches!(
        notice,
        Notice::Generation(_, GenNotice::Built { .. } | GenNotice::Unchanged { .. })
    );
    ends || build_fails(notice)
}

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
    build_begins(notice)
}
