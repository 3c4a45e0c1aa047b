//! Tests of the machine: readable traces, an exhaustive exploration of a small world, and long random walks. The last two
//! check the same rules on every step; `ledger.rs` lists them.

use crate::reload;

mod dues;
mod exhaustive;
mod invariants;
mod ledger;
mod notifications;
mod pair;
mod past;
mod process;
mod random;
mod reload_signals;
pub(crate) mod replay;
mod rules;
mod trace;
mod unchanged;
mod world;
