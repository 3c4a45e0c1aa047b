//! What becomes of connections that no program takes.

use std::sync::Arc;

/// What becomes of them now.
#[derive(Clone, Default)]
pub(super) enum Unclaimed {
    /// They wait.
    #[default]
    Wait,
    /// They are forwarded to the live generation.
    Forward,
    /// They get a response, or wait if there is none.
    Respond(Arc<dyn Respond>),
}

/// What a client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// More bytes are needed to decide.
    NeedMore,
    /// The client speaks another protocol. It waits for a program.
    Wait,
    /// These bytes, and then the end of the connection.
    Send(Vec<u8>),
}

/// Responds in the place of a program. It runs on the thread of the driver, so it must be quick.
pub trait Respond: Send + Sync {
    /// `received` is everything that has come so far. With `last` nothing more will be read: it is too long, took too
    /// long, or has ended. Then [`Response::NeedMore`] means the same as [`Response::Wait`].
    fn respond(&self, received: &[u8], last: bool) -> Response;
}
