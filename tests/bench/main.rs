//! What hotrun costs: measured, asserted, printed.

#[expect(dead_code, reason = "the harness serves the end-to-end tests, too")]
#[path = "../e2e/harness/mod.rs"]
mod harness;

#[expect(dead_code, reason = "it serves the tests of the terminal, too")]
#[path = "../terminal/screen.rs"]
mod screen;
#[expect(dead_code, reason = "as above")]
#[path = "../terminal/scrollback.rs"]
mod scrollback;

mod bench_adopted;
mod bench_save;
mod bench_screen;
mod bench_switch;
mod bench_watch;
mod figures;
