use std::env;
use std::io::{IsTerminal, stderr, stdin, stdout};

use super::Finding;
use crate::os::terminal;

const NAME: &str = "terminal";

pub(super) fn examine() -> Finding {
    let terminals = stdin().is_terminal() && stdout().is_terminal() && stderr().is_terminal();
    let kind = env::var("TERM").unwrap_or_default();
    let ci = env::var_os("CI").is_some_and(|value| !value.is_empty());
    if !terminals {
        return Finding::could(
            NAME,
            "none at input and output, so lines are printed",
            "start hotrun at a terminal, without a pipe, for the live screen",
        );
    }
    if kind.is_empty() || kind == "dumb" || ci {
        let why = if ci {
            "`CI` is set"
        } else {
            "`TERM` says that it is dumb"
        };
        return Finding::could(
            NAME,
            format!("{why}, so lines are printed"),
            "`--ui live` asks for the live screen all the same",
        );
    }
    let size = terminal::size();
    let colours = match console::colors_enabled() {
        true => "with colours",
        false => "without colours",
    };
    let text = format!(
        "the live screen, {} by {}, {colours}",
        size.columns, size.rows
    );
    Finding::works(NAME, text)
}
