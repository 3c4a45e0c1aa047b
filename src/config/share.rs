//! Which combinations of the options for a gradual release make sense.

use std::net::SocketAddr;

use crate::cli::{Cli, FreshArg};
use crate::error::Failure;
use crate::socket::{Address, ListenSpec};

/// Checks the options for a gradual release.
pub(super) fn check(cli: &Cli) -> Result<(), Failure> {
    let (steps, every) = (&cli.share.share, cli.share.share_every);
    let several = steps.as_ref().is_some_and(|steps| !steps.is_single());
    let text = if every.is_some() && !several {
        "`--share-every` needs several steps, as in `--share 10%,50%,100%`"
    } else if every.is_some_and(|every| every.is_zero()) {
        "`--share-every` must be greater than 0"
    } else if cli.share.share_check.is_some() && steps.is_none() {
        "`--share-check` needs `--share`, as in `--share 10%`"
    } else if steps.is_some() && cli.stop_first {
        "`--share` needs two generations at a time, but `--stop-first` stops the old one before the new one starts"
    } else if steps.is_some() && cli.fresh != FreshArg::Off {
        "`--share` sends new connections to the old version after a change, but `--fresh` never does"
    } else {
        return Ok(());
    };
    Err(Failure::usage(text))
}

/// Parses the `--preview` value.
pub(super) fn preview(cli: &Cli) -> Result<Option<SocketAddr>, Failure> {
    let Some(typed) = &cli.share.preview else {
        return Ok(None);
    };
    match typed.parse::<ListenSpec>().map(|spec| spec.address) {
        Ok(Address::Tcp(address)) => Ok(Some(address)),
        Ok(Address::Unix(_)) => Err(Failure::usage(
            "`--preview` needs an IP address, as in `3001`",
        )),
        Err(error) => Err(Failure::usage(format!("`--preview`: {error}"))),
    }
}
