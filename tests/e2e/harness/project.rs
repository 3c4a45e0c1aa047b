//! A project folder for hotrun, and ways to edit it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::run::NOBODY;
use super::{Run, apps};

/// A temporary folder: hotrun watches `work/`, and `tmp/` is its `TMPDIR`.
pub(crate) struct Project {
    root: TempDir,
}

impl Project {
    pub(crate) fn new() -> Self {
        let root = tempfile::Builder::new().prefix("hotrun-e2e-").tempdir();
        let project = Self {
            root: root.expect("a temporary folder can be made"),
        };
        fs::create_dir(project.work()).expect("the test owns the folder");
        fs::create_dir(project.tmp()).expect("the test owns the folder");
        project
    }

    /// A project with these files in the watched folder, each with the content `one`.
    pub(crate) fn with(files: &[&str]) -> Self {
        let project = Self::new();
        for name in files {
            super::builds::write(&project.work().join(name), "one");
        }
        project
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    pub(crate) fn tmp(&self) -> PathBuf {
        self.root.path().join("tmp")
    }

    /// A path beside the watched folder.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Saves a file in the watched folder atomically, as editors do: writes it outside and renames it.
    pub(crate) fn save(&self, name: &str, text: &str) {
        let new = self.beside("new");
        fs::write(&new, text).expect("the test owns the folder");
        fs::rename(new, self.work().join(name)).expect("the test owns the folder");
    }

    /// Writes the script `start`, which [`Project::run`] runs.
    pub(crate) fn script(&self, text: &str) {
        self.save("start", &format!("{text}\n"));
    }

    /// Makes `start` run the std server with this version.
    pub(crate) fn server(&self, version: &str) {
        let server = apps::std().server.display();
        self.script(&format!("exec '{server}' {version}"));
    }

    /// Makes `start` run the std server with these faults, and optionally a version.
    pub(crate) fn faulty(&self, arguments: &str) {
        let faulty = apps::std().faulty.display();
        self.script(&format!("exec '{faulty}' {arguments}"));
    }

    /// Replaces the executable `work/server` atomically, by a hard link. The tests never open an executable for writing:
    /// if another thread forked at that moment, `exec` would fail with `ETXTBSY`.
    pub(crate) fn swap(&self, executable: &Path) {
        let new = self.beside("new");
        fs::hard_link(executable, &new)
            .or_else(|_| symlink(executable, &new))
            .expect("the test owns the folder");
        fs::rename(new, self.work().join("server")).expect("the test owns the folder");
    }

    /// Like [`Self::swap`], by a copy that is as readable as the folder. `cp` makes the copy, for the same reason.
    pub(crate) fn swap_by_copy(&self, executable: &Path) {
        let new = self.beside("new");
        done(Command::new("cp").arg(executable).arg(&new));
        fs::rename(new, self.work().join("server")).expect("the test owns the folder");
    }

    /// Gives the user `nobody` the project and a copy of this executable in it. Returns the path of the copy.
    pub(super) fn hand_to_nobody(&self, executable: &str) -> PathBuf {
        let copy = self.beside("hotrun");
        done(Command::new("cp").arg(executable).arg(&copy));
        let owner = format!("{NOBODY}:{NOBODY}");
        done(
            Command::new("chown")
                .args(["-R", &owner])
                .arg(self.root.path()),
        );
        copy
    }

    /// hotrun with `sh start`, in the watched folder.
    pub(crate) fn run(&self) -> Run {
        Run::new(self).program(["sh", "start"])
    }

    /// Checks that a run has left nothing behind: `TMPDIR` is empty, and the watched folder contains only these files.
    #[track_caller]
    pub(crate) fn assert_untouched(&self, files: &[&str]) {
        super::leftovers::empty(&self.tmp());
        let entries = fs::read_dir(self.work()).expect("the test owns the folder");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("it can be read").file_name().into_string())
            .map(|name| name.expect("the names are UTF-8"))
            .collect();
        names.sort();
        assert_eq!(names, files, "files in the watched folder");
    }
}

#[track_caller]
pub(crate) fn done(command: &mut Command) {
    let status = command.status();
    assert!(status.is_ok_and(|status| status.success()), "{command:?}");
}
