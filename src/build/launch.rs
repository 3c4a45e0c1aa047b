use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::WhyFallback;

/// What to run for a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// Variables to set in addition to hotrun's own environment.
    pub env_set: Vec<(OsString, OsString)>,
    /// Variables to leave out.
    pub env_remove: Vec<OsString>,
    /// Where to run it.
    pub workdir: PathBuf,
}

/// What to start after a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The program and its arguments. The program may be relative to `workdir`: it is what the program
    /// finds as its own name, and `cargo run` gives it a relative path.
    pub argv: Vec<OsString>,
    /// The complete environment.
    pub env: Vec<(OsString, OsString)>,
    /// Where to start it.
    pub workdir: PathBuf,
    /// The executable that was built, absolute. In command mode, and behind `--build`, nobody says.
    pub executable: Option<PathBuf>,
}

/// What came of a build that ended with success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Built {
    /// This is to be started.
    Launch(Launch),
    /// Cargo did not say what to run. The plan has changed: build again, by
    /// [`Plan::invocation`](super::Plan::invocation).
    Again(WhyFallback),
}

impl Invocation {
    /// The complete environment for it, made from an inherited one.
    pub fn environment(
        &self,
        inherited: impl Iterator<Item = (OsString, OsString)>,
    ) -> Vec<(OsString, OsString)> {
        let replaced = |name: &OsString| {
            self.env_remove.contains(name) || self.env_set.iter().any(|(set, _)| set == name)
        };
        inherited
            .filter(|(name, _)| !replaced(name))
            .chain(self.env_set.iter().cloned())
            .collect()
    }
}

impl Launch {
    /// A command of the user's, in hotrun's own environment.
    pub(super) fn of_command(command: &[OsString], workdir: &Path) -> Self {
        Self {
            argv: command.to_vec(),
            env: std::env::vars_os().collect(),
            workdir: workdir.to_owned(),
            executable: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_replaces_what_is_inherited() {
        let pair = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
        let invocation = Invocation {
            argv: Vec::new(),
            env_set: vec![pair("A", "new"), pair("B", "b")],
            env_remove: vec!["C".into()],
            workdir: PathBuf::new(),
        };
        let inherited = [pair("A", "old"), pair("C", "c"), pair("D", "d")];
        let expected = [pair("D", "d"), pair("A", "new"), pair("B", "b")];
        assert_eq!(invocation.environment(inherited.into_iter()), expected);
    }
}
