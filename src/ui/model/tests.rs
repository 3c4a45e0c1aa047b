use super::*;
use crate::reload::{Cause, GenFailure, GenNotice, Notice, Stopped};

const ONE: GenId = GenId(1);
const TWO: GenId = GenId(2);
const MOMENT: Duration = Duration::from_millis(5);

fn model(notices: &[Notice]) -> Model {
    let mut model = Model::default();
    for notice in notices {
        model.fold(&Report::Notice(*notice), MOMENT);
    }
    model
}

fn rebuilding() -> Vec<Notice> {
    vec![
        Notice::Generation(
            ONE,
            GenNotice::Building {
                cause: Cause::Begin,
            },
        ),
        Notice::Generation(
            ONE,
            GenNotice::Starting {
                cause: Cause::Begin,
            },
        ),
        Notice::Generation(ONE, GenNotice::Ready { took: MOMENT }),
        Notice::Generation(ONE, GenNotice::Live { took: MOMENT }),
        Notice::Generation(
            TWO,
            GenNotice::Building {
                cause: Cause::Change,
            },
        ),
    ]
}

#[test]
fn a_starting_generation_overlaps_but_a_building_one_does_not() {
    let mut notices = rebuilding();
    assert!(!model(&notices).overlaps(ONE));
    notices.push(Notice::Generation(
        TWO,
        GenNotice::Starting {
            cause: Cause::Change,
        },
    ));
    let model = model(&notices);
    assert!(model.overlaps(ONE) && model.overlaps(TWO));
    assert_eq!(model.live(), Some(ONE));
}

#[test]
fn the_overlap_ends_when_either_generation_is_gone() {
    let mut notices = rebuilding();
    notices.push(Notice::Generation(
        TWO,
        GenNotice::Starting {
            cause: Cause::Change,
        },
    ));
    let mut failed = notices.clone();
    failed.push(Notice::Generation(
        TWO,
        GenNotice::Failed {
            failure: GenFailure::ReadyTimeout,
            live: Some(ONE),
        },
    ));
    assert!(
        model(&failed).overlaps(ONE),
        "generation 2 may still print something"
    );
    failed.push(Notice::Generation(
        TWO,
        GenNotice::Gone {
            how: Stopped::Drained,
            in_use: None,
            took: MOMENT,
        },
    ));
    assert!(!model(&failed).overlaps(ONE));
    notices.push(Notice::Generation(
        ONE,
        GenNotice::Draining { timeout: MOMENT },
    ));
    notices.push(Notice::Generation(TWO, GenNotice::Live { took: MOMENT }));
    assert!(model(&notices).overlaps(TWO));
    notices.push(Notice::Generation(
        ONE,
        GenNotice::Gone {
            how: Stopped::Drained,
            in_use: None,
            took: MOMENT,
        },
    ));
    assert!(!model(&notices).overlaps(TWO));
    assert_eq!(model(&notices).live(), Some(TWO));
}

#[test]
fn the_pid_and_the_time_until_ready_are_recorded() {
    let mut model = model(&rebuilding());
    let program = "api".to_owned();
    model.fold(
        &Report::Spawned {
            id: ONE,
            pid: 42,
            program,
        },
        MOMENT,
    );
    let generation = &model.generations[&ONE];
    assert_eq!((generation.pid, generation.ready), (Some(42), Some(MOMENT)));
}

/// This happens when a user reverts the edit that caused the failure.
#[test]
fn a_problem_disappears_when_the_sources_match_the_live_generation_again() {
    let mut notices = rebuilding();
    notices.push(Notice::Generation(
        TWO,
        GenNotice::Failed {
            failure: GenFailure::ReadyTimeout,
            live: Some(ONE),
        },
    ));
    assert!(model(&notices).start_problem.is_some());
    let three = GenId(3);
    notices.push(Notice::Generation(
        three,
        GenNotice::Building {
            cause: Cause::Change,
        },
    ));
    let unchanged = |like| Notice::Generation(three, GenNotice::Unchanged { like });
    let with = |last| model(&[notices.clone(), vec![last]].concat());
    assert!(with(unchanged(TWO)).start_problem.is_some());
    let mended = with(unchanged(ONE));
    assert!(mended.start_problem.is_none() && mended.last.unchanged);
}

/// Changed files that only trigger a rule's command, or that wait for the next build, are not shown.
#[test]
fn the_changed_files_are_those_that_triggered_the_newest_generation() {
    let changed = |model: &mut Model, path: &str| {
        let paths = vec![path.into()];
        model.fold(&Report::Changed(paths), MOMENT);
    };
    let build = |model: &mut Model, id| {
        let cause = Cause::Change;
        model.fold(
            &Report::Notice(Notice::Generation(id, GenNotice::Building { cause })),
            MOMENT,
        );
    };
    let mut model = Model::default();
    changed(&mut model, "a.rs");
    build(&mut model, TWO);
    changed(&mut model, "b.rs");
    assert_eq!(model.changed, Some((PathBuf::from("a.rs"), 1)));
    build(&mut model, GenId(3));
    assert_eq!(model.changed, Some((PathBuf::from("b.rs"), 1)));
}

#[test]
fn undo_is_not_offered_after_an_automatic_rollback() {
    let three = GenId(3);
    let live = |id| Notice::Generation(id, GenNotice::Live { took: MOMENT });
    let mut model = model(&rebuilding());
    for report in [
        Report::ArtifactKept(ONE),
        Report::Notice(live(ONE)),
        Report::ArtifactKept(TWO),
        Report::Notice(live(TWO)),
    ] {
        model.fold(&report, MOMENT);
    }
    assert!(model.undoable);
    let cause = Cause::RollBack;
    model.fold(
        &Report::Notice(Notice::Generation(three, GenNotice::Starting { cause })),
        MOMENT,
    );
    model.fold(&Report::Notice(live(three)), MOMENT);
    assert!(!model.undoable);
    // A restart of the earlier artifact does not change this.
    let (four, cause) = (GenId(4), Cause::Crash);
    assert!(model.rolled_back);
    for notice in [
        Notice::Generation(four, GenNotice::Starting { cause }),
        live(four),
    ] {
        model.fold(&Report::Notice(notice), MOMENT);
    }
    assert!(model.rolled_back && !model.undoable);
    let (six, cause) = (GenId(6), Cause::Change);
    for report in [
        Report::Notice(Notice::Generation(six, GenNotice::Starting { cause })),
        Report::EarlierBuild(six, ONE),
        Report::Notice(live(six)),
    ] {
        model.fold(&report, MOMENT);
    }
    assert!(model.rolled_back, "a rule has restarted the earlier build");
    let (five, cause) = (GenId(5), Cause::Change);
    for notice in [
        Notice::Generation(five, GenNotice::Building { cause }),
        live(five),
    ] {
        model.fold(&Report::Notice(notice), MOMENT);
    }
    assert!(!model.rolled_back);
}

#[test]
fn a_failed_build_without_errors_shows_its_last_lines() {
    let mut model = model(&rebuilding());
    for number in 1..=15 {
        let text = format!("line {number}");
        model.fold(&Report::BuildLine(TWO, text), MOMENT);
    }
    let failed = Notice::Generation(
        TWO,
        GenNotice::Failed {
            failure: GenFailure::Build,
            live: Some(ONE),
        },
    );
    model.fold(&Report::Notice(failed), MOMENT);
    assert!(model.broken_build.is_some());
    let errors = model.last_build_log.errors(4, 12);
    let lines: Vec<&str> = errors[0].lines().collect();
    assert_eq!(lines[..2], ["… 3 earlier lines", "line 4"]);
    assert_eq!(lines.len(), 12 + 1);
}

#[test]
fn a_crash_does_not_hide_that_the_newest_build_failed() {
    let three = GenId(3);
    let cause = Cause::Crash;
    let failed = |id, failure, live| Notice::Generation(id, GenNotice::Failed { failure, live });
    let live = |id| Notice::Generation(id, GenNotice::Live { took: MOMENT });
    let mut model = model(&rebuilding());
    let mut fold_all = |notices: &[Notice]| {
        for notice in notices {
            model.fold(&Report::Notice(*notice), MOMENT);
        }
        let problem = model.problem().map(|problem| problem.id);
        (
            problem,
            model.broken_build.as_ref().map(|problem| problem.id),
        )
    };
    let crashed = GenFailure::Crashed(crate::reload::Ended::Signal(11));
    assert_eq!(
        fold_all(&[
            failed(TWO, GenFailure::Build, Some(ONE)),
            failed(ONE, crashed, None)
        ]),
        (Some(ONE), Some(TWO)),
        "the latest problem is shown"
    );
    assert_eq!(
        fold_all(&[
            Notice::Generation(three, GenNotice::Starting { cause }),
            live(three)
        ]),
        (Some(TWO), Some(TWO)),
        "after another generation went live, the failed build is shown"
    );
    let id = GenId(4);
    assert_eq!(
        fold_all(&[failed(three, GenFailure::ReadyTimeout, None)]),
        (Some(three), Some(TWO))
    );
    let cause = Cause::Change;
    let took = MOMENT;
    let built = [
        Notice::Generation(id, GenNotice::Building { cause }),
        Notice::Generation(id, GenNotice::Built { took }),
    ];
    assert_eq!(fold_all(&built), (Some(three), None));
    assert_eq!(fold_all(&[live(id)]), (None, None));
}

/// Every frame processes the lines again, so long lines would slow it down.
#[test]
fn long_build_lines_are_shortened() {
    let mut model = model(&rebuilding());
    let long = "x".repeat(1 << 20);
    let text = long.clone();
    model.fold(&Report::BuildLine(TWO, text), MOMENT);
    let level = Level::Error;
    let rendered = format!("error: no\n  | {long}\n  | ^\n");
    let id = TWO;
    model.fold(
        &Report::Diagnostic {
            id,
            level,
            rendered,
        },
        MOMENT,
    );
    let error = &model.build_log.errors(1, 1)[0];
    assert!(error.len() < 10_000 && error.ends_with("\n  | ^"));
}

#[test]
fn a_restored_generation_keeps_its_uptime() {
    let mut model = model(&rebuilding());
    let timeout = MOMENT;
    for (notice, now) in [
        (
            Notice::Generation(ONE, GenNotice::Draining { timeout }),
            MOMENT * 10,
        ),
        (
            Notice::Generation(
                ONE,
                GenNotice::Restored {
                    cause: Cause::Crash,
                },
            ),
            MOMENT * 20,
        ),
    ] {
        model.fold(&Report::Notice(notice), now);
    }
    assert_eq!(model.generations[&ONE].since, MOMENT);
    assert_eq!(model.live(), Some(ONE));
}
