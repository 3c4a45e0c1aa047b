//! Prepares everything that the driver's loop needs. If that fails, hotrun exits with an error and a hint.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, Result};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::JoinSet;

use crate::artifact;
use crate::build::{self, Plan, PlanOptions, WatchRoots};
use crate::config::{Config, FreshArg, Stdin};
use crate::error::Failure;
use crate::os::seccomp;
use crate::os::{self, terminal};
use crate::process;
use crate::process::notify::FdStore;
use crate::process::signals::Signals;
use crate::reload::{ArtifactId, Event, Instances, Request};
use crate::socket::{Sharing, Sockets};
use crate::ui::feed::{self, UiThread};
use crate::ui::{Feed, Level, TerminalInput, Ui, UiMode};
use crate::watch::{FileWatch, WatchMessage, WatchSpec};

use super::changes::{ignored_paths, watched_paths};
use super::clock::Clock;
use super::log::Log;
use super::preview::Preview;
use super::share;
use super::state::{Builds, Driver, Ending, Hooks, Reported, TaskMessage, TaskSender, WatchSet};

/// The sources of events.
pub(super) struct Sources {
    pub(super) messages: UnboundedReceiver<TaskMessage>,
    pub(super) watch: UnboundedReceiver<WatchMessage>,
    pub(super) signals: Signals,
    pub(super) terminal: TerminalInput,
}

pub(super) fn prepare(config: Config, ui: Ui) -> Result<(Driver, Sources, UiThread)> {
    let log = config.cli.log.as_deref().map(Log::create).transpose()?;
    // From here on, clients can connect and wait.
    let sockets = open_sockets(&config)?;
    // From here on, hotrun cleans up when a signal stops it.
    let signals = Signals::new().context("handling signals")?;
    process::become_subreaper().context("becoming a subreaper")?;
    tokio::spawn(process::reap_ended());
    let plan = plan(&config)?;
    let roots = plan.watch_roots()?;
    let (sender, messages) = mpsc::unbounded_channel();
    let sender = TaskSender(sender);
    let (changes, watch) = mpsc::unbounded_channel();
    let terminal = TerminalInput::new(config.ui.mode, config.cli.stdin == Stdin::Program);
    let sources = Sources {
        messages,
        watch,
        signals,
        terminal: terminal.context("reading from the terminal")?,
    };
    let watch = FileWatch::start(&watch_spec(&config, &roots), changes)?;
    let quit = sender.clone();
    let on_quit: feed::OnQuit =
        Arc::new(move || quit.send(|driver| driver.handle(Event::Requested(Request::Quit))));
    let (feed, ui_thread) = feed::start(ui, on_quit.clone()).context("starting a thread")?;
    if config.ui.mode == UiMode::Live {
        ui_thread.quit_on_panic(on_quit);
    }
    let builds = plan.build_command().is_some();
    let artifacts = artifacts(&plan, builds)?;
    suggest_command(&config, &feed);
    let adopts = adopts(&config, &sockets, &feed);
    let policy = share::possible(config.policy(builds, adopts), &sockets, &feed);
    let preview = config.preview.map(|at| Preview::open(at, &feed));
    let driver = Driver {
        log,
        machine: Instances::new(policy, config.cli.instances.count.into()),
        clock: Clock::start(),
        sender,
        feed,
        sockets,
        adopts,
        ignores_shutdown: Arc::new(AtomicBool::new(true)),
        builds: Builds::new(plan),
        artifacts,
        generations: BTreeMap::new(),
        fd_store: FdStore::new().context("opening the descriptor store")?,
        commands: BTreeMap::new(),
        hooks: Hooks::default(),
        preview: preview.transpose()?,
        sources: JoinSet::new(),
        watch: WatchSet::new(watch, roots),
        reported: Reported::default(),
        ending: Ending::default(),
        size: terminal::size(),
        count_at: Instant::now(),
        config,
    };
    Ok((driver, sources, ui_thread))
}

/// Without a build, the first artifact is the command itself.
fn artifacts(plan: &Plan, builds: bool) -> Result<artifact::ArtifactStore, Failure> {
    let mut artifacts = artifact::ArtifactStore::default();
    if !builds {
        artifacts.set_newest(ArtifactId::FIRST, plan.launch(&mut plan.output())?, None);
    }
    Ok(artifacts)
}

/// Says what to type if the command wraps a `cargo run` or has its own reloader.
fn suggest_command(config: &Config, feed: &Feed) {
    if let (None, Some(instead)) = (&config.cli.build, build::unwrapped(&config.cli.command)) {
        let text = "the `cargo run` in this command is not recognized, so any change restarts it";
        let hint = format!("use `{instead}`");
        feed.message(Level::Info, text.to_owned(), Some(hint));
    }
    if let Some(hint) = build::without_reloader(&config.cli.command) {
        let text = "this command restarts the program itself when files change, as hotrun does";
        feed.message(Level::Warning, text.to_owned(), Some(hint));
    }
}

/// Opens the `--listen` sockets.
fn open_sockets(config: &Config) -> Result<Sockets, Failure> {
    let sharing = match os::STEERING && os::test_hook("PORTABLE").is_none() {
        true => Sharing::Steered,
        false => Sharing::Shared,
    };
    Sockets::open(&config.listen, sharing).map_err(|error| {
        let failure = match error.is_usage {
            true => Failure::usage,
            false => Failure::environment,
        };
        failure(error.to_string()).hints(error.hint)
    })
}

/// Whether hotrun can adopt the sockets that the program opens. Tries to intercept a system call to find out.
fn adopts(config: &Config, sockets: &Sockets, feed: &Feed) -> bool {
    if !config.adopts() || sockets.adopter().is_none() {
        return false;
    }
    let Err(why) = seccomp::probe() else {
        return true;
    };
    if config.cli.ready.needs_sockets() && config.listen.is_empty() {
        let text = format!(
            "`--ready {}` cannot find the program's sockets: {why}",
            config.cli.ready
        );
        feed.error(text, Some("add `--listen`, as in `--listen 3000`".into()));
        return false;
    }
    // Adopting matters less with `--listen`, because hotrun opens those sockets itself.
    let level = match config.listen.is_empty() {
        true => Level::Warning,
        false => Level::Detail,
    };
    let text = format!("the old program will be stopped before the new one starts: {why}");
    feed.message(level, text, Some(why.hint().into()));
    false
}

pub(super) fn plan_options(config: &Config) -> PlanOptions<'_> {
    PlanOptions {
        command: &config.cli.command,
        build: config.cli.build.as_deref(),
        workdir: &config.workdir,
        color: config.ui.color,
        progress: matches!(config.ui.mode, UiMode::Live | UiMode::Json),
    }
}

/// Decides how to build, and checks that there is a program to build or start.
fn plan(config: &Config) -> Result<Plan, Failure> {
    let plan = Plan::new(&plan_options(config))?;
    if let Plan::Command {
        build: None,
        command,
        ..
    } = &plan
        && let Some(program) = command.first()
    {
        check_command(Path::new(program), config)?;
    }
    Ok(plan)
}

/// Checks that the command exists and is executable. Not called with `--build`, because the command may not be built
/// yet.
fn check_command(program: &Path, config: &Config) -> Result<(), Failure> {
    let env = config.environment(env::vars_os());
    let env = env.map_err(|error| Failure::usage(error.to_string()))?;
    let path = env.into_iter().find(|(name, _)| name == "PATH");
    if which::which_in(program, path.map(|(_, value)| value), &config.workdir).is_ok() {
        return Ok(());
    }
    let name = program.display();
    let is_path = program.as_os_str().as_encoded_bytes().contains(&b'/');
    Err(match is_path && config.workdir.join(program).is_file() {
        true => Failure::usage(format!("`{name}` is not executable"))
            .hint(format!("`chmod +x {name}` makes it executable")),
        false => Failure::usage(format!("no such command: `{name}`"))
            .hint("check its spelling and `PATH`; a shell line needs `sh -c '...'`"),
    })
}

/// Describes what to watch until the first build has reported its inputs.
fn watch_spec(config: &Config, found: &WatchRoots) -> WatchSpec {
    // Ignored, because hotrun itself writes to the log.
    let log = config.cli.log.as_deref().and_then(Path::file_name);
    let log = log.map(|name| globset::escape(&name.to_string_lossy()));
    let own = [artifact::GLOB.into()].into_iter().chain(log);
    WatchSpec {
        roots: match config.cli.watch.is_empty() {
            true => watched_paths(found),
            false => config.cli.watch.clone(),
        },
        links: BTreeSet::new(),
        base: config.workdir.clone(),
        ignores: config.cli.ignore.iter().cloned().chain(own).collect(),
        exts: config.cli.exts.clone(),
        no_vcs_ignore: config.cli.no_vcs_ignore,
        ignored_dirs: ignored_paths(found),
        rules: config.rules.clone(),
        inputs: None,
        poll: config.cli.poll.unwrap_or_default(),
        reports_touched: config.cli.fresh != FreshArg::Off,
        debounce: config.cli.debounce,
    }
}
