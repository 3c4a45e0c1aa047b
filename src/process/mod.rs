//! Process trees: spawn, signal, reap, account.

pub mod notify;
