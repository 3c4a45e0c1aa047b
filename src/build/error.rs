use std::ffi::OsString;
use std::path::PathBuf;
use std::{error, fmt, io};

/// Why the program can't be built or started.
#[derive(Debug)]
pub enum BuildError {
    /// The cargo of the command does not exist.
    CargoMissing {
        /// As in the command.
        cargo: OsString,
    },
    /// Cargo could not be started or did not print its version.
    CargoUnusable {
        /// As in the command.
        cargo: OsString,
        /// The message of the system or of cargo.
        reason: String,
    },
    /// Cargo has no `--config`, which hotrun needs to become its runner.
    OldCargo {
        /// The major and minor version.
        version: (u32, u32),
    },
    /// The command sets a runner with `--config`, which would replace that of hotrun.
    RunnerOnCommandLine,
    /// The build succeeded, but cargo did not start the runner.
    RunnerNotStarted {
        /// As in the command.
        cargo: OsString,
    },
    /// hotrun's own executable was not found.
    OwnExecutable(io::Error),
    /// The configuration of cargo can't be read.
    Configuration {
        /// What is wrong.
        message: String,
    },
    /// There is no `Cargo.toml`.
    NoManifest {
        /// The directory, or the file of `--manifest-path`.
        place: PathBuf,
    },
    /// Cargo can't read the package. A later change may fix it.
    BrokenManifest {
        /// The message of cargo.
        message: String,
    },
    /// The workspace has no package with the name of `-p`.
    UnknownPackage {
        /// As in the command.
        name: String,
        /// The names of the packages.
        known: Vec<String>,
    },
    /// There is no binary or example with the name of `--bin` or `--example`.
    UnknownTarget {
        /// `--bin` or `--example`
        flag: &'static str,
        /// As in the command.
        name: String,
        /// The names of the binaries or examples.
        known: Vec<String>,
    },
    /// There are several binaries, and the command selects none.
    SeveralBinaries {
        /// Their names.
        known: Vec<String>,
    },
    /// There is no binary.
    NoBinary {
        /// The packages without a binary.
        packages: Vec<String>,
        /// Their examples.
        examples: Vec<String>,
    },
}

/// A solution whenever cargo can't run the program through hotrun.
const SEPARATE_BUILD: &str =
    "use a separate build: `hotrun -e rs,toml -b 'cargo build' -- target/debug/NAME`";

impl BuildError {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::CargoMissing { .. } => {
                "install Rust from https://rustup.rs, or use the path of cargo".to_owned()
            }
            Self::CargoUnusable { cargo, .. } => {
                format!("make sure that `{} --version` works", cargo.display())
            }
            Self::OldCargo { .. } => format!("update it (`rustup update`), or {SEPARATE_BUILD}"),
            Self::RunnerOnCommandLine => {
                format!("set the runner in `.cargo/config.toml`, or {SEPARATE_BUILD}")
            }
            Self::RunnerNotStarted { .. } => format!("if it is a wrapper, {SEPARATE_BUILD}"),
            Self::OwnExecutable(_) => {
                "restart hotrun if its executable was moved or replaced".to_owned()
            }
            Self::Configuration { .. } => {
                "check `.cargo/config.toml` in this directory, in those above, and in `CARGO_HOME`"
                    .to_owned()
            }
            Self::NoManifest { .. } => {
                "change to a cargo package, or use `cargo run --manifest-path PATH`".to_owned()
            }
            Self::BrokenManifest { .. } => {
                "`cargo metadata` shows the same error until it is fixed".to_owned()
            }
            Self::UnknownPackage { known, .. } => available("-p", known)?,
            Self::UnknownTarget { flag, known, .. } => available(flag, known)?,
            Self::SeveralBinaries { known } => format!(
                "use `hotrun -- cargo run --bin NAME` ({}), or set `default-run` in `Cargo.toml`",
                names(known)
            ),
            Self::NoBinary { examples, .. } => {
                available("--example", examples).unwrap_or_else(|| {
                    "add a `src/main.rs`, or choose another package with `-p`".to_owned()
                })
            }
        })
    }
}

fn available(flag: &str, known: &[String]) -> Option<String> {
    match known {
        [] => None,
        [only] => Some(format!("there is only one: `{flag} {only}`")),
        [_, ..] => Some(format!("available: {}", names(known))),
    }
}

fn names(known: &[String]) -> String {
    let quoted: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CargoMissing { cargo } => write!(f, "`{}` was not found", cargo.display()),
            Self::CargoUnusable { cargo, reason } => {
                write!(f, "cannot use `{}`: {reason}", cargo.display())
            }
            Self::OldCargo {
                version: (major, minor),
            } => write!(
                f,
                "cargo {major}.{minor} is too old: hotrun needs 1.63 or later"
            ),
            Self::RunnerOnCommandLine => {
                f.write_str("`--config` sets a runner, but hotrun needs to set its own")
            }
            Self::RunnerNotStarted { cargo } => write!(
                f,
                "the build succeeded, but `{} run` did not report what it would start",
                cargo.display()
            ),
            Self::OwnExecutable(error) => write!(f, "cannot find hotrun's own executable: {error}"),
            Self::Configuration { message } => {
                write!(f, "cannot read the configuration of cargo: {message}")
            }
            Self::NoManifest { place } => write!(f, "no `Cargo.toml` at `{}`", place.display()),
            Self::BrokenManifest { message } => {
                write!(f, "cargo cannot read the package: {message}")
            }
            Self::UnknownPackage { name, .. } => write!(f, "no package `{name}` in the workspace"),
            Self::UnknownTarget { flag, name, .. } => {
                let kind = if *flag == "--bin" {
                    "binary"
                } else {
                    "example"
                };
                write!(f, "no {kind} named `{name}`")
            }
            Self::SeveralBinaries { known } => {
                write!(
                    f,
                    "{} binaries; choose one with `-p` or `--bin`",
                    known.len()
                )
            }
            Self::NoBinary { packages, .. } => write!(f, "no binary in {}", names(packages)),
        }
    }
}

impl error::Error for BuildError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_cargo_has_a_hint() {
        for (error, expected) in [
            (
                BuildError::CargoUnusable {
                    cargo: "/opt/cargo".into(),
                    reason: "x".to_owned(),
                },
                "`/opt/cargo --version`",
            ),
            (
                BuildError::BrokenManifest {
                    message: "x".to_owned(),
                },
                "`cargo metadata`",
            ),
            (
                BuildError::Configuration {
                    message: "x".to_owned(),
                },
                "`.cargo/config.toml`",
            ),
            (
                BuildError::OwnExecutable(io::Error::other("x")),
                "restart hotrun",
            ),
        ] {
            let hint = error.hint().unwrap_or_default();
            assert!(hint.contains(expected), "{error}: {hint}");
        }
    }
}
