//! What stands below the options in the help.

macro_rules! examples {
    () => {
        "\
Examples:
  hotrun                                       `cargo run` in this package
  hotrun -e go -- go run .                     the program opens its port by itself
  hotrun -e go -b 'go build -o app .' -- ./app
  hotrun -e js,html -- node server.js
  hotrun -l 3000 -- cargo run --release        hold port 3000 and pass it to the program"
    };
}

pub(super) const EXAMPLES: &str = examples!();

pub(super) const EXAMPLES_AND_NOTES: &str = concat!(
    examples!(),
    "
  hotrun -l 3000 --ready http:/health -- cargo run
  hotrun --on 'config/*.toml=signal:HUP' --on 'data/**=restart' -- cargo run
  hotrun --generate bash > ~/.local/share/bash-completion/completions/hotrun

Values:
  A duration is a number and a unit: 250ms, 10s, 1m30s.
  A signal is a name or a number: TERM, SIGTERM, 15.

Environment:
  Every option can be set by a variable: --stop-timeout by HOTRUN_STOP_TIMEOUT, and so on. An option
  on the command line wins. Where an option is repeatable, the variable holds one value a line.
  NO_COLOR, CLICOLOR_FORCE, CI and TERM=dumb are respected.

Keys, on a live terminal:
  r reload, p pause, u undo, e errors, k kill what drains, c clear, Enter mark, ? help, q quit.

Signals to hotrun:
  INT and TERM stop the program in order, a second one or QUIT at once. USR1 reloads. HUP reloads
  while there is a terminal, and otherwise ends hotrun as TERM does.

Exit codes:
  0 the user quit; 1 the program could not be stopped cleanly, or hotrun failed; 2 wrong usage;
  128+N ended by signal N."
);
