//! The invariants of the crate's documentation, each in every state that can be reached under every policy.

use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::exhaustive::{Budget, Exploration, Report, UNIT};
use super::ledger::Rule;
use crate::reload::{Mode, Policy, WhenBusy};

fn policies() -> Vec<(Policy, Budget)> {
    let mut all = Vec::new();
    for mode in [Mode::Overlap, Mode::StopFirst, Mode::Auto] {
        for when_busy in [WhenBusy::Cancel, WhenBusy::Queue] {
            for builds in [true, false] {
                let policy = Policy {
                    builds,
                    mode,
                    passes_sockets: mode != Mode::Auto,
                    when_busy,
                    ready_timeout: 2 * UNIT,
                    stop_timeout: 2 * UNIT,
                    stop_delay_min: UNIT,
                    stop_delay_max: 2 * UNIT,
                    watchdog: None,
                    roll_back_within: Duration::ZERO,
                    kill_timeout: UNIT,
                };
                for budget in budgets(&policy) {
                    all.push((policy.clone(), budget));
                }
                if when_busy == WhenBusy::Cancel && !builds {
                    all.extend(words(policy.clone()));
                }
                all.extend(crashes(&policy));
            }
        }
    }
    all
}

/// Ways to spend what can be afforded: many changes, an early end of everything, or a configuration that changes
/// beside them.
fn budgets(policy: &Policy) -> [Budget; 3] {
    let budget = |changes, quits, faults, configs| Budget {
        changes,
        quits,
        faults,
        configs,
        words: 0,
    };
    match policy.mode {
        Mode::Overlap => [budget(2, 0, 1, 0), budget(1, 2, 1, 0), budget(1, 0, 0, 1)],
        Mode::StopFirst => [budget(4, 0, 2, 0), budget(3, 2, 1, 0), budget(2, 1, 1, 2)],
        Mode::Auto => [budget(2, 0, 1, 0), budget(1, 1, 1, 0), budget(0, 0, 1, 1)],
    }
}

/// Programs that speak: with a watchdog, and without one but with a change more.
fn words(policy: Policy) -> [(Policy, Budget); 2] {
    let budget = Budget {
        changes: 1,
        quits: u8::from(policy.mode == Mode::StopFirst),
        faults: 0,
        configs: 0,
        words: 2,
    };
    let watchdog = Some(2 * UNIT);
    let watched = Policy {
        watchdog,
        ..policy.clone()
    };
    [(policy, budget), (watched, budget)]
}

/// Crashes that something follows from. Those that nothing follows from are everywhere else.
fn crashes(policy: &Policy) -> Option<(Policy, Budget)> {
    let budget = Budget {
        changes: match policy.mode {
            Mode::Overlap | Mode::Auto => 1,
            Mode::StopFirst => 3,
        },
        quits: 0,
        // Among them that what drains can't serve again.
        faults: match policy.mode {
            Mode::Overlap | Mode::StopFirst => 1,
            Mode::Auto => 0,
        },
        configs: 0,
        words: 0,
    };
    let policy = Policy {
        roll_back_within: UNIT,
        ready_timeout: UNIT,
        stop_timeout: UNIT,
        stop_delay_max: UNIT,
        ..policy.clone()
    };
    (policy.when_busy == WhenBusy::Cancel).then_some((policy, budget))
}

/// Explores once for all tests, on all cores, and says how far it went where a log of CI shows it.
fn explored() -> &'static [Report] {
    static REPORTS: OnceLock<Vec<Report>> = OnceLock::new();
    REPORTS.get_or_init(|| {
        let (policies, taken) = (policies(), AtomicUsize::new(0));
        let explore = || {
            let next = || policies.get(taken.fetch_add(1, Ordering::Relaxed));
            let next = std::iter::from_fn(next);
            next.map(|(policy, budget)| Exploration::run(policy, *budget))
                .collect()
        };
        let reports: Vec<Report> = std::thread::scope(|scope| {
            let other = scope.spawn(explore);
            let mut reports: Vec<Report> = explore();
            reports.append(&mut other.join().expect("the exploration"));
            reports
        });
        for report in &reports {
            let _ = writeln!(std::io::stderr(), "{report}");
        }
        reports
    })
}

/// Nothing broke the rule, anywhere, and it was put to the test.
fn holds(rule: Rule) {
    for report in explored() {
        let broken = report.broken.iter().find(|(broken, _)| *broken == rule);
        if let Some((_, what)) = broken {
            panic!("{}: {rule:?}: {what}", report.name);
        }
        // Where another rule is broken the exploration ends early.
        let checked = report.ledger.checked(rule) > 0 || !report.broken.is_empty();
        assert!(checked, "{}: {rule:?} is never checked", report.name);
    }
}

#[test]
fn the_exploration_is_large() {
    for report in explored() {
        assert!(report.states > 500, "{report}");
    }
    let states: usize = explored().iter().map(|report| report.states).sum();
    let edges: u64 = explored().iter().map(|report| report.edges).sum();
    let _ = writeln!(std::io::stderr(), "in all {states} states, {edges} edges");
    assert!(states > 150_000 && edges > 1_000_000, "{states}, {edges}");
}

#[test]
fn invariant_1_one_generation_is_building_one_starting_one_live() {
    holds(Rule::OneOfEach);
}

#[test]
fn invariant_2_the_live_generation_is_left_alone_until_another_is_live() {
    holds(Rule::LiveIsLeftAlone);
}

#[test]
fn invariant_3_no_generation_is_started_from_older_sources() {
    holds(Rule::NewestSources);
}

#[test]
fn invariant_4_a_failure_spares_the_live_generation() {
    holds(Rule::FailureSparesLive);
}

#[test]
fn invariant_5_a_stale_event_changes_nothing() {
    holds(Rule::StaleChangesNothing);
}

#[test]
fn invariant_6_draining_is_bounded() {
    holds(Rule::DrainIsBounded);
}

#[test]
fn invariant_7_no_change_is_forgotten() {
    holds(Rule::NothingForgotten);
}

#[test]
fn invariant_8_quit_ends_in_exactly_one_finish() {
    holds(Rule::OneFinish);
}

#[test]
fn invariant_11_crashes_alone_start_nothing_for_ever() {
    for report in explored() {
        let broken = report.broken.iter().find(|(rule, _)| *rule == Rule::NoLoop);
        assert!(broken.is_none(), "{}: {broken:?}", report.name);
        let most = report.ledger.most_starts();
        let wanted = if report.goes_back { 2 } else { 0 };
        let reached = most == wanted || !report.broken.is_empty();
        assert!(reached, "{}: {most} starts at most", report.name);
    }
}

#[test]
fn the_driver_can_rely_on_the_order_of_effects() {
    holds(Rule::Protocol);
}

#[test]
fn new_connections_always_have_somewhere_to_go() {
    holds(Rule::Steering);
}
