//! The fault suite: a table of what can go wrong in each state of the machine, and what comes of it. Each fault meets a
//! hotrun of its own, with clients that ask all the time; afterwards no request may be lost that the design does not
//! name, and no process, descriptor or file may be left.
//!
//! `FAULTS='killed' cargo test --test e2e -- suite::` runs those whose rows contain the word.

mod builds;
mod ends;
mod leaving;
mod live;
mod nothing_live;
mod resources;
mod returns;
mod stage;
mod starts;
mod state;

pub(crate) use stage::Stage;
pub(crate) use state::State;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use stage::Figures;

use crate::harness::{apps, say};

/// So many at once: most of the time each of them waits.
const AT_ONCE: usize = 6;

/// A row of the table.
pub(crate) struct Fault {
    state: State,
    what: &'static str,
    /// What comes of it, in words; `act` asserts it.
    outcome: &'static str,
    options: &'static [&'static str],
    /// Whether hotrun runs as somebody whom limits concern.
    as_user: bool,
    act: fn(&mut Stage),
}

impl Fault {
    const fn new(
        state: State,
        what: &'static str,
        outcome: &'static str,
        act: fn(&mut Stage),
    ) -> Self {
        Self {
            state,
            what,
            outcome,
            options: &[],
            as_user: false,
            act,
        }
    }

    const fn with(mut self, options: &'static [&'static str]) -> Self {
        self.options = options;
        self
    }

    const fn by_user(mut self) -> Self {
        self.as_user = true;
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

    /// What is wrong if it does not have its outcome, and the figures in any case.
    fn check(&self) -> (Result<(), String>, Figures) {
        let mut figures = Figures::default();
        let checked = catch_unwind(AssertUnwindSafe(|| {
            let mut stage = Stage::new(self.options);
            stage.as_user = self.as_user;
            self.state.reach(&mut stage);
            (self.act)(&mut stage);
            stage.close();
            figures = stage.figures;
        }));
        let words = checked.map_err(|panic| match panic.downcast::<String>() {
            Ok(text) => *text,
            Err(panic) => panic
                .downcast::<&str>()
                .map_or_else(|_| "?".into(), |text| (*text).into()),
        });
        (words, figures)
    }
}

fn all() -> Vec<Fault> {
    let mut all = Vec::new();
    all.extend(nothing_live::faults());
    all.extend(builds::faults());
    all.extend(starts::faults());
    all.extend(live::faults());
    all.extend(leaving::faults());
    all.extend(returns::faults());
    all.extend(resources::faults());
    all.extend(ends::faults());
    all.sort_by_key(|fault| fault.state);
    all
}

#[test]
#[ignore = "takes minutes"]
fn each_fault_has_its_outcome() {
    let only = std::env::var("FAULTS").unwrap_or_default();
    let mut faults = all();
    let distinct: BTreeSet<_> = faults
        .iter()
        .map(|fault| (fault.state, fault.what))
        .collect();
    assert!(distinct.len() == faults.len() && faults.len() >= 60);
    faults.retain(|fault| fault.row().contains(&only));
    // Not while the first of them wait for it.
    apps::std();
    let (next, rows) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
            let began = Instant::now();
            let (checked, figures) = fault.check();
            let took = began.elapsed();
            rows.lock()
                .expect("nobody panics here")
                .push((fault, checked, figures, took));
        }
    };
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
    let mut rows = rows.into_inner().expect("nobody panics here");
    rows.sort_by_key(|(fault, ..)| (fault.state, fault.what));
    let mut wrong = Vec::new();
    for (fault, checked, figures, took) in rows {
        let Figures { answered, lost } = figures;
        let sign = if checked.is_ok() { "ok" } else { "WRONG" };
        say(&format!(
            "{} {answered:>5} answered {lost} lost {took:>5.1?} {sign}",
            fault.row()
        ));
        wrong.extend(checked.err().map(|why| format!("{}\n{why}", fault.row())));
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n\n{}",
        wrong.len(),
        faults.len(),
        wrong.join("\n\n")
    );
}
