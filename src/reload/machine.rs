use super::{Effect, Notice};

/// What the machine answers to an event: what to do, in this order, and what to tell.
#[must_use]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// To be performed in order.
    pub effects: Vec<Effect>,
    /// To be shown in order.
    pub notices: Vec<Notice>,
}

/// The state machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine {}
