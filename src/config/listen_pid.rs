use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::cli::ListenPid;

/// Commands that start the program as a child process, so that its pid is not the one that hotrun knows.
///
/// `sh -c` and other shells may or may not replace themselves, so they count. `env`, `exec`, `nice` and the like
/// always replace themselves. `setsid` forks if it leads its process group, which it does under hotrun; `sudo` and
/// `doas` fork if they have a session to close; `strace` and the like trace a child process.
const WRAPPERS: &[&str] = &[
    "ash", "bash", "bun", "bunx", "bundle", "cargo", "dash", "deno", "doas", "fish", "flock", "go",
    "gradle", "just", "ksh", "ltrace", "make", "mvn", "nodemon", "npm", "npx", "pdm", "perf",
    "pipenv", "pnpm", "poetry", "rake", "runuser", "script", "setsid", "sh", "strace", "su",
    "sudo", "task", "time", "timeout", "tsx", "uv", "watch", "yarn", "zsh",
];

impl ListenPid {
    /// Whether to set `LISTEN_PID` for this command. In cargo mode that is the executable, not `cargo`.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn applies(setting: ListenPid, line: &str) -> bool {
        let argv: Vec<_> = line.split(' ').map(OsString::from).collect();
        setting.applies_to(&argv)
    }

    #[test]
    fn auto_depends_on_the_command() {
        for line in [
            "npm start",
            "/bin/sh -c a",
            "sudo ./app",
            "doas ./app",
            "nodemon ./app",
            "setsid ./app",
            "time ./app",
            "timeout ./app",
            "strace ./app",
        ] {
            assert!(!applies(ListenPid::Auto, line), "{line}");
        }
        for line in [
            "env A=1 ./app",
            "nice ./app",
            "nohup ./app",
            "stdbuf -oL ./app",
            "taskset 1 ./app",
            "/srv/target/debug/app",
            "python app.py",
        ] {
            assert!(applies(ListenPid::Auto, line), "{line}");
        }
    }

    #[test]
    fn always_and_never_ignore_the_command() {
        assert!(applies(ListenPid::Always, "npm start"));
        assert!(!applies(ListenPid::Never, "./app"));
    }
}
