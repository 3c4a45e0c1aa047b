//! Checks the invariants in the crate's documentation in every state that can be reached under every policy.

use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::exhaustive::{Budget, Exploration, ExplorationReport, UNIT};
use super::ledger::Rule;
use crate::reload::{Fresh, Mode, Policy, ShareSteps, WhenBusy};

/// How much to explore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    /// Fast enough for every `cargo test`.
    Quick,
    /// Too slow for every `cargo test`.
    Full,
}

fn policies(size: Size) -> Vec<(Policy, Budget)> {
    let mut all = Vec::new();
    for mode in [Mode::Overlap, Mode::StopFirst, Mode::Auto] {
        for when_busy in [WhenBusy::Cancel, WhenBusy::Queue] {
            for builds in [true, false] {
                let policy = Policy {
                    builds,
                    mode,
                    passes_sockets: mode != Mode::Auto,
                    when_busy,
                    fresh: Fresh::Off,
                    share: ShareSteps::default(),
                    share_every: None,
                    share_check: false,
                    ready_timeout: 2 * UNIT,
                    stop_timeout: 2 * UNIT,
                    stop_delay_max: 2 * UNIT,
                    watchdog: None,
                    rollback_within: Duration::ZERO,
                    keep: Duration::ZERO,
                    kill_timeout: UNIT,
                };
                for budget in budgets(mode, size) {
                    all.push((policy.clone(), budget));
                }
                if when_busy == WhenBusy::Cancel && !builds {
                    all.extend(talkative(&policy, size));
                }
                if when_busy == WhenBusy::Cancel {
                    all.push((policy.clone(), unhealthy(mode, size)));
                    all.push(crashes(&policy, size));
                    all.extend(fresh(&policy, size));
                }
                if mode == Mode::Overlap && !builds {
                    all.push(shares(&policy, size));
                }
                if when_busy == WhenBusy::Cancel && !builds && mode == Mode::Overlap {
                    all.extend(keeping(&policy, size));
                }
            }
        }
    }
    all
}

const fn budget(changes: u8, quits: u8, faults: u8, configs: u8) -> Budget {
    Budget {
        changes,
        quits,
        faults,
        configs,
        notifications: 0,
        checks: 0,
        shares: 0,
        requests: 0,
    }
}

/// Three budgets for a path: one mostly for changes, one for quitting, and one for configuration changes.
fn budgets(mode: Mode, size: Size) -> [Budget; 3] {
    match (size, mode) {
        (Size::Full, Mode::Overlap) => [budget(2, 0, 1, 0), budget(1, 2, 1, 0), budget(1, 0, 0, 1)],
        (Size::Full, Mode::StopFirst) => {
            [budget(4, 0, 2, 0), budget(3, 2, 1, 0), budget(2, 1, 1, 2)]
        }
        (Size::Full, Mode::Auto) => [budget(2, 0, 1, 0), budget(1, 1, 1, 0), budget(0, 0, 1, 1)],
        (Size::Quick, Mode::StopFirst) => {
            [budget(2, 0, 1, 0), budget(1, 2, 0, 0), budget(1, 0, 1, 1)]
        }
        (Size::Quick, Mode::Overlap | Mode::Auto) => {
            [budget(1, 0, 0, 0), budget(0, 2, 1, 0), budget(0, 0, 1, 1)]
        }
    }
}

/// Policies for programs that send notifications, with and without a watchdog.
fn talkative(policy: &Policy, size: Size) -> [(Policy, Budget); 2] {
    let full = size == Size::Full;
    // A generation can start while another one ends only after two changes.
    let changes = 1 + u8::from(full && policy.mode == Mode::Overlap);
    let quits = u8::from(policy.mode == Mode::StopFirst);
    let budget = Budget {
        notifications: 1 + u8::from(full && policy.mode != Mode::Overlap),
        ..budget(changes, quits, 0, 0)
    };
    let watchdog = Some(2 * UNIT);
    let with_watchdog = Policy {
        watchdog,
        ..policy.clone()
    };
    [(policy.clone(), budget), (with_watchdog, budget)]
}

/// A policy under which hotrun reacts to crashes. Under the other policies, it does not.
fn crashes(policy: &Policy, size: Size) -> (Policy, Budget) {
    let budget = match (size, policy.mode) {
        // One possible fault is that a draining generation cannot go live again.
        (Size::Full, Mode::Overlap) => budget(1, 0, 1, 0),
        (Size::Full, Mode::StopFirst) => budget(3, 0, 1, 0),
        (Size::Full, Mode::Auto) => budget(1, 0, 0, 0),
        (Size::Quick, Mode::StopFirst) => budget(1, 0, 1, 0),
        (Size::Quick, Mode::Overlap | Mode::Auto) => budget(0, 0, 0, 0),
    };
    let policy = Policy {
        rollback_within: UNIT,
        ready_timeout: UNIT,
        stop_timeout: UNIT,
        stop_delay_max: UNIT,
        ..policy.clone()
    };
    (policy, budget)
}

/// A budget for a generation that fails its liveness check.
fn unhealthy(mode: Mode, size: Size) -> Budget {
    let changes = match (size, mode) {
        (Size::Full, Mode::StopFirst) => 2,
        (Size::Quick, Mode::StopFirst) => 1,
        // Three generations run at the same time, so a change would lead to too many states.
        (Size::Full | Size::Quick, Mode::Overlap | Mode::Auto) => 0,
    };
    Budget {
        checks: 1,
        ..budget(changes, 0, 0, 0)
    }
}

/// Policies under which the old generation is kept, with and without a reaction to crashes. The second budget is for
/// descriptors that the programs store, after which no generation may be kept.
fn keeping(policy: &Policy, size: Size) -> [(Policy, Budget); 3] {
    let full = u8::from(size == Size::Full);
    let keeping = Policy {
        keep: UNIT,
        ready_timeout: UNIT,
        stop_timeout: UNIT,
        stop_delay_max: UNIT,
        ..policy.clone()
    };
    let rollback_within = UNIT;
    let rolling_back = Policy {
        rollback_within,
        ..keeping.clone()
    };
    let requests = Budget {
        requests: 1,
        ..budget(1, 0, full, 0)
    };
    let crashes = Budget {
        requests: full,
        ..requests
    };
    let stores = Budget {
        notifications: 1,
        ..budget(1, 0, 0, 0)
    };
    [
        (rolling_back, crashes),
        (keeping.clone(), requests),
        (keeping, stores),
    ]
}

/// Policies under which new connections wait for the next generation, and changes are seen before they are reported.
fn fresh(policy: &Policy, size: Size) -> Vec<(Policy, Budget)> {
    // Two changes and a quit at once are as many states as all other policies together.
    let budgets: &[Budget] = match (size, policy.mode) {
        (Size::Full, Mode::Overlap | Mode::Auto) => &[budget(2, 0, 1, 0), budget(1, 1, 1, 0)],
        (Size::Full, Mode::StopFirst) => &[budget(3, 1, 1, 1)],
        (Size::Quick, Mode::StopFirst) => &[budget(2, 0, 1, 0)],
        (Size::Quick, Mode::Overlap | Mode::Auto) => &[budget(1, 0, 1, 0)],
    };
    let with = |fresh| Policy {
        fresh,
        ..policy.clone()
    };
    let pairs = budgets
        .iter()
        .flat_map(|budget| [Fresh::Wait, Fresh::Strict].map(|fresh| (with(fresh), *budget)));
    pairs.collect()
}

/// A policy under which a new generation gets a share first. With `Cancel`, it moves on after a check, otherwise at the
/// user's request.
fn shares(policy: &Policy, size: Size) -> (Policy, Budget) {
    let by_itself = policy.when_busy == WhenBusy::Cancel;
    let steps = if by_itself { "10%,100%" } else { "10%" };
    let policy = Policy {
        share: steps.parse().expect("the steps rise"),
        share_every: by_itself.then_some(UNIT),
        share_check: by_itself,
        ready_timeout: UNIT,
        stop_timeout: UNIT,
        stop_delay_max: UNIT,
        ..policy.clone()
    };
    let full = u8::from(size == Size::Full);
    let budget = Budget {
        shares: 1,
        ..budget(1 + full, 0, full, 0)
    };
    (policy, budget)
}

/// Explores the states under every policy, on two threads, and prints the reports.
fn explore(size: Size) -> Vec<ExplorationReport> {
    let (policies, taken) = (policies(size), AtomicUsize::new(0));
    let explore = || {
        let next = || policies.get(taken.fetch_add(1, Ordering::Relaxed));
        let next = std::iter::from_fn(next);
        next.map(|(policy, budget)| Exploration::run(policy, *budget))
            .collect()
    };
    let reports: Vec<ExplorationReport> = std::thread::scope(|scope| {
        let other = scope.spawn(explore);
        let mut reports: Vec<ExplorationReport> = explore();
        reports.append(&mut other.join().expect("the exploration does not panic"));
        reports
    });
    for report in &reports {
        let _ = writeln!(std::io::stderr(), "{report}");
    }
    let states: usize = reports.iter().map(|report| report.states).sum();
    let edges: u64 = reports.iter().map(|report| report.edges).sum();
    let _ = writeln!(
        std::io::stderr(),
        "{states} states and {edges} edges in total"
    );
    reports
}

/// The reports of the quick exploration, which the tests share.
fn explored() -> &'static [ExplorationReport] {
    static REPORTS: OnceLock<Vec<ExplorationReport>> = OnceLock::new();
    REPORTS.get_or_init(|| explore(Size::Quick))
}

/// Asserts that the rule was checked under each policy, and was never broken.
fn holds(rule: Rule) {
    holds_in(explored(), rule);
}

fn holds_in(reports: &[ExplorationReport], rule: Rule) {
    for report in reports {
        let broken = report.broken.iter().find(|(broken, _)| *broken == rule);
        if let Some((_, what)) = broken {
            panic!("{}: {rule:?}: {what}", report.name);
        }
        // An exploration that finds another rule broken ends early, and may not have checked this one.
        let checked = report.ledger.checked(rule) > 0 || !report.broken.is_empty();
        assert!(checked, "{}: {rule:?} was never checked", report.name);
    }
}

fn crashes_alone_lead_to_at_most_two_starts(reports: &[ExplorationReport]) {
    for report in reports {
        let broken = report.broken.iter().find(|(rule, _)| *rule == Rule::NoLoop);
        assert!(broken.is_none(), "{}: {broken:?}", report.name);
        let most = report.ledger.most_starts();
        // If the unhealthy generation stops before its replacement starts, there is nothing to replace twice.
        let expected = match (report.rolls_back, report.budget.checks) {
            (true, _) => 2..=2,
            (false, 0) => 0..=0,
            (false, _) => 1..=2,
        };
        let reached = expected.contains(&most) || !report.broken.is_empty();
        assert!(reached, "{}: crashes led to {most} starts", report.name);
    }
}

#[test]
#[ignore = "explores 7 million states: two minutes optimized, many minutes in a debug build"]
fn every_invariant_holds_in_the_full_exploration() {
    let reports = explore(Size::Full);
    for rule in Rule::ALL {
        if rule != Rule::NoLoop {
            holds_in(&reports, rule);
        }
    }
    crashes_alone_lead_to_at_most_two_starts(&reports);
    let states: usize = reports.iter().map(|report| report.states).sum();
    assert!(states > 2_000_000, "{states} states");
}

#[test]
fn invariant_1_at_most_one_generation_is_building_one_starting_and_one_live() {
    holds(Rule::OneOfEach);
}

#[test]
fn invariant_2_the_live_generation_is_left_alone_until_another_is_live() {
    holds(Rule::LiveIsLeftAlone);
}

#[test]
fn invariant_3_no_generation_is_started_from_outdated_sources() {
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
fn invariant_8_quitting_finishes_exactly_once() {
    holds(Rule::OneFinish);
}

#[test]
fn the_paths_of_a_programs_own_sockets_are_restored() {
    holds(Rule::OwnPaths);
}

#[test]
fn invariant_11_crashes_alone_lead_to_at_most_two_starts() {
    crashes_alone_lead_to_at_most_two_starts(explored());
}

#[test]
fn the_driver_can_rely_on_the_order_of_effects() {
    holds(Rule::Protocol);
}

#[test]
fn new_connections_wait_only_for_a_newer_generation_and_in_time() {
    holds(Rule::NewWait);
}

#[test]
fn a_new_generation_gets_its_share_step_by_step_beside_the_live_one() {
    holds(Rule::Shares);
}

#[test]
fn new_connections_always_reach_a_live_generation_or_wait() {
    holds(Rule::Steering);
}
