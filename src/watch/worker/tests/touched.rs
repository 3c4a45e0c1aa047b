//! Tests the reports of touched files, which come before it is known whether they have changed.

use super::*;
use crate::watch::rule::{ChangeRule, RuleAction};

fn is_touched(reports: &mut UnboundedReceiver<WatchMessage>) -> bool {
    match reports.try_recv() {
        Ok(WatchMessage::Touched) => true,
        Ok(other) => panic!("{other:?}"),
        Err(_) => false,
    }
}

#[test]
fn a_saved_file_that_may_lead_to_a_start_is_reported_at_once_and_settled_after_the_changes() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let rule = |glob, action| ChangeRule::new(&root, glob, action).unwrap();
    let (mut worker, mut reports) = worker(&WatchSpec {
        roots: vec![root.clone()],
        rules: vec![
            rule("*.sql", RuleAction::Restart),
            rule("*.conf", RuleAction::Signal(1)),
            rule("*.txt", RuleAction::Ignore),
        ],
        reports_touched: true,
        ..WatchSpec::default()
    });
    for (name, state, reported) in [
        ("main", FileState::Complete, true),
        ("a.sql", FileState::Unknown, true),
        ("a.conf", FileState::Complete, false),
        ("a.txt", FileState::Complete, false),
        ("log", FileState::Writing, false),
    ] {
        let path = root.join(name);
        fs::write(&path, "").unwrap();
        worker.touched(&path, state);
        worker.report_settled();
        assert_eq!(is_touched(&mut reports), reported, "{name}");
    }
    let names = ["a.conf", "a.sql", "main"].map(|name| root.join(name));
    assert_eq!(settled(&mut worker, &mut reports), names);
    worker.report_settled();
    assert!(matches!(reports.try_recv(), Ok(WatchMessage::Settled)));
    worker.report_settled();
    assert!(!is_touched(&mut reports));
}
