//! A project directory for hotrun, and ways to edit it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::run::NOBODY;
use super::{Run, apps};

/// A temporary directory: hotrun watches `work/`, and `tmp/` is its `TMPDIR`.
pub(crate) struct Project {
    root: TempDir,
}

impl Project {
    pub(crate) fn new() -> Self {
        let root = tempfile::Builder::new().prefix("hotrun-e2e-").tempdir();
        let project = Self {
            root: root.expect("can create a temporary directory"),
        };
        fs::create_dir(project.work()).expect("can create `work`");
        fs::create_dir(project.tmp()).expect("can create `tmp`");
        project
    }

    /// Creates a project with these files in the watched directory, each with the contents `one`.
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

    /// The path of a file next to the watched directory.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Saves a file in the watched directory atomically, as editors do: writes it elsewhere and renames it.
    pub(crate) fn save(&self, name: &str, text: &str) {
        let new = self.beside("new");
        fs::write(&new, text).expect("can write the new file");
        fs::rename(new, self.work().join(name)).expect("can rename the new file");
    }

    /// Writes the script `start`, which [`Project::run`] runs.
    pub(crate) fn script(&self, text: &str) {
        self.save("start", &format!("{text}\n"));
    }

    /// Makes `start` run this version of the std server.
    pub(crate) fn server(&self, version: &str) {
        let server = apps::std().server.display();
        self.script(&format!("exec '{server}' {version}"));
    }

    /// Makes `start` run the faulty std server with these arguments: its faults and, optionally, a version.
    pub(crate) fn faulty(&self, arguments: &str) {
        let faulty = apps::std().faulty.display();
        self.script(&format!("exec '{faulty}' {arguments}"));
    }

    /// Replaces `work/server` atomically with a hard link to this executable, or with a symlink if that fails. The
    /// tests never open an executable for writing: if another thread forked at that time, `exec` would fail with
    /// `ETXTBSY`.
    pub(crate) fn swap(&self, executable: &Path) {
        let new = self.beside("new");
        fs::hard_link(executable, &new)
            .or_else(|_| symlink(executable, &new))
            .expect("can link the executable");
        fs::rename(new, self.work().join("server")).expect("can replace the executable");
    }

    /// Like [`Self::swap`], but with a copy, which a user without access to the original can read. `cp` makes the copy,
    /// so that this process does not open the executable for writing.
    pub(crate) fn swap_by_copy(&self, executable: &Path) {
        let new = self.beside("new");
        run_to_success(Command::new("cp").arg(executable).arg(&new));
        fs::rename(new, self.work().join("server")).expect("can replace the executable");
    }

    /// Copies the executable into the project, and makes the user `nobody` the owner of everything in the project.
    /// Returns the path of the copy.
    pub(super) fn hand_to_nobody(&self, executable: &str) -> PathBuf {
        let copy = self.beside("hotrun");
        run_to_success(Command::new("cp").arg(executable).arg(&copy));
        let owner = format!("{NOBODY}:{NOBODY}");
        run_to_success(
            Command::new("chown")
                .args(["-R", &owner])
                .arg(self.root.path()),
        );
        copy
    }

    /// Runs hotrun with `sh start`, in the watched directory.
    pub(crate) fn run(&self) -> Run {
        Run::new(self).program(["sh", "start"])
    }

    /// Checks that a run has left nothing behind: `TMPDIR` is empty, and the watched directory contains only these
    /// files.
    #[track_caller]
    pub(crate) fn assert_untouched(&self, files: &[&str]) {
        super::leftovers::empty(&self.tmp());
        let entries = fs::read_dir(self.work()).expect("can read the watched directory");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("can read the entry").file_name().into_string())
            .map(|name| name.expect("the name is UTF-8"))
            .collect();
        names.sort();
        assert_eq!(names, files, "files in the watched directory");
    }
}

/// Runs a command that must succeed.
#[track_caller]
pub(crate) fn run_to_success(command: &mut Command) {
    let status = command.status();
    assert!(status.is_ok_and(|status| status.success()), "{command:?}");
}
