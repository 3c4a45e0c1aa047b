use std::ffi::OsString;
use std::path::PathBuf;
use std::{error, fmt, io};

/// Why there is nothing to build or to start.
#[derive(Debug)]
pub enum BuildError {
    /// No command was given, and there is no package here.
    NothingToRun {
        /// Where one was looked for.
        workdir: PathBuf,
    },
    /// `--build` without a command to start after it.
    NoCommandAfterBuild,
    /// There is no such cargo.
    CargoMissing {
        /// As it was typed.
        cargo: OsString,
    },
    /// Cargo could not be started, or could not tell its version.
    CargoUnusable {
        /// As it was typed.
        cargo: OsString,
        /// What the system or cargo said.
        reason: String,
    },
    /// There is no `Cargo.toml`.
    NoManifest {
        /// Where it was looked for: a directory, or the file that `--manifest-path` names.
        place: PathBuf,
    },
    /// Cargo can't make sense of the package. A later edit may repair it.
    BrokenManifest {
        /// In cargo's words.
        message: String,
    },
    /// Cargo's configuration can't be read.
    Configuration {
        /// The reason.
        message: String,
    },
    /// `-p` names no package of the workspace.
    UnknownPackage {
        /// As it was typed.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// `--bin` or `--example` names nothing.
    UnknownTarget {
        /// `--bin` or `--example`
        flag: &'static str,
        /// As it was typed.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// Several binaries, and no choice made.
    SeveralBinaries {
        /// Those that there are.
        known: Vec<String>,
    },
    /// No binary at all.
    NoBinary {
        /// The packages without one.
        packages: Vec<String>,
        /// Their examples.
        examples: Vec<String>,
    },
    /// Cargo is older than `--config`, by which hotrun becomes its runner.
    OldCargo {
        /// Major and minor.
        version: (u32, u32),
    },
    /// A `--config` of the user's sets a runner, which would take the place of hotrun's.
    RunnerOnCommandLine,
    /// The build succeeded, but cargo did not start hotrun as the runner.
    RunnerNotStarted {
        /// As it was typed.
        cargo: OsString,
    },
    /// Our own path could not be found out.
    Ourselves(io::Error),
}

/// The way for every case in which cargo cannot run the program through hotrun.
const BUILD_APART: &str =
    "build apart from the start: `hotrun -e rs,toml -b 'cargo build' -- target/debug/NAME`";

impl BuildError {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NothingToRun { .. } => {
                "name a command, as in `hotrun -- npm start`, or go to a cargo package".to_owned()
            }
            Self::NoCommandAfterBuild => {
                "add it after `--`, as in `hotrun -e go -b 'go build -o app .' -- ./app`".to_owned()
            }
            Self::CargoMissing { .. } => {
                "install Rust from https://rustup.rs, or name the path of cargo".to_owned()
            }
            Self::NoManifest { .. } => {
                "go to a cargo package, or name one with `cargo run --manifest-path PATH`"
                    .to_owned()
            }
            Self::UnknownPackage { known, .. } => one_of("-p", known)?,
            Self::UnknownTarget { flag, known, .. } => one_of(flag, known)?,
            Self::SeveralBinaries { known } => format!(
                "choose one with `hotrun -- cargo run --bin NAME` ({}), or set `default-run` in `Cargo.toml`",
                names(known)
            ),
            Self::NoBinary { examples, .. } => one_of("--example", examples).unwrap_or_else(|| {
                "add a `src/main.rs`, or choose another package with `-p`".to_owned()
            }),
            Self::OldCargo { .. } => format!("update it (`rustup update`), or {BUILD_APART}"),
            Self::RunnerOnCommandLine => {
                format!("set the runner in `.cargo/config.toml`, or {BUILD_APART}")
            }
            Self::RunnerNotStarted { .. } => format!("if it is a wrapper, {BUILD_APART}"),
            Self::CargoUnusable { cargo, .. } => {
                format!("`{} --version` has to work there first", cargo.display())
            }
            Self::BrokenManifest { .. } => {
                "mend what cargo names; `cargo metadata` shows whether it is right".to_owned()
            }
            Self::Configuration { .. } => {
                "it is in `.cargo/config.toml`, there or in a directory above, and in `CARGO_HOME`"
                    .to_owned()
            }
            Self::Ourselves(_) => {
                "start hotrun again if its executable was moved or replaced".to_owned()
            }
        })
    }
}

/// `--bin NAME`, with the names that there are.
fn one_of(flag: &str, known: &[String]) -> Option<String> {
    match known {
        [] => None,
        [one] => Some(format!("there is one: `{flag} {one}`")),
        [_, ..] => Some(format!("there are: {}", names(known))),
    }
}

fn names(known: &[String]) -> String {
    known
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingToRun { workdir } => {
                write!(
                    f,
                    "no command was given, and there is no `Cargo.toml` in `{}` or above it",
                    workdir.display()
                )
            }
            Self::NoCommandAfterBuild => f.write_str("`--build` needs a command to start after it"),
            Self::CargoMissing { cargo } => write!(f, "`{}` was not found", cargo.display()),
            Self::CargoUnusable { cargo, reason } => {
                write!(f, "cannot use `{}`: {reason}", cargo.display())
            }
            Self::NoManifest { place } => {
                write!(f, "there is no `Cargo.toml` at `{}`", place.display())
            }
            Self::BrokenManifest { message } => {
                write!(f, "cargo cannot read the package: {message}")
            }
            Self::Configuration { message } => {
                write!(f, "cannot read cargo's configuration: {message}")
            }
            Self::UnknownPackage { name, .. } => write!(f, "no package `{name}` in the workspace"),
            Self::UnknownTarget { flag, name, .. } => {
                write!(f, "nothing is named `{name}` that `{flag}` could run")
            }
            Self::SeveralBinaries { known } => {
                write!(f, "{} binaries, and none is chosen", known.len())
            }
            Self::NoBinary { packages, .. } => write!(f, "no binary to run in {}", names(packages)),
            Self::OldCargo {
                version: (major, minor),
            } => write!(
                f,
                "cargo {major}.{minor} is too old to run programs through hotrun: 1.63 or later is needed"
            ),
            Self::RunnerOnCommandLine => {
                f.write_str("`--config` sets a runner, in the place that hotrun needs for its own")
            }
            Self::RunnerNotStarted { cargo } => write!(
                f,
                "the build succeeded, but `{} run` did not report what it would start",
                cargo.display()
            ),
            Self::Ourselves(error) => write!(f, "cannot find hotrun's own executable: {error}"),
        }
    }
}

impl error::Error for BuildError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Ourselves(error) => Some(error),
            Self::NothingToRun { .. }
            | Self::NoCommandAfterBuild
            | Self::CargoMissing { .. }
            | Self::CargoUnusable { .. }
            | Self::NoManifest { .. }
            | Self::BrokenManifest { .. }
            | Self::Configuration { .. }
            | Self::UnknownPackage { .. }
            | Self::UnknownTarget { .. }
            | Self::SeveralBinaries { .. }
            | Self::NoBinary { .. }
            | Self::OldCargo { .. }
            | Self::RunnerOnCommandLine
            | Self::RunnerNotStarted { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_cargo_comes_with_what_to_do() {
        let reason = || "x".to_owned();
        let (cargo, message) = ("/opt/cargo".into(), reason());
        let errors = [
            (
                BuildError::CargoUnusable {
                    cargo,
                    reason: reason(),
                },
                "`/opt/cargo --version`",
            ),
            (
                BuildError::BrokenManifest { message: reason() },
                "`cargo metadata`",
            ),
            (
                BuildError::Configuration { message },
                "`.cargo/config.toml`",
            ),
            (
                BuildError::Ourselves(io::Error::other("x")),
                "start hotrun again",
            ),
        ];
        for (error, expected) in errors {
            let hint = error.hint().unwrap_or_default();
            assert!(hint.contains(expected), "{error}: {hint}");
        }
    }
}
