//! Tests builds with the real cargo.

mod checks;
mod launch;
mod package;
