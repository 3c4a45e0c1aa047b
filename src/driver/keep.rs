//! The executables of earlier builds, to go back to.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use crate::build::Launch;
use crate::os::cleanup::{Cleanup, FileId, file_id};
use crate::reload::{ArtifactId, GenId};

/// What the names begin with, behind a dot and the executable's own name; the pid, a dash and the generation follow.
const MARK: &str = ".hotrun-";
/// What stands in the place of the generation in the name of a [`Lock`].
const LOCK: &str = "lock";
/// The names as a glob: they must not count as a change where the executable lies in a watched directory.
pub(super) const GLOB: &str = ".*.hotrun-*";

/// What the newest good builds made. Each executable has a second name beside the first, so that the next build, which
/// makes a new file, leaves it alone; and beside it, so that a program that looks around where it lies still
/// finds what it wants.
#[derive(Debug)]
pub(super) struct Keep {
    /// The id of the next artifact.
    next: ArtifactId,
    artifacts: BTreeMap<ArtifactId, Kept>,
    /// One for each executable that was ever kept. They go last.
    locks: Vec<Lock>,
}

#[derive(Debug)]
struct Kept {
    /// The newest generation whose build made it.
    id: GenId,
    launch: Launch,
    path: PathBuf,
    was: Identity,
}

/// Which file it is, and what changes when it is written to.
type Identity = (FileId, u64, Option<SystemTime>);

fn identity(path: &Path) -> io::Result<Identity> {
    let metadata = fs::metadata(path)?;
    let modified = metadata.modified().ok();
    Ok((file_id(&metadata), metadata.len(), modified))
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            next: ArtifactId::FIRST,
            artifacts: BTreeMap::new(),
            locks: Vec::new(),
        }
    }
}

impl Keep {
    /// An id that no artifact has yet.
    pub(super) fn new_id(&mut self) -> ArtifactId {
        let id = self.next;
        self.next = id.next();
        id
    }

    /// Keeps what the build of this generation made, if anything, and lets go of the artifacts that are not needed.
    /// Returns its id, and whether that is new: it is not if the build left the newest kept executable alone.
    ///
    /// # Errors
    /// Where the file system has no hard links.
    pub(super) fn add(
        &mut self,
        id: GenId,
        launch: &Launch,
        needed: impl Fn(ArtifactId) -> bool,
    ) -> io::Result<Option<(ArtifactId, bool)>> {
        let Some(named) = executable(launch) else {
            return Ok(None);
        };
        // Another name of a link would lead to whatever the next build makes.
        let executable = named.canonicalize()?;
        if self.artifacts.is_empty() {
            remove_stale(&executable);
        }
        let own = std::process::id();
        self.lock(beside(&executable, own, LOCK))?;
        let same = self.same(&executable)?;
        let (artifact, path, new) = match same {
            Some((artifact, path)) => (artifact, path, false),
            None => {
                let artifact = self.new_id();
                let path = beside(&executable, own, &artifact.get().to_string());
                fs::hard_link(&executable, &path)?;
                (artifact, path, true)
            }
        };
        let was = identity(&path)?;
        let mut launch = launch.clone();
        // Behind a runner of the user's the program is not the first word.
        let is_program = |word: &&mut OsString| launch.workdir.join(&**word) == named;
        if let Some(word) = launch.argv.iter_mut().find(is_program) {
            *word = path.clone().into();
        }
        self.artifacts.retain(|known, kept| {
            let stays = *known == artifact || needed(*known);
            if !stays {
                kept.remove();
            }
            stays
        });
        let kept = Kept {
            id,
            launch,
            path,
            was,
        };
        self.artifacts.insert(artifact, kept);
        Ok(Some((artifact, new)))
    }

    /// The newest kept artifact and its path, if it is this file, unchanged.
    fn same(&self, executable: &Path) -> io::Result<Option<(ArtifactId, PathBuf)>> {
        let now = identity(executable)?;
        let is_it = |kept: &Kept| kept.was == now && identity(&kept.path).is_ok_and(|it| it == now);
        let newest = self.artifacts.last_key_value();
        Ok(newest.and_then(|(id, kept)| is_it(kept).then(|| (*id, kept.path.clone()))))
    }

    /// Takes this lock, unless we have it; somebody may have cleaned up.
    fn lock(&mut self, path: PathBuf) -> io::Result<()> {
        self.locks
            .retain(|lock| lock.path != path || is_at(&lock.file, &path));
        if !self.locks.iter().any(|lock| lock.path == path) {
            self.locks.push(Lock::take(path)?);
        }
        Ok(())
    }

    /// For whoever cleans up after a hotrun that was killed.
    pub(super) fn leftovers(&self) -> impl Iterator<Item = Cleanup> {
        self.locks.iter().map(|lock| {
            let path = lock.path.as_os_str().as_bytes();
            let prefix = path.strip_suffix(LOCK.as_bytes()).unwrap_or(path);
            Cleanup::Files(OsStr::from_bytes(prefix).into())
        })
    }

    /// How to start this artifact.
    ///
    /// # Errors
    /// It is not there any more, or not as it was: a linker may write into the file that is there.
    pub(super) fn launch(&self, artifact: ArtifactId) -> Result<Launch> {
        let kept = self.artifacts.get(&artifact);
        let kept = kept.context("what it is started from was not kept")?;
        let id = kept.id;
        let now =
            identity(&kept.path).with_context(|| format!("the executable of gen {id} is gone"))?;
        if now != kept.was {
            bail!("the executable of gen {id} was written over by a later build");
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
        self.artifacts.values().for_each(Kept::remove);
    }
}

/// The name beside an executable that a hotrun gives to what it keeps of it.
fn beside(executable: &Path, pid: u32, what: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(executable.file_name().unwrap_or_default());
    name.push(format!("{MARK}{pid}-{what}"));
    executable.with_file_name(name)
}

/// Lets other hotruns know that somebody needs what is kept of an executable: it is locked as long as this hotrun lives,
/// however it ends. A pid says less, for in containers the next hotrun has the same one, and two that share a target
/// directory do not see each other's.
///
/// It is a file of our own and nobody waits for it. The executable is the program's, which may lock it (`flock(1)`
/// recommends that to scripts): it would find ours, or we would wait for its end.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// How often it is tried: who looks whether it is stale has it for a moment.
    const ATTEMPTS: usize = 10;

    fn take(path: PathBuf) -> io::Result<Self> {
        for _ in 0..Self::ATTEMPTS {
            let mut how = File::options();
            let file = how.read(true).write(true).create(true).truncate(false);
            let file = file.open(&path)?;
            // Where the file system has no locks the pid has to do.
            let taken = !matches!(file.try_lock(), Err(TryLockError::WouldBlock));
            if taken && is_at(&file, &path) {
                return Ok(Self { path, file });
            }
            thread::yield_now();
        }
        let text = "a hotrun elsewhere with the same pid keeps it already";
        Err(io::Error::other(text))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if is_at(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether this path still leads to this file.
fn is_at(file: &File, path: &Path) -> bool {
    let ids = (file.metadata(), fs::symlink_metadata(path));
    matches!(ids, (Ok(file), Ok(path)) if file_id(&file) == file_id(&path))
}

/// Removes what a hotrun kept that had no chance to put it away.
fn remove_stale(executable: &Path) {
    let Some(entries) = executable.parent().and_then(|dir| fs::read_dir(dir).ok()) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let owner = path.file_name().and_then(owner);
        if let Some((of, pid)) = owner {
            let lock = beside(&path.with_file_name(of), pid, LOCK);
            let _ = remove_if_stale(&path, &lock, pid);
        }
    }
}

/// Removes it if nobody needs it any more, which the lock tells, and without locks the pid.
fn remove_if_stale(path: &Path, lock: &Path, pid: u32) -> io::Result<()> {
    let held = match File::open(lock) {
        Ok(file) => Some(file),
        // It is the first that is made and the last that goes.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let stale = match held.as_ref().map(File::try_lock) {
        // Held until it is removed: nobody can take it for his own in between.
        None => true,
        Some(Ok(())) => held.as_ref().is_some_and(|file| is_at(file, lock)),
        Some(Err(TryLockError::WouldBlock)) => false,
        Some(Err(TryLockError::Error(_))) => !is_running(pid),
    };
    if stale {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// What people call a program that may have been kept.
pub(super) fn name(executable: &OsStr) -> String {
    let path = Path::new(executable);
    let name = path.file_name().unwrap_or(executable).to_string_lossy();
    match owner(name.as_ref().as_ref()) {
        Some((name, _)) => name.to_owned(),
        None => name.into_owned(),
    }
}

/// The name of the executable of which this is the name of what was kept, and the pid of the hotrun that kept it.
fn owner(name: &OsStr) -> Option<(&str, u32)> {
    let (first, rest) = name.to_str()?.rsplit_once(MARK)?;
    let (pid, what) = rest.split_once('-')?;
    (what == LOCK || what.parse::<u32>().is_ok()).then_some(())?;
    Some((first.strip_prefix('.')?, pid.parse().ok()?))
}

fn is_running(pid: u32) -> bool {
    let Ok(pid) = i32::try_from(pid) else {
        return false;
    };
    let asked = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None);
    asked != Err(nix::errno::Errno::ESRCH)
}

#[cfg(test)]
mod tests;
