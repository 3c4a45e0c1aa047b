//! Runs hotrun with a build that always fails, so that no program is started and the tests can count builds.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Project, Run, Running, TIMEOUT};

/// A running hotrun that counts its builds for the test.
pub(crate) struct Builds {
    project: Project,
    run: Running,
    /// The directory with the files that the test edits.
    edited: PathBuf,
    built: usize,
    checkpoints: usize,
    watched: u64,
}

impl Builds {
    /// Starts hotrun in a directory with these files, each with the contents `one`. The debounce is longer than any
    /// tool needs for a save.
    pub(crate) fn new(files: &[&str]) -> Self {
        Self::start(Project::with(files), |run| run, "true", "300ms")
    }

    /// Starts hotrun with these options, this build command and this debounce.
    pub(crate) fn start(
        project: Project,
        options: impl FnOnce(Run) -> Run,
        build: &str,
        debounce: &str,
    ) -> Self {
        let run = options(Run::new(&project));
        Self::from(project, run, build, debounce)
    }

    /// Like [`Self::start`], but with a prepared run.
    pub(crate) fn from(project: Project, run: Run, build: &str, debounce: &str) -> Self {
        let edited = project.work();
        Self::begin(project, run, (build, debounce), edited)
    }

    /// Like [`Self::from`], but with the edited files in another directory.
    pub(crate) fn far(project: Project, run: Run, edited: PathBuf) -> Self {
        Self::begin(project, run, ("true", "100ms"), edited)
    }

    fn begin(project: Project, run: Run, (build, debounce): (&str, &str), edited: PathBuf) -> Self {
        let build = format!("{build}; false");
        let rule = "checkpoint=run:echo \"<$(cat checkpoint)>\"";
        let run = run.args(["--build", &build, "--debounce", debounce, "--on", rule]);
        let mut run = run.program(["sleep", "1000"]).spawn();
        let watched = run.expect("watching").number("directories");
        run.expect("failed");
        let mut builds = Self {
            project,
            run,
            edited,
            built: 1,
            checkpoints: 0,
            watched,
        };
        // A file written just before the start may trigger one more build.
        builds.built = builds.at_rest();
        builds
    }

    /// How many directories are watched through inotify.
    pub(crate) fn watched(&self) -> u64 {
        self.watched
    }

    /// hotrun's working directory.
    pub(crate) fn work(&self) -> PathBuf {
        self.project.work()
    }

    /// Writes a file in the directory with the edited files.
    pub(crate) fn save(&self, name: &str, text: &str) {
        write(&self.edited.join(name), text);
    }

    /// Waits until nothing is in progress, and checks the number of builds since the last check.
    #[track_caller]
    pub(crate) fn assert_count(&mut self, expected: usize, what: &str) {
        if expected > 0 {
            // Wait for the first build, so that the checkpoint does not become part of the same change.
            self.run.expect("building");
            self.run.expect("failed");
        }
        let built = self.at_rest();
        let paths = self.run.so_far().iter().filter(|event| event.is("changed"));
        let changes: Vec<_> = paths.map(|event| format!("{event:.400}")).collect();
        assert_eq!(built - self.built, expected, "{what}: {changes:#?}");
        self.built = built;
    }

    /// Waits until every earlier change is handled and no build is running, and returns the number of builds.
    #[track_caller]
    pub(crate) fn at_rest(&mut self) -> usize {
        loop {
            self.checkpoint();
            // Count only the events before the checkpoint. After it, a build may have begun whose end has not been
            // reported yet.
            let past = |name| {
                self.run
                    .consumed()
                    .iter()
                    .filter(|event| event.is(name))
                    .count()
            };
            let built = past("building");
            if built == past("failed") + past("build_cancelled") {
                return built;
            }
            let over = |event: &super::Event| event.is("failed") || event.is("build_cancelled");
            self.run.expect_that("a build to end", TIMEOUT, over);
        }
    }

    /// Saves a file that a rule prints, and waits for the output. By that time, every earlier change has been handled.
    #[track_caller]
    fn checkpoint(&mut self) {
        self.checkpoints += 1;
        self.save("checkpoint", &self.checkpoints.to_string());
        let reached = format!("<{}>", self.checkpoints);
        self.run
            .expect_that(&reached, TIMEOUT, |event| event.mentions(&reached));
    }

    /// The number of events that mention this text.
    pub(crate) fn count_mentions(&mut self, word: &str) -> usize {
        let events = self.run.so_far().iter();
        events.filter(|event| event.mentions(word)).count()
    }

    /// Waits until a build has begun.
    #[track_caller]
    pub(crate) fn wait_for_build(&mut self) {
        self.run.expect("building");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.run.signal(signal);
    }

    #[track_caller]
    pub(crate) fn quit(mut self) {
        self.run.wait_until_quiet(Duration::ZERO);
        self.run.quit();
    }
}

/// Writes a file, and creates its parent directories.
pub(super) fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a file has a parent")).expect("can create the parent");
    fs::write(path, text).expect("can write the file");
}
