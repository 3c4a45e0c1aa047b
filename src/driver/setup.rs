//! What hotrun needs before the first build. If something is missing, hotrun ends with an error and a hint.

use std::env;
use std::ffi::OsString;

use tokio::sync::mpsc::UnboundedSender;

use crate::artifact;
use crate::build::{Plan, PlanOptions, WatchRoots};
use crate::config::Config;
use crate::error::Failure;
use crate::os;
use crate::socket::{OpenError, Sharing, Sockets};
use crate::watch::{Message, Watch, WatchSpec};

use super::watch_set;

/// Opens the sockets of `--listen`.
pub(super) fn sockets(config: &Config) -> Result<Sockets, Failure> {
    let sharing = match os::STEERING && os::test_hook("PORTABLE").is_none() {
        true => Sharing::Steered,
        false => Sharing::Shared,
    };
    Sockets::open(&config.listen, sharing).map_err(|error| match error {
        OpenError::SameAddress { .. } | OpenError::SameName { .. } => {
            Failure::usage(error.to_string()).hints(error.hint())
        }
        OpenError::InUse { .. }
        | OpenError::Privileged { .. }
        | OpenError::NotLocal { .. }
        | OpenError::NotASocket { .. }
        | OpenError::NoSteering
        | OpenError::Io { .. } => Failure::environment(error.to_string()).hints(error.hint()),
    })
}

pub(super) fn plan_options(config: &Config) -> PlanOptions<'_> {
    PlanOptions {
        command: &config.argv,
        build: config.build.as_deref(),
        workdir: &config.workdir,
        color: config.ui.colour,
    }
}

/// How to build. Checks that there is something to build or to start.
pub(super) fn plan(config: &Config) -> Result<Plan, Failure> {
    let plan = Plan::new(&plan_options(config))?;
    if let Plan::Command {
        build: None,
        command,
        ..
    } = &plan
    {
        check_command(command, config)?;
    }
    Ok(plan)
}

/// A missing command is most likely misspelt. (With `--build` it may not be built yet.)
fn check_command(command: &[OsString], config: &Config) -> Result<(), Failure> {
    let workdir = &config.workdir;
    let Some(program) = command.first() else {
        return Ok(());
    };
    let name = program.display();
    let env = config
        .environment(env::vars_os())
        .map_err(|error| Failure::usage(error.to_string()))?;
    let path = env
        .into_iter()
        .find(|(name, _)| name == "PATH")
        .map(|(_, value)| value);
    match which::which_in(program, path, workdir) {
        Ok(_) => Ok(()),
        Err(_) if workdir.join(program).is_file() && program.as_encoded_bytes().contains(&b'/') => {
            Err(Failure::usage(format!("`{name}` is not executable"))
                .hint(format!("`chmod +x {name}` makes it so")))
        }
        Err(_) => Err(Failure::usage(format!("no such command: `{name}`"))
            .hint("check its spelling and `PATH`; a shell line needs `sh -c '...'`")),
    }
}

/// What to watch.
pub(super) fn watch_spec(config: &Config, found: &WatchRoots) -> WatchSpec {
    // hotrun itself writes the log.
    let log = config.log.as_deref().and_then(std::path::Path::file_name);
    let log = log.map(|name| globset::escape(&name.to_string_lossy()));
    WatchSpec {
        roots: match config.watch.is_empty() {
            true => watch_set::places(found),
            false => config.watch.clone(),
        },
        base: config.workdir.clone(),
        ignores: config
            .ignore
            .iter()
            .cloned()
            .chain([artifact::GLOB.into()])
            .chain(log)
            .collect(),
        exts: config.exts.clone(),
        vcs_ignore: config.vcs_ignore,
        ignored_dirs: watch_set::ignored(found),
        rules: config.rules.clone(),
        inputs: None,
        poll: config.poll,
        debounce: config.debounce,
    }
}

/// Starts the watch.
pub(super) fn watch(
    spec: &WatchSpec,
    messages: UnboundedSender<Message>,
) -> Result<Watch, Failure> {
    Watch::start(spec, messages).map_err(|error| {
        let hint = error.hint().map(str::to_owned);
        Failure::environment(error.to_string()).hints(hint)
    })
}
