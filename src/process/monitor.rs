use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::orphans;
use super::wire::{self, Refusal, Report, Step};

/// The reports about one program.
#[derive(Debug)]
pub struct Reports(UnboundedReceiver<Report>);

impl Reports {
    /// Waits for the next report. The last one is [`Report::Refused`] or [`Report::Gone`]; after that, returns `None`.
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Report> {
        self.0.recv().await
    }
}

/// Monitors a guardian in a separate task, so that it is reaped even if nobody reads its reports.
pub(super) fn monitor(socket: UnixStream, guardian: Child, gone: Arc<AtomicBool>) -> Reports {
    let (sender, receiver) = mpsc::unbounded_channel();
    let monitor = Monitor {
        lines: BufReader::new(socket).lines(),
        guardian,
        gone,
        program: None,
        exited: false,
        sender,
    };
    tokio::spawn(monitor.run());
    Reports(receiver)
}

struct Monitor {
    lines: Lines<BufReader<UnixStream>>,
    guardian: Child,
    /// Set before the guardian is reaped.
    gone: Arc<AtomicBool>,
    program: Option<i32>,
    exited: bool,
    sender: UnboundedSender<Report>,
}

impl Monitor {
    async fn run(mut self) {
        let last = self.forward_reports().await;
        // Must happen before the guardian is reaped, because its pid may then belong to another process.
        self.gone.store(true, Ordering::Release);
        let pid = self.guardian.id();
        let _ = self.guardian.wait().await;
        orphans::forget_guardian(pid);
        let last = match last {
            Some(report) => report,
            None => self.kill_orphans().await,
        };
        self.send(last);
    }

    /// Forwards reports and returns the last one, or `None` if the guardian was killed.
    async fn forward_reports(&mut self) -> Option<Report> {
        // A read error is treated like end of file.
        while let Ok(Some(line)) = self.lines.next_line().await {
            let Some(report) = wire::from_line(&line) else {
                continue;
            };
            match report {
                Report::Started { pid } => self.program = Some(pid),
                Report::Exited { .. } => self.exited = true,
                Report::Refused { .. } | Report::Gone => return Some(report),
            }
            self.send(report);
        }
        None
    }

    /// Kills the tree that hotrun inherits when the guardian is killed. Returns the last report.
    async fn kill_orphans(&mut self) -> Report {
        let ended = orphans::kill_all(self.program).await;
        if self.program.is_none() {
            let error = Refusal::new(Step::Guardian, Errno::ECHILD);
            return Report::Refused { error };
        }
        if let Some(ended) = ended.filter(|_| !self.exited) {
            let survivors = false;
            self.send(Report::Exited { ended, survivors });
        }
        Report::Gone
    }

    fn send(&self, report: Report) {
        // Fails if nobody reads the reports, but the tree is monitored even then.
        let _ = self.sender.send(report);
    }
}
