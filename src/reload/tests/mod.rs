//! Tests of the machine: traces that a person can read, every state that a small world can reach, and long
//! random walks. All three keep the same rules; see `ledger.rs` for their list.

mod configured;
mod dues;
mod exhaustive;
mod invariants;
mod ledger;
mod notified;
mod pair;
mod past;
mod process;
mod random;
mod rules;
mod same;
mod text;
mod trace;
mod world;
