use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::arguments::{Flag, Piece, Pieces};

/// Commands of cargo itself: an alias of such a name is ignored by cargo.
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

/// More aliases of aliases than anybody has; cargo refuses a cycle.
const MOST_ALIASES: usize = 32;

/// A `cargo run` command line, with its aliases expanded, in pieces that can be put together again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CargoRun {
    /// The cargo that was named, with or without a path.
    pub cargo: OsString,
    /// `+toolchain`
    pub toolchain: Option<OsString>,
    /// The options before the subcommand.
    pub globals: Vec<OsString>,
    /// The options of `run`, without `--message-format`.
    pub options: Vec<OsString>,
    /// The program's own arguments, with the `--` before them if there was one.
    pub program: Vec<OsString>,
    /// What the options select.
    pub selection: Selection,
}

/// What of a `cargo run` command line matters to us too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
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
    /// `--config`, each as it was given.
    pub config: Vec<String>,
    /// `-C`
    pub directory: Option<PathBuf>,
    /// Features, `--locked` and the like, as `cargo metadata` takes them too.
    pub resolution: Vec<String>,
    /// A value is missing, or help is asked for: cargo prints something and runs nothing.
    pub only_prints: bool,
}

impl CargoRun {
    /// Takes `command` apart if it is a `cargo run`. `alias` looks an alias up in cargo's configuration,
    /// given the value of `-C` if there is one; it is only asked when the subcommand is not `run`.
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
        for _ in 0..MOST_ALIASES {
            let (name, after) = run.globals(&arguments)?;
            if name == "run" {
                run.options(&after);
                return (!run.selection.only_prints).then_some(run);
            }
            arguments = expand(&name, &after, |name| {
                alias(run.selection.directory.as_ref(), name)
            })?;
        }
        None
    }

    /// Takes the options before the subcommand; returns its name and what follows it.
    fn globals(&mut self, arguments: &[OsString]) -> Option<(String, Vec<OsString>)> {
        let mut pieces = Pieces::new(arguments);
        loop {
            match pieces.next()? {
                Piece::Flags(flags, written) => {
                    self.globals.extend_from_slice(written);
                    self.selection.note(&flags);
                }
                Piece::Word(word) => {
                    return Some((word.to_str()?.to_owned(), pieces.rest().to_vec()));
                }
                Piece::Separator => return None,
            }
        }
    }

    /// Takes what follows `run`.
    fn options(&mut self, arguments: &[OsString]) {
        let mut pieces = Pieces::new(arguments);
        loop {
            let before = pieces.rest();
            match pieces.next() {
                Some(Piece::Flags(flags, written)) => {
                    self.selection.note(&flags);
                    if !flags.iter().any(|flag| flag.name == "--message-format") {
                        self.options.extend_from_slice(written);
                    }
                }
                // Cargo gives everything from the first word on to the program, options included.
                Some(Piece::Word(_) | Piece::Separator) => {
                    self.program = before.to_vec();
                    return;
                }
                None => return,
            }
        }
    }
}

impl Selection {
    fn note(&mut self, flags: &[Flag]) {
        for flag in flags {
            let value = flag
                .value
                .as_ref()
                .map(|value| value.to_string_lossy().into_owned());
            self.note_one(&flag.name, value);
        }
    }

    fn note_one(&mut self, name: &str, value: Option<String>) {
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

    /// Whether a binary or an example is chosen by name.
    pub fn names_a_target(&self) -> bool {
        !self.bins.is_empty() || !self.examples.is_empty()
    }
}

fn is_toolchain(argument: &OsStr) -> bool {
    argument
        .to_str()
        .is_some_and(|argument| argument.starts_with('+'))
}

/// The arguments with the alias `name` replaced; nothing if it is a subcommand and not an alias for `run`.
fn expand(
    name: &str,
    after: &[OsString],
    alias: impl FnOnce(&str) -> Option<Vec<String>>,
) -> Option<Vec<OsString>> {
    if BUILT_IN.contains(&name) {
        return None;
    }
    // A user's own `r` wins over the one that cargo has.
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
    fn command_lines_that_run_a_program() {
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
    fn command_lines_that_are_something_else() {
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
    fn what_is_selected_is_read() {
        let run = parse("cargo -C sub run -psrv --bin=a --example b --target t --manifest-path m/Cargo.toml -Fx --color always --locked").unwrap();
        assert_eq!(run.selection.packages, ["srv"]);
        assert_eq!(run.selection.bins, ["a"]);
        assert_eq!(run.selection.examples, ["b"]);
        assert_eq!(run.selection.target.as_deref(), Some("t"));
        assert_eq!(run.selection.manifest_path, Some("m/Cargo.toml".into()));
        assert_eq!(run.selection.color.as_deref(), Some("always"));
        assert_eq!(run.selection.directory, Some("sub".into()));
        assert_eq!(run.selection.resolution, ["--features", "x", "--locked"]);
    }

    #[test]
    fn a_message_format_of_the_users_is_left_out_wherever_it_is() {
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
