//! Tests self-triggered runs, and runs that only look self-triggered.

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

#[test]
fn a_run_that_writes_its_inputs_is_self_triggered() {
    use Verdict::{Nothing, Now, SelfTriggered};
    let mut history = SelfTrigger::default();
    let found = judge(&mut history, &[1, 2, 3, 4, 5, 6, 7], &["gen.rs"]);
    let expected = [Now, Now, Now, later(1), later(2), SelfTriggered, Nothing];
    assert_eq!(found, expected);
    // The run writes the file while a user saves another one.
    assert_eq!(judge(&mut history, &[8], &["gen.rs", "main.rs"]), [Now]);
    assert_eq!(judge(&mut history, &[9], &["gen.rs"]), [Nothing]);
    // A user edits the file that the runs write.
    assert_eq!(judge(&mut history, &[0, 10], &["gen.rs"]), [Now, Now]);
}

#[test]
fn runs_that_write_at_varying_times_are_postponed_longer_and_longer() {
    let mut history = SelfTrigger::default();
    let mut verdict = |build: u32, after| {
        let after = Duration::from_millis(after);
        history.judge_files(&paths(&["gen.rs"]), Some((build, after)))
    };
    for build in 1..=3 {
        assert_eq!(verdict(build, 100), Verdict::Now);
    }
    let pauses = [1, 2, 4, 8, 16, 32, 32];
    for (build, seconds) in (4..).zip(pauses) {
        let after = if build % 2 == 0 { 100 } else { 500 };
        assert_eq!(verdict(build, after), later(seconds), "build {build}");
    }
    assert_eq!(verdict(11, 100), Verdict::SelfTriggered);
}

#[test]
fn every_save_during_a_build_triggers_a_build_now_or_later() {
    use Verdict::Now;
    let mut history = SelfTrigger::default();
    assert_eq!(
        judge(&mut history, &[1, 2, 3, 4], &["main.rs"]),
        [Now, Now, Now, later(1)]
    );
    assert_eq!(
        judge(&mut history, &[0, 6, 7], &["main.rs"]),
        [const { Now }; 3]
    );
    // Several saves during one run count once.
    let mut history = SelfTrigger::default();
    assert_eq!(
        judge(&mut history, &[1, 1, 1, 1, 1], &["main.rs"]),
        [const { Now }; 5]
    );
    // The count starts over after a run in which only another file changes.
    let mut history = SelfTrigger::default();
    judge(&mut history, &[1, 2, 3], &["a.rs"]);
    assert_eq!(judge(&mut history, &[4], &["b.rs"]), [Now]);
    assert_eq!(judge(&mut history, &[5], &["a.rs"]), [Now]);
}

#[test]
fn a_run_that_writes_two_files_at_different_times_is_self_triggered_by_both() {
    use Verdict::{Nothing, Now, SelfTriggered};
    let mut history = SelfTrigger::default();
    let mut a = judge(&mut history, &[1, 2, 3], &["a.rs"]);
    let mut b = Vec::new();
    for build in 4..=10 {
        a.extend(judge(&mut history, &[build], &["a.rs"]));
        b.extend(judge(&mut history, &[build], &["b.rs"]));
    }
    let (one, two) = (later(1), later(2));
    assert_eq!(a[..3], [Now, Now, Now]);
    assert_eq!(a[3..6], [one, two, SelfTriggered]);
    assert_eq!(b, [Now, Now, Now, one, two, SelfTriggered, Nothing]);
}

#[test]
fn saves_at_varying_times_during_long_builds_are_not_self_triggered() {
    let mut history = SelfTrigger::default();
    for build in 1..20 {
        let after = Duration::from_secs(if build % 3 == 0 { 4 } else { 7 });
        let judgement = history.judge_files(&paths(&["main.rs"]), Some((build, after)));
        assert_eq!(judgement, Verdict::Now, "build {build}");
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
                Verdict::Later(pause) => later = Some(pause),
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
    for _ in 0..=OFTEN {
        runs.started(start.monotonic);
        let batch = Batch {
            paths: &paths,
            seen: (start.monotonic, start.monotonic),
            changed: None,
        };
        verdict = runs.judge(&batch, start.monotonic);
    }
    assert_eq!((verdict, runs.due()), (Verdict::Later(PAUSE), None));
    runs.ended(start);
    assert_eq!(runs.due(), Some(start.monotonic + PAUSE));
    runs.started(start.monotonic);
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
