use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Options of `cargo` and `cargo run` that always have a value, which may be the next argument.
const VALUED: &[&str] = &[
    "-C",
    "-F",
    "-Z",
    "-j",
    "--artifact-dir",
    "--color",
    "--config",
    "--features",
    "--jobs",
    "--lockfile-path",
    "--manifest-path",
    "--message-format",
    "--profile",
    "--target-dir",
];

/// Options with an optional value: the next argument is the value, unless it starts with `-`. Without a value, cargo
/// lists the possible values.
const OPTIONAL: &[&str] = &["-p", "--bin", "--example", "--package", "--target"];

/// How many times an alias may expand to another alias. Aliases can form a cycle.
const MAX_ALIASES: usize = 32;

/// A `cargo run` command line with its aliases expanded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CargoRun {
    /// The name or path of cargo.
    pub(super) cargo: OsString,
    /// The working directory of the command.
    pub(super) workdir: PathBuf,
    /// `+toolchain`
    pub(super) toolchain: Option<OsString>,
    /// The options before the subcommand, without `--config`.
    pub(super) globals: Vec<OsString>,
    /// The options of `run`, without `--config` or `--message-format`.
    pub(super) options: Vec<OsString>,
    /// The program's arguments, with the `--` before them, if any.
    pub(super) program: Vec<OsString>,
    pub(super) package: Option<String>,
    pub(super) bin: Option<String>,
    pub(super) example: Option<String>,
    pub(super) target: Option<String>,
    pub(super) manifest_path: Option<PathBuf>,
    pub(super) color: Option<String>,
    /// The values of `--config` that cargo would use.
    pub(super) config: Vec<String>,
    pub(super) target_dir: Option<PathBuf>,
    /// Cargo's working directory, which `-C` changes before cargo reads its configuration.
    pub(super) directory: PathBuf,
    /// The options that `cargo metadata` also accepts, such as `--features` and `--locked`.
    pub(super) resolution: Vec<String>,
}

impl CargoRun {
    /// Parses a command. Returns `None` if the command is not a `cargo run`. `alias` looks up an alias in the
    /// configuration, given what has been parsed so far. Like cargo, it ignores the `--config` options.
    pub(super) fn parse(
        command: &[OsString],
        workdir: &Path,
        alias: impl Fn(&Self, &str) -> Option<Vec<String>>,
    ) -> Option<Self> {
        let (cargo, arguments) = command.split_first()?;
        if Path::new(cargo).file_stem() != Some(OsStr::new("cargo")) {
            return None;
        }
        let mut run = Self {
            cargo: cargo.clone(),
            workdir: workdir.to_owned(),
            directory: workdir.to_owned(),
            ..Self::default()
        };
        let mut arguments = arguments.to_vec();
        if arguments.first()?.as_bytes().starts_with(b"+") {
            run.toolchain = Some(arguments.remove(0));
        }
        // Cargo uses the `--config` values before the first alias. It also uses those after `run` or, if there are
        // none, those before `run` (`expand_aliases` and `configure_gctx` in `bin/cargo/cli.rs` in cargo's sources).
        let mut before_alias = None;
        for _ in 0..MAX_ALIASES {
            let (globals, rest) = run.parse_options(&arguments);
            let config = std::mem::take(&mut run.config);
            run.globals.extend(globals);
            let (subcommand, rest) = rest.split_first()?;
            let subcommand = subcommand.to_str()?;
            if subcommand == "run" {
                let (options, program) = run.parse_options(rest);
                let is_help = |option: &OsString| option == "-h" || option == "--help";
                if options.iter().any(is_help) {
                    return None;
                }
                run.options = options;
                // Cargo passes the first argument that is not an option, and everything after it, to the program.
                run.program = program.to_vec();
                let last = match run.config.is_empty() {
                    true => config,
                    false => std::mem::take(&mut run.config),
                };
                run.config = before_alias.into_iter().flatten().chain(last).collect();
                return Some(run);
            }
            before_alias.get_or_insert(config);
            // A user's alias `r` overrides cargo's own.
            let expansion = alias(&run, subcommand)
                .or_else(|| (subcommand == "r").then(|| vec!["run".to_owned()]))?;
            let expansion = expansion.into_iter().map(OsString::from);
            arguments = expansion.chain(rest.iter().cloned()).collect();
        }
        None
    }

    /// Parses the options at the start of `arguments`. Returns the options without `--config` or `--message-format`,
    /// and the remaining arguments.
    fn parse_options<'a>(
        &mut self,
        mut arguments: &'a [OsString],
    ) -> (Vec<OsString>, &'a [OsString]) {
        let mut kept = Vec::new();
        while arguments.first().is_some_and(is_option) {
            let (flags, count) = parse_flags(arguments);
            let (written, rest) = arguments.split_at(count);
            let is_kept = |name: &str| !["--config", "--message-format"].contains(&name);
            if flags.iter().all(|(name, _)| is_kept(name)) {
                kept.extend_from_slice(written);
            }
            for (name, value) in flags {
                self.add(&name, value);
            }
            arguments = rest;
        }
        (kept, arguments)
    }

    fn add(&mut self, name: &str, value: Option<String>) {
        match (name, value) {
            ("-p" | "--package", value) => self.package = value,
            ("--bin", value) => self.bin = value,
            ("--example", value) => self.example = value,
            ("--target", value) => self.target = value,
            ("--manifest-path", value) => self.manifest_path = value.map(PathBuf::from),
            ("--color", value) => self.color = value,
            ("-C", Some(value)) => self.directory = self.workdir.join(value),
            ("--config", Some(value)) => self.config.push(value),
            ("--target-dir", Some(value)) => self.target_dir = Some(value.into()),
            ("-F" | "--features", Some(value)) => {
                self.resolution.extend(["--features".to_owned(), value]);
            }
            ("-Z", Some(value)) => self.resolution.push(format!("-Z{value}")),
            (
                "--all-features"
                | "--no-default-features"
                | "--locked"
                | "--offline"
                | "--frozen"
                | "--ignore-rust-version",
                None,
            ) => self.resolution.push(name.to_owned()),
            (_, _) => {}
        }
    }
}

fn is_option(argument: &OsString) -> bool {
    let bytes = argument.as_bytes();
    bytes.len() > 1 && bytes[0] == b'-' && bytes != b"--"
}

/// Parses the options in the first of the `arguments`; `-rq` contains two. Returns their names (with the dashes) and
/// values, and the number of arguments that they take up.
///
/// Unknown options are assumed to have no value. That is safe, because hotrun passes on or drops whole arguments and
/// cargo parses them again.
fn parse_flags(arguments: &[OsString]) -> (Vec<(String, Option<String>)>, usize) {
    let bytes = arguments[0].as_bytes();
    let mut flags = Vec::new();
    let (name, inline) = if bytes.starts_with(b"--") {
        let mut parts = bytes.splitn(2, |byte| *byte == b'=');
        (lossy(parts.next().unwrap_or_default()), parts.next())
    } else {
        // `-p x`, `-px`, `-p=x`, `-rq`, `-vp x`
        let mut letters = &bytes[1..];
        loop {
            let name = format!("-{}", char::from(letters[0]));
            letters = &letters[1..];
            if letters.is_empty() {
                break (name, None);
            }
            if VALUED.contains(&&*name) || OPTIONAL.contains(&&*name) {
                break (name, Some(letters.strip_prefix(b"=").unwrap_or(letters)));
            }
            flags.push((name, None));
        }
    };
    let next = arguments.get(1).filter(|next| {
        let is_value = OPTIONAL.contains(&&*name) && !next.as_bytes().starts_with(b"-");
        inline.is_none() && (is_value || VALUED.contains(&&*name))
    });
    let value = inline.or(next.map(|next| next.as_bytes())).map(lossy);
    flags.push((name, value));
    (flags, 1 + usize::from(next.is_some()))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<CargoRun> {
        let command: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        CargoRun::parse(&command, Path::new("/w"), |_, name| match name {
            "serve" => Some(words("run -p server --")),
            "dev" => Some(words("--config net.offline=true rr --features dev")),
            "rr" => Some(words("run --release")),
            "with" => Some(words("--config x=1 run")),
            "loop" => Some(words("loop")),
            _ => None,
        })
    }

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_cargo_run_command_line_is_split_into_its_parts() {
        for (line, globals, options, program) in [
            ("cargo run", "", "", ""),
            ("cargo r", "", "", ""),
            ("/opt/rust/bin/cargo run", "", "", ""),
            ("cargo +nightly run -q", "", "-q", ""),
            (
                "cargo --config net.offline=true -C dir -Z f --color never run",
                "-C dir -Z f --color never",
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
                "-q",
                "--release --features dev --example e",
                "",
            ),
        ] {
            let run =
                parse(line).unwrap_or_else(|| panic!("`{line}` must be parsed as `cargo run`"));
            assert_eq!(joined(&run.globals), globals, "{line}");
            assert_eq!(joined(&run.options), options, "{line}");
            assert_eq!(joined(&run.program), program, "{line}");
        }
    }

    #[test]
    fn other_commands_are_not_parsed_as_cargo_run() {
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
            "cargo --config run",
            "npm run dev",
            "go run .",
            "cargo help run",
            "cargo run --help",
            "cargo run -h -- x",
            "./cargo-run run",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn the_options_of_cargo_run_are_parsed() {
        let run = parse("cargo -C sub run -psrv --bin=a --example b --target t --manifest-path m/Cargo.toml -Fx --color always --locked").unwrap();
        assert_eq!(run.package.as_deref(), Some("srv"));
        assert_eq!(run.bin.as_deref(), Some("a"));
        assert_eq!(run.example.as_deref(), Some("b"));
        assert_eq!(run.target.as_deref(), Some("t"));
        assert_eq!(run.manifest_path, Some("m/Cargo.toml".into()));
        assert_eq!(run.color.as_deref(), Some("always"));
        assert_eq!(run.directory, Path::new("/w/sub"));
        assert_eq!(run.resolution, ["--features", "x", "--locked"]);
        let script = parse("cargo +nightly -Zscript run --manifest-path srv.rs").unwrap();
        assert_eq!(script.resolution, ["-Zscript"]);
    }

    #[test]
    fn the_config_values_are_those_that_cargo_would_use() {
        for (line, expected) in [
            ("cargo --config a=1 run", "a=1"),
            ("cargo run --config a=1 -q --config=b=2", "a=1 b=2"),
            ("cargo --config a=1 run --config b=2", "b=2"),
            ("cargo --config a=1 serve", "a=1"),
            ("cargo --config a=1 with --config b=2", "a=1 b=2"),
            ("cargo --config a=1 with", "a=1 x=1"),
            // Cargo drops the options of an alias that expands to another alias.
            ("cargo --config a=1 dev", "a=1"),
            ("cargo run x --config a=1", ""),
        ] {
            let run = parse(line).unwrap();
            assert_eq!(run.config.join(" "), expected, "{line}");
        }
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

    /// Formats options as `name=value/arguments`, and other arguments as they are.
    fn split(line: &str) -> Vec<String> {
        let all: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let mut arguments = all.as_slice();
        let mut found = Vec::new();
        while let Some(first) = arguments.first() {
            let count = if is_option(first) {
                let (flags, count) = parse_flags(arguments);
                let flags = flags.into_iter().map(|(name, value)| match value {
                    Some(value) => format!("{name}={value}"),
                    None => name,
                });
                found.push(format!("{}/{count}", flags.collect::<Vec<_>>().join(",")));
                count
            } else {
                found.push(first.display().to_string());
                1
            };
            arguments = &arguments[count..];
        }
        found
    }

    #[test]
    fn option_values_are_found_in_every_syntax() {
        for (line, expected) in [
            ("--bin x", vec!["--bin=x/2"]),
            ("--bin=x y", vec!["--bin=x/1", "y"]),
            ("--bin --release", vec!["--bin/1", "--release/1"]),
            ("-p x", vec!["-p=x/2"]),
            ("-px", vec!["-p=x/1"]),
            ("-p=x", vec!["-p=x/1"]),
            ("-rq run", vec!["-r,-q/1", "run"]),
            ("-vp x y", vec!["-v,-p=x/2", "y"]),
            ("--config -x", vec!["--config=-x/2"]),
            ("--config", vec!["--config/1"]),
            ("--release -- --bin", vec!["--release/1", "--", "--bin/1"]),
            ("-", vec!["-"]),
            (
                "-Zunstable-options -C dir run",
                vec!["-Z=unstable-options/1", "-C=dir/2", "run"],
            ),
        ] {
            assert_eq!(split(line), expected, "{line}");
        }
    }
}
