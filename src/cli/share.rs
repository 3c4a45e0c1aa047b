use std::time::Duration;

use clap::{Args, ValueHint};

use crate::reload::ShareSteps;
use crate::value::parse_duration;

// No doc comment, because clap would use it as the description of the whole command.
#[derive(Args, Clone, Debug)]
#[allow(missing_docs, reason = "the options are documented")]
pub struct ShareArgs {
    /// Give a new generation only a share of new connections at first
    ///
    /// STEPS are percentages, as in `10%` or `10%,50%,100%`. A generation that is ready starts with the first step, while
    /// the live one keeps the other connections. With `--share-every`, it takes the next steps itself; without, it waits
    /// for the keys `+` and `-` (by step, or by 10 points if there is only one), `s` (all) and `u` (none: its
    /// connections finish, then it stops). If it crashes or `--share-check` fails, it gets no more connections, and the live one
    /// was never touched. See `hotrun help share`.
    #[arg(long, value_name = "STEPS", hide_short_help = true)]
    pub share: Option<ShareSteps>,

    /// Take the next step of --share after this time
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, hide_short_help = true)]
    pub share_every: Option<Duration>,

    /// Take a step of --share only if this shell command succeeds
    ///
    /// It runs before each step, and every 5s while a generation has a share, with that generation's environment and
    /// HOTRUN_GENERATION. It fails after 10s. If it fails, the generation gets no more connections.
    #[arg(long, value_name = "COMMAND", value_hint = ValueHint::CommandString, hide_short_help = true)]
    pub share_check: Option<String>,

    /// Another address that always leads to the newest ready generation
    ///
    /// It leads there before the generation gets any other connection, so that you or `--share-check` can try it.
    /// ADDRESS is `3001`, `:3001` or `127.0.0.1:3001`; a port alone means 127.0.0.1. A connection goes to the first TCP
    /// address that the generation listens on. The program sees a client on this machine.
    #[arg(long, value_name = "ADDRESS", hide_short_help = true)]
    pub preview: Option<String>,
}
