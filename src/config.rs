//! What hotrun does, resolved from the command line, the environment and the working directory.
//!
//! Everything that can be wrong about what the user wrote is found here, before anything is started.

mod environment;
mod listen_pid;
mod readiness;
mod rules;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::error::ErrorKind;

pub use crate::cli::Stdin;
use crate::cli::{self, Cli, ColorWhen, UiKind};
use crate::error::Failure;
use crate::process::Signal;
use crate::ready::ReadySpec;
use crate::reload::{Mode, Policy, WhenBusy};
use crate::socket::{Address, ListenSpec};
use crate::ui;
use crate::watch::{Poll, Rule};

pub use environment::EnvFileError;
pub use listen_pid::ListenPid;

/// What the command line asks for.
#[derive(Debug)]
pub enum Request {
    /// To run.
    Run(Box<Config>),
    /// To print this on stdout (help, version, completions, man page) and end with success.
    Print(Vec<u8>),
    /// What works in this directory is to be found out.
    Examine(PathBuf),
}

/// Everything that the user decided, with defaults filled in and paths made absolute.
#[derive(Clone, Debug)]
pub struct Config {
    /// The command and its arguments; `cargo run` where none was given. Never empty.
    pub argv: Vec<OsString>,
    /// The directory of the build and the program; exists.
    pub workdir: PathBuf,
    /// What to watch; all exist. Empty: the default of the mode.
    pub watch: Vec<PathBuf>,
    /// Globs of what not to watch.
    pub ignore: Vec<String>,
    /// Extensions without a dot; empty: all.
    pub exts: Vec<String>,
    /// Whether ignore files of version control are respected.
    pub vcs_ignore: bool,
    /// What changes of some files do; the last rule that applies wins.
    pub rules: Vec<Rule>,
    /// Whether to look for changes instead of being told.
    pub poll: Poll,
    /// How long changes settle.
    pub debounce: Duration,
    /// The shell line of `--build`.
    pub build: Option<String>,
    /// What a change does to work under way.
    pub when_busy: WhenBusy,
    /// The sockets to hold; no two of them alike.
    pub listen: Vec<ListenSpec>,
    /// Whether the program gets `LISTEN_PID`.
    pub listen_pid: ListenPid,
    /// How to know that a generation is ready.
    pub ready: Arc<ReadySpec>,
    /// How long that may take.
    pub ready_timeout: Duration,
    /// How often it has to give a sign of life.
    pub watchdog: Option<Duration>,
    /// How soon after its switch a crash leads back. Zero: never, and nothing is started again.
    pub go_back_within: Duration,
    /// What asks a generation to drain.
    pub stop_signal: Signal,
    /// How long it may drain.
    pub stop_timeout: Duration,
    /// Whether the old generation ends before the new one starts in each case.
    pub stop_first: bool,
    /// Whether to take over the sockets that the program opens by itself.
    pub adopt: bool,
    /// Whether requests are answered with the reason while nothing serves.
    pub error_page: bool,
    /// The variables of `--env`, in order.
    pub env: Vec<(OsString, OsString)>,
    /// The file of `--env-file`.
    pub env_file: Option<PathBuf>,
    /// Who gets what is typed.
    pub stdin: Stdin,
    /// How to show what happens.
    pub ui: ui::Options,
}

/// Reads the command line (its first item is hotrun's own name).
///
/// # Errors
///
/// A [`Failure`] of kind usage that says what is wrong and what to do about it.
pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Request, Failure> {
    let cli = match cli::parse(args) {
        Ok(cli) => cli,
        Err(error) if prints(error.kind()) => return Ok(Request::Print(styled(&error))),
        Err(error) => {
            let mistake = cli::explain(&error);
            return Err(Failure::usage(mistake.message).hints(mistake.hints));
        }
    };
    if let Some(what) = cli.generate {
        return match cli::generate(what) {
            Ok(text) => Ok(Request::Print(text)),
            Err(error) => Err(Failure::environment(format!(
                "rendering the man page: {error}"
            ))),
        };
    }
    if cli.doctor {
        return workdir(cli.workdir.as_deref()).map(Request::Examine);
    }
    Config::resolve(cli).map(Box::new).map(Request::Run)
}

fn prints(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
}

/// Help with colours where stdout shows them; clap itself leaves that to its own printing.
fn styled(error: &clap::Error) -> Vec<u8> {
    let text = error.render();
    if console::colors_enabled() {
        text.ansi().to_string().into_bytes()
    } else {
        text.to_string().into_bytes()
    }
}

impl Config {
    /// Fills in defaults and checks everything that can be checked without starting anything.
    ///
    /// # Errors
    ///
    /// A [`Failure`] of kind usage for a directory, file or value that cannot be used.
    pub fn resolve(cli: Cli) -> Result<Self, Failure> {
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
            poll: poll(cli.poll),
            debounce: cli.debounce,
            build: cli.build,
            when_busy: when_busy(cli.when_busy),
            listen: cli
                .listen
                .iter()
                .map(|typed| listen(typed, &workdir))
                .collect::<Result<_, _>>()?,
            listen_pid: cli.listen_pid.into(),
            ready: Arc::new(parse("ready", &cli.ready)?),
            ready_timeout: cli.ready_timeout,
            watchdog: cli.watchdog.filter(|period| !period.is_zero()),
            go_back_within: cli.go_back_within,
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
            ui,
            workdir,
        };
        readiness::check(&config.ready, &config.listen, config.adopt)?;
        config.check_env_file()?;
        Ok(config)
    }

    /// What the core must know. `builds`: whether a change needs a build before the start, which the
    /// recognised command decides; `adopts`: whether the program's own sockets can be taken over here.
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
            roll_back_within: self.go_back_within,
            ..Policy::default()
        }
    }

    /// Without sockets of ours two generations would want the same port, or nobody asks anything of them at all.
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
        Failure::environment(format!("reading the working directory: {error}"))
            .hint("change to a directory that exists")
    })?;
    let Some(given) = given else {
        return Ok(current);
    };
    // Resolved, so that the folders above it are those that `..` and links lead to.
    match current.join(given).canonicalize() {
        Ok(path) if path.is_dir() => Ok(path),
        Ok(_) => Err(Failure::usage(format!(
            "`{}` of `--workdir` is not a directory",
            given.display()
        ))
        .hint("name the directory that it is in")),
        Err(error) => Err(Failure::usage(format!(
            "`{}` of `--workdir`: {}",
            given.display(),
            reason(&error)
        ))
        .hint(format!("paths are relative to `{}`", current.display()))),
    }
}

fn watched(workdir: &Path, path: &Path) -> Result<PathBuf, Failure> {
    let full = workdir.join(path);
    match std::fs::symlink_metadata(&full) {
        Ok(_) => Ok(full),
        Err(error) => Err(Failure::usage(format!(
            "`{}` of `--watch`: {}",
            path.display(),
            reason(&error)
        ))
        .hint(format!("paths are relative to `{}`", workdir.display()))),
    }
}

/// The system's text carries a code that helps nobody: `(os error 2)`.
fn reason(error: &std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::NotFound {
        return "no such file or directory".to_owned();
    }
    let text = error.to_string();
    let text = text.split(" (os error ").next().unwrap_or(&text);
    text.to_lowercase()
}

/// Without a COMMAND it is `cargo run`, provided that there is a package to run.
fn command(given: Vec<OsString>, builds: bool, workdir: &Path) -> Result<Vec<OsString>, Failure> {
    match given.first() {
        Some(program) if program.is_empty() => Err(Failure::usage("COMMAND is empty")),
        Some(_) => Ok(given),
        None if builds => Err(
            Failure::usage("`--build` needs a COMMAND to start afterwards")
                .hint("give it after `--`, as in `hotrun -e go -b 'go build -o app .' -- ./app`"),
        ),
        None if in_package(workdir) => Ok(vec!["cargo".into(), "run".into()]),
        None => Err(Failure::usage(format!(
            "no COMMAND, and no `Cargo.toml` in `{}` or above it",
            workdir.display()
        ))
        .hint("say what to run, as in `hotrun -- python app.py`, or where, with `-C DIR`")),
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

fn poll(typed: Option<cli::Poll>) -> Poll {
    match typed {
        None | Some(cli::Poll::IfNeeded) => Poll::IfNeeded,
        Some(cli::Poll::Always) => Poll::Always,
        Some(cli::Poll::Every(pause)) => Poll::Every(pause),
    }
}

fn ui_mode(typed: UiKind) -> Result<ui::Mode, Failure> {
    Ok(match typed {
        UiKind::Auto if ui::supports_live() => ui::Mode::Live,
        UiKind::Auto | UiKind::Plain => ui::Mode::Plain,
        UiKind::Live if std::io::stdout().is_terminal() => ui::Mode::Live,
        UiKind::Live => {
            let message = "`--ui live` needs a terminal as its output";
            return Err(Failure::usage(message).hint("`--ui plain` prints anywhere"));
        }
        UiKind::Json => ui::Mode::Json,
        UiKind::Off => ui::Mode::Off,
    })
}

fn ui_options(cli: &Cli, workdir: &Path) -> Result<ui::Options, Failure> {
    Ok(ui::Options {
        mode: ui_mode(cli.ui)?,
        colour: match cli.color {
            // JSON is for programs, whatever terminal is near.
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

/// A path of a unix socket is relative to the working directory, like every other.
fn listen(typed: &str, workdir: &Path) -> Result<ListenSpec, Failure> {
    let mut spec: ListenSpec = parse("listen", typed)?;
    if let Address::Unix(path) = &mut spec.address {
        *path = workdir.join(&*path);
    }
    Ok(spec)
}

/// The value of an option whose words belong to another module.
fn parse<T: FromStr<Err: Display>>(option: &str, typed: &str) -> Result<T, Failure> {
    typed
        .parse()
        .map_err(|error| Failure::usage(format!("`--{option}`: {error}")))
}

#[cfg(test)]
mod tests;
