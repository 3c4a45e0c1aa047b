//! The soak: for minutes or days, whatever a developer does in any order, to three servers in three languages under
//! load, each behind a hotrun on a terminal. No request on a new connection may fail, and hotrun may not grow.
//!
//! `SOAK=1h cargo test --test e2e -- soak::` takes an hour; without it, it is twenty seconds, which is too short to
//! judge growth. `SOAK_SEED` repeats the deeds of a run.

mod dice;
mod load;
mod server;
mod terminal;

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{can, say, skip};
use dice::Dice;
use server::{Language, Served};
use terminal::Weight;

const SHORT: Duration = Duration::from_secs(20);
/// From here on growth is judged, against what hotrun was like after the first fifth.
const LONG: Duration = Duration::from_secs(240);
/// What a developer does, and what goes wrong meanwhile.
const DEEDS: [fn(&mut Served, &mut Dice); 11] = [
    |served, _| served.saves(),
    |served, _| served.saves(),
    |served, dice| served.saves_in_a_burst(dice),
    |served, _| served.breaks_the_build(),
    |served, _| served.crashes(),
    |served, _| served.saves_what_crashes_at_once(),
    |served, _| served.saves_what_hangs(),
    |served, dice| served.configures(dice),
    |served, _| served.goes_back(),
    |served, _| served.pauses(),
    |served, _| served.reloads(),
];

/// How long to go on: `SOAK`, as in `5m`.
fn duration() -> Duration {
    let text = std::env::var("SOAK").ok();
    text.map_or(SHORT, |text| {
        humantime::parse_duration(&text).expect("`SOAK` is a duration as in `5m`")
    })
}

#[test]
#[ignore = "takes minutes, needs python3 and node"]
fn whatever_is_done_in_any_order_costs_nobody_a_request() {
    if !can("script", &["--version"]) {
        return skip("`script` of util-linux is missing");
    }
    let (time, seed) = (duration(), Dice::seed());
    say(&format!("soak: {time:?} with SOAK_SEED={seed}"));
    thread::scope(|scope| {
        let soaked = Language::ALL.map(|language| {
            (
                language,
                scope.spawn(move || soak(language, time, Dice::new(seed ^ language as u64))),
            )
        });
        for (language, soaked) in soaked {
            soaked
                .join()
                .unwrap_or_else(|_| panic!("{language:?} was not survived, SOAK_SEED={seed}"));
        }
    });
}

fn soak(language: Language, time: Duration, mut dice: Dice) {
    if !language.is_there() {
        return skip(&format!("{language:?} is missing"));
    }
    let mut served = Served::start(language);
    let began = Instant::now();
    let mut first: Option<Weight> = None;
    while began.elapsed() < time {
        dice.pick(&DEEDS)(&mut served, &mut dice);
        if first.is_none() && began.elapsed() > time / 5 {
            first = Some(served.weighs());
        }
    }
    let last = served.weighs();
    let figures = served.end();
    say(&format!(
        "soak, {language:?}: {} deeds, {} requests, {} in the hands of a crash, slowest {:.1?}; then {} and now {last}",
        figures.deeds,
        figures.answered,
        figures.excused,
        figures.slowest,
        first.map_or_else(String::new, |first| first.to_string()),
    ));
    if let Some(first) = first.filter(|_| time >= LONG) {
        last.is_at_most(&first);
    }
}
