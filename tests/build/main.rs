//! The build against the real cargo: what it says to start, and what that costs.

mod checks;
mod launch;
mod package;
