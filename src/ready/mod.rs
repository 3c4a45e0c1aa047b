//! Decides when a new generation is ready for connections.
//!
//! [`wait`] waits until the rule in [`ReadySpec`] is met. It observes the generation through [`ReadyInputs`],
//! closures and channels, so it knows nothing of process trees, listeners or the notify socket. It has no timeout:
//! [`reload`](crate::reload) keeps the deadline, and the driver drops the future.

mod http;
mod inputs;
mod last_unready_reason;
mod listening;
mod pattern;
mod probe;
mod reason;
mod spec;
mod status;
mod wait;

#[cfg(test)]
mod tests;

pub use http::HttpProbe;
pub use inputs::{
    Connect, Connecting, Exec, ListenState, NotifyState, OnUnready, ReadyInputs, Stream,
};
pub use last_unready_reason::LastUnreadyReason;
pub use pattern::Pattern;
pub use reason::{ReadyError, ReadyReason, UnreadyReason};
pub use spec::ReadySpec;
pub use wait::wait;
