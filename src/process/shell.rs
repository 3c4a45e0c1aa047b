//! Runs commands and discards their output.

use std::io;

use tokio::io::{copy, sink};

use super::{Process, Spawner, Spec};
use crate::reload::Ended;

/// Runs a command under its own guardian and discards its output. Returns whether the command succeeded. Dropping the
/// future kills the command and everything that it started.
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
        let ended = events.first_exit().await.map_err(io::Error::other)?;
        Ok(ended.is_some_and(Ended::success))
    };
    tokio::pin!(output, ended);
    tokio::select! {
        ended = &mut ended => ended,
        _ = &mut output => ended.await,
    }
}
