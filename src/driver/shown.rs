//! What a program prints on a terminal of its own.

use std::sync::Arc;

use console::strip_ansi_codes;
use tokio::sync::mpsc::UnboundedSender;

use crate::process::Pty;
use crate::reload::GenId;
use crate::ui::{Report, Stream};

use super::feed::Feed;

/// How much is passed on at a time, at most.
const CHUNK: usize = 32 * 1024;
/// A line that readiness is to see is no longer.
const LONGEST: usize = 16 * 1024;

/// Passes on what is printed until the tree has closed the terminal. Which output it was is not to be told: a terminal
/// is one place.
pub(super) async fn show(
    id: GenId,
    terminal: Arc<Pty>,
    feed: Feed,
    ready: Option<UnboundedSender<Vec<u8>>>,
) {
    let mut lines = ready.map(Told::new);
    let mut buffer = vec![0; CHUNK];
    while let Ok(count @ 1..) = terminal.read(&mut buffer).await {
        let bytes = buffer[..count].to_vec();
        if let Some(told) = &mut lines
            && !told.take(&bytes)
        {
            lines = None;
        }
        let stream = Stream::Stdout;
        feed.pass(Report::Output { id, stream, bytes }).await;
    }
    let stream = Stream::Stdout;
    feed.tell(Report::OutputEnded { id, stream });
}

/// The lines as readiness wants them: whole, and without the colours that a program uses on a terminal.
struct Told {
    to: UnboundedSender<Vec<u8>>,
    line: Vec<u8>,
}

impl Told {
    fn new(to: UnboundedSender<Vec<u8>>) -> Self {
        Self {
            to,
            line: Vec::new(),
        }
    }

    /// Whether anybody still wants to know.
    fn take(&mut self, bytes: &[u8]) -> bool {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            let ended = self.line.ends_with(b"\n");
            let text = String::from_utf8_lossy(&self.line);
            let text = strip_ansi_codes(text.trim_end());
            // What has no end yet may be a prompt: it is told, and told again when it is whole.
            if self.to.send(text.as_bytes().to_vec()).is_err() {
                return false;
            }
            if ended || self.line.len() > LONGEST {
                self.line.clear();
            }
        }
        true
    }
}
