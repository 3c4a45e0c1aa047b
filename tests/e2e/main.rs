//! Runs hotrun as a user does, with real programs, sockets and edits, and checks it from the outside.

mod activation;
mod adopting;
mod alive;
mod answering;
mod bad_input;
mod cargo;
mod cargo_files;
mod cases;
mod changes;
mod crashes;
mod doctor;
mod etcd;
mod faults;
mod fresh;
mod harness;
mod hooks;
mod inputs;
mod kept;
mod kills;
mod matrix;
mod notify;
mod own_files;
mod reload;
mod rules;
mod scarce;
#[path = "../watch/script.rs"]
mod script;
mod scripts;
mod share;
mod soak;
mod sockets;
mod sources;
mod stopping;
mod suite;
mod under_load;
mod warm_up;
