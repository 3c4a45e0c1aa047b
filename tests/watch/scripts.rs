//! Random edits, script after script, under one watch: what is told is what changed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::script::{Dice, differing, snapshot, step};
use super::watched::{Watched, tree, watch_as};

const SCRIPTS: u64 = 1000;

/// All that is told until the mark.
fn told(watched: &mut Watched, mark: &Path) -> BTreeSet<PathBuf> {
    fs::write(mark, "").expect("the folder is ours");
    let mut told = BTreeSet::new();
    while !told.contains(mark) {
        told.extend(watched.changed());
    }
    told.remove(mark);
    told
}

#[test]
fn a_thousand_scripts_are_told_as_they_were() {
    let outside = tree(&[]);
    let first = tree(&[
        (".gitignore", "ignored\nbeside\n"),
        ("a/x", "0"),
        ("b/e/z", "1"),
    ]);
    let mut watched = watch_as(first, |spec| spec.debounce = Duration::from_millis(10));
    // Until then what is there is being read.
    watched.none();
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
        let mark = root.join(format!("mark-{script}"));
        let told = told(&mut watched, &mark);
        let changed = differing(&before, &last);
        let missed: Vec<_> = changed.difference(&told).collect();
        assert!(missed.is_empty(), "script {script}: not told of {missed:?}");
        let more: Vec<_> = told.difference(&touched).collect();
        assert!(more.is_empty(), "script {script}: told of {more:?}");
        before = last;
    }
}
