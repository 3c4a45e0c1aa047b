//! `--doctor`: checks what works on this system, with hints for what does not.
//!
//! Each check does once what hotrun would do, and changes nothing. The report fits on a screen of 80 columns and 24 rows
//! even if every check fails.

mod builds;
mod finding;
mod report;
mod system;
mod terminal;

use std::path::Path;

pub use finding::{Finding, Severity};
pub use report::report;

/// Runs all checks for a working directory. Runs `cargo` and `rustc` to get their versions.
pub fn check(workdir: &Path) -> Vec<Finding> {
    let mut all = system::check(workdir);
    all.push(terminal::check());
    all.extend(builds::check(workdir));
    all
}

/// The number of checks that failed.
pub fn failures(findings: &[Finding]) -> usize {
    let fails = |finding: &&Finding| finding.severity == Severity::Fails;
    findings.iter().filter(fails).count()
}
