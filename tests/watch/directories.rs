//! No directory goes unwatched, however it is moved, replaced or made again.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::watched::{Watched, tree, watch_as};

fn watched(dirs: usize) -> Watched {
    let root = tree(&[]);
    for number in 0..dirs {
        let dir = root.path().join(format!("old-{number}/sub"));
        fs::create_dir_all(dir).expect("ours");
    }
    watch_as(root, |spec| spec.debounce = Duration::from_millis(10))
}

/// Creates a file in each directory, and expects every one to be reported.
#[track_caller]
fn hears_of_each(watched: &mut Watched, dirs: usize, name: &str) {
    let files = (0..dirs).map(|number| watched.path(&format!("{name}-{number}/sub/x")));
    let mut missing: BTreeSet<PathBuf> = files.collect();
    for file in &missing {
        fs::write(file, "").expect("the directory exists");
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
    hears_of_each(&mut watched, 200, "new");
}

#[test]
fn hc04_directories_removed_and_made_again_are_watched() {
    let mut watched = watched(200);
    for number in 0..200 {
        let dir = watched.path(&format!("old-{number}"));
        fs::remove_dir_all(&dir).expect("ours");
        fs::create_dir_all(dir.join("sub")).expect("ours");
    }
    hears_of_each(&mut watched, 200, "old");
}

/// Another directory takes the place of each in one step.
#[cfg(target_os = "linux")]
#[test]
fn hc04_replaced_directories_are_watched() {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    let mut watched = watched(50);
    let others = tree(&[]);
    for number in 0..50 {
        let dir = watched.path(&format!("old-{number}"));
        let other = others.path().join(number.to_string());
        fs::create_dir_all(other.join("sub")).expect("ours");
        let flags = RenameFlags::RENAME_EXCHANGE;
        renameat2(AT_FDCWD, &dir, AT_FDCWD, &other, flags).expect("exchanged");
    }
    hears_of_each(&mut watched, 50, "old");
}

/// Events for a directory that is gone again arrive while the next one at its path is being watched.
#[test]
fn hc04_directories_that_come_and_go_are_watched_in_the_end() {
    let mut watched = watched(20);
    for round in 0..20 {
        for number in 0..20 {
            let dir = watched.path(&format!("old-{number}"));
            let away = watched.path(&format!("away-{number}"));
            match round % 2 {
                0 => fs::rename(&dir, &away).expect("ours"),
                _ => fs::rename(&away, &dir).expect("ours"),
            }
        }
    }
    hears_of_each(&mut watched, 20, "old");
}
