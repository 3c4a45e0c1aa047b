//! Which options make sense with several instances of the program.

use crate::cli::{Cli, FreshArg};
use crate::error::Failure;

/// Checks that no option contradicts `--instances`.
pub(super) fn check(cli: &Cli) -> Result<(), Failure> {
    let why = if cli.instances.count == 1 {
        return Ok(());
    } else if cli.fresh != FreshArg::Off {
        "`--fresh` sends no new connection to the old version, but during a reload of several `--instances` both versions serve"
    } else if cli.share.share.is_some() {
        "`--share` divides new connections between two generations, but several `--instances` get equal shares"
    } else if cli.stop_first {
        "`--stop-first` is for a program that cannot run twice at a time, but several `--instances` do"
    } else if cli.keep.is_some() {
        "`--keep` cannot be used with several `--instances`: it would keep an old generation of each"
    } else {
        return Ok(());
    };
    Err(Failure::usage(why).hint("leave one of them out"))
}
