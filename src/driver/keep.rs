//! The executables of earlier builds, to go back to.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use crate::build::Launch;
use crate::reload::GenId;

/// So many builds are kept, the newest included.
const MOST: usize = 3;
/// What the names begin with, behind a dot and the executable's own name; the pid, a dash and the generation follow.
const MARK: &str = ".hotrun-";
/// The names as a glob: they must not count as a change where the executable lies in a watched directory.
pub(super) const GLOB: &str = ".*.hotrun-*";

/// What the newest good builds made. Each executable has a second name beside the first, so that the next build, which
/// makes a new file, leaves it alone; and beside it, so that a program that looks around where it lies still
/// finds what it wants.
#[derive(Debug, Default)]
pub(super) struct Keep(BTreeMap<GenId, Kept>);

#[derive(Debug)]
struct Kept {
    launch: Launch,
    path: PathBuf,
    was: Identity,
    /// Locked as long as this hotrun lives, however it ends: a pid says less, for in containers the next hotrun has
    /// the same one, and two that share a target directory do not see each other's.
    _held: Option<File>,
}

/// What changes when a file is written to.
type Identity = (u64, Option<SystemTime>);

fn identity(metadata: &Metadata) -> Identity {
    (metadata.len(), metadata.modified().ok())
}

impl Keep {
    /// Keeps what this build made, and lets go of the oldest; whether there was something to keep.
    ///
    /// # Errors
    /// Where the file system has no hard links.
    pub(super) fn add(&mut self, id: GenId, launch: &Launch) -> io::Result<bool> {
        let Some(executable) = executable(launch) else {
            return Ok(false);
        };
        let name = executable.file_name().unwrap_or_default();
        if self.0.is_empty() {
            remove_stale(&executable);
        }
        let mut beside = OsString::from(".");
        beside.push(name);
        beside.push(format!("{MARK}{}-{id}", std::process::id()));
        let path = executable.with_file_name(beside);
        let held = hold(&executable);
        fs::hard_link(&executable, &path)?;
        let was = identity(&fs::metadata(&path)?);
        let mut launch = launch.clone();
        // Behind a runner of the user's the program is not the first word.
        let is_program = |word: &&mut OsString| launch.workdir.join(&**word) == executable;
        if let Some(word) = launch.argv.iter_mut().find(is_program) {
            *word = path.clone().into();
        }
        let kept = Kept {
            launch,
            path,
            was,
            _held: held,
        };
        self.0.insert(id, kept);
        while self.0.len() > MOST {
            let oldest = self.0.pop_first();
            oldest.into_iter().for_each(|(_, kept)| kept.remove());
        }
        Ok(true)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is to be started to go back to this build.
    ///
    /// # Errors
    /// It is not there any more, or not as it was: a linker may write into the file that is there.
    pub(super) fn launch(&self, build: GenId) -> Result<Launch> {
        let kept = self.0.get(&build);
        let kept = kept.with_context(|| format!("the build of gen {build} was not kept"))?;
        let metadata = fs::metadata(&kept.path)
            .with_context(|| format!("the executable of gen {build} is gone"))?;
        if identity(&metadata) != kept.was {
            bail!("the executable of gen {build} was written over by a later build");
        }
        Ok(kept.launch.clone())
    }
}

/// What was built. Behind `--build` nobody says, but a command that is a path is most likely it.
fn executable(launch: &Launch) -> Option<PathBuf> {
    let command = launch.argv.first().map(Path::new);
    let command = command.filter(|command| command.components().count() > 1);
    let path = launch.executable.clone();
    let path = path.or_else(|| Some(launch.workdir.join(command?)))?;
    path.is_file().then_some(path)
}

impl Kept {
    fn remove(&self) {
        // Whoever cleans the target directory takes it with him.
        let _ = fs::remove_file(&self.path);
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        self.0.values().for_each(Kept::remove);
    }
}

/// Removes what a hotrun kept that had no chance to put it away.
fn remove_stale(executable: &Path) {
    let Some(entries) = executable.parent().and_then(|dir| fs::read_dir(dir).ok()) else {
        return;
    };
    for entry in entries.flatten() {
        if owner(&entry.file_name()).is_some_and(|pid| is_stale(&entry.path(), pid)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Lets other hotruns know that somebody needs this file. `None` where the file system has no locks.
fn hold(executable: &Path) -> Option<File> {
    let file = File::open(executable).ok()?;
    file.lock_shared().ok()?;
    Some(file)
}

/// Whether nobody needs a kept executable any more. Without locks its owner's pid has to do.
fn is_stale(path: &Path, pid: i32) -> bool {
    let Ok(file) = File::open(path) else {
        return false;
    };
    match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(_)) => !is_running(pid),
    }
}

/// What people call a program that may have been kept.
pub(super) fn name(executable: &OsStr) -> String {
    let path = Path::new(executable);
    let name = path.file_name().unwrap_or(executable).to_string_lossy();
    let kept = owner(name.as_ref().as_ref()).and(name.rsplit_once(MARK));
    match kept.and_then(|(name, _)| name.strip_prefix('.')) {
        Some(name) => name.to_owned(),
        None => name.into_owned(),
    }
}

/// The pid of the hotrun that gave a file this name.
fn owner(name: &OsStr) -> Option<i32> {
    let (first, rest) = name.to_str()?.rsplit_once(MARK)?;
    let (pid, generation) = rest.split_once('-')?;
    let _: u32 = generation.parse().ok()?;
    first.strip_prefix('.')?;
    pid.parse().ok()
}

fn is_running(pid: i32) -> bool {
    let asked = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None);
    asked != Err(nix::errno::Errno::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(executable: &Path) -> Launch {
        Launch {
            argv: vec!["qemu".into(), "bin/app".into(), "--flag".into()],
            env: Vec::new(),
            workdir: executable.parent().unwrap().parent().unwrap().to_owned(),
            executable: Some(executable.to_owned()),
        }
    }

    fn names(dir: &Path) -> usize {
        fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn what_was_built_before_is_there_when_something_else_has_its_name() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("bin");
        fs::create_dir(&dir).unwrap();
        let app = dir.join("app");
        let mut keep = Keep::default();
        for number in 1..=5 {
            let _ = fs::remove_file(&app);
            fs::write(&app, format!("build {number}")).unwrap();
            keep.add(GenId::new(number), &launch(&app)).unwrap();
        }
        assert_eq!(names(&dir), 1 + MOST);
        let old = keep.launch(GenId::new(3)).unwrap();
        assert_eq!(
            (&old.argv[0], &old.argv[2]),
            (&"qemu".into(), &"--flag".into())
        );
        assert_eq!(fs::read(&old.argv[1]).unwrap(), b"build 3");
        assert!(keep.launch(GenId::new(2)).is_err());
        drop(keep);
        assert_eq!(names(&dir), 1);
    }

    #[test]
    fn what_was_written_over_is_not_taken_for_what_it_was() {
        let root = tempfile::tempdir().unwrap();
        let app = root.path().join("app");
        fs::write(&app, "one").unwrap();
        let mut keep = Keep::default();
        keep.add(GenId::new(1), &launch(&app)).unwrap();
        fs::write(&app, "another").unwrap();
        let error = keep.launch(GenId::new(1)).unwrap_err().to_string();
        assert!(error.contains("written over"), "{error}");
    }

    #[test]
    fn what_a_killed_hotrun_kept_is_removed_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let app = root.path().join("app");
        let file = |name: &str| fs::write(root.path().join(name), "").unwrap();
        // In a container it had the same pid as this one.
        let killed = format!(".app.hotrun-{}-1", std::process::id());
        let of_another = ".app.hotrun-999999999-3";
        for name in [
            "app",
            &killed,
            ".app.hotrun-1-3",
            of_another,
            ".app.hotrun-x-3",
            "app.hotrun-1-3",
        ] {
            file(name);
        }
        let held = hold(&root.path().join(of_another)).unwrap();
        Keep::default().add(GenId::new(1), &launch(&app)).unwrap();
        assert!(!root.path().join(".app.hotrun-1-3").exists());
        assert!(root.path().join(of_another).exists(), "it still runs");
        assert_eq!(names(root.path()), 4);
        drop(held);
        Keep::default().add(GenId::new(1), &launch(&app)).unwrap();
        assert_eq!(names(root.path()), 3);
    }
}
