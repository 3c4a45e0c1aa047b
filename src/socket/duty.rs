use std::sync::Arc;

use super::answerer::Answerer;

/// What becomes of a connection that no program takes.
#[derive(Clone, Default)]
pub(super) enum Duty {
    /// It waits.
    #[default]
    Wait,
    /// It is carried to the live generation.
    Carry,
    /// It is answered, if it can be, or else waits.
    Answer(Arc<dyn Answerer>),
}
