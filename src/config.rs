//! The configuration, resolved from the command line, the environment and the working directory.
//!
//! All usage errors are found here, before anything is started.

mod activation;
mod environment;
mod instances;
mod share;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;

use crate::cli::{self, Cli, ColorChoice, OnRule, UiKind, WhenPossible};
pub use crate::cli::{FreshArg, HookEvent, Stdin};
use crate::error::Failure;
use crate::ready::WarmUp;
use crate::reload::{Fresh, Mode, Policy, WhenBusy};
use crate::socket::{Address, ListenSpec};
use crate::source;
use crate::ui;
use crate::watch::{ChangeRule, RuleAction};
use environment::{Variable, reason};

/// What the command line asks for.
#[derive(Debug)]
pub enum Task {
    /// Run hotrun.
    Run(Box<Config>),
    /// Print this text (help, version, completions or man page).
    Print(Vec<u8>),
    /// Check the system, with this working directory.
    Doctor(PathBuf),
}

/// The options, and the values derived from them.
#[derive(Clone, Debug)]
pub struct Config {
    /// The options. All paths are absolute, the paths to watch exist, and the command is not empty.
    pub cli: Cli,
    /// The working directory of the build and the program. It exists.
    pub workdir: PathBuf,
    /// What to do when certain files change. The last matching rule applies.
    pub rules: Vec<ChangeRule>,
    /// The sockets to open.
    pub listen: Vec<ListenSpec>,
    /// The variables set with `--env`.
    env: Vec<Variable>,
    /// The newest variables of `--env-from`. All clones of the configuration share them.
    env_from: Arc<Mutex<Vec<Variable>>>,
    /// The address of `--preview`.
    pub preview: Option<SocketAddr>,
    /// How to show hotrun's own output.
    pub ui: ui::Options,
}

/// Reads the command line, whose first item is hotrun's own name.
///
/// # Errors
///
/// The command line is invalid, or the working directory cannot be read.
pub fn read(args: &[OsString]) -> Result<Task, Failure> {
    if let Some(page) = cli::guide(args, console::colors_enabled()) {
        return page.map(|text| Task::Print(text.into_bytes()));
    }
    let variables = std::env::vars_os().filter(|(_, value)| !value.is_empty());
    cli::check_variables(variables.map(|(name, _)| name))?;
    let cli = match cli::parse(args.to_owned()) {
        Ok(cli) => cli,
        // Help or the version.
        Err(error) if !error.use_stderr() => {
            let text = cli::styled(&error.render(), console::colors_enabled());
            return Ok(Task::Print(text.into_bytes()));
        }
        Err(error) => return Err(cli::explain(&error)),
    };
    if let Some(failure) = cli::misplaced(args, &cli.command) {
        return Err(failure);
    }
    if let Some(what) = cli.generate {
        let text = cli::generate(what).context("cannot render the man page")?;
        return Ok(Task::Print(text));
    }
    let workdir = workdir(cli.workdir.as_deref())?;
    if cli.doctor {
        return Ok(Task::Doctor(workdir));
    }
    let config = Config::resolve(cli, workdir)?;
    Ok(Task::Run(Box::new(config)))
}

impl Config {
    fn resolve(mut cli: Cli, workdir: PathBuf) -> Result<Self, Failure> {
        for path in &mut cli.watch {
            *path = watched(&workdir, path)?;
        }
        cli.command = command(cli.command, cli.build.is_some(), &workdir)?;
        cli.env_file = cli.env_file.map(|path| workdir.join(path));
        cli.log = cli.log.map(|path| workdir.join(path));
        cli.watchdog = cli.watchdog.filter(|period| !period.is_zero());
        share::check(&cli)?;
        cli.keep = cli.keep.filter(|time| !time.is_zero());
        instances::check(&cli)?;
        if cli.keep.is_some() && cli.stop_first {
            let text = "`--keep` needs the old generation while the new one runs, but `--stop-first` stops it before";
            return Err(Failure::usage(text).hint("leave one of them out"));
        }
        let activated = activation::sockets()?;
        let listen = cli.listen.iter().map(|typed| listen(typed, &workdir));
        let listen = activated.into_iter().map(Ok).chain(listen);
        let env = cli.env.iter().map(|typed| environment::pair(typed));
        let config = Self {
            rules: rules(&cli, &workdir)?,
            listen: listen.collect::<Result<_, _>>()?,
            env: env.collect::<Result<_, _>>()?,
            env_from: Arc::default(),
            preview: share::preview(&cli)?,
            ui: ui_options(&cli, &workdir)?,
            cli,
            workdir,
        };
        if !config.adopts() && config.listen.is_empty() {
            config.needs_no_socket()?;
        }
        match config.environment([]) {
            Ok(_) => Ok(config),
            Err(error) => Err(Failure::usage(error.to_string())),
        }
    }

    /// Checks that no option needs a socket.
    fn needs_no_socket(&self) -> Result<(), Failure> {
        let (ready, warm_up, alive) = (&self.cli.ready, &self.cli.warm_up, &self.cli.alive);
        let (option, instead) = if ready.needs_sockets() {
            (
                format!("--ready {ready}"),
                "`--ready` with `notify`, `log:REGEX`, `exec:COMMAND` or `delay:DURATION`",
            )
        } else if let Some(warm_up @ WarmUp::Http(_)) = warm_up {
            (format!("--warm-up {warm_up}"), "`--warm-up exec:COMMAND`")
        } else if let Some(alive) = alive.as_ref().filter(|alive| alive.needs_sockets()) {
            (format!("--alive {alive}"), "`--alive exec:COMMAND`")
        } else if self.cli.keep.is_some() {
            ("--keep".into(), "`--adopt auto`")
        } else {
            return Ok(());
        };
        let text = format!("`{option}` needs a socket from `--listen`");
        let hint = format!("add `--listen`, as in `--listen 3000`, or use {instead}");
        Err(Failure::usage(text).hint(hint))
    }

    /// The state machine's settings. `builds`: whether the command has a build step. `adopts`: whether hotrun can adopt
    /// the program's own sockets on this system.
    pub fn policy(&self, builds: bool, adopts: bool) -> Policy {
        let passes_sockets = !self.listen.is_empty();
        // If hotrun manages no sockets, two generations can't run at once, because both would open the same port.
        let mode = match (self.cli.stop_first, passes_sockets, adopts) {
            (true, _, _) | (false, false, false) => Mode::StopFirst,
            (false, true, _) => Mode::Overlap,
            (false, false, true) => Mode::Auto,
        };
        Policy {
            builds,
            mode,
            passes_sockets,
            when_busy: match self.cli.when_busy {
                cli::WhenBusyArg::Cancel => WhenBusy::Cancel,
                cli::WhenBusyArg::Queue => WhenBusy::Queue,
            },
            fresh: match self.cli.fresh {
                cli::FreshArg::Off => Fresh::Off,
                cli::FreshArg::On => Fresh::Wait,
                cli::FreshArg::Strict => Fresh::Strict,
            },
            share: self.cli.share.share.clone().unwrap_or_default(),
            share_every: self.cli.share.share_every,
            share_check: self.cli.share.share_check.is_some(),
            ready_timeout: self.cli.ready_timeout,
            stop_timeout: self.cli.stop_timeout,
            stop_delay_max: Policy::stop_delay_max(mode),
            watchdog: self.cli.watchdog,
            rollback_within: self.cli.rollback_within,
            keep: self.cli.keep.unwrap_or_default(),
            ..Policy::default()
        }
    }

    /// Whether to keep idle connections open when a generation is stopped.
    pub fn keeps_connections(&self) -> bool {
        self.cli.keep_alive == WhenPossible::Auto
    }

    /// Whether to adopt the sockets that the program opens itself.
    pub fn adopts(&self) -> bool {
        self.cli.adopt == WhenPossible::Auto
    }

    /// Whether to set `LISTEN_PID` for this command. In cargo mode, the command is the executable, not `cargo`.
    pub fn sets_listen_pid(&self, argv: &[OsString]) -> bool {
        match self.cli.listen_pid {
            cli::ListenPid::Auto => !argv
                .first()
                .is_some_and(|program| environment::is_wrapper(program)),
            cli::ListenPid::Always => true,
            cli::ListenPid::Never => false,
        }
    }

    /// Replaces the variables of `--env-from` by these keys. Returns the keys that cannot be variables.
    pub fn set_env_from(&self, pairs: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<String> {
        let (variables, unusable) = environment::from_keys(pairs);
        *self.env_from.lock().unwrap_or_else(PoisonError::into_inner) = variables;
        unusable
    }

    /// The variables of `--env-from`.
    pub fn env_from(&self) -> Vec<Variable> {
        let variables = self.env_from.lock();
        variables.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The program's environment. `--env` overrides `inherited`, which overrides the `--env-file` file, which overrides
    /// the keys of `--env-from`. Each call reads the file again. Variables that a supervisor has set for hotrun itself
    /// are removed later, by [`process`](crate::process).
    ///
    /// # Errors
    ///
    /// The file can't be read, or a line is invalid. The message contains no values, because they are often secrets.
    pub fn environment(
        &self,
        inherited: impl IntoIterator<Item = Variable>,
    ) -> anyhow::Result<Vec<Variable>> {
        let mut environment: Vec<Variable> = Vec::new();
        let of_file = match &self.cli.env_file {
            Some(path) => environment::read(path).map_err(|reason| {
                anyhow::anyhow!("cannot read `--env-file {}`: {reason}", path.display())
            })?,
            None => Vec::new(),
        };
        for (name, value) in self
            .env_from()
            .into_iter()
            .chain(of_file)
            .chain(inherited)
            .chain(self.env.iter().cloned())
        {
            environment.retain(|(known, _)| *known != name);
            environment.push((name, value));
        }
        Ok(environment)
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
    // Canonical, so that the path's parents are the real parent directories, even after `..` or a symbolic link.
    let problem = match current.join(given).canonicalize() {
        Ok(path) if path.is_dir() => return Ok(path),
        Ok(_) => "not a directory".to_owned(),
        Err(error) => reason(&error, "directory"),
    };
    Err(wrong_path("--workdir", given, &problem, &current))
}

fn watched(workdir: &Path, path: &Path) -> Result<PathBuf, Failure> {
    let full = workdir.join(path);
    let found = std::fs::symlink_metadata(&full);
    found.map(|_| full).map_err(|error| {
        let problem = reason(&error, "file or directory");
        wrong_path("--watch", path, &problem, workdir)
    })
}

fn wrong_path(option: &str, path: &Path, problem: &str, base: &Path) -> Failure {
    Failure::usage(format!("`{option} {}`: {problem}", path.display()))
        .hint(format!("paths are relative to `{}`", base.display()))
}

/// The command to run: by default `cargo run`, if there is a package.
fn command(given: Vec<OsString>, builds: bool, workdir: &Path) -> Result<Vec<OsString>, Failure> {
    let mut directories = workdir.ancestors();
    match given.first() {
        Some(program) if program.is_empty() => Err(Failure::usage("COMMAND is empty")),
        Some(_) => Ok(given),
        None if builds => Err(
            Failure::usage("`--build` needs a COMMAND to start after the build")
                .hint("put it after `--`, as in `hotrun -e go -b 'go build -o app .' -- ./app`"),
        ),
        None if directories.any(|directory| directory.join("Cargo.toml").is_file()) => {
            Ok(vec!["cargo".into(), "run".into()])
        }
        None => Err(Failure::usage(format!(
            "nothing to run: no COMMAND given and no `Cargo.toml` in `{}` or above",
            workdir.display()
        ))
        .hint(
            "add a COMMAND, as in `hotrun -- python app.py`, or name a cargo package with `-C DIR`",
        )),
    }
}

/// The default rules, then the `--on` rules. The last matching rule applies.
fn rules(cli: &Cli, workdir: &Path) -> Result<Vec<ChangeRule>, Failure> {
    let mut rules = Vec::new();
    // `--watch` replaces everything that is watched by default.
    if cli.watch.is_empty() {
        rules.push(ChangeRule::file(workdir.join(".env"), RuleAction::Restart));
    }
    // Every start reads the `--env-file` file again, so a change to the file calls for a restart.
    let env_file = cli.env_file.iter().cloned();
    rules.extend(env_file.map(|file| ChangeRule::file(file, RuleAction::Restart)));
    for (index, source) in cli.source.iter().enumerate() {
        let name = &source.name;
        if cli.source[..index].iter().any(|other| other.name == *name) {
            return Err(
                Failure::usage(format!("two sources have the name `{name}`"))
                    .hint("give each `--source` a name of its own"),
            );
        }
        rules.push(ChangeRule::source(name, RuleAction::Restart));
    }
    for on in &cli.on {
        rules.push(rule(cli, workdir, on)?);
    }
    Ok(rules.iter().map(ChangeRule::normalised).collect())
}

fn rule(cli: &Cli, workdir: &Path, on: &OnRule) -> Result<ChangeRule, Failure> {
    let name = on
        .glob
        .strip_prefix('@')
        .filter(|name| source::is_name(name));
    let Some(name) = name.filter(|_| !cli.source.is_empty()) else {
        return ChangeRule::new(workdir, &on.glob, on.action.clone());
    };
    if !cli.source.iter().any(|source| source.name == name) {
        let text = format!("`--on`: there is no source `{name}`");
        return Err(Failure::usage(text).hint(format!(
            "`./@{name}` names a file; `--source '{name}=COMMAND'` adds a source"
        )));
    }
    Ok(ChangeRule::source(name, on.action.clone()))
}

fn ui_options(cli: &Cli, workdir: &Path) -> Result<ui::Options, Failure> {
    Ok(ui::Options {
        mode: match cli.ui {
            UiKind::Auto if ui::supports_live() => ui::UiMode::Live,
            UiKind::Auto | UiKind::Plain => ui::UiMode::Plain,
            UiKind::Live if std::io::stdout().is_terminal() => ui::UiMode::Live,
            UiKind::Live => {
                let message = "`--ui live` needs standard output to be a terminal";
                return Err(Failure::usage(message).hint("`--ui plain` works without a terminal"));
            }
            UiKind::Json => ui::UiMode::Json,
            UiKind::Off => ui::UiMode::Off,
        },
        color: match cli.color {
            // JSON is read by programs, even on a terminal.
            ColorChoice::Auto => cli.ui != UiKind::Json && ui::supports_color(),
            ColorChoice::Always => true,
            ColorChoice::Never => false,
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

/// Parses a `--listen` value. A unix socket's path is relative to the working directory.
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
