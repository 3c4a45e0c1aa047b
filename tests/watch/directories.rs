//! Tests that directories stay watched when they are moved, replaced or created again.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::watched::{Watched, tree, watch_as};

fn watched(dirs: usize) -> Watched {
    let root = tree(&[]);
    for number in 0..dirs {
        let dir = root.path().join(format!("old-{number}/sub"));
        fs::create_dir_all(dir).expect("can create the directory");
    }
    watch_as(root, |spec| spec.debounce = Duration::from_millis(10))
}

/// Creates a file in each directory, and waits until every file has been reported.
#[track_caller]
fn expect_change_in_each(watched: &mut Watched, dirs: usize, name: &str) {
    let files = (0..dirs).map(|number| watched.path(&format!("{name}-{number}/sub/x")));
    let mut missing: BTreeSet<PathBuf> = files.collect();
    for file in &missing {
        fs::write(file, "").expect("can write the file");
    }
    while !missing.is_empty() {
        for path in watched.changed() {
            missing.remove(&path);
        }
    }
}

#[test]
fn hc04_moved_directories_stay_watched() {
    let mut watched = watched(200);
    for number in 0..200 {
        watched.rename(&format!("old-{number}"), &format!("new-{number}"));
    }
    expect_change_in_each(&mut watched, 200, "new");
}

#[test]
fn hc04_directories_that_are_removed_and_created_again_are_watched() {
    let mut watched = watched(200);
    for number in 0..200 {
        let dir = watched.path(&format!("old-{number}"));
        fs::remove_dir_all(&dir).expect("can remove the directory");
        fs::create_dir_all(dir.join("sub")).expect("can create the directory");
    }
    expect_change_in_each(&mut watched, 200, "old");
}

/// Each directory is replaced by another one in a single step.
#[cfg(target_os = "linux")]
#[test]
fn hc04_replaced_directories_are_watched() {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    let mut watched = watched(50);
    let others = tree(&[]);
    for number in 0..50 {
        let dir = watched.path(&format!("old-{number}"));
        let other = others.path().join(number.to_string());
        fs::create_dir_all(other.join("sub")).expect("can create the directory");
        let flags = RenameFlags::RENAME_EXCHANGE;
        let exchanged = renameat2(AT_FDCWD, &dir, AT_FDCWD, &other, flags);
        exchanged.expect("can exchange the directories");
    }
    expect_change_in_each(&mut watched, 50, "old");
}

/// Events for a directory that is already gone arrive while hotrun starts watching the next directory at the same path.
#[test]
fn hc04_directories_that_come_and_go_are_eventually_watched() {
    let mut watched = watched(20);
    for round in 0..20 {
        for number in 0..20 {
            let dir = watched.path(&format!("old-{number}"));
            let away = watched.path(&format!("away-{number}"));
            let moved = match round % 2 {
                0 => fs::rename(&dir, &away),
                _ => fs::rename(&away, &dir),
            };
            moved.expect("can move the directory");
        }
    }
    expect_change_in_each(&mut watched, 20, "old");
}
