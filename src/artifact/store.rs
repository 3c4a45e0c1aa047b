use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use super::Fingerprint;
use crate::build::Launch;
use crate::os::cleanup::{Cleanup, FileId, file_id};
use crate::os::{is_in_use, mark_in_use};
use crate::reload::{ArtifactId, GenId};

/// Separates the executable's name from the token of a hotrun, a dash and the artifact.
const MARK: &str = ".hotrun-";
/// Matches the links. They must not count as a change in a watched directory.
pub const GLOB: &str = ".*.hotrun-*";

/// The newest artifact, and the older ones that hotrun may roll back to.
///
/// Each kept executable has a hard link, so that it outlives the next build. The link is in the same directory, so
/// that a program finds its resources relative to itself. It is removed when the artifact is no longer needed; by a
/// guardian if hotrun is killed; and by the next hotrun if the guardians are killed too.
#[derive(Debug)]
pub struct Store {
    /// Part of each link's name; different for each hotrun, even if two in containers have the same pid.
    token: String,
    next: ArtifactId,
    newest: Option<Newest>,
    kept: BTreeMap<ArtifactId, Kept>,
}

#[derive(Debug)]
struct Newest {
    id: ArtifactId,
    launch: Launch,
    fingerprint: Option<Fingerprint>,
}

#[derive(Debug)]
struct Kept {
    /// The newest generation whose build made it.
    generation: GenId,
    launch: Launch,
    link: PathBuf,
    identity: Identity,
    /// Marks the file as in use while it is open.
    _file: File,
}

/// Which file it is, and what a write to it changes.
type Identity = (FileId, u64, Option<SystemTime>);

fn identity(metadata: &Metadata) -> Identity {
    let modified = metadata.modified().ok();
    (file_id(metadata), metadata.len(), modified)
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
        self.newest = Some(Newest {
            id,
            launch,
            fingerprint,
        });
    }

    /// Keeps the executable that this generation's build made, and releases the artifacts that are not needed. Returns
    /// the artifact's id, and whether it is new: a build may leave the newest kept executable as it is. `None` if
    /// `launch` names no executable file.
    ///
    /// # Errors
    /// The file system has no hard links, or the directory is not writable.
    pub fn keep(
        &mut self,
        generation: GenId,
        launch: &Launch,
        needed: impl Fn(ArtifactId) -> bool,
    ) -> io::Result<Option<(ArtifactId, bool)>> {
        let Some(named) = executable(launch) else {
            return Ok(None);
        };
        // A hard link to a symbolic link would follow the next build.
        let executable = named.canonicalize()?;
        if self.kept.is_empty() {
            remove_stale(&executable);
        }
        let file = File::open(&executable)?;
        let current = identity(&file.metadata()?);
        let same = self.kept.last_entry().filter(|kept| kept.get().is(current));
        let (artifact, new) = match same {
            Some(mut kept) => {
                kept.get_mut().generation = generation;
                (*kept.key(), false)
            }
            None => {
                let artifact = self.new_id();
                let link = link_path(&executable, &self.token, artifact);
                let kept = Kept::new(generation, (launch, &named), (file, &executable), link)?;
                self.kept.insert(artifact, kept);
                (artifact, true)
            }
        };
        self.kept
            .retain(|known, _| *known == artifact || needed(*known));
        Ok(Some((artifact, new)))
    }

    /// The files that a guardian removes if hotrun is killed.
    pub fn cleanup(&self) -> impl Iterator<Item = Cleanup> {
        let prefix = |kept: &Kept| {
            let link = kept.link.as_os_str().as_bytes();
            let artifact = link.iter().rev().take_while(|byte| **byte != b'-').count();
            PathBuf::from(OsStr::from_bytes(&link[..link.len() - artifact]))
        };
        let prefixes: BTreeSet<PathBuf> = self.kept.values().map(prefix).collect();
        prefixes.into_iter().map(Cleanup::Files)
    }

    /// How to start this artifact, and its fingerprint if it is the newest one.
    ///
    /// # Errors
    /// It was not kept, it was removed, or a later build wrote into the same file instead of replacing it.
    pub fn launch(&self, artifact: ArtifactId) -> Result<(Launch, Option<Fingerprint>)> {
        if let Some(newest) = self.newest.as_ref().filter(|newest| newest.id == artifact) {
            return Ok((newest.launch.clone(), newest.fingerprint.clone()));
        }
        let kept = self.kept.get(&artifact);
        let kept = kept.context("its executable was not kept")?;
        let id = kept.generation;
        let metadata = fs::metadata(&kept.link)
            .with_context(|| format!("the executable of gen {id} was removed"))?;
        if identity(&metadata) != kept.identity {
            bail!("a later build overwrote the executable of gen {id}");
        }
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
    /// `named` is the executable as the launch names it, `executable` the open file and its canonical path.
    fn new(
        generation: GenId,
        (launch, named): (&Launch, &Path),
        (file, executable): (File, &Path),
        link: PathBuf,
    ) -> io::Result<Self> {
        // Before the link exists, so that no other hotrun takes it for a stale one. Without locks it is never stale.
        let _ = mark_in_use(&file);
        fs::hard_link(executable, &link)?;
        let mut launch = launch.clone();
        // With a runner set in cargo's configuration the program is not the first word.
        let is_program = |word: &&mut OsString| launch.workdir.join(&**word) == named;
        if let Some(word) = launch.argv.iter_mut().find(is_program) {
            *word = link.clone().into();
        }
        Ok(Self {
            generation,
            launch,
            identity: identity(&fs::metadata(&link)?),
            link,
            _file: file,
        })
    }

    /// Whether this file was kept here, and the link still leads to it.
    fn is(&self, current: Identity) -> bool {
        let linked = fs::metadata(&self.link).map(|metadata| identity(&metadata));
        self.identity == current && linked.is_ok_and(|linked| linked == current)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // It may be gone already, for example after `cargo clean`.
        let _ = fs::remove_file(&self.link);
    }
}

fn link_path(executable: &Path, token: &str, artifact: ArtifactId) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(executable.file_name().unwrap_or_default());
    name.push(format!("{MARK}{token}-{}", artifact.get()));
    executable.with_file_name(name)
}

/// Removes the links that a killed hotrun left. Where the file system has no locks they stay.
fn remove_stale(executable: &Path) {
    let Some(entries) = executable.parent().and_then(|dir| fs::read_dir(dir).ok()) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_link = path.file_name().is_some_and(|name| linked(name).is_some());
        let is_stale = || File::open(&path).and_then(|file| Ok(!is_in_use(&file)?));
        if is_link && is_stale().unwrap_or(false) {
            let _ = fs::remove_file(&path);
        }
    }
}

/// What people call a program: for a link, the name of the original.
pub fn display_name(executable: &OsStr) -> String {
    let path = Path::new(executable);
    let name = path.file_name().unwrap_or(executable);
    match linked(name) {
        Some(original) => original.to_owned(),
        None => name.to_string_lossy().into_owned(),
    }
}

/// The name of the original, if this is the name of a link.
fn linked(name: &OsStr) -> Option<&str> {
    let (first, rest) = name.to_str()?.rsplit_once(MARK)?;
    let (token, artifact) = rest.split_once('-')?;
    u32::from_str_radix(token, 16).ok()?;
    artifact.parse::<u32>().ok()?;
    first.strip_prefix('.')
}

#[cfg(test)]
mod tests;
