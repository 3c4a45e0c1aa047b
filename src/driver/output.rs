//! Passes on what a program prints.

use std::sync::Arc;

use console::strip_ansi_codes;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::mpsc::UnboundedSender;

use crate::process::Pty;
use crate::process::output::Lines;
use crate::reload::GenId;
use crate::ui::{Feed, Report, Stream};

/// How many bytes of a terminal to pass on at a time.
const CHUNK: usize = 32 * 1024;
/// The longest line in bytes that readiness sees as a whole.
const MAX_LINE: usize = 16 * 1024;

/// Passes on what arrives from a pipe; `ready` gets each line.
pub(super) async fn from_pipe(
    id: GenId,
    stream: Stream,
    pipe: Receiver,
    feed: Feed,
    mut ready: Option<UnboundedSender<Vec<u8>>>,
) {
    let mut lines = Lines::new(pipe);
    while let Some(piece) = lines.next().await {
        let mut bytes = piece.bytes;
        if let Some(lines) = &ready
            && lines.send(bytes.clone()).is_err()
        {
            ready = None;
        }
        if piece.ends_line {
            bytes.push(b'\n');
        }
        feed.pass(Report::Output { id, stream, bytes }).await;
    }
    feed.report(Report::OutputEnded { id, stream });
}

/// Passes on what is printed on a terminal, until all processes have closed it. A terminal does not tell standard output
/// and standard error apart.
pub(super) async fn from_pty(
    id: GenId,
    pty: Arc<Pty>,
    feed: Feed,
    ready: Option<UnboundedSender<Vec<u8>>>,
) {
    let mut lines = ready.map(ReadyLines::new);
    let mut buffer = vec![0; CHUNK];
    let stream = Stream::Stdout;
    while let Ok(count @ 1..) = pty.read(&mut buffer).await {
        let bytes = buffer[..count].to_vec();
        if let Some(ready) = &mut lines
            && !ready.take(&bytes)
        {
            lines = None;
        }
        feed.pass(Report::Output { id, stream, bytes }).await;
    }
    feed.report(Report::OutputEnded { id, stream });
}

/// The lines for readiness, without the colours that programs use on a terminal.
struct ReadyLines {
    to: UnboundedSender<Vec<u8>>,
    line: Vec<u8>,
}

impl ReadyLines {
    fn new(to: UnboundedSender<Vec<u8>>) -> Self {
        Self {
            to,
            line: Vec::new(),
        }
    }

    /// Returns whether the receiver is still there.
    fn take(&mut self, bytes: &[u8]) -> bool {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            let ended = self.line.ends_with(b"\n");
            let text = String::from_utf8_lossy(&self.line);
            let text = strip_ansi_codes(text.trim_end());
            // A line without an end may be a prompt. It is sent again when it is complete.
            if self.to.send(text.as_bytes().to_vec()).is_err() {
                return false;
            }
            if ended || self.line.len() > MAX_LINE {
                self.line.clear();
            }
        }
        true
    }
}
