//! What a build made: recognised by its [`Fingerprint`], and kept in the [`Store`] so that hotrun can roll back to it.
//!
//! A kept executable has a hard link beside the original. An open descriptor would not do: a program started from one reads
//! `NAME (deleted)` as its own path (`proc_pid_exe(5)`), so it could not start itself again, and a script would see
//! `/proc/self/fd/N` as its name and inherit that descriptor. In another directory a program would not find `$ORIGIN` and its
//! resources. A copy would take disk space and time, and starting a file just written can fail with `ETXTBSY` if another
//! thread forked during the write.

mod fingerprint;

pub use fingerprint::Fingerprint;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::build::Launch;
use crate::os::cleanup::Cleanup;
use crate::reload::ArtifactId;
use fingerprint::Stamp;

/// Separates the executable's name from the token of a hotrun, a dash and the artifact.
const MARK: &str = ".hotrun-";
/// Matches the links. They must not count as a change in a watched directory.
pub const GLOB: &str = ".*.hotrun-*";

/// The newest artifact, and the older ones that hotrun may roll back to. The links are removed when they are no longer
/// needed, and by a guardian if hotrun is killed.
#[derive(Debug)]
pub struct Store {
    /// Part of each link's name; different for each hotrun, even if two in containers have the same pid.
    token: String,
    next: ArtifactId,
    newest: Option<(ArtifactId, Launch, Option<Fingerprint>)>,
    kept: BTreeMap<ArtifactId, Kept>,
}

#[derive(Debug)]
struct Kept {
    launch: Launch,
    link: PathBuf,
    /// The path of every link to this executable, without the artifact.
    prefix: PathBuf,
    stamp: Stamp,
}

impl Default for Store {
    fn default() -> Self {
        let random = RandomState::new().hash_one(std::process::id());
        Self {
            token: format!("{:08x}", random >> 32),
            next: ArtifactId::FIRST,
            newest: None,
            kept: BTreeMap::new(),
        }
    }
}

impl Store {
    /// An id that no artifact has yet.
    pub fn new_id(&mut self) -> ArtifactId {
        let id = self.next;
        self.next = id.next();
        id
    }

    /// Sets what [`launch`](Self::launch) starts in place, without a link.
    pub fn set_newest(&mut self, id: ArtifactId, launch: Launch, fingerprint: Option<Fingerprint>) {
        self.newest = Some((id, launch, fingerprint));
    }

    /// Keeps the executable that a build made, and releases the artifacts that are not needed. Returns the artifact's id, and
    /// whether it is new: a build may leave the newest kept executable as it is. `None` if `launch` names no executable file.
    ///
    /// # Errors
    /// The file system has no hard links, or the directory is not writable.
    pub fn keep(
        &mut self,
        launch: &Launch,
        needed: impl Fn(ArtifactId) -> bool,
    ) -> io::Result<Option<(ArtifactId, bool)>> {
        let Some(named) = executable(launch) else {
            return Ok(None);
        };
        // A hard link to a symbolic link would follow the next build.
        let executable = named.canonicalize()?;
        let current = Stamp::of(&fs::metadata(&executable)?);
        let newest = self.kept.last_key_value();
        let newest = newest.filter(|(_, kept)| kept.stamp == current && kept.is_intact());
        let same = newest.map(|(artifact, _)| *artifact);
        let artifact = match same {
            Some(artifact) => artifact,
            None => {
                let artifact = self.new_id();
                let prefix = self.prefix(&executable);
                let kept = Kept::new(launch.clone(), &named, &executable, prefix, artifact)?;
                self.kept.insert(artifact, kept);
                artifact
            }
        };
        self.kept
            .retain(|known, _| *known == artifact || needed(*known));
        Ok(Some((artifact, same.is_none())))
    }

    fn prefix(&self, executable: &Path) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(executable.file_name().unwrap_or_default());
        name.push(format!("{MARK}{}-", self.token));
        executable.with_file_name(name)
    }

    /// The files that a guardian removes if hotrun is killed, also those of later artifacts.
    pub fn cleanup(&self) -> impl Iterator<Item = Cleanup> {
        let prefixes = self.kept.values().map(|kept| kept.prefix.clone().into());
        prefixes
            .collect::<BTreeSet<OsString>>()
            .into_iter()
            .map(Cleanup::Files)
    }

    /// How to start this artifact, and its fingerprint if it is the newest one.
    ///
    /// # Errors
    /// It was not kept, it was removed, or a later build wrote into the same file instead of replacing it.
    pub fn launch(&self, artifact: ArtifactId) -> Result<(Launch, Option<Fingerprint>)> {
        if let Some((id, launch, fingerprint)) = &self.newest
            && *id == artifact
        {
            return Ok((launch.clone(), fingerprint.clone()));
        }
        let kept = self.kept.get(&artifact);
        let kept = kept.context("its executable was not kept")?;
        ensure!(kept.link.exists(), "its executable was removed");
        ensure!(kept.is_intact(), "a later build overwrote its executable");
        Ok((kept.launch.clone(), None))
    }
}

/// The executable that was built. With `--build` nothing names it; a command that is a path most likely does.
fn executable(launch: &Launch) -> Option<PathBuf> {
    let command = launch.argv.first().map(Path::new);
    let command = command.filter(|command| command.components().count() > 1);
    let path = launch.executable.clone();
    let path = path.or_else(|| Some(launch.workdir.join(command?)))?;
    path.is_file().then_some(path)
}

impl Kept {
    /// `named` is the executable as the launch names it, `executable` its canonical path.
    fn new(
        mut launch: Launch,
        named: &Path,
        executable: &Path,
        prefix: PathBuf,
        artifact: ArtifactId,
    ) -> io::Result<Self> {
        let mut link = prefix.clone().into_os_string();
        link.push(artifact.get().to_string());
        fs::hard_link(executable, &link)?;
        // With a runner set in cargo's configuration the program is not the first word.
        let is_program = |word: &&mut OsString| launch.workdir.join(&**word) == named;
        if let Some(word) = launch.argv.iter_mut().find(is_program) {
            word.clone_from(&link);
        }
        Ok(Self {
            launch,
            stamp: Stamp::of(&fs::metadata(&link)?),
            link: link.into(),
            prefix,
        })
    }

    /// Whether the link still leads to what was kept.
    fn is_intact(&self) -> bool {
        fs::metadata(&self.link).is_ok_and(|metadata| Stamp::of(&metadata) == self.stamp)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // It may be gone already, for example after `cargo clean`.
        let _ = fs::remove_file(&self.link);
    }
}

/// What people call a program: for a link, the name of the original.
pub fn display_name(executable: &OsStr) -> String {
    let name = Path::new(executable).file_name().unwrap_or(executable);
    let name = name.to_string_lossy();
    let link = name
        .strip_prefix('.')
        .and_then(|name| name.rsplit_once(MARK));
    link.map_or(&*name, |(original, _)| original).to_owned()
}

#[cfg(test)]
mod tests;
