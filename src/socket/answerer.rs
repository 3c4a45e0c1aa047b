//! What is said to who connects while no program serves.

/// What an [`Answerer`] makes of what it was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// More is needed to tell.
    Unsure,
    /// It speaks something that can't be answered: it waits for a program.
    Other,
    /// It gets this, and nothing else.
    Answer(Vec<u8>),
}

/// Answers in the place of a program. It is asked in the driver's own thread, so it has to be quick.
pub trait Answerer: Send + Sync {
    /// `heard` is all that has come so far. `last` tells that nothing more will be listened to: it is too long by
    /// now, or took too long, or its end has come. Then [`Heard::Unsure`] means the same as [`Heard::Other`].
    fn answer(&self, heard: &[u8], last: bool) -> Heard;
}
