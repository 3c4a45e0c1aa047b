//! Scripts of random edits: their steps, and what the steps change.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const DIRS: [&str; 6] = ["a", "b", "a/c", "a/c/d", "b/e", "ignored"];
const FILES: [&str; 3] = ["x", "y.rs", "z"];

/// The files that count, and their contents.
pub(crate) type Contents = BTreeMap<PathBuf, Vec<u8>>;

/// A random number generator (`xorshift64`). The number of a script is its seed, so that each script can be repeated.
pub(crate) struct Dice(u64);

impl Dice {
    /// Makes the dice for the script with this number.
    pub(crate) fn of(script: u64) -> Self {
        Self(script.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).expect("the remainder is less than `sides`")
    }

    pub(crate) fn dir(&mut self, root: &Path) -> PathBuf {
        root.join(DIRS[self.roll(DIRS.len())])
    }

    pub(crate) fn file(&mut self, root: &Path) -> PathBuf {
        self.dir(root).join(FILES[self.roll(FILES.len())])
    }
}

pub(crate) fn snapshot(root: &Path) -> Contents {
    let mut found = Contents::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() {
                waiting.extend(Some(path).filter(|path| !path.ends_with("ignored")));
            } else if name != "beside" && !name.to_string_lossy().starts_with("checkpoint") {
                found.insert(path.clone(), fs::read(path).unwrap_or_default());
            }
        }
    }
    found
}

pub(crate) fn differing(one: &Contents, other: &Contents) -> BTreeSet<PathBuf> {
    let paths = one.keys().chain(other.keys());
    paths
        .filter(|path| one.get(*path) != other.get(*path))
        .cloned()
        .collect()
}

/// Makes one step of a script. An impossible step does nothing, for example if there is a file where the step needs a
/// directory. Returns the file if it was written in place, because the watch may have seen it while it was empty for a
/// short time.
pub(crate) fn step(dice: &mut Dice, root: &Path, outside: &Path) -> Option<PathBuf> {
    let file = dice.file(root);
    let made = |path: &Path| fs::create_dir_all(path.parent().expect("a file has a parent")).ok();
    let text = [b'0' + u8::try_from(dice.roll(3)).expect("the roll is less than 3")];
    match dice.roll(13) {
        0 | 1 => {
            made(&file);
            return fs::write(&file, text).ok().map(|()| file);
        }
        2 => {
            made(&file);
            if let Ok(mut open) = fs::File::create(&file) {
                for _ in 0..3 {
                    let _ = open.write_all(&text);
                    let _ = open.flush();
                }
                return Some(file);
            }
        }
        3 => drop(fs::remove_file(&file)),
        4 => drop(fs::rename(&file, dice.file(root))),
        5 => {
            // Saves like an editor: renames a new file over the old one.
            let beside = file.with_file_name("beside");
            if made(&file).is_some() && fs::write(&beside, text).is_ok() {
                let _ = fs::rename(&beside, &file).or_else(|_| fs::remove_file(&beside));
            }
        }
        6 => drop(fs::remove_dir_all(dice.dir(root))),
        7 => drop(fs::rename(dice.dir(root), dice.dir(root))),
        8 => drop(fs::rename(dice.dir(root), outside.join("tree"))),
        9 => drop(fs::rename(outside.join("tree"), dice.dir(root))),
        10 => {
            // Writes the same contents again.
            let same = fs::read(&file).ok()?;
            return fs::write(&file, same).ok().map(|()| file);
        }
        _ => {
            let open = fs::OpenOptions::new().append(true).open(&file);
            let _ = open.and_then(|open| open.set_modified(SystemTime::now()));
        }
    }
    None
}
