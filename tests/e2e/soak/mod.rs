//! The soak test: random developer actions for minutes or days, on servers in three languages under load. Each server
//! runs under hotrun on its own terminal, with hooks, a source and a liveness check. No request may fail unless a crash of the program interrupts it, and hotrun's
//! resource usage must not grow.
//!
//! `SOAK=1h cargo test --test e2e -- --ignored soak::` takes an hour. Without `SOAK` it takes twenty seconds, which is
//! too short to detect growth. Set `SOAK_SEED` to repeat the actions of an earlier run.

mod language;
mod load;
mod random;
mod server;
mod terminal;

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{say, skip, succeeds};
use language::Language;
use random::Random;
use server::SoakServer;
use terminal::Usage;
pub(crate) use terminal::{LOG, Terminal};

const SHORT: Duration = Duration::from_secs(20);
/// The shortest run that checks for growth. It compares the usage at the end with the usage after a fifth of the time.
const LONG: Duration = Duration::from_secs(240);
/// A developer's actions, including those that go wrong.
const ACTIONS: [fn(&mut SoakServer, &mut Random); 15] = [
    |served, _| served.save_and_wait(),
    |served, _| served.save_and_wait(),
    |served, random| served.save_in_a_burst(random),
    |served, _| served.break_the_build(),
    |served, _| served.crash(),
    |served, _| served.save_a_version_that_crashes(),
    |served, _| served.save_a_version_that_never_becomes_ready(),
    |served, random| served.change_the_configuration(random),
    |served, _| served.roll_back(),
    |served, _| served.save_while_paused(),
    |served, _| served.reload(),
    |served, random| served.change_a_share(random),
    |served, random| served.end_a_keep(random),
    |served, _| served.change_the_source(),
    |served, _| served.become_sick(),
];

/// The duration of the test: the value of `SOAK`, such as `5m`, or [`SHORT`].
fn duration() -> Duration {
    let text = std::env::var("SOAK").ok();
    text.map_or(SHORT, |text| {
        humantime::parse_duration(&text).expect("`SOAK` is a duration, such as `5m`")
    })
}

#[test]
#[ignore = "takes minutes, needs python3 and node"]
fn random_actions_lose_no_request_except_in_a_crash() {
    if !succeeds("script", &["--version"]) {
        return skip("`script` from util-linux is not installed");
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
        return skip(&format!("{language:?} is not installed"));
    }
    let mut served = SoakServer::start(language);
    let began = Instant::now();
    let mut first: Option<Usage> = None;
    while began.elapsed() < time {
        random.pick(&ACTIONS)(&mut served, &mut random);
        if first.is_none() && began.elapsed() > time / 5 {
            first = Some(served.measure());
        }
    }
    let last = served.measure();
    let results = served.end();
    say(&format!(
        "soak, {language:?}: {} actions, {} requests, {} lost in a crash, slowest {:.1?}; usage from {} to {last}",
        results.actions,
        results.succeeded,
        results.lost_in_crash,
        results.slowest,
        first.map_or_else(String::new, |first| first.to_string()),
    ));
    if let Some(first) = first.filter(|_| time >= LONG) {
        last.assert_no_growth_since(&first);
    }
}
