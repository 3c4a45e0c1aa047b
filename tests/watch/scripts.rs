//! Runs many scripts of random edits under one watch, and checks that exactly the changed files are reported.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::script::{Dice, differing, snapshot, step};
use super::watched::{Watched, tree, watch_as};

const SCRIPTS: u64 = 1000;

/// Writes the checkpoint, and returns all changes that are reported up to it.
fn reported(watched: &mut Watched, checkpoint: &Path) -> BTreeSet<PathBuf> {
    fs::write(checkpoint, "").expect("can write the checkpoint");
    let mut reported = BTreeSet::new();
    while !reported.contains(checkpoint) {
        reported.extend(watched.changed());
    }
    reported.remove(checkpoint);
    reported
}

#[test]
fn exactly_the_changes_of_a_thousand_scripts_are_reported() {
    let outside = tree(&[]);
    let first = tree(&[
        (".gitignore", "ignored\nbeside\n"),
        ("a/x", "0"),
        ("b/e/z", "1"),
    ]);
    let mut watched = watch_as(first, |spec| spec.debounce = Duration::from_millis(10));
    // Wait until the watch thread has read the files ahead.
    watched.expect_nothing();
    let root = watched.path("");
    let root = root.components().as_path().to_owned();
    let mut before = snapshot(&root);
    for script in 1..=SCRIPTS {
        let mut dice = Dice::of(script);
        let mut touched = BTreeSet::new();
        let mut last = before.clone();
        for _ in 0..=dice.roll(7) {
            touched.extend(step(&mut dice, &root, outside.path()));
            let now = snapshot(&root);
            touched.extend(differing(&last, &now));
            last = now;
        }
        let checkpoint = root.join(format!("checkpoint-{script}"));
        let reported = reported(&mut watched, &checkpoint);
        let changed = differing(&before, &last);
        let missed: Vec<_> = changed.difference(&reported).collect();
        assert!(
            missed.is_empty(),
            "script {script}: not reported: {missed:?}"
        );
        let more: Vec<_> = reported.difference(&touched).collect();
        assert!(
            more.is_empty(),
            "script {script}: reported without a change: {more:?}"
        );
        before = last;
    }
}
