//! Tests guardians and process trees with real programs.

#![cfg(target_os = "linux")]
// Tests print to the console.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod exits;
mod inherited;
mod intercept;
mod kills;
mod measure;
mod pty;
mod stopping;
mod support;
