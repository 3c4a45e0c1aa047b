//! Artifacts, the results of builds. A [`Fingerprint`] shows whether two builds produced the same result, and the
//! [`ArtifactStore`] keeps the artifacts that hotrun may roll back to.
//!
//! hotrun keeps an executable through a hard link next to the original. An open descriptor is not enough: a program
//! that was started from one reads `NAME (deleted)` as its own path (`proc_pid_exe(5)`) and cannot start itself again,
//! and a script sees `/proc/self/fd/N` as its name. In another directory, a program would not find its libraries
//! (`$ORIGIN`) or resources. A copy takes disk space and time, and starting it can fail with `ETXTBSY` if another
//! thread forks while the copy is being written.

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
use fingerprint::OutputStamp;

/// Links are named `.NAME.hotrun-TOKEN-ARTIFACT`.
const MARK: &str = ".hotrun-";
/// A glob that matches the links, which must not count as changes in a watched directory.
pub const GLOB: &str = ".*.hotrun-*";

/// The newest artifact, and the older ones that hotrun may roll back to. A link is removed when its artifact is no
/// longer needed. If hotrun is killed, a guardian removes all links.
#[derive(Debug)]
pub struct ArtifactStore {
    /// Distinguishes this process's links from those of another hotrun. A pid would not do, because hotrun may have the
    /// same pid in two containers.
    token: String,
    newest: Option<Newest>,
    kept: BTreeMap<ArtifactId, Kept>,
}

#[derive(Debug)]
struct Newest {
    id: ArtifactId,
    launch: Launch,
    fingerprint: Option<Fingerprint>,
    /// The state of the executable at the end of the build; `None` if it is unknown.
    stamp: Option<OutputStamp>,
}

#[derive(Debug)]
struct Kept {
    launch: Launch,
    link: PathBuf,
    /// The path of the link without the artifact id at its end.
    prefix: PathBuf,
    stamp: OutputStamp,
}

impl Default for ArtifactStore {
    fn default() -> Self {
        let random = RandomState::new().hash_one(std::process::id());
        Self {
            token: format!("{:08x}", random >> 32),
            newest: None,
            kept: BTreeMap::new(),
        }
    }
}

impl ArtifactStore {
    /// Sets the newest artifact, which is started from its original path unless something else has replaced it there.
    pub fn set_newest(&mut self, id: ArtifactId, launch: Launch, fingerprint: Option<Fingerprint>) {
        self.newest = Some(Newest {
            id,
            stamp: stamp(&launch),
            launch,
            fingerprint,
        });
    }

    /// Keeps a build's executable under an unused id, and removes the artifacts that are not needed. Returns the id of
    /// the artifact: an earlier one if the build has left the executable unchanged, and `None` if the executable of
    /// `launch` is unknown or is not a file.
    ///
    /// # Errors
    /// The file system does not support hard links, or the directory is not writable.
    pub fn keep(
        &mut self,
        launch: &Launch,
        id: ArtifactId,
        needed: impl Fn(ArtifactId) -> bool,
    ) -> io::Result<Option<ArtifactId>> {
        let Some(named) = executable(launch) else {
            return Ok(None);
        };
        // A hard link to a symbolic link would refer to the result of the next build.
        let executable = named.canonicalize()?;
        let stamp = OutputStamp::of(&executable)?;
        let newest = self.kept.last_key_value();
        let same = newest.filter(|(_, kept)| kept.stamp == stamp && kept.is_intact());
        let same = same.map(|(artifact, _)| *artifact);
        let artifact = same.unwrap_or(id);
        if same.is_none() {
            let kept = self.link(launch, &executable, artifact)?;
            self.kept.insert(artifact, kept);
        }
        self.kept
            .retain(|known, _| *known == artifact || needed(*known));
        Ok(Some(artifact))
    }

    /// Creates a link to the executable, whose canonical path is `executable`.
    fn link(&self, launch: &Launch, executable: &Path, artifact: ArtifactId) -> io::Result<Kept> {
        let mut name = OsString::from(".");
        name.push(executable.file_name().unwrap_or_default());
        name.push(format!("{MARK}{}-", self.token));
        let prefix = executable.with_file_name(&name);
        name.push(artifact.0.to_string());
        let link = executable.with_file_name(&name);
        fs::hard_link(executable, &link)?;
        Ok(Kept {
            launch: with_executable(launch.clone(), &link),
            stamp: OutputStamp::of(&link)?,
            link,
            prefix,
        })
    }

    /// Returns what a guardian removes if hotrun is killed: the links of the kept artifacts and of later ones.
    pub fn cleanup(&self) -> impl Iterator<Item = Cleanup> {
        let prefixes = self.kept.values().map(|kept| kept.prefix.clone().into());
        prefixes
            .collect::<BTreeSet<OsString>>()
            .into_iter()
            .map(Cleanup::Files)
    }

    /// Returns how to start this artifact, and its fingerprint if it is the newest one.
    ///
    /// # Errors
    /// The artifact's executable was not kept, was removed, or was overwritten in place by a later build.
    pub fn launch(&self, artifact: ArtifactId) -> Result<(Launch, Option<Fingerprint>)> {
        let kept = self.kept.get(&artifact);
        let newest = self.newest.as_ref().filter(|newest| newest.id == artifact);
        if let Some(newest) = newest {
            // For example, another cargo has built a different program at the same path.
            let is_replaced = stamp(&newest.launch) != newest.stamp;
            let launch = newest.launch.clone();
            let launch = match kept.filter(|kept| is_replaced && kept.is_intact()) {
                Some(kept) => with_executable(launch, &kept.link),
                None => launch,
            };
            return Ok((launch, newest.fingerprint.clone()));
        }
        let kept = kept.context("its executable was not kept")?;
        ensure!(kept.link.exists(), "its executable was removed");
        ensure!(kept.is_intact(), "a later build overwrote its executable");
        Ok((kept.launch.clone(), None))
    }
}

/// The executable that was built, if it exists.
fn executable(launch: &Launch) -> Option<PathBuf> {
    expected_executable(launch).filter(|path| path.is_file())
}

/// Where the executable that was built should be. With `--build`, this is a guess: the command, provided that it is a
/// path.
fn expected_executable(launch: &Launch) -> Option<PathBuf> {
    let command = launch.argv.first().map(Path::new);
    let command = command.filter(|command| command.components().count() > 1);
    let path = launch.executable.clone();
    path.or_else(|| Some(launch.workdir.join(command?)))
}

/// Replaces the executable in the launch with another one.
fn with_executable(mut launch: Launch, other: &Path) -> Launch {
    let named = expected_executable(&launch);
    // If the user has configured a runner for cargo, the executable is not the first word.
    let is_program = |word: &&mut OsString| Some(launch.workdir.join(&**word)) == named;
    if let Some(word) = launch.argv.iter_mut().find(is_program) {
        *word = other.into();
    }
    launch
}

fn stamp(launch: &Launch) -> Option<OutputStamp> {
    OutputStamp::of(&executable(launch)?).ok()
}

impl Kept {
    /// Whether the link refers to the unchanged executable.
    fn is_intact(&self) -> bool {
        OutputStamp::of(&self.link).is_ok_and(|stamp| stamp == self.stamp)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // Fails if the link is gone, for example after `cargo clean`.
        let _ = fs::remove_file(&self.link);
    }
}

/// Returns the name to show for a program. For a link, this is the name of the original.
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
