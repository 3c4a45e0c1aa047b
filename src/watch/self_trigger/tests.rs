//! Tests self-triggered runs, and runs that only look self-triggered.

use proptest::prelude::*;

use super::*;

fn paths(names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(PathBuf::from).collect()
}

/// Judges a change to these files in each of the runs, and returns the verdicts. Run 0 stands for a change outside any
/// run.
fn judge(history: &mut SelfTrigger, runs: &[u32], names: &[&str]) -> Vec<Verdict> {
    let after = Duration::from_secs(1);
    let during = |run: &u32| Some((*run, after)).filter(|_| *run > 0);
    let judgement = |run| history.judge_files(&paths(names), during(run));
    runs.iter().map(judgement).collect()
}

fn later(seconds: u64) -> Verdict {
    Verdict::Later(Duration::from_secs(seconds))
}

/// The pause before a run that tests whether a file changes about one second after each start.
const TEST: Verdict = Verdict::Later(Duration::from_millis(400));

#[test]
fn a_run_that_writes_its_inputs_is_self_triggered_the_third_time() {
    use Verdict::{Nothing, Now, SelfTriggered};
    let mut history = SelfTrigger::default();
    let found = judge(&mut history, &[1, 2, 3, 4], &["gen.rs"]);
    assert_eq!(found, [Now, TEST, SelfTriggered, Nothing]);
    // The run writes the file while a user saves another one.
    assert_eq!(judge(&mut history, &[8], &["gen.rs", "main.rs"]), [Now]);
    assert_eq!(judge(&mut history, &[9], &["gen.rs"]), [Nothing]);
    // A user edits the file that the runs write.
    assert_eq!(judge(&mut history, &[0, 10], &["gen.rs"]), [Now, Nothing]);
}

#[test]
fn runs_that_write_at_varying_times_are_postponed_longer_and_longer() {
    let mut history = SelfTrigger::default();
    let mut verdict = |build: u32, after| {
        let after = Duration::from_millis(after);
        history.judge_files(&paths(&["gen.rs"]), Some((build, after)))
    };
    let pauses = [0, 0, 0, 1, 2, 4, 8, 16, 32, 32];
    for (build, seconds) in (1..).zip(pauses) {
        let after = if build % 2 == 0 { 100 } else { 500 };
        let expected = if seconds == 0 {
            Verdict::Now
        } else {
            later(seconds)
        };
        assert_eq!(verdict(build, after), expected, "build {build}");
    }
    assert_eq!(verdict(11, 100), Verdict::SelfTriggered);
}

#[test]
fn every_save_during_a_build_triggers_a_build_now_or_later() {
    use Verdict::Now;
    let mut history = SelfTrigger::default();
    let names = ["main.rs"];
    assert_eq!(judge(&mut history, &[1, 2], &names), [Now, TEST]);
    assert_eq!(judge(&mut history, &[0, 6], &names), [Now, Now]);
    // Several saves during one run count once.
    let mut history = SelfTrigger::default();
    let found = judge(&mut history, &[1, 1, 1, 1, 1], &names);
    assert_eq!(found, [const { Now }; 5]);
    // The count starts over after a run in which only another file changes.
    let mut history = SelfTrigger::default();
    judge(&mut history, &[1, 2], &["a.rs"]);
    assert_eq!(judge(&mut history, &[3, 4], &["b.rs"])[0], Now);
    assert_eq!(judge(&mut history, &[5], &["a.rs"]), [Now]);
}

#[test]
fn a_run_that_writes_two_files_at_different_times_is_self_triggered_by_both() {
    use Verdict::{Nothing, Now, SelfTriggered};
    let mut history = SelfTrigger::default();
    let (mut a, mut b) = (judge(&mut history, &[1], &["a.rs"]), Vec::new());
    for build in 2..=5 {
        a.extend(judge(&mut history, &[build], &["a.rs"]));
        b.extend(judge(&mut history, &[build], &["b.rs"]));
    }
    assert_eq!(a, [Now, TEST, SelfTriggered, Nothing, Nothing]);
    assert_eq!(b, [Now, TEST, SelfTriggered, Nothing]);
}

#[test]
fn saves_at_varying_times_during_long_builds_are_not_self_triggered() {
    let mut history = SelfTrigger::default();
    for build in 1..20 {
        let after = Duration::from_secs(if build % 3 == 0 { 4 } else { 7 });
        let judgement = history.judge_files(&paths(&["main.rs"]), Some((build, after)));
        let is_built = matches!(judgement, Verdict::Now | Verdict::Later(_));
        assert!(is_built, "build {build}: {judgement:?}");
    }
}

/// Simulates a user who saves `saves` times, once every `pause`, while each build takes `takes`. Returns the number of
/// the save that the last build contains.
fn last_built(saves: u32, pause: Duration, takes: Duration) -> u32 {
    let mut history = SelfTrigger::default();
    let (mut saved, mut built, mut builds) = (0, 0, 0);
    // `runs` is the current build: when it started, and which save it contains. `later` is how long to wait after it,
    // and `due` is when the postponed build starts.
    let (mut runs, mut later, mut due) = (None::<(Duration, u32)>, None, None);
    loop {
        let save = (saved < saves).then(|| pause * (saved + 1));
        let end = runs.map(|(began, _)| began + takes);
        let Some(now) = [save, end, due].into_iter().flatten().min() else {
            return built;
        };
        let mut begins = due == Some(now);
        if save == Some(now) {
            saved += 1;
            let during = runs.map(|(began, _)| (builds, now - began));
            match history.judge_files(&paths(&["main.rs"]), during) {
                Verdict::Now => begins = true,
                Verdict::Later(pause) | Verdict::LaterAndLater(pause) => later = Some(pause),
                Verdict::SelfTriggered | Verdict::Nothing => {}
            }
        } else if end == Some(now) {
            built = runs.take().map_or(built, |(_, read)| read);
            due = later.take().map(|pause| now + pause);
        }
        if begins {
            builds += 1;
            (runs, later, due) = (Some((now, saved)), None, None);
        }
    }
}

#[test]
fn the_last_of_many_saves_is_built() {
    let takes = [50, 300, 1_000, 3_000, 10_000];
    for (takes, pause) in takes.into_iter().flat_map(|takes| {
        let pauses = (1..=20).map(move |part| takes * part / 10);
        pauses.map(move |pause| (takes, pause))
    }) {
        for saves in 1..=30 {
            let of = Duration::from_millis;
            let built = last_built(saves, of(pause), of(takes));
            let what = format!("{saves} saves, {pause} ms apart, builds of {takes} ms");
            assert_eq!(built, saves, "{what}");
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_change_during_a_run_counts_for_that_run_even_if_the_event_is_late() {
    let started = Moment::now();
    let path = [PathBuf::from("made")];
    let run = LatestRun {
        started: started.monotonic,
        ended: Some(Moment {
            monotonic: started.monotonic + SECOND * 5,
            wall: started.wall + SECOND * 5,
        }),
    };
    let saw = |heard: Duration, changed: Duration| {
        let heard = started.monotonic + heard;
        run.saw(&Batch {
            paths: &path,
            seen: (heard, heard),
            changed: Some(started.wall + changed),
        })
    };
    assert_eq!(saw(SECOND, SECOND), Some(SECOND));
    assert_eq!(saw(SECOND * 9, SECOND), Some(SECOND * 9));
    assert_eq!(saw(SECOND * 9, SECOND * 8), None);
}

#[test]
fn a_postponed_run_starts_after_the_current_one() {
    let mut runs = SelfTrigger::default();
    let start = Moment::now();
    let paths = [PathBuf::from("gen.rs")];
    let mut verdict = Verdict::Now;
    for _ in 0..2 {
        runs.started(start.monotonic);
        let batch = Batch {
            paths: &paths,
            seen: (start.monotonic, start.monotonic),
            changed: None,
        };
        verdict = runs.judge(&batch, start.monotonic);
    }
    assert_eq!((verdict, runs.due()), (Verdict::Later(2 * ALMOST), None));
    runs.ended(start);
    assert_eq!(runs.due(), Some(start.monotonic + 2 * ALMOST));
    runs.started(start.monotonic);
    assert!(
        runs.due().is_some(),
        "another start need not include the changes"
    );
    runs.cancel();
    assert_eq!(runs.due(), None);
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

/// Simulates a program that writes a file at these times after each start, and a person who saves the file at the times
/// in `saves`. A start follows a change after 20 ms. Returns the times of the starts, and whether the file was found to
/// be written by the program. All times are in milliseconds.
fn starts(writes: &[u64], saves: &[u64], until: u64) -> (Vec<u64>, bool) {
    let mut history = SelfTrigger::of_program();
    let clock = Moment::now().monotonic;
    let at = |millis| clock + Duration::from_millis(millis);
    let path = [PathBuf::from("app.pid")];
    let (mut starts, mut found) = (vec![0], false);
    history.started(clock);
    let mut due = None;
    for now in 1..until {
        let last = starts[starts.len() - 1];
        let changes = saves.contains(&now) || writes.contains(&(now - last));
        let batch = Batch {
            paths: &path,
            seen: (at(now), at(now)),
            changed: None,
        };
        match changes.then(|| history.judge(&batch, at(now))) {
            Some(Verdict::Now) => due = Some(now + 20),
            Some(Verdict::SelfTriggered) => found = true,
            Some(Verdict::Later(_) | Verdict::LaterAndLater(_) | Verdict::Nothing) | None => {}
        }
        let postponed = history.due().is_some_and(|due| due <= at(now));
        if due == Some(now) || postponed {
            history.cancel();
            history.started(at(now));
            starts.push(now);
            due = None;
        }
    }
    (starts, found)
}

#[test]
fn a_program_that_writes_its_input_once_after_each_start_starts_three_times() {
    for after in [1, 60, 500, 2_000, 9_000] {
        let (starts, found) = starts(&[after], &[], 60_000);
        assert_eq!(
            (starts.len(), found),
            (3, true),
            "after {after} ms: {starts:?}"
        );
    }
}

#[test]
fn a_program_that_keeps_writing_its_input_starts_less_and_less_often() {
    let writes = Vec::from_iter((1..2_000).map(|n| n * 90));
    let (starts, _) = starts(&writes, &[], 120_000);
    assert!(starts.len() < 14, "{starts:?}");
}

#[test]
fn a_person_who_saves_the_file_that_a_program_writes_sees_a_start_at_once() {
    let saves = [5_000, 8_000, 8_700, 30_000];
    let (starts, found) = starts(&[60], &saves, 40_000);
    assert!(found);
    for save in saves {
        assert!(starts.contains(&(save + 20)), "{save}: {starts:?}");
    }
    assert_eq!(starts.len(), 3 + saves.len(), "{starts:?}");
}

#[test]
fn a_program_that_was_seen_writing_several_files_may_write_more_like_them() {
    let mut history = SelfTrigger::of_program();
    let path = |name: &str| PathBuf::from("uploads").join(name);
    let makes = |history: &SelfTrigger, name| history.makes(&path(name), true, false);
    for name in ["1.png", "2.png", "3.png"] {
        assert!(!makes(&history, "new.png"));
        history.caught(&path(name), None, true);
        history.caught(&path(name), None, true);
    }
    assert!(makes(&history, "new.png") && !makes(&history, "new.py"));
    assert!(
        !history.makes(&path("1.png"), false, false),
        "an edit counts"
    );
    assert!(
        history.makes(&path("1.png"), false, true),
        "the program may remove its own files"
    );
}

#[test]
fn a_program_that_was_seen_writing_a_file_several_times_may_write_it_at_any_time() {
    let mut history = SelfTrigger::of_program();
    let (path, later) = (PathBuf::from("data.json"), Some(SECOND * 9));
    let at_start = Some(ALMOST);
    history.caught(&path, at_start, false);
    assert!(history.explains(&path, at_start) && !history.explains(&path, later));
    for _ in 0..OFTEN {
        assert!(!history.explains(&path, None));
        history.caught(&path, at_start, true);
    }
    assert!(history.explains(&path, later) && history.explains(&path, None));
}

#[test]
fn a_person_who_saves_regularly_is_not_mistaken_for_the_program() {
    for pause in (20..9_000).step_by(47) {
        let saves = Vec::from_iter((1..=30).map(|n| n * pause));
        let last = saves[saves.len() - 1];
        let (starts, found) = starts(&[], &saves, last + 40_000);
        assert!(!found, "every {pause} ms: {starts:?}");
        assert!(
            starts.iter().any(|start| *start > last),
            "every {pause} ms: {starts:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_save_starts_the_program_unless_it_is_found_to_write_the_file_and_the_number_of_starts_is_bounded(
        writes in proptest::collection::vec(1_u64..3_000, 0..3),
        saves in proptest::collection::btree_set(1_u64..30_000, 0..12),
    ) {
        let saves = Vec::from_iter(saves);
        let (starts, found) = starts(&writes, &saves, 80_000);
        for save in &saves {
            let is_started = starts.iter().any(|start| *save < *start && *start < save + 40_000);
            prop_assert!(is_started || found, "{save}: {starts:?}");
        }
        let bound = 1 + 2 * saves.len() + 12 * (1 + writes.len());
        prop_assert!(starts.len() <= bound, "{} starts: {starts:?}", starts.len());
    }
}
