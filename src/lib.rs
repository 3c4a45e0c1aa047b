//! hotrun: a hot-reload runner for servers.

pub mod adopt;
pub mod build;
pub mod cli;
pub mod config;
pub mod error;
pub mod os;
pub mod process;
pub mod ready;
pub mod reload;
pub mod socket;
pub mod ui;
pub mod watch;
