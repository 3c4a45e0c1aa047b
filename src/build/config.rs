//! Cargo's own view of its configuration.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
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
            files: settings.files(),
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
    /// The file and the values of each source. The first source that sets a value applies. The first source contains
    /// the values of all `--config` options and has no file.
    sources: Vec<(Option<PathBuf>, Value)>,
    /// The files that `--config` names and those that they include, because cargo does not list them.
    named: Vec<(PathBuf, Value)>,
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
        let named = named_files(run);
        let found = Self::parse(&stdout(command)?, run.directory.clone());
        Some(Self { named, ..found })
    }

    /// Parses the sources, each of which begins with its name, as in `# /w/.cargo/config.toml`.
    fn parse(text: &str, directory: PathBuf) -> Self {
        // Cargo runs in this directory, and lists the paths of the files there.
        let cwd = directory.canonicalize().unwrap_or(directory.clone());
        let values = |text| Value::Table(toml::from_str(text).unwrap_or_default());
        let (options, files) = text.split_once("# Environment").unwrap_or((text, ""));
        let mut sources = vec![(None, values(options))];
        let mut group = 1;
        for source in files.split("\n\n# /").skip(1) {
            let (name, text) = source.split_once('\n').unwrap_or((source, ""));
            let file = Path::new("/").join(name);
            let config = file.with_extension("toml");
            let mut configs = cwd.ancestors().map(|dir| dir.join(".cargo/config.toml"));
            let is_included = configs.all(|other| other != config);
            // Cargo lists a file after those that it includes, but it overrides them.
            sources.insert(group, (Some(file), values(text)));
            if !is_included {
                group = sources.len();
            }
        }
        Self {
            sources,
            directory,
            ..Self::default()
        }
    }

    /// All files, even those that are empty or, if they are included, do not exist.
    fn files(&self) -> BTreeSet<PathBuf> {
        let listed = self.sources.iter();
        let listed = listed.filter_map(|(file, values)| Some((file.as_ref()?, values)));
        let named = self.named.iter().map(|(file, values)| (file, values));
        let mut found = BTreeSet::new();
        for (file, values) in listed.chain(named) {
            found.insert(resolved_path(file));
            // Cargo does not list files that set nothing.
            found.extend(included(file, values));
        }
        found
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
        let mut named = self.named.iter();
        let mut named = || named.find(|(_, values)| within(values).is_some());
        let file = found.and_then(|(file, _)| file.or_else(|| Some(&named()?.0)));
        let file = file.filter(|_| variable.is_none());
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

/// The files that `--config` names and those that they include, with the last file first, because it overrides the
/// others.
fn named_files(run: &CargoRun) -> Vec<(PathBuf, Value)> {
    let named = run.config.iter().map(|value| run.directory.join(value));
    let mut waiting: Vec<PathBuf> = named.filter(|path| path.is_file()).collect();
    let mut found: Vec<(PathBuf, Value)> = Vec::new();
    while let Some(file) = waiting.pop() {
        if found.iter().any(|(known, _)| *known == file) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap_or_default();
        let values = Value::Table(toml::from_str(&text).unwrap_or_default());
        waiting.extend(included(&file, &values));
        found.push((file, values));
    }
    found
}

/// The files that a file with these values includes.
fn included(file: &Path, values: &Value) -> Vec<PathBuf> {
    let items = match values.get("include") {
        Some(Value::Array(items)) => &items[..],
        Some(item) => slice::from_ref(item),
        None => &[],
    };
    let items = items.iter().map(|item| item.get("path").unwrap_or(item));
    let names = items.filter_map(Value::as_str);
    names
        .map(|name| resolved_path(&file.with_file_name(name)))
        .collect()
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

fn stdout(mut command: Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# --config cli option
term.color = "never"

# Environment variables
# CARGO_HOME=/home/user/.cargo

# /w/.cargo/empty.toml

# /w/.cargo/../more/.cargo/config.toml
alias.serve = "overridden"

# /w/.cargo/more.toml
alias.serve = "also overridden"
target.'cfg(target_os = "linux")'.runner = ["tools/x.sh", "a b # c"]

# /w/.cargo/config.toml
include = ["more.toml", { path = "../gone.toml", optional = true }]
alias.serve = "run -q"
build.dep-info-basedir = ".."
env.TEXT = """
a

# b"""

# /home/user/.cargo/config.toml
build.dep-info-basedir = "x"
alias.home = ["run"]

"#;

    #[test]
    fn the_files_that_are_listed_or_named_apply() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        write("sub/dev.toml", "include = ['a.toml', {path='../b.toml'}]");
        write("sub/a.toml", "include = 'dev.toml'");
        write("b.toml", "");
        let command = "cargo --config sub/dev.toml --config x.y=1 run".split(' ');
        let command: Vec<OsString> = command.map(Into::into).collect();
        let run = CargoRun::parse(&command, dir.path(), |_, _| None).unwrap();
        let named = named_files(&run);
        let settings = Settings::parse(TEXT, dir.path().to_owned());
        let settings = Settings { named, ..settings };
        let files = [
            "/w/.cargo/empty.toml",
            "/w/more/.cargo/config.toml",
            "/w/.cargo/more.toml",
            "/w/.cargo/config.toml",
            "/w/gone.toml",
            "/home/user/.cargo/config.toml",
        ];
        let named = ["sub/dev.toml", "sub/a.toml", "b.toml"].map(|name| dir.path().join(name));
        let expected = files.map(PathBuf::from).into_iter().chain(named);
        assert_eq!(settings.files(), expected.collect());
    }

    #[test]
    fn a_path_in_a_file_that_an_option_names_is_relative_to_the_parent_of_its_directory() {
        let values = toml::from_str("build.dep-info-basedir = '.'").unwrap();
        let named = vec![("/w/sub/dev.toml".into(), Value::Table(values))];
        let text = "# --config cli option\nbuild.dep-info-basedir = '.'\nbuild.target = 'x'\n";
        let settings = Settings::parse(text, "/v".into());
        let settings = Settings { named, ..settings };
        let base = |keys: &[&str]| settings.get(keys).unwrap().base;
        assert_eq!(base(&["build", "dep-info-basedir"]), Path::new("/w"));
        assert_eq!(base(&["build", "target"]), Path::new("/v"));
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
            &["\n\n# /", " = ", "/", "'"],
            |input| {
                let settings = Settings::parse(&String::from_utf8_lossy(input), "/w".into());
                let runner = settings.get(&["target", "cfg(target_os = \"linux\")", "runner"]);
                assert!(runner.is_none_or(|runner| runner.base.is_absolute()));
            },
        );
    }
}
