//! hotrun as a user meets it: real programs, real sockets, real edits, checked from outside.

mod activation;
mod adopting;
mod answering;
mod bad_input;
mod changes;
mod faults;
mod harness;
mod inputs;
mod kills;
mod matrix;
mod reload;
mod rules;
mod sockets;
mod stopping;
mod under_load;
