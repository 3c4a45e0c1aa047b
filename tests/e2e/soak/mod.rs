//! The soak test: random developer actions for minutes or days, on three servers in three languages under load. Each
//! server runs under hotrun on its own terminal. No request on a new connection may fail, and hotrun may not grow.
//!
//! `SOAK=1h cargo test --test e2e -- --ignored soak::` takes an hour. Without `SOAK` it takes twenty seconds, which is
//! too short to judge growth. `SOAK_SEED` repeats the actions of a run.

mod load;
mod random;
mod server;
mod terminal;

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{can, say, skip};
use random::Random;
use server::{Language, Served};
use terminal::Usage;

const SHORT: Duration = Duration::from_secs(20);
/// The shortest run in which growth is judged, against the usage after the first fifth.
const LONG: Duration = Duration::from_secs(240);
/// The actions of a developer, including those that go wrong.
const ACTIONS: [fn(&mut Served, &mut Random); 11] = [
    |served, _| served.saves(),
    |served, _| served.saves(),
    |served, random| served.saves_in_a_burst(random),
    |served, _| served.breaks_the_build(),
    |served, _| served.crashes(),
    |served, _| served.saves_a_version_that_crashes(),
    |served, _| served.saves_a_version_that_never_gets_ready(),
    |served, random| served.configures(random),
    |served, _| served.rolls_back(),
    |served, _| served.pauses(),
    |served, _| served.reloads(),
];

/// The duration of the test: `SOAK`, as in `5m`.
fn duration() -> Duration {
    let text = std::env::var("SOAK").ok();
    text.map_or(SHORT, |text| {
        humantime::parse_duration(&text).expect("`SOAK` is a duration as in `5m`")
    })
}

#[test]
#[ignore = "takes minutes, needs python3 and node"]
fn random_actions_in_any_order_lose_no_request() {
    if !can("script", &["--version"]) {
        return skip("`script` of util-linux is missing");
    }
    let (time, seed) = (duration(), Random::seed());
    say(&format!("soak: {time:?} with SOAK_SEED={seed}"));
    thread::scope(|scope| {
        let soaked = Language::ALL.map(|language| {
            (
                language,
                scope.spawn(move || soak(language, time, Random::new(seed ^ language as u64))),
            )
        });
        for (language, soaked) in soaked {
            soaked
                .join()
                .unwrap_or_else(|_| panic!("{language:?} failed with SOAK_SEED={seed}"));
        }
    });
}

fn soak(language: Language, time: Duration, mut random: Random) {
    if !language.is_installed() {
        return skip(&format!("{language:?} is missing"));
    }
    let mut served = Served::start(language);
    let began = Instant::now();
    let mut first: Option<Usage> = None;
    while began.elapsed() < time {
        random.pick(&ACTIONS)(&mut served, &mut random);
        if first.is_none() && began.elapsed() > time / 5 {
            first = Some(served.measure());
        }
    }
    let last = served.measure();
    let figures = served.end();
    say(&format!(
        "soak, {language:?}: {} actions, {} requests, {} lost in a crash, slowest {:.1?}; from {} to {last}",
        figures.actions,
        figures.answered,
        figures.lost_in_crash,
        figures.slowest,
        first.map_or_else(String::new, |first| first.to_string()),
    ));
    if let Some(first) = first.filter(|_| time >= LONG) {
        last.assert_no_growth_since(&first);
    }
}
