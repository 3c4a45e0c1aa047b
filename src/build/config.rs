//! Cargo's own view of its configuration.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::slice;

use cargo_metadata::cargo_platform::{Cfg, CfgExpr};
use toml::Value;

use super::command_line::CargoRun;

/// The parts of cargo's configuration that affect how hotrun calls cargo.
#[derive(Clone, Debug, Default)]
pub(super) struct CargoConfig {
    /// The target triple.
    pub(super) triple: String,
    /// The runner that the user has configured. Empty if there is none.
    pub(super) runner: Vec<OsString>,
    /// Whether a file or `--config` sets the runner for exactly this triple as a string. Cargo refuses to merge a
    /// string with an array.
    pub(super) runner_is_string: bool,
    /// `term.color`
    pub(super) color: Option<String>,
    /// `build.dep-info-basedir`
    pub(super) dep_info_basedir: Option<PathBuf>,
    /// The files from which cargo reads its configuration.
    pub(super) files: BTreeSet<PathBuf>,
}

impl CargoConfig {
    /// Reads the configuration that applies in cargo's working directory. `host` is the toolchain's host triple.
    /// Returns `None` if cargo can't read it; then the build fails with cargo's message.
    pub(super) fn read(run: &CargoRun, host: &str) -> Option<Self> {
        let settings = Settings::read(run)?;
        let word = |keys: &[&str]| settings.get(keys)?.words.into_iter().next();
        let target = run.target.clone().or_else(|| word(&["build", "target"]));
        // `host-tuple` stands for the host (see `cargo help build`).
        let triple = target.filter(|target| target != "host-tuple");
        let triple = triple.unwrap_or_else(|| host.to_owned());
        let exact = settings.get(&["target", &triple, "runner"]);
        let runner = settings.runner(run, &triple).map(Setting::command);
        let basedir = settings.get(&["build", "dep-info-basedir"]);
        Some(Self {
            runner: runner.unwrap_or_default(),
            runner_is_string: exact.is_some_and(|runner| runner.is_string),
            color: word(&["term", "color"]),
            dep_info_basedir: basedir.map(|dir| dir.base.join(dir.words.join(" "))),
            files: settings.files(run),
            triple,
        })
    }
}

/// Expands an alias. If the configuration can't be read, there are no aliases, and cargo will report the error.
pub(super) fn alias(run: &CargoRun, name: &str) -> Option<Vec<String>> {
    Some(Settings::read(run)?.get(&["alias", name])?.words)
}

/// The configuration that `cargo config get` reports: from all files, including those that `include` and `--config`
/// name, and from `--config KEY=VALUE`, but not from environment variables.
#[derive(Debug, Default)]
struct Settings {
    /// The file and the values of each source. The first source that sets a value applies. The `--config` options have
    /// no file.
    sources: Vec<(Option<PathBuf>, Value)>,
    /// Cargo's working directory.
    directory: PathBuf,
}

/// The value of a setting.
#[derive(Debug, PartialEq, Eq)]
struct Setting {
    /// The items of an array, or the words of a string.
    words: Vec<String>,
    /// Whether `cargo config get` reports a string, whatever the environment says.
    is_string: bool,
    /// The directory that the setting is relative to if it is a path.
    base: PathBuf,
}

impl Settings {
    /// Asks cargo, and returns `None` if cargo can't read its configuration. `cargo config` is unstable, so this sets
    /// `RUSTC_BOOTSTRAP`, which makes cargo accept `-Z`. Other tools that need the command, such as rust-analyzer, do
    /// the same.
    fn read(run: &CargoRun) -> Option<Self> {
        let mut command = unstable(run);
        command.args(["config", "get", "--merged=no"]);
        Some(Self::parse(&stdout(command)?, run.directory.clone()))
    }

    /// Parses the sources, each of which begins with its name, as in `# /w/.cargo/config.toml`.
    fn parse(text: &str, directory: PathBuf) -> Self {
        let mut sources = Vec::new();
        let mut group = 0;
        for source in text.trim_start_matches("# ").split("\n\n# ") {
            let (name, values) = source.split_once('\n').unwrap_or((source, ""));
            let file = Some(PathBuf::from(name)).filter(|file| file.is_absolute());
            // Cargo lists a file after those that it includes, but it overrides them.
            let values = Value::Table(toml::from_str(values).unwrap_or_default());
            sources.insert(group, (file, values));
            let is_included = name.ends_with(".toml") && !name.ends_with("/config.toml");
            if !is_included {
                group = sources.len();
            }
        }
        Self { sources, directory }
    }

    /// All files, even those that are empty or, if they are included, do not exist.
    fn files(&self, run: &CargoRun) -> BTreeSet<PathBuf> {
        let named = run.config.iter().map(|value| self.directory.join(value));
        let mut files: BTreeSet<_> = named.filter(|path| path.is_file()).collect();
        for (file, values) in &self.sources {
            let Some(file) = file else { continue };
            files.insert(file.clone());
            // Cargo does not list files that set nothing.
            let include = values.get("include").into_iter();
            let items = include.flat_map(|value| {
                let array = value.as_array().map(Vec::as_slice);
                array.unwrap_or(slice::from_ref(value))
            });
            let names = items.filter_map(|item| item.get("path").unwrap_or(item).as_str());
            files.extend(names.map(|name| resolved_path(&file.with_file_name(name))));
        }
        files
    }

    /// Returns a setting. Its environment variable overrides files, and `--config KEY=VALUE` overrides both.
    fn get(&self, keys: &[&str]) -> Option<Setting> {
        let within = |values| {
            keys.iter()
                .try_fold(values, |value: &Value, key| value.get(key))
        };
        let mut sources = self.sources.iter();
        let found = sources.find_map(|(file, values)| Some((file.as_ref(), within(values)?)));
        let name = keys.join("_").to_uppercase().replace(['-', '.'], "_");
        let variable = env::var(format!("CARGO_{name}")).ok();
        let variable = variable.filter(|_| found.is_none_or(|(file, _)| file.is_some()));
        // Paths in `DIR/.cargo/config.toml` are relative to `DIR`.
        let file = found.and_then(|(file, _)| file.filter(|_| variable.is_none()));
        let base = file.and_then(|file| file.parent()?.parent());
        let split = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        let value = found.map(|(_, value)| value);
        let words: Vec<String> = match (&variable, value) {
            (Some(text), _) | (None, Some(Value::String(text))) => split(text),
            (None, Some(Value::Array(items))) => {
                let items = items.iter().filter_map(Value::as_str);
                items.map(str::to_owned).collect()
            }
            (None, Some(_) | None) => return None,
        };
        Some(Setting {
            words,
            is_string: value.is_some_and(Value::is_str),
            base: base.unwrap_or(&self.directory).to_owned(),
        })
    }

    /// The runner for a target triple: the one that is configured for exactly this triple, or the one for a matching
    /// `cfg(…)`.
    fn runner(&self, run: &CargoRun, triple: &str) -> Option<Setting> {
        if let Some(exact) = self.get(&["target", triple, "runner"]) {
            return Some(exact);
        }
        let sources = self.sources.iter();
        let tables = sources.filter_map(|(_, values)| values.get("target")?.as_table());
        let keys = tables
            .flatten()
            .filter(|(_, table)| table.get("runner").is_some());
        let keys: BTreeSet<&String> = keys.map(|(key, _)| key).collect();
        let expressions = keys.into_iter().filter_map(|key| {
            let inner = key.strip_prefix("cfg(")?.strip_suffix(')')?;
            Some((key, inner.parse::<CfgExpr>().ok()?))
        });
        let mut expressions = expressions.peekable();
        expressions.peek()?;
        let cfgs = cfgs(run, triple);
        let (key, _) = expressions.find(|(_, expression)| expression.matches(&cfgs))?;
        self.get(&["target", key, "runner"])
    }
}

impl Setting {
    /// The setting as a command, whose first word is a path if it contains a `/`.
    fn command(mut self) -> Vec<OsString> {
        if let Some(program) = self.words.first_mut()
            && program.contains('/')
        {
            *program = self.base.join(&*program).to_string_lossy().into_owned();
        }
        self.words.into_iter().map(OsString::from).collect()
    }
}

/// The `cfg`s of a target, with the configured `rustflags`. Empty if cargo does not print them.
fn cfgs(run: &CargoRun, triple: &str) -> Vec<Cfg> {
    let mut command = unstable(run);
    command.args(["rustc", "--print=cfg", "--target", triple]);
    if let Some(manifest) = &run.manifest_path {
        command.arg("--manifest-path").arg(manifest);
    }
    let text = stdout(command).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// A cargo command that accepts unstable options and uses the toolchain, working directory and configuration of `run`.
fn unstable(run: &CargoRun) -> Command {
    let mut command = Command::new(&run.cargo);
    command.args(&run.toolchain).arg("-Zunstable-options");
    let flags = run
        .resolution
        .iter()
        .filter(|option| option.starts_with("-Z"));
    command.args(flags);
    for value in &run.config {
        command.args(["--config", value]);
    }
    command.current_dir(&run.directory);
    // Keep rustc's output out of cargo's cache, because with `RUSTC_BOOTSTRAP` rustc reports more.
    command.env("RUSTC_BOOTSTRAP", "1");
    command.env("CARGO_CACHE_RUSTC_INFO", "0");
    command
}

fn stdout(mut command: Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| text.into_owned())
}

/// The path without `..`, whether or not it exists.
pub(super) fn resolved_path(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut whole, part| {
        match part == Component::ParentDir {
            true => drop(whole.pop()),
            false => whole.push(part),
        }
        whole
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# --config cli option
term.color = "never"

# Environment variables
# CARGO_HOME=/home/user/.cargo

# /w/.cargo/empty.toml

# /w/.cargo/more.toml
alias.serve = "overridden"
target.'cfg(target_os = "linux")'.runner = ["tools/x.sh", "a b # c"]

# /w/.cargo/config.toml
include = ["more.toml", { path = "../gone.toml", optional = true }]
alias.serve = "run -q"
build.dep-info-basedir = ".."

# /home/user/.cargo/config.toml
build.dep-info-basedir = "x"
alias.home = ["run"]

"#;

    #[test]
    fn the_files_that_are_listed_or_named_apply() {
        let dir = tempfile::tempdir().unwrap();
        let dev = dir.path().join("dev.toml");
        std::fs::write(&dev, "").unwrap();
        let command = ["cargo", "--config", "dev.toml", "--config", "x.y=1", "run"].map(Into::into);
        let run = CargoRun::parse(&command, dir.path(), |_, _| None).unwrap();
        let settings = Settings::parse(TEXT, dir.path().to_owned());
        let files = [
            "/w/.cargo/empty.toml",
            "/w/.cargo/more.toml",
            "/w/.cargo/config.toml",
            "/w/gone.toml",
            "/home/user/.cargo/config.toml",
        ];
        let expected = files.map(PathBuf::from).into_iter().chain([dev]);
        assert_eq!(settings.files(&run), expected.collect());
    }

    #[test]
    fn settings_are_parsed_and_a_file_overrides_the_files_that_it_includes() {
        let settings = Settings::parse(TEXT, "/w/sub".into());
        let get = |keys: &[&str]| {
            let found = settings.get(keys)?;
            Some((found.words.join("|"), found.is_string, found.base))
        };
        let found =
            |words: &str, is_string, base: &str| Some((words.to_owned(), is_string, base.into()));
        let runner = ["target", "cfg(target_os = \"linux\")", "runner"];
        assert_eq!(get(&runner), found("tools/x.sh|a b # c", false, "/w"));
        let command = settings.get(&runner).unwrap().command();
        assert_eq!(command, ["/w/tools/x.sh", "a b # c"]);
        assert_eq!(get(&["alias", "serve"]), found("run|-q", true, "/w"));
        assert_eq!(get(&["alias", "home"]), found("run", false, "/home/user"));
        assert_eq!(get(&["build", "dep-info-basedir"]), found("..", true, "/w"));
        assert_eq!(get(&["term", "color"]), found("never", true, "/w/sub"));
        assert_eq!(get(&["term", "quiet"]), None);
        assert_eq!(get(&["term", "color", "deeper"]), None);
        let nothing = Settings::parse("", "/w".into());
        assert_eq!(nothing.get(&["term", "color"]), None);
    }

    #[test]
    fn fuzz_configuration() {
        crate::fuzz::fuzz(
            "cargo's configuration",
            &[TEXT.as_bytes()],
            &["\n\n# ", " = ", "/", "'"],
            |input| {
                let settings = Settings::parse(&String::from_utf8_lossy(input), "/w".into());
                let runner = settings.get(&["target", "cfg(target_os = \"linux\")", "runner"]);
                assert!(runner.is_none_or(|runner| runner.base.is_absolute()));
            },
        );
    }
}
