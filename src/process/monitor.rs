use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::{Refusal, Report, Step, orphans, wire};

/// What becomes of a program, as it happens.
#[derive(Debug)]
pub struct Reports(UnboundedReceiver<Report>);

impl Reports {
    /// The next report. The last one is [`Report::Refused`] or [`Report::Gone`]; after it, `None`.
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Report> {
        self.0.recv().await
    }
}

/// Listens to a guardian in a task of its own, so that it is taken in even if nobody asks for its reports.
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
    gone: Arc<AtomicBool>,
    program: Option<i32>,
    exited: bool,
    sender: UnboundedSender<Report>,
}

impl Monitor {
    async fn run(mut self) {
        let last = self.listen().await;
        // Before it is taken in: from then on its number may be somebody else's.
        self.gone.store(true, Ordering::Release);
        let number = self.guardian.id();
        let _ = self.guardian.wait().await;
        orphans::forget_guardian(number);
        let last = match last {
            Some(report) => report,
            None => self.clear_up().await,
        };
        self.send(last);
    }

    /// Passes reports on up to the last one, or to the guardian's unforeseen end.
    async fn listen(&mut self) -> Option<Report> {
        // An error is the end too: there is nothing more to be heard.
        while let Ok(Some(line)) = self.lines.next_line().await {
            let Some(report) = wire::parse_report(&line) else {
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

    /// The guardian has been killed: its tree has fallen to us.
    async fn clear_up(&mut self) -> Report {
        let ended = orphans::reap(self.program).await;
        let Some(_) = self.program else {
            let error = Refusal {
                step: Step::Guardian,
                errno: nix::errno::Errno::ECHILD as i32,
            };
            return Report::Refused { error };
        };
        if let Some(ended) = ended.filter(|_| !self.exited) {
            let survivors = false;
            self.send(Report::Exited { ended, survivors });
        }
        Report::Gone
    }

    fn send(&self, report: Report) {
        // Nobody listens any more: the tree is taken care of all the same.
        let _ = self.sender.send(report);
    }
}
