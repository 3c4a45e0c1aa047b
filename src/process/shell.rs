//! Runs commands and discards their output.

use std::io;

use tokio::io::{copy, sink};

use super::{FirstExit, Process, Spawner, Spec};
use crate::reload::Ended;

/// Runs a command under its own guardian and discards its output. Returns whether the command succeeded. If the command
/// waits for the terminal, kills it and returns an error. Dropping the future kills the command and everything that it
/// started.
pub async fn run(spec: Spec) -> io::Result<bool> {
    let process = Spawner::default().spawn(spec);
    let process = process.map_err(|error| io::Error::other(format!("{error:#}")))?;
    let Process {
        control: _control,
        mut events,
        mut stdout,
        mut stderr,
    } = process;
    // A full pipe would block the command.
    let (mut out, mut err) = (sink(), sink());
    let output = async { tokio::join!(copy(&mut stdout, &mut out), copy(&mut stderr, &mut err)) };
    let ended = async {
        match events.first_exit().await.map_err(io::Error::other)? {
            FirstExit::Ended(ended) => Ok(ended.is_some_and(Ended::success)),
            FirstExit::NeedsTerminal(_) => Err(io::Error::other("it waits for the terminal")),
        }
    };
    tokio::pin!(output, ended);
    tokio::select! {
        ended = &mut ended => ended,
        _ = &mut output => ended.await,
    }
}
