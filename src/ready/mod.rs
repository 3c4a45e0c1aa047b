//! When a new generation is ready for connections.
//!
//! [`ReadySpec`] says by what to tell, [`wait`] waits for it. Everything that it needs of the rest comes as
//! [`Inputs`]: closures and channels, so nothing here knows of process trees, slots or the notify socket.
//! There is no time-out here: the core has it, and the driver drops the future.

mod http;
mod inputs;
mod listening;
mod outcome;
mod pace;
mod pattern;
mod probe;
mod spec;
mod status;
mod wait;

#[cfg(test)]
mod tests;

pub use http::HttpProbe;
pub use inputs::{Dial, Dialed, Exec, Heard, Inputs, Listens, Stream};
pub use outcome::{How, Trouble, Why};
pub use pattern::Pattern;
pub use spec::{ReadySpec, SpecError};
pub use wait::wait;
