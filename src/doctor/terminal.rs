use std::env;
use std::io::{IsTerminal, stderr, stdin, stdout};

use super::Finding;
use crate::os::terminal;

const NAME: &str = "terminal";

pub(super) fn check() -> Finding {
    let terminals = stdin().is_terminal() && stdout().is_terminal() && stderr().is_terminal();
    let kind = env::var("TERM").unwrap_or_default();
    let ci = env::var_os("CI").is_some_and(|value| !value.is_empty());
    if !terminals {
        return Finding::note(
            NAME,
            "plain lines, because input or output is not a terminal",
            "start hotrun on a terminal, without a pipe, for the live screen",
        );
    }
    if kind.is_empty() || kind == "dumb" || ci {
        let why = if ci {
            "`CI` is set"
        } else {
            "`TERM` is empty or `dumb`"
        };
        return Finding::note(
            NAME,
            format!("plain lines, because {why}"),
            "`--ui live` forces the live screen",
        );
    }
    let size = terminal::size();
    let colours = match console::colors_enabled() {
        true => "with colors",
        false => "without colors",
    };
    let text = format!(
        "the live screen, {} by {}, {colours}",
        size.columns, size.rows
    );
    Finding::works(NAME, text)
}
