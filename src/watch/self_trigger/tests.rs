//! Tests self-triggered runs, and runs that only look self-triggered.

use proptest::prelude::*;

use super::Verdict::{AfterPause, Later, Now, SelfTriggered};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn paths(names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(PathBuf::from).collect()
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Runs of five seconds each, with a pause of one hour between two of them.
#[derive(Default)]
struct Runs(SelfTrigger);

impl Runs {
    /// Starts the next run.
    fn start(&mut self) {
        let end = self.0.newest.map(|run| run.started + 5 * SECOND);
        if let Some(end) = end {
            self.0.ended(end);
        }
        let started = end.map_or_else(Instant::now, |end| end + 3600 * SECOND);
        self.0.started(started);
    }

    /// Judges a change to these files. `after`: the time since the newest run started.
    fn judge_at(&mut self, names: &[&str], after: Duration) -> Verdict {
        let started = self.0.newest.unwrap().started;
        self.0.judge(&paths(names), started + after)
    }

    /// Judges a change to these files during the next run.
    fn judge_next(&mut self, names: &[&str]) -> Verdict {
        self.start();
        self.judge_at(names, SECOND)
    }

    /// Judges a change to these files before the first run.
    fn judge_outside(&mut self, names: &[&str]) -> Verdict {
        let started = self.0.newest.unwrap().started;
        self.0.judge(&paths(names), started - SECOND)
    }
}

#[test]
fn a_run_that_writes_its_inputs_is_self_triggered_the_third_time() {
    let mut runs = Runs::default();
    let found = [Now, AfterPause, SelfTriggered, SelfTriggered];
    assert_eq!(found.map(|_| runs.judge_next(&["gen.rs"])), found);
    // The run writes the file while a user saves another one.
    assert_eq!(runs.judge_next(&["gen.rs", "main.rs"]), Now);
    assert_eq!(runs.judge_next(&["gen.rs"]), SelfTriggered);
    // A user edits the file that the runs write.
    assert_eq!(runs.judge_outside(&["gen.rs"]), Now);
    assert_eq!(runs.judge_next(&["gen.rs"]), SelfTriggered);
}

#[test]
fn a_run_that_writes_a_file_that_is_also_edited_is_self_triggered_the_fifth_time() {
    let mut runs = Runs::default();
    runs.start();
    assert_eq!(runs.judge_outside(&["main.rs"]), Now);
    let found = [Now, AfterPause, Later, Later, SelfTriggered];
    assert_eq!(found.map(|_| runs.judge_next(&["main.rs"])), found);
}

#[test]
fn runs_that_write_at_varying_times_are_postponed_longer_and_longer_and_then_self_triggered() {
    let mut history = SelfTrigger::default();
    let (mut now, mut pauses) = (Instant::now(), Vec::new());
    // Each run takes five seconds, unless a change cancels it.
    let found = [2, 4, 1, 3, 1, 4, 2, 4, 1].map(|after| {
        history.started(now);
        let changed = now + SECOND * after;
        let verdict = history.judge(&paths(&["gen.rs"]), changed);
        let end = match verdict {
            Now | AfterPause => changed,
            Later | SelfTriggered => now + 5 * SECOND,
        };
        history.ended(end);
        now = history.due().unwrap_or(end);
        pauses.extend(history.due().map(|due| due - end));
        verdict
    });
    let expected = [[Now; 3], [Now, Now, Later], [Later, Later, SelfTriggered]];
    assert_eq!(found, expected.concat()[..]);
    assert_eq!(pauses, [5 * SECOND, 10 * SECOND, 15 * SECOND]);
}

#[test]
fn every_save_during_a_build_triggers_a_build_now_or_later() {
    let names = ["main.rs"];
    let mut runs = Runs::default();
    assert_eq!([1, 2].map(|_| runs.judge_next(&names)), [Now, AfterPause]);
    assert_eq!(runs.judge_outside(&names), Now);
    assert_eq!(runs.judge_next(&names), Now);
    // Several saves during one run count once.
    let mut runs = Runs::default();
    runs.start();
    assert_eq!([(); 5].map(|()| runs.judge_at(&names, SECOND)), [Now; 5]);
    // The count starts over after a run in which only another file changes.
    let mut runs = Runs::default();
    for names in [["a.rs"], ["b.rs"], ["a.rs"], ["b.rs"]] {
        assert_eq!(runs.judge_next(&names), Now);
    }
}

#[test]
fn an_incremental_build_that_writes_only_after_edits_is_self_triggered_the_third_time() {
    let mut runs = Runs::default();
    for expected in [Now, AfterPause, SelfTriggered] {
        runs.start();
        assert_eq!(runs.judge_outside(&["main.ts"]), Now);
        assert_eq!(runs.judge_next(&["main.js"]), expected);
    }
    // A file that a user saves during each second run, but not only during runs.
    let mut runs = Runs::default();
    runs.start();
    assert_eq!(runs.judge_outside(&["main.ts"]), Now);
    let mut next = || {
        let verdict = runs.judge_next(&["main.ts"]);
        runs.start();
        verdict
    };
    assert_eq!([next(), next(), next(), next()], [Now; 4]);
    // After a while, the edit no longer counts.
    assert!((0..6).any(|_| next() == SelfTriggered));
    // A file that a user saves during each second run, at varying times.
    let mut runs = Runs::default();
    for after in [1, 3, 1, 4, 2, 4, 1, 3, 2] {
        runs.start();
        runs.start();
        assert_eq!(runs.judge_at(&["main.ts"], SECOND * after), Now);
    }
}

#[test]
fn a_run_that_writes_two_files_at_different_times_is_self_triggered_by_both() {
    let mut runs = Runs::default();
    assert_eq!(runs.judge_next(&["a.rs"]), Now);
    for (a, b) in [
        (AfterPause, Now),
        (SelfTriggered, AfterPause),
        (SelfTriggered, SelfTriggered),
    ] {
        assert_eq!(runs.judge_next(&["a.rs"]), a);
        assert_eq!(runs.judge_at(&["b.rs"], 2 * SECOND), b);
    }
}

#[test]
fn the_third_run_is_evidence_only_after_a_pause() {
    let mut runs = SelfTrigger::default();
    let mut now = Instant::now();
    for expected in [Now, AfterPause, AfterPause, AfterPause] {
        runs.started(now);
        now += SECOND;
        assert_eq!(runs.judge(&paths(&["main.rs"]), now), expected);
        // A user saves another file, which starts the next run at once.
    }
}

/// Simulates a user who saves at these times, while each build takes `takes`. Returns the number of the save that the
/// last build contains, unless a save was mistaken for a write by the build.
fn last_built(saves: &[Duration], takes: Duration) -> Option<usize> {
    let clock = Instant::now();
    let mut history = SelfTrigger::default();
    let (mut saved, mut built, mut contains) = (0, 0, 0);
    let mut end = None;
    loop {
        let save = saves.get(saved).map(|save| clock + *save);
        let Some(now) = [save, end, history.due()].into_iter().flatten().min() else {
            return Some(built);
        };
        let mut begins = history.due() == Some(now);
        if save == Some(now) {
            saved += 1;
            match history.judge(&paths(&["main.rs"]), now) {
                Now => begins = true,
                AfterPause if end.take().is_some() => history.ended(now),
                AfterPause | Later => {}
                SelfTriggered => return None,
            }
        } else if end == Some(now) {
            built = contains;
            end = None;
            history.ended(now);
        }
        if begins {
            (end, contains) = (Some(now + takes), saved);
            history.started(now);
        }
    }
}

#[test]
fn the_last_of_many_regular_saves_is_built() {
    let takes = [50, 300, 1_000, 3_000, 10_000];
    for (takes, pause) in takes.into_iter().flat_map(|takes| {
        let pauses = (1..=20).map(move |part| takes * part / 10);
        pauses.map(move |pause| (takes, pause))
    }) {
        for number in 1..=30 {
            let saves = Vec::from_iter((1..=number).map(|save| millis(pause) * save));
            let built = last_built(&saves, millis(takes));
            let what = format!("{number} saves, {pause} ms apart, builds of {takes} ms");
            assert_eq!(built, Some(saves.len()), "{what}");
        }
    }
}

/// The user begins with a save after the last build, and each further save comes during a build.
#[test]
fn regular_saves_cancel_every_build() {
    for names in [["main.rs"; 5], ["main.rs", "a.rs", "a.rs", "a.rs", "a.rs"]] {
        let (mut history, mut now) = (SelfTrigger::default(), Instant::now());
        history.started(now - SECOND);
        history.ended(now);
        for name in names {
            now += millis(800);
            let verdict = history.judge(&paths(&[name]), now);
            assert!(matches!(verdict, Now | AfterPause), "{verdict:?}");
            history.ended(now);
            assert_eq!(history.rests(now), verdict == AfterPause);
            history.started(history.due().unwrap_or(now));
        }
    }
}

#[test]
fn a_user_who_saves_at_varying_times_during_many_builds_is_not_mistaken_for_the_build() {
    for takes in 1..=20 {
        for first in 0..10 {
            let pauses = [7, 3, 11, 5, 2, 13, 8, 4, 9, 6].iter().cycle();
            let mut save = Duration::ZERO;
            let saves = pauses.skip(first).take(60).map(|pause| {
                save += SECOND * *pause;
                save
            });
            let saves = Vec::from_iter(saves);
            let built = last_built(&saves, SECOND * takes);
            let what = format!("builds of {takes} s, from pause {first}");
            assert_eq!(built, Some(saves.len()), "{what}");
        }
    }
}

#[test]
fn a_change_after_the_end_of_a_run_does_not_count_for_the_run() {
    let mut runs = SelfTrigger::default();
    let start = Instant::now();
    runs.started(start);
    let during = |runs: &SelfTrigger, after| runs.during(start + after).is_some();
    assert!(during(&runs, SECOND * 9));
    runs.ended(start + SECOND * 5);
    assert!(during(&runs, SECOND) && !during(&runs, SECOND * 9));
}

#[test]
fn a_change_during_a_run_counts_for_the_run_even_if_the_clock_of_the_file_system_is_behind() {
    let mut runs = Runs::default();
    for expected in [Now, AfterPause, SelfTriggered] {
        runs.start();
        let seen = runs.0.newest.unwrap().started + SECOND;
        let changed = runs.0.time_of(seen - 3 * SECOND, seen);
        assert_eq!(runs.0.judge(&paths(&["gen.rs"]), changed), expected);
    }
    let seen = runs.0.newest.unwrap().started + 9 * SECOND;
    assert_eq!(
        runs.0.time_of(seen - SECOND, seen),
        seen - SECOND,
        "a late event"
    );
}

#[test]
fn a_postponed_run_starts_after_the_current_one() {
    let mut runs = SelfTrigger::default();
    let start = Instant::now();
    for expected in [Now, AfterPause] {
        runs.started(start);
        assert_eq!(runs.judge(&paths(&["gen.rs"]), start), expected);
        assert_eq!(runs.due(), None);
    }
    runs.ended(start + SECOND);
    let due = start + SECOND + 2 * almost(Duration::ZERO);
    assert_eq!(runs.due(), Some(due));
    runs.started(due);
    runs.ended(due + SECOND);
    assert_eq!(runs.due(), None);
}

#[test]
fn a_run_can_be_postponed_for_as_long_as_the_current_one_takes() {
    let mut runs = SelfTrigger::default();
    let start = Instant::now();
    runs.started(start);
    runs.postpone();
    assert_eq!(runs.due(), None);
    runs.ended(start + SECOND);
    assert_eq!(runs.due(), Some(start + 2 * SECOND));
    assert!(
        !runs.rests(start + SECOND),
        "another change is not postponed"
    );
}

#[test]
fn the_lock_file_window_ends_at_cargos_first_message() {
    let window = LockFileWindow {
        started: SystemTime::now(),
        until: Arc::default(),
    };
    let contains = |after| window.contains(window.started + after);
    assert!(contains(SECOND) && contains(SECOND * 4));
    window.until.set(window.started + SECOND * 3).unwrap();
    assert!(contains(SECOND) && !contains(SECOND * 4));
}

#[test]
fn the_second_write_that_a_run_is_seen_making_does_not_count() {
    let mut runs = SelfTrigger::default();
    let [path] = &paths(&["gen.rs"])[..] else {
        unreachable!()
    };
    let now = Instant::now();
    runs.started(now);
    assert!(!runs.caught(path) && !runs.explains(std::slice::from_ref(path), now));
    assert!(runs.caught(path) && runs.explains(std::slice::from_ref(path), now));
    runs.ended(now);
    let edited = now + SECOND;
    assert!(!runs.explains(std::slice::from_ref(path), edited));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_save_is_built_unless_it_is_mistaken_for_a_write_by_the_build(
        saves in proptest::collection::btree_set(1_u64..30_000, 0..12),
        takes in 50_u64..10_000,
    ) {
        let saves = Vec::from_iter(saves.into_iter().map(millis));
        let built = last_built(&saves, millis(takes));
        prop_assert!(built.is_none_or(|built| built == saves.len()), "{built:?}");
    }
}
