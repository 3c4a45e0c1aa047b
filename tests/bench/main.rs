//! What hotrun costs: measured, asserted, printed.

#[expect(dead_code, reason = "the harness serves the end-to-end tests, too")]
#[path = "../e2e/harness/mod.rs"]
mod harness;

mod bench_adopted;
mod bench_save;
mod bench_switch;
mod bench_watch;
mod figures;
