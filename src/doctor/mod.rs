//! What of hotrun works here and what does not, each with its remedy: `--doctor`.
//!
//! Everything is found out by doing it once, as hotrun would, and nothing is changed. It fits on a screen of 80 columns
//! and 24 rows even if nothing works.

mod builds;
mod finding;
mod sheet;
mod system;
mod terminal;

use std::path::Path;

pub use finding::{Finding, Sign};
pub use sheet::sheet;

/// Looks at everything. `workdir` is where hotrun would work. May take as long as `cargo` and `rustc` need to tell their
/// versions.
pub fn examine(workdir: &Path) -> Vec<Finding> {
    let mut all = system::examine(workdir);
    all.push(terminal::examine());
    all.extend(builds::examine(workdir));
    all
}

/// How many things that are needed do not work.
pub fn failures(findings: &[Finding]) -> usize {
    let fails = |finding: &&Finding| finding.sign == Sign::Fails;
    findings.iter().filter(fails).count()
}
