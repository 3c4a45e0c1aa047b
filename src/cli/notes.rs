//! Help text that is not a doc comment. A paragraph is one line here, because clap wraps it.

use crate::guide::PAGES;

pub(super) const ON: &str = "\
Run a different action when matching files change (repeatable)

  build        build, then start a new generation, as for other files
  restart      start a new generation from the last build
  signal:HUP   send this signal to the program
  run:COMMAND  run this shell command and nothing else
  ignore       do nothing

A program that doesn't handle the signal is restarted instead. \
A GLOB with a `/` matches paths (`config/*.toml`, `data/**`), one without matches names (`*.sql`). \
The last matching rule applies. \
Files in a directory that a GLOB names are watched even if they are ignored or outside the watched directories. \
By default, `.env` and the file of `--env-file` have the action `restart`.";

pub(super) const READY: &str = "\
How to detect that a new generation is ready

  auto            READY=1, waiting for connections, or 500ms
  listen          it waits for connections on all its sockets
  notify          it sends READY=1 to NOTIFY_SOCKET
  http:/path      the path responds with a 2xx or 3xx status
  tcp             it accepts a connection
  log:REGEX       it prints a matching line
  exec:COMMAND    the shell command succeeds
  delay:DURATION  this time has passed since its start";

macro_rules! examples {
    () => {
        "\
Examples:
  hotrun                                        run `cargo run` in this package
  hotrun -e go -- go run .                      run a program in any language
  hotrun -e go -b 'go build -o app .' -- ./app  build it first
  hotrun -l 3000 -- cargo run --release         pass port 3000 to the program"
    };
}

const LONG: &str = concat!(
    examples!(),
    "
  hotrun -l 3000 --ready http:/health -- cargo run
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
  r reload, p pause, u undo, e errors, k kill draining, c clear, Enter mark, ? help, q quit

Signals to hotrun:
  INT and TERM stop the program gracefully; a second one, or QUIT, stops it at once. \
USR1 reloads. HUP reloads if hotrun has a terminal, and otherwise acts like TERM.

Exit status:
  0      the user quit
  1      the program could not be stopped cleanly, or hotrun failed
  2      wrong usage
  128+N  ended by signal N"
);

pub(super) fn short() -> String {
    format!(
        concat!(
            examples!(),
            "\n\n`hotrun --help` lists all options. `hotrun help TOPIC` explains {}."
        ),
        topics()
    )
}

pub(super) fn long() -> String {
    format!("{LONG}\n\n`hotrun help TOPIC` explains {}.", topics())
}

/// `a`, `b` and `c`.
fn topics() -> String {
    let topics: Vec<_> = PAGES.iter().map(|page| page.topic).collect();
    match topics.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some(_) | None => topics.concat(),
    }
}
