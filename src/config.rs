//! The configuration, resolved from the command line, the environment and the working directory.
//!
//! All usage errors are found here, before anything is started.

mod environment;
mod listen_pid;
mod readiness;
mod rules;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::error::ErrorKind;

use crate::cli::{self, Cli, ColorWhen, UiKind};
pub use crate::cli::{ListenPid, Stdin};
use crate::error::Failure;
use crate::process::Signal;
use crate::ready::ReadySpec;
use crate::reload::{Mode, Policy, WhenBusy};
use crate::socket::{Address, ListenSpec};
use crate::ui;
use crate::watch::{Poll, Rule};

pub use environment::EnvFileError;

/// What to do with a command line.
#[derive(Debug)]
pub enum Task {
    /// Run hotrun.
    Run(Box<Config>),
    /// Print this text (help, version, completions or man page).
    Print(Vec<u8>),
    /// Check the system for this working directory.
    Doctor(PathBuf),
}

/// The options with their defaults and with absolute paths.
#[derive(Clone, Debug)]
pub struct Config {
    /// The command and its arguments, `cargo run` by default. Never empty.
    pub argv: Vec<OsString>,
    /// The working directory of the build and the program. It exists.
    pub workdir: PathBuf,
    /// Files and directories to watch, which all exist. If empty, the default applies.
    pub watch: Vec<PathBuf>,
    /// Globs of files to ignore.
    pub ignore: Vec<String>,
    /// Extensions to watch, without a dot. If empty, all.
    pub exts: Vec<String>,
    /// Whether to respect the ignore files of version control.
    pub vcs_ignore: bool,
    /// Actions for files. The last matching rule applies.
    pub rules: Vec<Rule>,
    /// Whether to poll for changes.
    pub poll: Poll,
    /// How long to wait for further changes.
    pub debounce: Duration,
    /// The shell command of `--build`.
    pub build: Option<String>,
    /// What to do about changes during a build.
    pub when_busy: WhenBusy,
    /// The sockets to open.
    pub listen: Vec<ListenSpec>,
    /// Whether to set `LISTEN_PID`.
    pub listen_pid: ListenPid,
    /// The rule that decides when a generation is ready.
    pub ready: Arc<ReadySpec>,
    /// How long that may take.
    pub ready_timeout: Duration,
    /// The longest time between two watchdog pings.
    pub watchdog: Option<Duration>,
    /// How soon after its switch a crash leads to a rollback. Zero turns off rollbacks and restarts.
    pub rollback_within: Duration,
    /// The signal that asks a generation to stop.
    pub stop_signal: Signal,
    /// How long that may take.
    pub stop_timeout: Duration,
    /// Whether the old generation always stops before the new one starts.
    pub stop_first: bool,
    /// Whether to manage the sockets that the program opens itself.
    pub adopt: bool,
    /// Whether HTTP requests get status 503 and the reason if no generation is running.
    pub error_page: bool,
    /// The variables of `--env`.
    pub env: Vec<(OsString, OsString)>,
    /// The file of `--env-file`.
    pub env_file: Option<PathBuf>,
    /// Where keyboard input goes.
    pub stdin: Stdin,
    /// The file of `--log`.
    pub log: Option<PathBuf>,
    /// How to show hotrun's own output.
    pub ui: ui::Options,
}

/// Reads the command line (its first item is hotrun's own name).
///
/// # Errors
///
/// A usage error.
pub fn read(args: Vec<OsString>) -> Result<Task, Failure> {
    if let Some(page) = cli::guide(&args, console::colors_enabled()) {
        return page.map(|text| Task::Print(text.into_bytes()));
    }
    let cli = match cli::parse(args) {
        Ok(cli) => cli,
        Err(error) if prints(error.kind()) => return Ok(Task::Print(styled(&error))),
        Err(error) => return Err(cli::explain(&error)),
    };
    if let Some(what) = cli.generate {
        return match cli::generate(what) {
            Ok(text) => Ok(Task::Print(text)),
            Err(error) => Err(Failure::environment(format!(
                "cannot render the man page: {error}"
            ))),
        };
    }
    if cli.doctor {
        return workdir(cli.workdir.as_deref()).map(Task::Doctor);
    }
    Config::resolve(cli).map(Box::new).map(Task::Run)
}

fn prints(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
}

/// Renders help, with colors if stdout shows them.
fn styled(error: &clap::Error) -> Vec<u8> {
    let text = error.render();
    if console::colors_enabled() {
        text.ansi().to_string().into_bytes()
    } else {
        text.to_string().into_bytes()
    }
}

impl Config {
    fn resolve(cli: Cli) -> Result<Self, Failure> {
        let workdir = workdir(cli.workdir.as_deref())?;
        let ui = ui_options(&cli, &workdir)?;
        let rules = rules::all(&cli, &workdir)?;
        let config = Self {
            argv: command(cli.command, cli.build.is_some(), &workdir)?,
            watch: cli
                .watch
                .iter()
                .map(|path| watched(&workdir, path))
                .collect::<Result<_, _>>()?,
            ignore: cli.ignore,
            exts: cli.exts,
            vcs_ignore: !cli.no_vcs_ignore,
            rules,
            poll: cli.poll.unwrap_or_default(),
            debounce: cli.debounce,
            build: cli.build,
            when_busy: when_busy(cli.when_busy),
            listen: cli
                .listen
                .iter()
                .map(|typed| listen(typed, &workdir))
                .collect::<Result<_, _>>()?,
            listen_pid: cli.listen_pid,
            ready: Arc::new(cli.ready),
            ready_timeout: cli.ready_timeout,
            watchdog: cli.watchdog.filter(|period| !period.is_zero()),
            rollback_within: cli.rollback_within,
            stop_signal: cli.stop_signal,
            stop_timeout: cli.stop_timeout,
            stop_first: cli.stop_first,
            adopt: match cli.adopt {
                cli::Adopt::Auto => true,
                cli::Adopt::Never => false,
            },
            error_page: !cli.no_error_page,
            env: cli
                .env
                .iter()
                .map(|pair| environment::pair(pair))
                .collect::<Result<_, _>>()?,
            env_file: cli.env_file.map(|path| workdir.join(path)),
            stdin: cli.stdin,
            log: cli.log.map(|path| workdir.join(path)),
            ui,
            workdir,
        };
        readiness::check(&config.ready, &config.listen, config.adopt)?;
        config.check_env_file()?;
        Ok(config)
    }

    /// The settings of the state machine. `builds`: whether the command has a build step. `adopts`: whether hotrun can
    /// manage the program's own sockets on this system.
    pub fn policy(&self, builds: bool, adopts: bool) -> Policy {
        let mode = self.mode(adopts);
        Policy {
            builds,
            mode,
            passes_sockets: !self.listen.is_empty(),
            when_busy: self.when_busy,
            ready_timeout: self.ready_timeout,
            stop_timeout: self.stop_timeout,
            stop_delay_max: Policy::stop_delay_max(mode),
            watchdog: self.watchdog,
            roll_back_within: self.rollback_within,
            ..Policy::default()
        }
    }

    /// If hotrun manages no socket, two generations can't run at once, because both would open the same port.
    fn mode(&self, adopts: bool) -> Mode {
        match (self.stop_first, self.listen.is_empty(), adopts) {
            (true, _, _) | (false, true, false) => Mode::StopFirst,
            (false, false, _) => Mode::Overlap,
            (false, true, true) => Mode::Auto,
        }
    }
}

fn workdir(given: Option<&Path>) -> Result<PathBuf, Failure> {
    let current = std::env::current_dir().map_err(|error| {
        Failure::environment(format!("cannot read the working directory: {error}"))
            .hint("change to a directory that exists")
    })?;
    let Some(given) = given else {
        return Ok(current);
    };
    // The parent directories must be those that `..` and symbolic links lead to.
    match current.join(given).canonicalize() {
        Ok(path) if path.is_dir() => Ok(path),
        Ok(_) => Err(
            Failure::usage(format!("`--workdir {}`: not a directory", given.display()))
                .hint("use the directory that contains it"),
        ),
        Err(error) => Err(Failure::usage(format!(
            "`--workdir {}`: {}",
            given.display(),
            reason(&error, "directory")
        ))
        .hint(format!("paths are relative to `{}`", current.display()))),
    }
}

fn watched(workdir: &Path, path: &Path) -> Result<PathBuf, Failure> {
    let full = workdir.join(path);
    match std::fs::symlink_metadata(&full) {
        Ok(_) => Ok(full),
        Err(error) => Err(Failure::usage(format!(
            "`--watch {}`: {}",
            path.display(),
            reason(&error, "file or directory")
        ))
        .hint(format!("paths are relative to `{}`", workdir.display()))),
    }
}

/// The text of an error without its code, as in `(os error 2)`.
fn reason(error: &std::io::Error, expected: &str) -> String {
    if error.kind() == std::io::ErrorKind::NotFound {
        return format!("no such {expected}");
    }
    let text = error.to_string();
    let text = text.split(" (os error ").next().unwrap_or(&text);
    text.to_lowercase()
}

/// The command to run: by default `cargo run`, if there is a package.
fn command(given: Vec<OsString>, builds: bool, workdir: &Path) -> Result<Vec<OsString>, Failure> {
    match given.first() {
        Some(program) if program.is_empty() => Err(Failure::usage("COMMAND is empty")),
        Some(_) => Ok(given),
        None if builds => Err(
            Failure::usage("`--build` needs a COMMAND to start after the build")
                .hint("put it after `--`, as in `hotrun -e go -b 'go build -o app .' -- ./app`"),
        ),
        None if in_package(workdir) => Ok(vec!["cargo".into(), "run".into()]),
        None => Err(Failure::usage(format!(
            "nothing to run: no COMMAND given and no `Cargo.toml` in `{}` or above",
            workdir.display()
        ))
        .hint(
            "add a COMMAND, as in `hotrun -- python app.py`, or name a cargo package with `-C DIR`",
        )),
    }
}

fn in_package(workdir: &Path) -> bool {
    workdir
        .ancestors()
        .any(|directory| directory.join("Cargo.toml").is_file())
}

fn when_busy(typed: cli::WhenBusy) -> WhenBusy {
    match typed {
        cli::WhenBusy::Cancel => WhenBusy::Cancel,
        cli::WhenBusy::Queue => WhenBusy::Queue,
    }
}

fn ui_mode(typed: UiKind) -> Result<ui::Mode, Failure> {
    Ok(match typed {
        UiKind::Auto if ui::supports_live() => ui::Mode::Live,
        UiKind::Auto | UiKind::Plain => ui::Mode::Plain,
        UiKind::Live if std::io::stdout().is_terminal() => ui::Mode::Live,
        UiKind::Live => {
            let message = "`--ui live` needs a terminal as standard output";
            return Err(Failure::usage(message).hint("`--ui plain` needs none"));
        }
        UiKind::Json => ui::Mode::Json,
        UiKind::Off => ui::Mode::Off,
    })
}

fn ui_options(cli: &Cli, workdir: &Path) -> Result<ui::Options, Failure> {
    Ok(ui::Options {
        mode: ui_mode(cli.ui)?,
        colour: match cli.color {
            // JSON is read by programs, even on a terminal.
            ColorWhen::Auto => cli.ui != UiKind::Json && ui::supports_colour(),
            ColorWhen::Always => true,
            ColorWhen::Never => false,
        },
        clear: cli.clear,
        why: cli.why,
        verbosity: match (cli.quiet, cli.verbose) {
            (true, _) => ui::Verbosity::Quiet,
            (false, 0) => ui::Verbosity::Normal,
            (false, _) => ui::Verbosity::Verbose,
        },
        keys: cli.stdin == Stdin::Hotrun && std::io::stdin().is_terminal(),
        error_page: !cli.no_error_page,
        workdir: workdir.to_owned(),
    })
}

/// The path of a unix socket is relative to the working directory.
fn listen(typed: &str, workdir: &Path) -> Result<ListenSpec, Failure> {
    let spec = typed.parse::<ListenSpec>();
    let mut spec = spec.map_err(|error| Failure::usage(format!("`--listen`: {error}")))?;
    if let Address::Unix(path) = &mut spec.address {
        *path = workdir.join(&*path);
    }
    Ok(spec)
}

#[cfg(test)]
mod tests;
