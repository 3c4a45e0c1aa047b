//! Tests the reports about notifications from programs.

use super::json::json;
use super::*;

/// Reports about all kinds of notifications.
pub(super) fn everything() -> Vec<Report> {
    let status = |text: &str| Report::Status(ONE, text.into());
    vec![
        Report::MainProcess(ONE, 42),
        status("12 clients"),
        status(""),
        Report::Source("cfg".into(), Some("exit status 1".into())),
        Report::Source("cfg".into(), None),
        notice(Notice::Generation(ONE, GenNotice::StoredFds)),
        notice(Notice::Generation(
            ONE,
            GenNotice::TimeoutExtended { left: ms(2000) },
        )),
        notice(Notice::Generation(
            ONE,
            GenNotice::Aborting {
                after: Some(ms(1500)),
            },
        )),
        notice(Notice::Generation(ONE, GenNotice::Aborting { after: None })),
        notice(Notice::Generation(
            TWO,
            GenNotice::Starting {
                cause: Cause::InheritFds,
            },
        )),
    ]
}

#[test]
fn notifications_are_reported_as_json_events() {
    assert_eq!(
        json(&everything()),
        r#"{"event":"main_process","generation":1,"pid":42}
{"event":"status","generation":1,"text":"12 clients"}
{"event":"status","generation":1,"text":""}
{"event":"source","name":"cfg","up":false,"reason":"exit status 1"}
{"event":"source","name":"cfg","up":true}
{"event":"stored_descriptors","generation":1}
{"event":"timeout_extended","generation":1,"remaining_ms":2000.0}
{"event":"aborting","generation":1,"after_ms":1500.0}
{"event":"aborting","generation":1,"after_ms":null}
{"event":"starting","generation":2,"cause":"inherit_descriptors"}
"#
    );
}

#[test]
fn notifications_are_reported_in_plain_lines() {
    assert_eq!(
        plain(&everything()),
        "\
hotrun: gen 1 status: 12 clients
hotrun: source `cfg` is down: exit status 1; hotrun goes on trying
hotrun: source `cfg` is up again
hotrun: gen 1 stores descriptors: from now on each generation stops before the next one starts
hotrun: gen 1 sent no watchdog ping for 1.5s, aborting it
hotrun: gen 1 reported that it is hung, aborting it
hotrun: gen 2 starting (to receive stored descriptors)
"
    );
}

fn restored(failure: GenFailure) -> Vec<Report> {
    let failed = Notice::Generation(
        TWO,
        GenNotice::Failed {
            failure,
            live: Some(ONE),
        },
    );
    vec![
        notice(failed),
        notice(Notice::Generation(
            ONE,
            GenNotice::Restored {
                cause: Cause::Crash,
            },
        )),
    ]
}

#[test]
fn the_report_of_a_crash_names_the_restored_generation_once() {
    let failure = GenFailure::Crashed(crate::reload::Ended::Signal(9));
    assert_eq!(
        plain(&restored(failure)),
        "hotrun: gen 2 crashed (signal 9); gen 1 is live again\n"
    );
}

#[test]
fn a_restored_generation_is_reported_as_live_again_only_if_the_vanished_one_was_live() {
    let lost = restored(GenFailure::Vanished);
    assert_eq!(
        plain(&lost[..1]),
        "hotrun: gen 2 vanished; gen 1 still live\n"
    );
    let took = ms(1);
    let live = vec![notice(Notice::Generation(TWO, GenNotice::Live { took }))];
    assert_eq!(
        plain(&[live, lost].concat()),
        "\
hotrun: gen 2 live
hotrun: gen 2 vanished; gen 1 is live again
"
    );
}
