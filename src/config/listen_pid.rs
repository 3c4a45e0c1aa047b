//! Whether the program gets `LISTEN_PID`.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::cli;

/// Commands that start the program as their child, which then has another pid than the one that we know.
/// `sh -c` and its kind may replace themselves or not, so they count. `env`, `exec`, `nice` and the like
/// replace themselves and do not. `setsid` forks where it leads its process group, as what we start does;
/// `sudo` and `doas` where they have a session to close; `strace` and its kind trace their child.
const WRAPPERS: &[&str] = &[
    "ash", "bash", "bun", "bunx", "bundle", "cargo", "dash", "deno", "doas", "fish", "flock", "go",
    "gradle", "just", "ksh", "ltrace", "make", "mvn", "nodemon", "npm", "npx", "pdm", "perf",
    "pipenv", "pnpm", "poetry", "rake", "runuser", "script", "setsid", "sh", "strace", "su",
    "sudo", "task", "time", "timeout", "tsx", "uv", "watch", "yarn", "zsh",
];

/// Whether the program gets `LISTEN_PID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenPid {
    /// Unless the command is a wrapper that is known.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl ListenPid {
    /// Whether the variable is set for a program that is started with these words. In cargo mode that is
    /// the executable itself, not `cargo`.
    pub fn applies_to(self, argv: &[OsString]) -> bool {
        match self {
            Self::Auto => !argv.first().is_some_and(|program| is_wrapper(program)),
            Self::Always => true,
            Self::Never => false,
        }
    }
}

fn is_wrapper(program: &OsStr) -> bool {
    let name = Path::new(program).file_name().and_then(OsStr::to_str);
    name.is_some_and(|name| WRAPPERS.contains(&name))
}

impl From<cli::ListenPid> for ListenPid {
    fn from(typed: cli::ListenPid) -> Self {
        match typed {
            cli::ListenPid::Auto => Self::Auto,
            cli::ListenPid::Always => Self::Always,
            cli::ListenPid::Never => Self::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applies(setting: ListenPid, line: &str) -> bool {
        let argv: Vec<_> = line.split(' ').map(OsString::from).collect();
        setting.applies_to(&argv)
    }

    #[test]
    fn left_out_behind_a_wrapper_that_forks() {
        assert!(!applies(ListenPid::Auto, "npm start"));
        assert!(!applies(ListenPid::Auto, "/bin/sh -c a"));
        for wrapper in [
            "sudo", "doas", "nodemon", "setsid", "time", "timeout", "strace",
        ] {
            assert!(
                !applies(ListenPid::Auto, &format!("{wrapper} ./app")),
                "{wrapper}"
            );
        }
        for replaced in ["env A=1", "nice", "nohup", "stdbuf -oL", "taskset 1"] {
            assert!(
                applies(ListenPid::Auto, &format!("{replaced} ./app")),
                "{replaced}"
            );
        }
        assert!(applies(ListenPid::Auto, "/srv/target/debug/app"));
        assert!(applies(ListenPid::Auto, "python app.py"));
    }

    #[test]
    fn either_way_when_asked() {
        assert!(applies(ListenPid::Always, "npm start"));
        assert!(!applies(ListenPid::Never, "./app"));
    }
}
