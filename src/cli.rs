//! The command line: options as typed, and the one source of the help, completions and man page.
//!
//! The doc comments of [`Cli`] are the help text. Every option also has an environment variable, named by one
//! rule in [`command`], so that none can be forgotten. What the options mean together is decided in
//! [`config`](crate::config).

mod choices;
mod generate;
mod mistake;
mod notes;
mod on;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{
    Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches, Parser, ValueHint,
};
use nix::sys::signal::Signal;

pub use choices::{Adopt, ColorWhen, ListenPid, Poll, Stdin, UiKind, WhenBusy};
pub use generate::{Generate, generate};
pub use mistake::{Mistake, explain};
pub use on::{On, OnAction};
pub use values::Wrong;

use notes::{EXAMPLES, EXAMPLES_AND_NOTES};

/// Rebuild a server when its files change, start it beside the old one, and switch without losing a connection
///
/// hotrun builds and starts the program, watches its files, and on a change builds again, starts the new
/// generation beside the old one, waits until it is ready, sends every new connection to it, and lets the old
/// one finish what it has. A broken build or a program that fails to start changes nothing for its clients.
///
/// COMMAND is what to run. With `cargo run …` the build is cargo's, and the program is started directly.
/// Without COMMAND, in a cargo package, it is `cargo run`. Any other COMMAND is started anew on a change.
#[derive(Parser, Clone, Debug)]
#[command(
    name = "hotrun",
    version,
    override_usage = "hotrun [OPTIONS] [-- COMMAND...]"
)]
#[command(disable_help_flag = true, disable_version_flag = true)]
#[command(max_term_width = 100, after_help = EXAMPLES, after_long_help = EXAMPLES_AND_NOTES)]
pub struct Cli {
    /// Watch this file or directory (repeatable)
    ///
    /// Without this option: in cargo mode the package and its local path dependencies, else the working
    /// directory. Directories are watched with all that is in them, except what is ignored.
    #[arg(short, long, value_name = "PATH", value_delimiter = '\n', help_heading = "Watching", value_hint = ValueHint::AnyPath)]
    pub watch: Vec<PathBuf>,

    /// Ignore files that match this glob (repeatable)
    ///
    /// The glob is written as in a `.gitignore` file.
    #[arg(short, long, value_name = "GLOB", value_delimiter = '\n', help_heading = "Watching", value_parser = values::glob)]
    pub ignore: Vec<String>,

    /// Watch only files with these extensions, separated by commas
    #[arg(short, long, value_name = "EXT,…", value_delimiter = ',', help_heading = "Watching", value_parser = values::extension)]
    pub exts: Vec<String>,

    /// Watch files that version control ignores, too
    ///
    /// Without this option `.gitignore`, `.ignore` and git's global excludes are respected.
    #[arg(long, help_heading = "Watching")]
    pub no_vcs_ignore: bool,

    /// Let changes of some files do something else (repeatable)
    ///
    ///   build         build and start anew, as changes of other files do
    ///   restart       start anew from the last build, as soon as it is ready in place of the old one
    ///   signal:HUP    send that signal to the program, which reads its configuration again by itself;
    ///                 a program that does not handle it is restarted
    ///   run:COMMAND   run that shell line and nothing else
    ///   ignore        nothing
    ///
    /// A GLOB with a `/` is about paths (`config/*.toml`, `data/**`), one without about names (`*.sql`). The
    /// last that matches wins. Files in a folder that a GLOB names are watched even where they are ignored or
    /// outside of what is watched. Without this option `.env` and the file of `--env-file` mean `restart`.
    #[arg(long, value_name = "GLOB=ACTION", value_delimiter = '\n', verbatim_doc_comment, help_heading = "Watching", value_parser = on::rule)]
    pub on: Vec<On>,

    /// How long to let changes settle before a build
    #[arg(long, value_name = "DURATION", default_value = "20ms", help_heading = "Watching", value_parser = values::duration)]
    pub debounce: Duration,

    /// Look for changes instead of being told of them
    ///
    /// For file systems that do not tell. Those that are known for it (NFS, SMB, FUSE, folders of a host) are
    /// looked at anyway, as is what the system's limit leaves no room for. It costs at most a hundredth of one
    /// processor: the more there is to look at, the longer the pause. With a DURATION (`--poll=2s`) the pause is that.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, default_missing_value = "on", help_heading = "Watching", value_parser = values::poll)]
    pub poll: Option<Poll>,

    /// Build with this shell line before COMMAND is started
    ///
    /// COMMAND is started only when it succeeds. What it writes into a watched directory counts as a change
    /// unless it is ignored: see `--exts` and `--ignore`.
    #[arg(short, long, value_name = "LINE", help_heading = "Building", value_hint = ValueHint::CommandString)]
    pub build: Option<String>,

    /// What a change does to a build that runs
    #[arg(
        long,
        value_name = "WHAT",
        default_value = "cancel",
        help_heading = "Building"
    )]
    pub when_busy: WhenBusy,

    /// Take over the sockets that the program opens by itself
    ///
    /// `auto`: where the system allows it, which hotrun finds out at the start (Linux 5.19 or newer, seccomp). The
    /// program needs no change and keeps its own sockets; hotrun lets the next generation have the same addresses
    /// beside it. Without the right to install a seccomp filter (CAP_SYS_ADMIN) this takes no_new_privs: `sudo` and
    /// other setuid programs do not work inside the program then. `never`: only what `--listen` names is held.
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "Sockets"
    )]
    pub adopt: Adopt,

    /// Hold this socket open and pass it to the program (repeatable)
    ///
    /// ADDRESS is `3000`, `:3000`, `127.0.0.1:3000`, `[::]:3000` or `unix:PATH`; a port alone is on
    /// 127.0.0.1. The socket is open before the first build and stays open until hotrun ends. The program
    /// takes it from descriptor 3 (the second from 4, and so on), as with systemd's socket activation:
    /// `LISTEN_FDS`, `LISTEN_FDNAMES` and, where it can be right, `LISTEN_PID` are set.
    #[arg(
        short,
        long,
        value_name = "[NAME=]ADDRESS",
        value_delimiter = '\n',
        help_heading = "Sockets"
    )]
    pub listen: Vec<String>,

    /// Whether to set `LISTEN_PID` for the program
    ///
    /// Libraries that check it want the pid of the process that takes the sockets. A wrapper that starts
    /// the program as its child (`npm`, `sh -c`) makes it wrong, so `auto` leaves it out behind those that
    /// are known.
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "Sockets"
    )]
    pub listen_pid: ListenPid,

    /// Let requests wait while nothing serves and nothing is on its way
    ///
    /// Without this option an HTTP request that comes after a broken first build, or a crash, is answered with 503 and the
    /// reason: as text, or as a page for a browser, which loads itself again once the program is back. Other protocols
    /// always wait, and so does everything while something is being built or started.
    #[arg(long, help_heading = "Sockets")]
    pub no_error_page: bool,

    /// How to know that a new generation is ready
    ///
    ///   auto            it says so, or it waits for connections, or it has lived for a moment
    ///   listen          it waits for connections on a socket
    ///   notify          it sends READY=1 to NOTIFY_SOCKET
    ///   http:/path      that path answers with 2xx or 3xx
    ///   tcp             it accepts a connection
    ///   log:REGEX       it prints a line that matches
    ///   exec:COMMAND    that shell line succeeds
    ///   delay:DURATION  it has lived that long
    #[arg(
        long,
        value_name = "HOW",
        default_value = "auto",
        verbatim_doc_comment,
        help_heading = "Readiness"
    )]
    pub ready: String,

    /// How long a new generation may take to be ready
    #[arg(long, value_name = "DURATION", default_value = "60s", help_heading = "Readiness", value_parser = values::duration)]
    pub ready_timeout: Duration,

    /// Take a program for hung that gives no sign of life for this long
    ///
    /// It gets `WATCHDOG_USEC`, and has to send WATCHDOG=1 to NOTIFY_SOCKET at least that often once it is ready, as
    /// with systemd's `WatchdogSec=`. One that does not gets SIGABRT, and counts as crashed.
    #[arg(long, value_name = "DURATION", help_heading = "Readiness", value_parser = values::duration)]
    pub watchdog: Option<Duration>,

    /// How soon after its switch a crash leads back to the generation before it
    ///
    /// The old one serves again if it still drains, else its build is started anew. What crashes later is started once
    /// more after a second. Two such starts at most; then hotrun waits for a change. `0s`: it starts nothing by itself.
    /// A program that listens on nothing and neither sends `READY=1` nor answers a probe is left alone, as is one that
    /// ends with status 0.
    #[arg(long, value_name = "DURATION", default_value = "10s", help_heading = "Stopping", value_parser = values::duration)]
    pub go_back_within: Duration,

    /// The signal that asks the old generation to finish
    ///
    /// A name or a number: `TERM`, `SIGTERM`, `15`.
    #[arg(long, value_name = "SIGNAL", default_value = "TERM", help_heading = "Stopping", value_parser = values::signal)]
    pub stop_signal: Signal,

    /// How long the old generation may take to finish before it is killed
    ///
    /// One that does not handle the signal may take so long to finish its connections, then gets the signal, and
    /// is killed two seconds later, or after this time again if that is shorter.
    #[arg(long, value_name = "DURATION", default_value = "10s", help_heading = "Stopping", value_parser = values::duration)]
    pub stop_timeout: Duration,

    /// Stop the old generation before the new one starts
    ///
    /// For a program that cannot run twice at once. Its sockets stay open, connections wait. Without `--adopt`
    /// and `--listen`, and for a program that listens on nothing, it is always so.
    #[arg(long, help_heading = "Stopping")]
    pub stop_first: bool,

    /// Set a variable in the program's environment (repeatable)
    #[arg(short = 'E', long, value_name = "NAME=VALUE", help_heading = "Program")]
    pub env: Vec<OsString>,

    /// Read variables for the program from this file
    ///
    /// Lines of `NAME=VALUE`. The file is read again at every start. A variable that is already in the
    /// environment keeps its value; `--env` wins over both.
    #[arg(long, value_name = "PATH", help_heading = "Program", value_hint = ValueHint::FilePath)]
    pub env_file: Option<PathBuf>,

    /// Work in this directory
    ///
    /// The build and the program run there, and the paths of other options are relative to it.
    #[arg(short = 'C', long, value_name = "DIR", help_heading = "Program", value_hint = ValueHint::DirPath)]
    pub workdir: Option<PathBuf>,

    /// Who gets what is typed, on a live terminal
    #[arg(
        long,
        value_name = "WHO",
        default_value = "hotrun",
        help_heading = "Program"
    )]
    pub stdin: Stdin,

    /// How to show what happens
    #[arg(
        long,
        value_name = "UI",
        default_value = "auto",
        help_heading = "Output"
    )]
    pub ui: UiKind,

    /// When to use colours in hotrun's own lines
    ///
    /// `auto`: on a terminal, unless `NO_COLOR` is set; `CLICOLOR_FORCE` forces them. The program's output
    /// is never changed.
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "Output"
    )]
    pub color: ColorWhen,

    /// Clear the terminal before a build
    #[arg(short, long, help_heading = "Output")]
    pub clear: bool,

    /// Name the files that caused a build
    #[arg(long, help_heading = "Output")]
    pub why: bool,

    /// Show failures only
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,

    /// Show more detail
    #[arg(short, long, action = ArgAction::Count, help_heading = "Output")]
    pub verbose: u8,

    /// Print shell completions or the man page
    #[arg(long, value_name = "WHAT", help_heading = "Other")]
    pub generate: Option<Generate>,

    /// Say what of hotrun works here, and what to do about what does not
    ///
    /// The exit code is 0 if all that is needed works.
    #[arg(long, help_heading = "Other")]
    pub doctor: bool,

    /// Print help: `-h` in short, `--help` in full
    #[arg(short, long, action = ArgAction::Help, help_heading = "Other")]
    help: Option<bool>,

    /// Print the version
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = "Other")]
    version: Option<bool>,

    /// What to run; `--` before it keeps its options apart
    #[arg(trailing_var_arg = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

/// The options as clap knows them, each with its environment variable.
pub fn command() -> Command {
    Cli::command().mut_args(|arg| {
        if arg.is_positional() {
            arg
        } else {
            with_variable(arg)
        }
    })
}

/// Reads the command line (the first item is hotrun's own name) and the `HOTRUN_…` variables.
///
/// # Errors
///
/// A wrong option or value. Requests for help and for the version are errors too, as clap has it.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let matches = command().try_get_matches_from(args)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    if from_variable(&matches, "env") {
        cli.env = cli
            .env
            .iter()
            .flat_map(|lines| values::lines(lines))
            .collect();
    }
    settle_verbosity(&mut cli, &matches)?;
    Ok(cli)
}

/// The variable that sets the option with this long name.
pub fn variable(long: &str) -> String {
    format!("HOTRUN_{}", long.replace('-', "_").to_uppercase())
}

/// An empty variable counts as none: that is how people switch one off for one command.
fn with_variable(arg: Arg) -> Arg {
    if asks_for_text(&arg) {
        return arg;
    }
    let Some(name) = arg.get_long().map(variable) else {
        return arg;
    };
    let arg = if matches!(arg.get_action(), ArgAction::SetTrue) {
        arg.value_parser(FalseyValueParser::new())
    } else {
        arg
    };
    if std::env::var_os(&name).is_some_and(|value| value.is_empty()) {
        return arg;
    }
    arg.env(name).hide_env(true)
}

/// Help and version are questions, not settings.
fn asks_for_text(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Help | ArgAction::Version)
}

fn from_variable(matches: &ArgMatches, id: &str) -> bool {
    matches.value_source(id) == Some(ValueSource::EnvVariable)
}

/// `-q` and `-v` exclude each other; on the command line either wins over the other's variable.
fn settle_verbosity(cli: &mut Cli, matches: &ArgMatches) -> Result<(), clap::Error> {
    if !cli.quiet || cli.verbose == 0 {
        return Ok(());
    }
    match (
        from_variable(matches, "quiet"),
        from_variable(matches, "verbose"),
    ) {
        (true, false) => cli.quiet = false,
        (false, true) => cli.verbose = 0,
        (false, false) | (true, true) => {
            let text = "`--quiet` and `--verbose` exclude each other";
            return Err(clap::Error::raw(ErrorKind::ArgumentConflict, text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
