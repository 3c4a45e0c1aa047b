//! What programs say of themselves.

use super::json::json;
use super::*;

/// One of each.
pub(super) fn everything() -> Vec<Report> {
    let status = |text: &str| Report::Status {
        id: ONE,
        text: text.into(),
    };
    vec![
        Report::MainProcess { id: ONE, pid: 42 },
        status("12 clients"),
        status(""),
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
fn words_in_json() {
    assert_eq!(
        json(&everything()),
        r#"{"event":"main_process","generation":1,"pid":42}
{"event":"status","generation":1,"text":"12 clients"}
{"event":"status","generation":1,"text":""}
{"event":"stores","generation":1}
{"event":"extended","generation":1,"left_ms":2000.0}
{"event":"aborting","generation":1,"after_ms":1500.0}
{"event":"aborting","generation":1,"after_ms":null}
{"event":"starting","generation":2,"cause":"inherit"}
"#
    );
}

#[test]
fn words_in_plain_lines() {
    assert_eq!(
        plain(&everything()),
        "\
hotrun: gen 1 says: 12 clients
hotrun: gen 1 stores descriptors for the next: from now on the old one ends before the new one starts
hotrun: gen 1 gave no sign of life for 1.5s and is aborted
hotrun: gen 1 says that it hangs and is aborted
hotrun: gen 2 starting (to get what was stored)
"
    );
}

fn replaced(failure: Failure) -> Vec<Report> {
    let failed = Notice::Generation(
        TWO,
        GenNotice::Failed {
            failure,
            live: Some(ONE),
        },
    );
    vec![
        notice(failed),
        notice(Notice::Generation(ONE, GenNotice::Restored)),
    ]
}

#[test]
fn who_takes_the_place_of_one_that_crashed_is_named_once() {
    let failure = Failure::Crashed(crate::reload::Ended::Signal(9));
    assert_eq!(
        plain(&replaced(failure)),
        "hotrun: gen 2 failed: ended while live: signal 9; gen 1, which had not ended yet, serves again\n"
    );
}

#[test]
fn who_takes_the_place_of_one_that_nobody_saw_end_was_not_live() {
    let lost = replaced(Failure::Vanished);
    assert_eq!(
        plain(&lost[..1]),
        "hotrun: gen 2 failed: its processes vanished; gen 1 stays live\n"
    );
    let took = ms(1);
    let live = vec![notice(Notice::Generation(TWO, GenNotice::Live { took }))];
    assert_eq!(
        plain(&[live, lost].concat()),
        "\
hotrun: gen 2 live
hotrun: gen 2 failed: its processes vanished; gen 1, which had not ended yet, serves again
"
    );
}
