//! Benchmarks: each measures a cost of hotrun, prints it and asserts a limit.

#[expect(
    dead_code,
    reason = "shared with the end-to-end tests, which use more of it"
)]
#[path = "../e2e/harness/mod.rs"]
mod harness;

#[expect(
    dead_code,
    reason = "shared with the terminal tests, which use more of it"
)]
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
