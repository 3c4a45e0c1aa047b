//! Runs commands and discards their output.

use std::io;

use tokio::io::{copy, sink};

use super::{Process, Report, Spawner, Spec};

/// Runs a command under its own guardian and discards its output. Returns whether the command succeeded. Dropping the
/// future kills the command and everything that it started.
///
/// # Errors
/// The command cannot be started.
pub async fn run(spec: Spec) -> io::Result<bool> {
    let process = Spawner::default().spawn(spec).map_err(io::Error::other)?;
    let Process {
        control: _control,
        mut reports,
        mut stdout,
        mut stderr,
    } = process;
    // A full pipe would block the command.
    let (mut out, mut err) = (sink(), sink());
    let output = async { tokio::join!(copy(&mut stdout, &mut out), copy(&mut stderr, &mut err)) };
    let ended = async {
        loop {
            match reports.next().await {
                Some(Report::Started { .. }) => {}
                Some(Report::Refused { error }) => return Err(io::Error::other(error)),
                Some(Report::Exited { ended, .. }) => return Ok(ended.success()),
                Some(Report::Gone) | None => return Ok(false),
            }
        }
    };
    tokio::pin!(output, ended);
    tokio::select! {
        ended = &mut ended => ended,
        _ = &mut output => ended.await,
    }
}
