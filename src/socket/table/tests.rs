//! Checks the table's promises in the states that a few generations, listeners and clients can reach.

mod canonical;
mod clients;
mod explore;
mod instances;
mod kernel;
mod moves;
mod promises;
mod rules;
mod setting;
mod settings;
mod shares;
mod world;

use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use self::explore::{Exploration, Report};
use self::rules::Rule;
use self::setting::{Budget, Move, Setting};
use self::settings::{listed, only, settings};
use self::world::World;
use super::Owner;
use super::types::Listener;

/// Explores all settings once for all tests, on two threads, and prints a report.
fn explored() -> &'static [Report] {
    static REPORTS: OnceLock<Vec<Report>> = OnceLock::new();
    REPORTS.get_or_init(|| {
        let (settings, taken) = (settings(), AtomicUsize::new(0));
        let explore = || {
            let next = || settings.get(taken.fetch_add(1, Ordering::Relaxed));
            let next = std::iter::from_fn(next);
            next.map(Exploration::run).collect()
        };
        let reports: Vec<Report> = std::thread::scope(|scope| {
            let other = scope.spawn(explore);
            let mut reports: Vec<Report> = explore();
            reports.append(&mut other.join().expect("the exploration does not panic"));
            reports
        });
        for report in &reports {
            let _ = writeln!(std::io::stderr(), "{report}");
        }
        let states: usize = reports.iter().map(|report| report.states).sum();
        let _ = writeln!(std::io::stderr(), "{states} states explored");
        reports
    })
}

fn holds(rule: Rule) {
    let mut checked = 0;
    for report in explored() {
        let broken = report.broken.iter().find(|(broken, _)| *broken == rule);
        if let Some((_, what)) = broken {
            panic!("{}: {rule:?}: {what}", report.name);
        }
        checked += report.checked[rule as usize];
    }
    assert!(checked > 0, "{rule:?} is checked at least once");
}

#[test]
fn exhaustive_no_connection_is_lost_by_closing_a_listener() {
    holds(Rule::NothingLost);
}

#[test]
fn exhaustive_hotrun_accepts_no_unix_connection() {
    holds(Rule::IdentityKept);
}

#[test]
fn exhaustive_new_connections_land_where_they_can_be_served() {
    holds(Rule::LandsWhereItIsServed);
}

#[test]
fn exhaustive_hotrun_never_leaves_an_address_without_a_listener() {
    holds(Rule::NeverRefused);
}

#[test]
fn exhaustive_no_served_address_is_refused_without_a_report() {
    holds(Rule::NotInSilence);
}

#[test]
fn exhaustive_probes_reach_only_their_own_generation() {
    holds(Rule::ProbesReachTheirOwn);
}

#[test]
fn exhaustive_a_switch_changes_every_address_or_none() {
    holds(Rule::AllOrNothing);
}

#[test]
fn exhaustive_no_connection_is_forwarded_in_a_loop() {
    holds(Rule::NoLoop);
}

#[test]
fn exhaustive_no_connection_waits_beside_the_socket_that_serves_its_address() {
    holds(Rule::ForwardedToNarrower);
}

#[test]
fn exhaustive_no_program_shares_a_listener_with_a_forwarder_or_another_program() {
    holds(Rule::NotShared);
}

#[test]
fn exhaustive_the_table_always_comes_to_rest() {
    holds(Rule::ComesToRest);
}

/// Switches to three generations in turn, and releases the first `released` of them. Returns the world after the next
/// scan.
fn after_three_switches(setting: &Setting, released: usize) -> World {
    let mut world = World::new(setting);
    let ids: Vec<_> = (0..3).map(World::id).collect();
    let live = ids.iter().flat_map(|id| [Move::Prepare, Move::Switch(*id)]);
    let gone = ids[..released].iter();
    let gone = gone.flat_map(|id| [Move::Drain(*id), Move::Die(*id), Move::Release(*id)]);
    let scan = [Move::Pass, Move::Scan(0), Move::Report(0)];
    for action in live.chain(gone).chain(scan) {
        world.step(setting, action);
    }
    world
}

/// Returns the owners of the first group's listeners, and whether each listener is quiescent.
fn quiescent(world: &World) -> Vec<(Owner, bool)> {
    let listeners = world.table.groups()[0].listeners().iter();
    let listeners = listeners.map(|one| (one.owner, one.quiescent));
    listeners.collect()
}

/// While one listener is closing, connections may land in another one that forwards them, until the next steering
/// program is attached.
#[test]
fn a_listener_that_is_briefly_chosen_is_not_closed_without_another_scan() {
    let setting = listed("two released listeners", only(3));
    let world = after_three_switches(&setting, 2);
    let owner = |index| Owner::Generation(World::id(index));
    let expected = [(owner(2), false), (owner(1), false)];
    assert_eq!(
        quiescent(&world),
        expected,
        "only the first listener is closed"
    );
}

/// Until the table knows that a program has shut down its listener, connections may land in any of the others.
#[test]
fn after_a_program_shuts_down_a_listener_the_others_are_scanned_again() {
    let budget = Budget {
        closes: 1,
        ..only(3)
    };
    let setting = listed("a released listener, and one that is shut down", budget);
    let mut world = after_three_switches(&setting, 1);
    let owner = |index| Owner::Generation(World::id(index));
    let live = world.table.groups()[0].of(World::id(2)).next();
    let live = live.expect("the live generation has a listener").id;
    let before = [(owner(0), true), (owner(1), false), (owner(2), false)];
    assert_eq!(quiescent(&world), before);
    world.step(&setting, Move::ShutDown(live));
    world.step(&setting, Move::Notice(live));
    assert!(quiescent(&world).contains(&(owner(0), false)));
}

/// A generation that is kept is neither drained nor released. So its listeners stay as they are, and the switch back only
/// steers.
#[test]
fn a_generation_that_was_switched_away_from_can_be_switched_back_to() {
    let budget = Budget {
        returns: 1,
        ..only(2)
    };
    let setting = listed("a generation is kept", budget);
    let mut world = World::new(&setting);
    let (first, second) = (World::id(0), World::id(1));
    let switches = [first, second].map(|id| [Move::Prepare, Move::Switch(id)]);
    for action in switches.into_iter().flatten() {
        world.step(&setting, action);
    }
    world.step(&setting, Move::PassLong);
    let group = world.table.groups()[0].id;
    let before = world.table.groups()[0].listeners().to_vec();
    world.step(&setting, Move::Switch(first));
    let after = world.table.groups()[0].listeners();
    let same =
        |(one, other): (&Listener, &Listener)| one.id == other.id && one.owner == other.owner;
    assert!(before.len() == after.len() && before.iter().zip(after).all(same));
    let own = world.table.groups()[0].of(first).next();
    let own = own.expect("the first generation still has its listener").id;
    assert_eq!(world.model.landings(group), [Some(own)]);
    assert_eq!(world.model.broken, []);
}
