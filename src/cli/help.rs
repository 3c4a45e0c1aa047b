//! Help text that is not a doc comment.

use crate::guide::PAGES;

pub(super) const ON: &str = "\
Run a different action when matching files change (repeatable)

  build        build, then start a new generation, as for other files
  restart      start a new generation from the last build
  signal:HUP   send this signal to the program
  run:COMMAND  run this shell command and nothing else
  ignore       do nothing

A program that doesn't handle the signal is restarted instead. \
A GLOB with wildcards matches paths if it contains a `/` (`config/*.toml`, `data/**`), and file names otherwise \
(`*.sql`); a GLOB without wildcards is the path of a single file (`Rocket.toml`). \
If several rules match, the last one applies. \
Files in a directory that a GLOB names are watched even if they are ignored or outside the watched directories. \
By default, a change to `.env` or to the `--env-file` file restarts the program.";

pub(super) const SOURCE: &str = "\
Also treat each line that a command prints as a change (repeatable)

A configuration center, a queue or anything else can cause a reload: \
`--source cfg='etcdctl watch --prefix /app/'`. \
With `NAME=etcd://HOST:PORT/PREFIX`, each change of such a key counts. \
The change is named `@NAME`. It restarts the program from the last build, unless `--on '@NAME=ACTION'` says otherwise. \
The command runs as long as hotrun, with the program's environment. If it ends, it is started again after 1, 2, 4 … 30s; \
once it has run for 5s, that counts as a change, too. \
See `hotrun help sources`.";

pub(super) const HOOK: &str = "\
Run a shell command when something happens to a generation (repeatable)

  before-start    before it starts; a failure prevents the start
  ready           it is ready
  live            it has become live
  drain           it is no longer live; before the stop signal
  gone            its last process has ended
  failed          its build or start has failed, or it has crashed
  every:DURATION  it has become live, and then again and again

The command has the program's environment and HOTRUN_EVENT, HOTRUN_GENERATION, HOTRUN_INSTANCE, HOTRUN_PID, HOTRUN_ADDRESS \
(the first one) and HOTRUN_CHANGED (the changed files and sources, one per line). \
It is killed after 30s; `before-start` after --ready-timeout, `drain` after half of --stop-timeout. \
No command delays the switch.";

pub(super) const READY: &str = "\
How to detect that a new generation is ready

  auto            it sends READY=1, or listens, or runs for 500ms
  listen          it waits for connections on all its sockets
  notify          it sends READY=1 to NOTIFY_SOCKET
  http:/path      the path responds with a 2xx or 3xx status
  tcp             it accepts a connection
  log:REGEX       it prints a matching line
  exec:COMMAND    the shell command succeeds
  delay:DURATION  this time has passed since its start";

pub(super) const WARM_UP: &str = "\
Warm up a new generation that is ready, before it goes live

HOW is `http:/path`, a request that must get a 2xx or 3xx status, or `exec:COMMAND`, a shell command that must \
succeed. The request, and everything the command sends to HOTRUN_ADDRESS, reaches only the new generation, as \
in `exec:'curl -fsS http://$HOTRUN_ADDRESS/warm'`. The variable is `127.0.0.1:PORT`, without `http://`; it is \
not set if the generation listens on no TCP address. The command has the program's environment and \
HOTRUN_GENERATION. If the warm-up fails, or has not ended at --ready-timeout, the old generation keeps \
serving.";

pub(super) const ALIVE: &str = "\
Replace the live generation when it no longer works

  http:/path      the path responds with a 2xx or 3xx status
  exec:COMMAND    the shell command succeeds

If the check fails several times in a row, hotrun starts the same build beside \
the generation, switches, and stops the old one. It does so at most twice, then waits for a change. \
Checks do not count while a debugger traces the program or a signal has stopped it.

Parameters may follow, as in `http:/health,every=2s`:

  after=0s        the time from going live to the first check
  every=10s       the time from one check to the next
  timeout=1s      how long a check may take
  failures=3      how many checks in a row must fail";

pub(super) const EXAMPLES: &str = "\
Examples:
  hotrun                                        run `cargo run` in this package
  hotrun -e go -- go run .                      run a program in any language
  hotrun -e go -b 'go build -o app .' -- ./app  build it first
  hotrun -l 3000 -- cargo run --release         pass port 3000 to the program";

pub(super) const LONG: &str = "  hotrun -l 3000 --ready http:/health -- cargo run
  hotrun --on 'config/*.toml=signal:HUP' --on 'data/**=restart' -- cargo run
  hotrun --generate bash > ~/.local/share/bash-completion/completions/hotrun

Values:
  A duration is a number and a unit: 250ms, 10s, 1m30s.
  A signal is a name or a number: TERM, SIGTERM, 15.

Environment:
  Every option has a variable: HOTRUN_STOP_TIMEOUT sets --stop-timeout, and so on. \
An option on the command line overrides its variable. \
The variable of a repeatable option holds one value per line.
  hotrun respects NO_COLOR, CLICOLOR_FORCE, CI and TERM=dumb.

Keys on a live terminal:
  r reload   p pause   u undo   e errors   k kill draining   c clear
  + - s share more, less or all   Enter mark   ? help   q quit

Signals:
  INT and TERM stop the program gracefully; a second one, or QUIT, stops it at once. \
USR1 reloads. HUP reloads if hotrun has a terminal, and otherwise acts like TERM.

Exit status:
  0      the user quit
  1      the program could not be stopped cleanly, or hotrun failed
  2      wrong usage
  128+N  ended by signal N";

/// The help's sections, each with its first option.
pub(super) const SECTIONS: &[(&str, &str)] = &[
    ("watch", "Watching"),
    ("build", "Building"),
    ("adopt", "Sockets"),
    ("ready", "Readiness"),
    ("share", "Gradual release"),
    ("rollback_within", "Stopping"),
    ("instances", "Program"),
    ("ui", "Output"),
    ("log", "Other"),
];

pub(super) fn short() -> String {
    format!(
        "{EXAMPLES}\n\n`hotrun --help` lists all options.\n{}",
        topics()
    )
}

pub(super) fn long() -> String {
    format!("{EXAMPLES}\n{LONG}\n\n{}", topics())
}

fn topics() -> String {
    let topics: Vec<_> = PAGES.iter().map(|page| page.topic).collect();
    format!("`hotrun help TOPIC` explains: {}.", topics.join(", "))
}
