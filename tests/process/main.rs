//! Guardians and process trees with real programs.

#![cfg(target_os = "linux")]
// Tests print to the console.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod kills;
mod ends;
mod given;
mod intercept;
mod measure;
mod pty;
mod stopping;
mod support;
