use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, fmt, fs};

use super::{BuildError, CargoPlan, CargoRun, Configuration, Launch, Messages};

/// Set by tests: cargo is not asked what it would run.
const FORCE: &str = "HOTRUN_TEST_NO_RUNNER";

/// The first cargo with a stable `--config`.
const FIRST_WITH_CONFIG: (u32, u32) = (1, 63);

/// Why cargo is not asked what it would run: it is called with `build`, and the executable that its
/// messages name is started. The environment is then like that of `cargo run` in the main things only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhyFallback {
    /// It is older than `--config`.
    OldCargo {
        /// Major and minor.
        version: (u32, u32),
    },
    /// The user sets a runner by `--config`, which would take the place of ours.
    RunnerOnCommandLine,
    /// It was asked, the build succeeded, and no answer came.
    NoAnswer,
    /// A test wants it so.
    Forced,
}

impl WhyFallback {
    /// What can be known before the first build.
    pub(super) fn known_before(
        run: &CargoRun,
        configuration: &Configuration,
        workdir: &Path,
    ) -> Option<Self> {
        if env::var_os(FORCE).is_some() {
            return Some(Self::Forced);
        }
        if configuration.version < FIRST_WITH_CONFIG {
            return Some(Self::OldCargo {
                version: configuration.version,
            });
        }
        let sets_runner = |value: &String| sets_runner(value, workdir);
        run.selection
            .config
            .iter()
            .any(sets_runner)
            .then_some(Self::RunnerOnCommandLine)
    }
}

impl fmt::Display for WhyFallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OldCargo {
                version: (major, minor),
            } => {
                write!(
                    f,
                    "cargo {major}.{minor} cannot be asked what it would run (1.63 can)"
                )
            }
            Self::RunnerOnCommandLine => f.write_str(
                "`--config` sets a runner, which is not used; a runner in a configuration file is",
            ),
            Self::NoAnswer => f.write_str("cargo did not say what it would run"),
            Self::Forced => write!(f, "`{FORCE}` is set"),
        }
    }
}

/// `--config` takes `KEY=VALUE` or the path of a file.
fn sets_runner(value: &str, workdir: &Path) -> bool {
    value.contains("runner")
        || fs::read_to_string(workdir.join(value)).is_ok_and(|text| text.contains("runner"))
}

/// What to start by what the messages name.
pub(super) fn launch(plan: &CargoPlan, messages: &Messages) -> Result<Launch, BuildError> {
    let executable = executable(plan, messages).ok_or(BuildError::NoExecutable)?;
    let mut argv = plan.configuration.runner.clone().unwrap_or_default();
    argv.push(executable.clone().into_os_string());
    let own = plan.run.program.iter().enumerate();
    argv.extend(
        own.filter(|(at, word)| *at > 0 || *word != "--")
            .map(|(_, word)| word.clone()),
    );
    Ok(Launch {
        argv,
        env: environment(plan, messages, &executable),
        workdir: plan.directory(),
        executable: Some(executable),
    })
}

fn executable(plan: &CargoPlan, messages: &Messages) -> Option<PathBuf> {
    let selection = &plan.run.selection;
    let named = selection.bins.first().or(selection.examples.first());
    let name = named.or(plan.target.as_ref().map(|target| &target.name));
    let mut fitting = messages.executables().iter().filter(|artifact| {
        artifact.example != selection.examples.is_empty()
            && name.is_none_or(|name| *name == artifact.name)
    });
    let found = fitting.next()?.executable.clone();
    // Several fit only if nothing is chosen: then it would be a guess.
    found.filter(|_| fitting.next().is_none())
}

/// See "Environment variables Cargo sets for crates" and "Dynamic library paths" in the Cargo book.
fn environment(
    plan: &CargoPlan,
    messages: &Messages,
    executable: &Path,
) -> Vec<(OsString, OsString)> {
    let mut env: Vec<(OsString, OsString)> = env::vars_os().collect();
    for (name, value, force) in &plan.configuration.env {
        if *force || env::var_os(name).is_none() {
            set(&mut env, name, value.clone());
        }
    }
    if let Some(target) = &plan.target {
        set(
            &mut env,
            "CARGO_MANIFEST_DIR",
            target.manifest_dir.clone().into(),
        );
        set(&mut env, "CARGO_PKG_NAME", target.package.clone().into());
        set(&mut env, "CARGO_PKG_VERSION", target.version.clone().into());
    }
    set(&mut env, "CARGO", plan.run.cargo.clone());
    let (name, paths) = library_path(messages, executable);
    set(&mut env, name, paths);
    env
}

fn set(env: &mut Vec<(OsString, OsString)>, name: &str, value: OsString) {
    env.retain(|(other, _)| *other != *name);
    env.push((name.into(), value));
}

fn library_path(messages: &Messages, executable: &Path) -> (&'static str, OsString) {
    let name = if cfg!(target_os = "macos") {
        "DYLD_FALLBACK_LIBRARY_PATH"
    } else {
        "LD_LIBRARY_PATH"
    };
    let mut paths: Vec<PathBuf> = messages
        .library_paths()
        .iter()
        .map(|path| search_path(path))
        .collect();
    if let Some(directory) = executable.parent() {
        paths.extend([directory.join("deps"), directory.to_owned()]);
    }
    if let Some(inherited) = env::var_os(name) {
        paths.extend(env::split_paths(&inherited));
    }
    // A path with a `:` in it can't be said; without it the rest still holds.
    paths.retain(|path| !path.to_string_lossy().contains(':'));
    (name, env::join_paths(paths).unwrap_or_default())
}

/// A build script's `rustc-link-search` may say for which kind it is: `native=/path`.
fn search_path(said: &Path) -> PathBuf {
    let text = said.to_string_lossy();
    match text.split_once('=') {
        Some(("dependency" | "crate" | "native" | "framework" | "all", path)) => {
            PathBuf::from(path)
        }
        Some(_) | None => said.to_owned(),
    }
}
