//! The command line: the single source of the options, the help, the completions and the man page.
//!
//! The doc comments of [`Cli`] are the help text. [`command`] gives every option an environment variable.
//! [`config`](crate::config) interprets the options and their combinations.

mod errors;
mod generate;
mod help;
mod instances;
mod misplaced;
mod share;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches, Parser, ValueHint};
use nix::sys::signal::Signal;

use crate::ready::{AliveSpec, ReadySpec, WarmUp};
use crate::source::Source;
use crate::source::etcd::EtcdUrl;
use crate::value::parse_duration;
use crate::watch::Poll;

pub use clap::ColorChoice;
pub use errors::{check_variables, explain, variable};
pub use generate::{Generate, generate, guide, styled};
pub use instances::InstancesArgs;
pub use misplaced::misplaced;
pub use share::ShareArgs;
pub use values::{
    FreshArg, Hook, HookEvent, ListenPid, OnRule, Stdin, UiKind, WhenBusyArg, WhenPossible,
};

/// Rebuild and restart a server when its files change, without losing a connection
///
/// hotrun builds and starts a server and watches its files. On a change, it builds again, starts the new
/// generation beside the old one, waits until the new one is ready, sends every new connection to it, and lets the
/// old one finish its requests. If the build fails, or the new generation does not become ready, the old one keeps
/// serving.
///
/// If COMMAND is `cargo run …`, cargo builds the program and hotrun starts it. Without COMMAND, hotrun runs
/// `cargo run` in the current package. Any other COMMAND is restarted on every change.
#[derive(Parser, Clone, Debug)]
#[command(
    name = "hotrun",
    version,
    override_usage = "hotrun [OPTIONS] [-- COMMAND...]\n       hotrun help [TOPIC]"
)]
#[command(disable_help_flag = true, disable_version_flag = true)]
#[command(max_term_width = 100)]
pub struct Cli {
    /// Watch this file or directory (repeatable)
    ///
    /// By default, hotrun watches the files that cargo builds the binary from or, with any other COMMAND, the working
    /// directory. Directories are watched with their subdirectories, except for ignored files.
    #[arg(short, long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub watch: Vec<PathBuf>,

    /// Ignore files that match this glob (repeatable)
    ///
    /// Globs use the syntax of `.gitignore` files.
    #[arg(short, long, value_name = "GLOB", value_parser = values::glob)]
    pub ignore: Vec<String>,

    /// Watch only files with these extensions
    #[arg(short, long, value_name = "EXT,…", value_delimiter = ',', value_parser = values::extension)]
    pub exts: Vec<String>,

    /// Watch files that version control ignores
    ///
    /// By default, hotrun does not watch files that `.gitignore`, `.ignore` or git's global excludes ignore.
    #[arg(long, hide_short_help = true)]
    pub no_vcs_ignore: bool,

    /// Run a different action when matching files change (repeatable)
    #[arg(long, value_name = "GLOB=ACTION", hide_short_help = true)]
    #[arg(long_help = help::ON, value_parser = values::rule)]
    pub on: Vec<OnRule>,

    /// Also treat each line that a command prints as a change (repeatable)
    #[arg(long, value_name = "NAME=COMMAND|URL", value_hint = ValueHint::CommandString, hide_short_help = true)]
    #[arg(long_help = help::SOURCE, value_parser = Source::parse)]
    pub source: Vec<Source>,

    /// How long to wait for further changes before a build
    #[arg(long, value_name = "DURATION", default_value = "20ms", value_parser = parse_duration, hide_short_help = true)]
    pub debounce: Duration,

    /// Poll for changes instead of relying on file events
    ///
    /// File systems without reliable events (NFS, SMB, FUSE, folders shared by the host of a virtual machine) and
    /// directories beyond the system's limit are always polled. Polling uses at most about 1% of one processor, so the
    /// interval grows with the number of files. DURATION sets the interval, as in `--poll=2s`.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, hide_short_help = true)]
    #[arg(default_missing_value = "on", value_parser = values::poll)]
    pub poll: Option<Poll>,

    /// Build with this shell command before COMMAND starts
    ///
    /// COMMAND starts only if the build succeeds. Files that the build writes to a watched directory count as
    /// changes unless they are ignored (see `--exts` and `--ignore`).
    #[arg(short, long, value_name = "LINE", value_hint = ValueHint::CommandString)]
    pub build: Option<String>,

    /// What to do when files change during a build
    #[arg(long, hide_short_help = true)]
    #[arg(value_name = "WHAT", default_value = "cancel")]
    pub when_busy: WhenBusyArg,

    /// Manage the sockets that the program opens itself
    ///
    /// `auto` manages them if the system allows it (Linux 5.19 or newer, with seccomp). You don't have to change the
    /// program: it keeps its sockets, and hotrun lets the next generation open the same addresses. If hotrun is not
    /// privileged (CAP_SYS_ADMIN), it must set no_new_privs for the program, so `sudo` and other setuid programs don't
    /// work inside the program. `never` manages only `--listen` sockets.
    #[arg(long, hide_short_help = true)]
    #[arg(value_name = "WHEN", default_value = "auto")]
    pub adopt: WhenPossible,

    /// Whether to keep connections open across a reload
    ///
    /// With `auto`, an HTTP/1 client that reuses its connection doesn't notice a reload: when the old generation closes
    /// the connection or ends, hotrun keeps the connection open and forwards it to the new generation. With `never`,
    /// it ends with the old generation, and a client that sends a request at that moment must retry it.
    #[arg(long, hide_short_help = true)]
    #[arg(value_name = "WHEN", default_value = "auto")]
    pub keep_alive: WhenPossible,

    /// Open this socket and pass it to the program
    ///
    /// This option is repeatable. ADDRESS is `3000`, `:3000`, `127.0.0.1:3000`, `[::]:3000` or `unix:PATH`; a port
    /// alone means 127.0.0.1. The socket is open from before the first build until hotrun quits. The program
    /// gets it as descriptor 3 (the second as 4, and so on), as with systemd's socket activation: hotrun sets
    /// `LISTEN_FDS`, `LISTEN_FDNAMES` and `LISTEN_PID` (see `--listen-pid`).
    #[arg(short, long, value_name = "[NAME=]ADDRESS")]
    pub listen: Vec<String>,

    /// Whether to set `LISTEN_PID` for the program
    ///
    /// Some libraries check that `LISTEN_PID` is the pid of their own process. hotrun doesn't know that pid if COMMAND
    /// is a wrapper that starts the program as a child process (`npm`, `sh -c`), so `auto` doesn't set the variable
    /// for known wrappers.
    #[arg(long, hide_short_help = true)]
    #[arg(value_name = "WHEN", default_value = "auto")]
    pub listen_pid: ListenPid,

    /// From a change on, let new connections wait for the new version
    ///
    /// New TCP connections wait from the first sign of a change until the version that it causes serves, but for no
    /// longer than `--ready-timeout`. If the build or the start fails, or if there is nothing to start, they go to the
    /// old version at once; with `strict`, HTTP requests get status 503 and the reason instead after a failure.
    /// Connections that are already open do not wait. Needs Linux.
    #[arg(long, num_args = 0..=1, require_equals = true, hide_short_help = true)]
    #[arg(
        value_name = "HOW",
        default_value = "off",
        default_missing_value = "on"
    )]
    pub fresh: FreshArg,

    /// Hold requests instead of answering 503 when no version is running
    ///
    /// By default, HTTP requests that arrive after a failed first build or a crash get status 503 and the reason: as
    /// text, or in a browser as a page that reloads when the program is back. This works on the TCP addresses of
    /// `--listen`, and on those that an earlier generation has opened. Connections that use other protocols always wait,
    /// and so does every request while a build or a start is in progress.
    #[arg(long, hide_short_help = true)]
    pub no_error_page: bool,

    /// How to detect that a new generation is ready
    #[arg(long, value_name = "HOW", default_value = "auto", value_parser = values::ready, long_help = help::READY)]
    pub ready: Arc<ReadySpec>,

    /// Warm up a new generation that is ready, before it goes live
    #[arg(long, value_name = "HOW", value_parser = values::warm_up, hide_short_help = true, long_help = help::WARM_UP)]
    pub warm_up: Option<WarmUp>,

    /// How long a new generation may take to become ready
    ///
    /// The warm-up is included (see `--warm-up`).
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration, hide_short_help = true)]
    pub ready_timeout: Duration,

    /// Replace the live generation when it no longer works
    #[arg(long, value_name = "CHECK", value_parser = values::alive, hide_short_help = true, long_help = help::ALIVE)]
    pub alive: Option<Arc<AliveSpec>>,

    /// Treat the program as hung after this long without a watchdog ping
    ///
    /// The program gets `WATCHDOG_USEC`. Once it is ready, it must send `WATCHDOG=1` to `NOTIFY_SOCKET` at least this
    /// often, as with systemd's `WatchdogSec=`. If it does not, it gets SIGABRT and counts as crashed.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, hide_short_help = true)]
    pub watchdog: Option<Duration>,

    /// The options for a gradual release.
    #[command(flatten)]
    pub share: ShareArgs,

    /// Roll back if the new version crashes within this time
    ///
    /// The previous generation becomes live again if it is still draining; otherwise its build is started again. A
    /// program that crashes later is restarted after one second. After two such starts in a row, hotrun waits for a
    /// change.
    /// `0s` turns off rolling back and restarting. A program is not restarted if it exits with status 0, or if it
    /// listens on nothing and neither sends `READY=1` nor responds to a probe.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration, hide_short_help = true)]
    pub rollback_within: Duration,

    /// Keep the old generation for this long after the switch
    ///
    /// If the new one crashes, or if you press `u`, it is live again at once. `k` drains it. See `hotrun help crashes`.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, hide_short_help = true)]
    pub keep: Option<Duration>,

    /// Signal that asks the old generation to stop
    #[arg(long, value_name = "SIGNAL", default_value = "TERM", value_parser = values::signal, hide_short_help = true)]
    pub stop_signal: Signal,

    /// How long the old generation may take to stop
    ///
    /// After this time, hotrun kills it. A program that handles the stop signal gets it once every request is answered,
    /// at the latest after two fifths of this time. A program that doesn't handle the signal may use the whole time to
    /// finish its connections. It then gets the signal and is killed two seconds later, or after this timeout if that
    /// is shorter.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    pub stop_timeout: Duration,

    /// Stop the old generation before the new one starts
    ///
    /// Use this for a program that can't run twice at the same time. Its sockets stay open, and connections wait. A
    /// program that listens on nothing always restarts this way. So does every program without `--listen` if hotrun
    /// can't manage its sockets.
    #[arg(long)]
    pub stop_first: bool,

    /// The options for several instances of the program.
    #[command(flatten)]
    pub instances: InstancesArgs,

    /// Set a variable for the program (repeatable)
    #[arg(short = 'E', long, value_name = "NAME=VALUE")]
    pub env: Vec<OsString>,

    /// Read environment variables for the program from this file
    ///
    /// Each line is `NAME=VALUE`. The file is read again at every start. A variable that is already set keeps its
    /// value; `--env` overrides both.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath, hide_short_help = true)]
    pub env_file: Option<PathBuf>,

    /// Read environment variables for the program from keys in etcd
    ///
    /// The rest of a key after the prefix is the name of a variable. The keys are read at every start, which takes one
    /// second at most; while etcd is down, the last values apply, and the program is restarted when etcd responds with
    /// others. `--env-file`, a variable that is already set and `--env` override a key. A `--source` with the same URL
    /// restarts the program when a key changes.
    #[arg(long, value_name = "etcd://HOST:PORT/PREFIX", value_parser = values::env_from, hide_short_help = true)]
    pub env_from: Option<EtcdUrl>,

    /// Run a shell command when something happens to a generation (repeatable)
    #[arg(long, value_name = "EVENT=COMMAND", hide_short_help = true)]
    #[arg(long_help = help::HOOK, value_parser = values::hook)]
    pub hook: Vec<Hook>,

    /// Run in this directory
    ///
    /// The build and the program run there, and the paths in other options are relative to this directory.
    #[arg(short = 'C', long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub workdir: Option<PathBuf>,

    /// Where keyboard input goes
    #[arg(long, hide_short_help = true)]
    #[arg(value_name = "WHERE", default_value = "hotrun")]
    pub stdin: Stdin,

    /// How to show hotrun's own output
    #[arg(long, hide_short_help = true)]
    #[arg(value_name = "UI", default_value = "auto")]
    pub ui: UiKind,

    /// When to use colors in hotrun's own output
    ///
    /// `auto` uses colors on a terminal unless `NO_COLOR` is set; `CLICOLOR_FORCE` forces them. The program's own
    /// colors are never changed.
    #[arg(long, hide_short_help = true)]
    #[arg(value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,

    /// Clear the terminal before each build
    #[arg(short, long)]
    pub clear: bool,

    /// Show which files triggered a build
    #[arg(long)]
    pub why: bool,

    /// Show only failures (overrides `--verbose`)
    #[arg(short, long)]
    pub quiet: bool,

    /// Show more details
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,

    /// Log hotrun's decisions to this file, for bug reports (overwrites it)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, hide_short_help = true)]
    pub log: Option<PathBuf>,

    /// Print shell completions or the man page
    #[arg(long, value_name = "WHAT", hide_short_help = true)]
    pub generate: Option<Generate>,

    /// Check this system and suggest fixes
    ///
    /// The exit status is 0 if everything that hotrun needs works.
    #[arg(long)]
    pub doctor: bool,

    /// Print help: common options with `-h`, all with `--help`
    #[arg(short, long, action = ArgAction::Help)]
    help: Option<bool>,

    /// Print the version
    #[arg(short = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,

    /// Command to run; put `--` before it
    #[arg(hide_short_help = true)]
    #[arg(trailing_var_arg = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

/// The options with their sections and environment variables.
pub fn command() -> Command {
    let command = Cli::command();
    let command = command
        .after_help(help::short())
        .after_long_help(help::long());
    let mut heading = "";
    command.mut_args(|arg| {
        let id = arg.get_id().as_str();
        let section = help::SECTIONS.iter().find(|(first, _)| *first == id);
        heading = section.map_or(heading, |(_, heading)| heading);
        match arg.is_positional() {
            true => arg,
            false => with_variable(arg.help_heading(heading)),
        }
    })
}

/// Parses the command line (the first item is hotrun's own name) and the `HOTRUN_…` variables.
///
/// # Errors
///
/// An option or a value is invalid. In clap, a request for help or for the version is an error, too.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut cli = Cli::from_arg_matches(&command().try_get_matches_from(args)?)?;
    // The variable's value may contain empty lines, for example at its end.
    cli.env.retain(|pair| !pair.is_empty());
    Ok(cli)
}

/// The options whose variables hold one value on each line. If the variable is not set, a value on the command line may
/// contain line breaks.
const SPLIT_BY_LINE: [&str; 7] = ["watch", "ignore", "on", "source", "listen", "env", "hook"];

/// Gives an option its environment variable. An empty variable counts as unset, so that users can disable it for one
/// command.
fn with_variable(mut arg: Arg) -> Arg {
    let name = arg.get_long().map(variable).unwrap_or_default();
    let value = std::env::var_os(&name);
    let is_empty = value.as_ref().is_some_and(|value| value.is_empty());
    if value.is_some() && SPLIT_BY_LINE.contains(&arg.get_id().as_str()) {
        arg = arg.value_delimiter('\n');
    }
    let exits = matches!(arg.get_action(), ArgAction::Help | ArgAction::Version);
    if exits || is_empty {
        return arg;
    }
    let arg = match matches!(arg.get_action(), ArgAction::SetTrue) {
        true => arg.value_parser(BoolishValueParser::new()),
        false => arg,
    };
    arg.env(name).hide_env(true)
}

#[cfg(test)]
mod tests;
