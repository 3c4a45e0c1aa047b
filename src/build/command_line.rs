use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::arguments::{Argument, Arguments, Flag};

/// The commands of cargo. Cargo ignores an alias with such a name.
const BUILT_IN: &[&str] = &[
    "add",
    "bench",
    "build",
    "check",
    "clean",
    "config",
    "doc",
    "fetch",
    "fix",
    "generate-lockfile",
    "git-checkout",
    "help",
    "info",
    "init",
    "install",
    "locate-project",
    "login",
    "logout",
    "metadata",
    "new",
    "owner",
    "package",
    "pkgid",
    "publish",
    "read-manifest",
    "remove",
    "report",
    "run",
    "rustc",
    "rustdoc",
    "search",
    "test",
    "tree",
    "uninstall",
    "update",
    "vendor",
    "verify-project",
    "version",
    "yank",
];

/// The limit for aliases of aliases, in case of a cycle.
const MAX_ALIASES: usize = 32;

/// A `cargo run` command line with its aliases expanded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CargoRun {
    /// The name or path of cargo.
    pub cargo: OsString,
    /// `+toolchain`
    pub toolchain: Option<OsString>,
    /// The options before the subcommand.
    pub globals: Vec<OsString>,
    /// The options of `run`, without `--message-format`.
    pub options: Vec<OsString>,
    /// The arguments of the program, with the `--` before them, if any.
    pub program: Vec<OsString>,
    /// The options that matter to hotrun, from both places.
    pub run_options: RunOptions,
}

/// The options of a `cargo run` that matter to hotrun.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// `-p`
    pub packages: Vec<String>,
    /// `--bin`
    pub bins: Vec<String>,
    /// `--example`
    pub examples: Vec<String>,
    /// `--target`
    pub target: Option<String>,
    /// `--manifest-path`
    pub manifest_path: Option<PathBuf>,
    /// `--color`
    pub color: Option<String>,
    /// `--config`
    pub config: Vec<String>,
    /// `-C`
    pub directory: Option<PathBuf>,
    /// Options that `cargo metadata` accepts too, such as `--features` and `--locked`.
    pub resolution: Vec<String>,
    /// Whether cargo only prints something, such as help, or an error because a value is missing.
    pub only_prints: bool,
}

impl CargoRun {
    /// Parses a command. Returns `None` if it is not a `cargo run`. `alias` looks up an alias in the configuration of
    /// cargo, given the value of `-C`.
    pub fn parse(
        command: &[OsString],
        mut alias: impl FnMut(Option<&PathBuf>, &str) -> Option<Vec<String>>,
    ) -> Option<Self> {
        let (cargo, mut rest) = command.split_first()?;
        if PathBuf::from(cargo).file_stem() != Some(OsStr::new("cargo")) {
            return None;
        }
        let mut run = Self {
            cargo: cargo.clone(),
            ..Self::default()
        };
        if let Some((first, others)) = rest.split_first().filter(|(first, _)| is_toolchain(first)) {
            run.toolchain = Some(first.clone());
            rest = others;
        }
        let mut arguments = rest.to_vec();
        for _ in 0..MAX_ALIASES {
            let (name, after) = run.globals(&arguments)?;
            if name == "run" {
                run.options(&after);
                return (!run.run_options.only_prints).then_some(run);
            }
            arguments = expand(&name, &after, |name| {
                alias(run.run_options.directory.as_ref(), name)
            })?;
        }
        None
    }

    /// Parses the options before the subcommand. Returns its name and the arguments after it.
    fn globals(&mut self, arguments: &[OsString]) -> Option<(String, Vec<OsString>)> {
        let mut arguments = Arguments::new(arguments);
        loop {
            match arguments.next()? {
                Argument::Flags(flags, written) => {
                    self.globals.extend_from_slice(written);
                    self.run_options.add_all(&flags);
                }
                Argument::Word(word) => {
                    return Some((word.to_str()?.to_owned(), arguments.rest().to_vec()));
                }
                Argument::Separator => return None,
            }
        }
    }

    /// Parses the arguments after `run`.
    fn options(&mut self, arguments: &[OsString]) {
        let mut arguments = Arguments::new(arguments);
        loop {
            let before = arguments.rest();
            match arguments.next() {
                Some(Argument::Flags(flags, written)) => {
                    self.run_options.add_all(&flags);
                    if !flags.iter().any(|flag| flag.name == "--message-format") {
                        self.options.extend_from_slice(written);
                    }
                }
                // Cargo passes everything from the first word on to the program, including options.
                Some(Argument::Word(_) | Argument::Separator) => {
                    self.program = before.to_vec();
                    return;
                }
                None => return,
            }
        }
    }
}

impl RunOptions {
    fn add_all(&mut self, flags: &[Flag]) {
        for flag in flags {
            let value = flag
                .value
                .as_ref()
                .map(|value| value.to_string_lossy().into_owned());
            self.add(&flag.name, value);
        }
    }

    fn add(&mut self, name: &str, value: Option<String>) {
        match (name, value) {
            ("-p" | "--package", Some(value)) => self.packages.push(value),
            ("--bin", Some(value)) => self.bins.push(value),
            ("--example", Some(value)) => self.examples.push(value),
            ("--target", Some(value)) => self.target = Some(value),
            ("--manifest-path", Some(value)) => self.manifest_path = Some(value.into()),
            ("--color", Some(value)) => self.color = Some(value),
            ("-C", Some(value)) => self.directory = Some(value.into()),
            ("--config", Some(value)) => {
                self.resolution.extend([name.to_owned(), value.clone()]);
                self.config.push(value);
            }
            ("-F" | "--features", Some(value)) => {
                self.resolution.extend(["--features".to_owned(), value]);
            }
            (
                "--all-features"
                | "--no-default-features"
                | "--locked"
                | "--offline"
                | "--frozen"
                | "--ignore-rust-version",
                None,
            ) => self.resolution.push(name.to_owned()),
            ("-Z", Some(value)) => self.resolution.push(format!("-Z{value}")),
            ("-p" | "--package" | "--bin" | "--example" | "--target", None)
            | ("-h" | "--help" | "-V" | "--version" | "--list" | "--explain", _) => {
                self.only_prints = true;
            }
            (_, _) => {}
        }
    }
}

fn is_toolchain(argument: &OsStr) -> bool {
    argument
        .to_str()
        .is_some_and(|argument| argument.starts_with('+'))
}

/// Replaces an alias in the arguments. Returns `None` if `name` is another subcommand.
fn expand(
    name: &str,
    after: &[OsString],
    alias: impl FnOnce(&str) -> Option<Vec<String>>,
) -> Option<Vec<OsString>> {
    if BUILT_IN.contains(&name) {
        return None;
    }
    // An alias `r` of the user overrides the one of cargo.
    let expansion = alias(name).or_else(|| (name == "r").then(|| vec!["run".to_owned()]))?;
    Some(
        expansion
            .into_iter()
            .map(OsString::from)
            .chain(after.iter().cloned())
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<CargoRun> {
        let command: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        CargoRun::parse(&command, |_, name| match name {
            "serve" => Some(words("run -p server --")),
            "dev" => Some(words("--config net.offline=true rr --features dev")),
            "rr" => Some(words("run --release")),
            "loop" => Some(words("loop")),
            "test" => Some(words("run")),
            _ => None,
        })
    }

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_cargo_run_is_split_into_its_parts() {
        for (line, globals, options, program) in [
            ("cargo run", "", "", ""),
            ("cargo r", "", "", ""),
            ("/opt/rust/bin/cargo run", "", "", ""),
            ("cargo +nightly run -q", "", "-q", ""),
            (
                "cargo --config net.offline=true -C dir -Z f --color never run",
                "--config net.offline=true -C dir -Z f --color never",
                "",
                "",
            ),
            (
                "cargo -Zunstable-options --locked -vv run --bin a",
                "-Zunstable-options --locked -vv",
                "--bin a",
                "",
            ),
            (
                "cargo run --bin a --message-format short -- --bin b",
                "",
                "--bin a",
                "-- --bin b",
            ),
            (
                "cargo run --message-format=json x --release",
                "",
                "",
                "x --release",
            ),
            ("cargo serve --port 1", "", "-p server", "-- --port 1"),
            (
                "cargo -q dev --example e",
                "-q --config net.offline=true",
                "--release --features dev --example e",
                "",
            ),
        ] {
            let run = parse(line).unwrap_or_else(|| panic!("{line} is a cargo run"));
            assert_eq!(joined(&run.globals), globals, "{line}");
            assert_eq!(joined(&run.options), options, "{line}");
            assert_eq!(joined(&run.program), program, "{line}");
        }
    }

    #[test]
    fn other_commands_are_not_a_cargo_run() {
        for line in [
            "",
            "cargo",
            "cargo test",
            "cargo build",
            "cargo leptos serve",
            "cargo watch -x run",
            "cargo-watch run",
            "cargo --list",
            "cargo --version",
            "cargo -- run",
            "cargo loop",
            "cargo run --help",
            "cargo run --bin",
            "cargo --config run",
            "npm run dev",
            "go run .",
            "cargo help run",
            "./cargo-run run",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn the_options_of_a_cargo_run_are_parsed() {
        let run = parse("cargo -C sub run -psrv --bin=a --example b --target t --manifest-path m/Cargo.toml -Fx --color always --locked").unwrap();
        assert_eq!(run.run_options.packages, ["srv"]);
        assert_eq!(run.run_options.bins, ["a"]);
        assert_eq!(run.run_options.examples, ["b"]);
        assert_eq!(run.run_options.target.as_deref(), Some("t"));
        assert_eq!(run.run_options.manifest_path, Some("m/Cargo.toml".into()));
        assert_eq!(run.run_options.color.as_deref(), Some("always"));
        assert_eq!(run.run_options.directory, Some("sub".into()));
        assert_eq!(run.run_options.resolution, ["--features", "x", "--locked"]);
    }

    #[test]
    fn message_format_is_removed() {
        let run = parse("cargo run -q --message-format short -r").unwrap();
        assert_eq!(joined(&run.options), "-q -r");
    }

    fn joined(arguments: &[OsString]) -> String {
        arguments
            .iter()
            .map(|argument| argument.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ")
    }
}
