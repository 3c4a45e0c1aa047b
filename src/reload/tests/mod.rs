//! Tests of the machine: readable traces, an exhaustive exploration of a world with few events, and long random walks.
//! The exploration and the walks check the same rules on every step; `ledger.rs` lists them.

use crate::reload;

mod any_event;
mod dues;
mod effects;
mod exhaustive;
mod fresh;
mod happen;
mod invariants;
mod kept;
mod ledger;
mod next_events;
mod notices;
mod notifications;
mod pair;
mod past;
mod process;
mod random;
pub(crate) mod replay;
mod shares;
mod trace;
mod world;
