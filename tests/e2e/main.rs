//! hotrun as a user meets it: real programs, real sockets, real edits, checked from outside.

mod activation;
mod adopting;
mod bad_input;
mod cases;
mod changes;
mod faults;
mod harness;
mod inputs;
mod kills;
mod matrix;
mod reload;
mod rules;
#[path = "../watch/script.rs"]
mod script;
mod scripts;
mod sockets;
mod stopping;
mod under_load;
