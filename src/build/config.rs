//! Cargo's own view of its configuration.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::slice;

use cargo_metadata::cargo_platform::{Cfg, CfgExpr};
use toml::{Table, Value};

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
    /// `term.color`, unless it is `auto`.
    pub(super) color: Option<bool>,
    /// `build.dep-info-basedir`
    pub(super) dep_info_basedir: Option<PathBuf>,
    /// The files from which cargo reads its configuration.
    pub(super) files: BTreeSet<PathBuf>,
}

impl CargoConfig {
    /// Reads the configuration that applies in cargo's working directory. `host` is the toolchain's host triple.
    /// Returns `None` if cargo can't read it; then the build fails with cargo's message.
    pub(super) fn read(run: &CargoRun, host: &str) -> Option<Self> {
        let settings = Settings::read(run).ok()?;
        let word = |setting: Setting| setting.words.into_iter().next();
        let target = run.target.clone();
        let target = target.or_else(|| word(settings.get(&["build", "target"])?));
        // `host-tuple` stands for the host (see `cargo help build`). A specification file is named after its target.
        let triple = match target.as_deref() {
            None | Some("host-tuple") => host.to_owned(),
            Some(target) => match Path::new(target).file_stem() {
                Some(stem) if target.ends_with(".json") => stem.to_string_lossy().into_owned(),
                Some(_) | None => target.to_owned(),
            },
        };
        let exact = settings.get(&["target", &triple, "runner"]);
        let runner = settings.runner(run, &triple).map(Setting::command);
        let color = settings.get(&["term", "color"]).and_then(word);
        Some(Self {
            runner: runner
                .unwrap_or_default()
                .into_iter()
                .map(OsString::from)
                .collect(),
            runner_is_string: exact.is_some_and(|runner| runner.is_string),
            color: match color.as_deref() {
                Some("always") => Some(true),
                Some("never") => Some(false),
                Some(_) | None => None,
            },
            dep_info_basedir: settings
                .get(&["build", "dep-info-basedir"])
                .map(|dir| dir.path()),
            files: settings.files(run),
            triple,
        })
    }
}

/// Expands an alias. If the configuration can't be read, there are no aliases, and cargo will report the error.
pub(super) fn alias(run: &CargoRun, name: &str) -> Option<Vec<String>> {
    let settings = Settings::read(run).ok()?;
    Some(settings.get(&["alias", name])?.words)
}

/// The configuration that `cargo config get` reports: from all files, including those that `include` and `--config`
/// name, and from `--config KEY=VALUE`, but not from environment variables.
#[derive(Debug, Default)]
pub(super) struct Settings {
    values: Table,
    /// The origin of each value, under the same key.
    origins: Table,
    /// The files that set a value.
    files: BTreeSet<PathBuf>,
    /// Cargo's working directory.
    directory: PathBuf,
}

/// The value of a setting.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// The items of an array, or the words of a string.
    pub(super) words: Vec<String>,
    /// Whether `cargo config get` reports a string, whatever the environment says.
    pub(super) is_string: bool,
    /// The directory that the setting is relative to if it is a path.
    base: PathBuf,
}

impl Settings {
    /// Asks cargo. `cargo config` is unstable, so this sets `RUSTC_BOOTSTRAP`, which makes cargo accept `-Z`. Other
    /// tools that need the command, such as rust-analyzer, do the same.
    ///
    /// # Errors
    ///
    /// Cargo can't read its configuration. The error is cargo's message.
    pub(super) fn read(run: &CargoRun) -> Result<Self, String> {
        let mut command = unstable(run);
        command.args(["config", "get", "--show-origin"]);
        let directory = run.directory();
        Self::parse(&stdout(command)?, directory).map_err(|error| error.to_string())
    }

    fn parse(text: &str, directory: PathBuf) -> Result<Self, toml::de::Error> {
        let mut found = Self {
            values: toml::from_str(text)?,
            directory,
            ..Self::default()
        };
        // Cargo writes `KEY = VALUE # ORIGIN`, or the items of an array on lines of their own, each with its origin.
        let mut key = None;
        let mut origins = String::new();
        for line in text.lines().take_while(|line| !line.starts_with('#')) {
            if !line.starts_with([' ', ']']) {
                // A key may contain ` = ` in quotes.
                let mut keys = line.match_indices(" = ").map(|(end, _)| &line[..end]);
                key = keys.find(|key| toml::from_str::<Table>(&format!("{key} = 0")).is_ok());
            }
            let Some((_, origin)) = line.rsplit_once(" # ") else {
                continue;
            };
            if Path::new(origin).is_absolute() {
                found.files.insert(origin.into());
            }
            if let Some(key) = key.take() {
                // For the characters in paths, JSON uses the same escapes as TOML.
                origins += &format!("{key} = {}\n", serde_json::Value::from(origin));
            }
        }
        found.origins = toml::from_str(&origins)?;
        Ok(found)
    }

    /// The files that set a value, the `.cargo/config.toml` files that apply, the files that `--config` names, and
    /// those that any of these include. A file is listed even if it sets nothing yet.
    pub(super) fn files(&self, run: &CargoRun) -> BTreeSet<PathBuf> {
        let near = self
            .directory
            .ancestors()
            .map(|place| place.join(".cargo/config.toml"));
        let named = run.config.iter().map(|value| self.directory.join(value));
        let existing = near.chain(named).filter(|path| path.is_file());
        let mut waiting: Vec<PathBuf> = existing.chain(self.files.iter().cloned()).collect();
        let mut found = BTreeSet::new();
        while let Some(file) = waiting.pop() {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let table: Table = toml::from_str(&text).unwrap_or_default();
            let include = table.get("include").into_iter();
            let items = include.flat_map(|value| {
                value
                    .as_array()
                    .map_or(slice::from_ref(value), Vec::as_slice)
            });
            let names = items.filter_map(|item| item.get("path").unwrap_or(item).as_str());
            let dir = file.parent().unwrap_or(&self.directory);
            let included: Vec<_> = names.map(|name| resolved_path(&dir.join(name))).collect();
            if found.insert(file) {
                waiting.extend(included);
            }
        }
        found
    }

    /// Returns a setting. Its environment variable overrides files, and `--config KEY=VALUE` overrides both.
    pub(super) fn get(&self, keys: &[&str]) -> Option<Setting> {
        let value = find(&self.values, keys);
        let origin = find(&self.origins, keys).and_then(Value::as_str);
        let file = origin.map(Path::new).filter(|file| file.is_absolute());
        let name = keys.join("_").to_uppercase().replace(['-', '.'], "_");
        let variable = env::var(format!("CARGO_{name}")).ok();
        let variable = variable.filter(|_| value.is_none() || file.is_some());
        // Paths in `DIR/.cargo/config.toml` are relative to `DIR`.
        let base = file.filter(|_| variable.is_none());
        let base = base.and_then(Path::parent).and_then(Path::parent);
        let split = |text: &str| text.split_whitespace().map(str::to_owned).collect();
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
    /// `cfg(…)`. If several match, there is none, because cargo refuses them.
    pub(super) fn runner(&self, run: &CargoRun, triple: &str) -> Option<Setting> {
        if let Some(exact) = self.get(&["target", triple, "runner"]) {
            return Some(exact);
        }
        let tables = self.values.get("target")?.as_table()?;
        let keys = tables
            .iter()
            .filter(|(_, table)| table.get("runner").is_some());
        let expressions = keys.filter_map(|(key, _)| {
            let inner = key.strip_prefix("cfg(")?.strip_suffix(')')?;
            Some((key, inner.parse::<CfgExpr>().ok()?))
        });
        let expressions: Vec<_> = expressions.collect();
        if expressions.is_empty() {
            return None;
        }
        let cfgs = cfgs(run, triple);
        let mut matching = expressions
            .iter()
            .filter(|(_, expression)| expression.matches(&cfgs));
        match (matching.next(), matching.next()) {
            (Some((key, _)), None) => self.get(&["target", key, "runner"]),
            (Some(_) | None, _) => None,
        }
    }
}

impl Setting {
    /// The setting as a command, whose first word is a path if it contains a `/`.
    pub(super) fn command(mut self) -> Vec<String> {
        if let Some(program) = self
            .words
            .first_mut()
            .filter(|program| program.contains('/'))
        {
            *program = self.base.join(&*program).to_string_lossy().into_owned();
        }
        self.words
    }

    /// The setting as a path.
    pub(super) fn path(&self) -> PathBuf {
        self.base.join(self.words.join(" "))
    }
}

fn find<'a>(table: &'a Table, keys: &[&str]) -> Option<&'a Value> {
    let (first, rest) = keys.split_first()?;
    let value = table.get(*first);
    rest.iter().fold(value, |value, key| value?.get(*key))
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
    command.current_dir(run.directory());
    // Keep rustc's output out of cargo's cache, because with `RUSTC_BOOTSTRAP` rustc reports more.
    command.env("RUSTC_BOOTSTRAP", "1");
    command.env("CARGO_CACHE_RUSTC_INFO", "0");
    command
}

fn stdout(mut command: Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
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

    const TEXT: &str = r#"alias.serve = "run -q" # /w/.cargo/more.toml
build.rustflags = [
    "--cfg", # /w/.cargo/more.toml
    "zz", # /home/config.toml
]
build.dep-info-basedir = ".." # /w/.cargo/config.toml
target.'cfg(target_os = "linux")'.runner = [
    "tools/x.sh", # /w/.cargo/config.toml
    "a b # c", # /w/.cargo/config.toml
]
term.color = "never" # --config cli option
# The following environment variables may affect the loaded values.
# CARGO_HOME=/home/user/.cargo
"#;

    #[test]
    fn included_files_are_found_even_if_they_set_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        fs::create_dir(dir.path().join(".cargo")).unwrap();
        write(
            ".cargo/config.toml",
            "include = ['a.toml', { path = '../b.toml', optional = true }]",
        );
        write(".cargo/a.toml", "include = 'config.toml'");
        write("dev.toml", "");
        let command = ["cargo", "--config", "dev.toml", "--config", "x.y=1", "run"].map(Into::into);
        let run = CargoRun::parse(&command, dir.path(), |_, _| None).unwrap();
        let settings = Settings::parse("", dir.path().to_owned()).unwrap();
        let found = settings.files(&run);
        for name in [".cargo/config.toml", ".cargo/a.toml", "b.toml", "dev.toml"] {
            assert!(found.contains(&dir.path().join(name)), "{name}: {found:?}");
        }
    }

    #[test]
    fn settings_and_their_origins_are_parsed() {
        let settings = Settings::parse(TEXT, "/w/sub".into()).unwrap();
        let files = [
            "/home/config.toml",
            "/w/.cargo/config.toml",
            "/w/.cargo/more.toml",
        ];
        assert!(settings.files.iter().eq(files.map(Path::new)));
        let runner = settings.get(&["target", "cfg(target_os = \"linux\")", "runner"]);
        let runner = runner.unwrap();
        assert!(!runner.is_string);
        assert_eq!(runner.command(), ["/w/tools/x.sh", "a b # c"]);
        let alias = settings.get(&["alias", "serve"]).unwrap();
        assert_eq!((alias.words.len(), alias.is_string), (2, true));
        let basedir = settings.get(&["build", "dep-info-basedir"]).unwrap();
        assert_eq!(basedir.path(), Path::new("/w/.."));
        let color = settings.get(&["term", "color"]).unwrap();
        assert_eq!(color.path(), Path::new("/w/sub/never"));
        assert_eq!(settings.get(&["term", "quiet"]), None);
        assert_eq!(settings.get(&["term", "color", "deeper"]), None);
        let nothing = Settings::parse("", "/w".into()).unwrap();
        assert_eq!(nothing.get(&["term", "color"]), None);
    }

    #[test]
    fn fuzz_configuration() {
        crate::fuzz::fuzz(
            "cargo's configuration",
            &[TEXT.as_bytes()],
            &[" = ", " # /", "'"],
            |input| {
                if let Ok(settings) = Settings::parse(&String::from_utf8_lossy(input), "/w".into())
                {
                    let runner = settings.get(&["target", "cfg(target_os = \"linux\")", "runner"]);
                    assert!(runner.is_none_or(|runner| runner.base.is_absolute()));
                }
            },
        );
    }
}
