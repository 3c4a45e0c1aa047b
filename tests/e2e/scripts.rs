//! Scripts of random edits while hotrun is running, every second script during a build. Once the edits have stopped,
//! the last build must have seen the current files.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::harness::{Builds, Project, say};
use crate::script::{Contents, Dice, differing, snapshot, step};

const SCRIPTS: u64 = 1000;

/// Makes random edits, and returns the paths that may have differed from `before` at some point.
fn edit(dice: &mut Dice, root: &Path, outside: &Path, before: &Contents) -> BTreeSet<String> {
    let mut touched = BTreeSet::new();
    let mut last = before.clone();
    for _ in 0..=dice.roll(7) {
        touched.extend(step(dice, root, outside));
        let now = snapshot(root);
        touched.extend(differing(&last, &now));
        last = now;
    }
    touched
        .into_iter()
        .map(|path| path.display().to_string())
        .collect()
}

/// A snapshot with relative paths.
fn relative_snapshot(root: &Path) -> Contents {
    let found = snapshot(root).into_iter();
    let relative = found.map(|(path, text)| {
        let path = path.strip_prefix(root).expect("the path is under the root");
        (path.to_owned(), text)
    });
    relative.collect()
}

#[test]
#[ignore = "takes a minute"]
fn the_last_build_sees_the_result_of_every_random_script() {
    let outside = TempDir::new().expect("can create a temporary directory");
    let project = Project::with(&["a/x", "b/e/z"]);
    fs::write(project.work().join(".gitignore"), "ignored\nbeside\n").expect("can write the file");
    // The build copies the files that it sees, and takes long enough for edits to happen during it.
    let (root, seen) = (project.work(), project.beside("seen"));
    let copy = format!(
        "rm -rf '{0}'; cp -a . '{0}' 2>/dev/null; sleep 0.02",
        seen.display()
    );
    let mut builds = Builds::start(project, |run| run, &copy, "10ms");
    let (mut needed, mut unneeded, mut built) = (0, 0, builds.at_rest());
    // Scripts that changed something and changed it back. A build may or may not have seen the change.
    let (mut open, mut open_built) = (0, 0);
    for script in 1..=SCRIPTS {
        let mut dice = Dice::of(script);
        let before = snapshot(&root);
        let during = script % 2 == 0;
        if during {
            builds.save("kick", &script.to_string());
            builds.wait_for_build();
        }
        let touched = edit(&mut dice, &root, outside.path(), &before);
        let (now, after) = (builds.at_rest(), snapshot(&root));
        let changed = differing(&before, &after);
        assert_eq!(
            relative_snapshot(&seen),
            relative_snapshot(&root),
            "script {script}"
        );
        if !changed.is_empty() {
            needed += 1;
            assert!(now > built, "script {script}: no build for {changed:?}");
        } else if touched.is_empty() {
            unneeded += 1;
            assert_eq!(now, built, "script {script}: an unneeded build");
        } else {
            open += 1;
            open_built += usize::from(now > built);
        }
        built = now;
    }
    say(&format!(
        "{SCRIPTS} edit scripts: {built} builds; {needed} scripts needed one, {unneeded} needed none, \
         {open} reverted their changes ({open_built} led to a build)"
    ));
    assert!(
        needed > 500 && unneeded > 20,
        "most scripts need a build, and some do not"
    );
    builds.quit();
}
