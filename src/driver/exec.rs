//! Runs the command of `--ready exec:`.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use crate::process::output::Lines;
use crate::process::{self, Process, Report, Spec};
use crate::ready::Exec;

/// Runs shell lines in the program's environment and folder. Under a guardian, like all that hotrun starts:
/// what is given up is killed with all that it started.
pub(super) fn runner(env: Vec<(OsString, OsString)>, workdir: PathBuf) -> Exec {
    Box::new(move |line| {
        let spec = Spec {
            argv: vec!["sh".into(), "-c".into(), line.into()],
            env: env.clone(),
            workdir: workdir.clone(),
            sockets: Vec::new(),
            stored: Vec::new(),
            watchdog: None,
            listen_pid: false,
            notify: None,
            cleanup: Vec::new(),
            intercept: None,
        };
        Box::pin(run(spec))
    })
}

async fn run(spec: Spec) -> io::Result<bool> {
    let process = process::spawn(spec).map_err(io::Error::other)?;
    let Process {
        control: _control,
        mut reports,
        stdout,
        stderr,
    } = process;
    // What it prints is of no interest, but it must not wait for a reader.
    let output = async { tokio::join!(drain(stdout), drain(stderr)) };
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

async fn drain(pipe: tokio::net::unix::pipe::Receiver) {
    let mut lines = Lines::new(pipe);
    while lines.next().await.is_some() {}
}
