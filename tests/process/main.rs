//! Guardians, programs and trees for real.

#![cfg(target_os = "linux")]
// Tests speak to whoever runs them.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod death;
mod ends;
mod given;
mod intercept;
mod measure;
mod pty;
mod stopping;
mod support;
