//! The fault suite: a table of faults in every state of hotrun, with the expected outcome of each. Every fault is
//! injected into a separate instance of hotrun under a steady load. No request may be lost except those that the row
//! allows, and no process, descriptor or file may be left behind.
//!
//! `FAULTS='killed' cargo test --test e2e -- --ignored suite::` runs only the rows that contain `killed`.

mod builds;
mod commands;
mod daemons;
mod draining;
mod gradual;
mod hotrun_exits;
mod live;
mod nothing_live;
mod recovery;
mod resources;
mod scenario;
mod starts;
mod state;

pub(crate) use scenario::Scenario;
pub(crate) use state::State;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use scenario::RequestCounts;

use crate::harness::{apps, say};

/// The number of faults tested at the same time. Each test mostly waits.
const CONCURRENCY: usize = 6;

/// A row of the table.
pub(crate) struct Fault {
    state: State,
    what: &'static str,
    /// The expected outcome, as text for the table. `act` asserts it.
    outcome: &'static str,
    options: &'static [&'static str],
    /// Whether hotrun must run as an unprivileged user: root is exempt from resource limits.
    unprivileged: bool,
    act: fn(&mut Scenario),
}

impl Fault {
    const fn new(
        state: State,
        what: &'static str,
        outcome: &'static str,
        act: fn(&mut Scenario),
    ) -> Self {
        Self {
            state,
            what,
            outcome,
            options: &[],
            unprivileged: false,
            act,
        }
    }

    const fn with(mut self, options: &'static [&'static str]) -> Self {
        self.options = options;
        self
    }

    const fn unprivileged(mut self) -> Self {
        self.unprivileged = true;
        self
    }

    fn row(&self) -> String {
        format!(
            "{:<12} {:<50} {:<46}",
            self.state.to_string(),
            self.what,
            self.outcome
        )
    }

    /// Injects the fault. Returns an error if the outcome is not the expected one, and the request counts in any case.
    fn check(&self) -> (Result<(), String>, RequestCounts) {
        let mut figures = RequestCounts::default();
        let checked = catch_unwind(AssertUnwindSafe(|| {
            let mut scenario = Scenario::new(self.options);
            scenario.unprivileged = self.unprivileged;
            self.state.reach(&mut scenario);
            (self.act)(&mut scenario);
            scenario.close();
            figures = scenario.figures;
        }));
        let checked = checked.map_err(|panic| match panic.downcast::<String>() {
            Ok(text) => *text,
            Err(panic) => panic
                .downcast::<&str>()
                .map_or_else(|_| "?".into(), |text| (*text).into()),
        });
        (checked, figures)
    }
}

fn all() -> Vec<Fault> {
    let mut all = Vec::new();
    all.extend(nothing_live::faults());
    all.extend(builds::faults());
    all.extend(starts::faults());
    all.extend(gradual::faults());
    all.extend(live::faults());
    all.extend(commands::faults());
    all.extend(daemons::faults());
    all.extend(draining::faults());
    all.extend(recovery::faults());
    all.extend(resources::faults());
    all.extend(hotrun_exits::faults());
    all.sort_by_key(|fault| fault.state);
    all
}

#[test]
#[ignore = "takes minutes"]
fn every_fault_has_the_expected_outcome() {
    let only = std::env::var("FAULTS").unwrap_or_default();
    let mut faults = all();
    let distinct: BTreeSet<_> = faults
        .iter()
        .map(|fault| (fault.state, fault.what))
        .collect();
    assert!(distinct.len() == faults.len() && faults.len() >= 60);
    faults.retain(|fault| fault.row().contains(&only));
    // Build the app first, so that the build does not count as part of a test.
    apps::std();
    let (next, rows) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let check_faults = || {
        while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
            let began = Instant::now();
            let (checked, figures) = fault.check();
            let took = began.elapsed();
            rows.lock()
                .expect("no thread panics while it holds the lock")
                .push((fault, checked, figures, took));
        }
    };
    thread::scope(|scope| {
        for _ in 0..CONCURRENCY {
            scope.spawn(check_faults);
        }
    });
    let mut rows = rows
        .into_inner()
        .expect("no thread panics while it holds the lock");
    rows.sort_by_key(|(fault, ..)| (fault.state, fault.what));
    let mut wrong = Vec::new();
    for (fault, checked, figures, took) in rows {
        let RequestCounts { succeeded, lost } = figures;
        let sign = if checked.is_ok() { "ok" } else { "WRONG" };
        say(&format!(
            "{} {succeeded:>5} succeeded {lost} lost {took:>5.1?} {sign}",
            fault.row()
        ));
        wrong.extend(checked.err().map(|why| format!("{}\n{why}", fault.row())));
    }
    assert!(
        wrong.is_empty(),
        "{} of {} faults have the wrong outcome:\n\n{}",
        wrong.len(),
        faults.len(),
        wrong.join("\n\n")
    );
}
