//! Splits a program's output into lines without losing a byte.

use std::io;
use std::time::Duration;

use tokio::net::unix::pipe::Receiver;
use tokio::time::{Instant, sleep_until};

/// How long to hold back an incomplete line.
const QUIET: Duration = Duration::from_millis(50);
/// The maximum number of bytes to read at a time.
const CHUNK: usize = 64 * 1024;
/// The maximum length of a piece in bytes. Longer lines are split.
const LONGEST: usize = 16 * 1024;

/// A line or a part of a line. Escape codes and invalid UTF-8 are left unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The output without the newline.
    pub bytes: Vec<u8>,
    /// Whether a newline followed. Otherwise, the piece is an incomplete line such as a prompt, a part of a very long
    /// line, or the end of the output, and the next piece, if any, continues the line. A line may be split inside a
    /// character or an escape code.
    pub ends_line: bool,
}

/// The output of one pipe. The concatenated pieces, with a `\n` after each piece that ends a line, are exactly the
/// output.
#[derive(Debug)]
pub struct Lines {
    pipe: Receiver,
    cutter: Cutter,
    /// When to return an incomplete line.
    show_at: Option<Instant>,
    ended: bool,
}

impl Lines {
    /// Splits the output of this pipe.
    pub fn new(pipe: Receiver) -> Self {
        Self {
            pipe,
            cutter: Cutter::default(),
            show_at: None,
            ended: false,
        }
    }

    /// Waits for the next piece. Returns `None` once the tree has closed the pipe and everything has been returned.
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Piece> {
        loop {
            if let Some(piece) = self.cutter.line() {
                return Some(piece);
            }
            if self.ended {
                return self.cutter.rest();
            }
            let show_at = self.show_at;
            let quiet = async {
                match show_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            // The pipe comes first, because the caller may have been busy for longer than `QUIET`.
            tokio::select! {
                biased;
                readable = self.pipe.readable() => match readable {
                    Ok(()) => self.read(),
                    Err(_) => self.ended = true,
                },
                () = quiet => {
                    self.show_at = None;
                    return self.cutter.rest();
                }
            }
        }
    }

    fn read(&mut self) {
        match self.pipe.try_read(self.cutter.room()) {
            Ok(0) => self.ended = true,
            Ok(count) => {
                self.cutter.filled(count);
                self.show_at = self.cutter.unfinished().then(|| Instant::now() + QUIET);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.ended = true,
        }
    }
}

/// Splits bytes into pieces. Holds at most one chunk and one piece.
#[derive(Debug, Default)]
struct Cutter {
    held: Vec<u8>,
    /// The start of the bytes that have not been returned yet.
    start: usize,
    /// There is no newline between `start` and this position.
    searched: usize,
    /// The end of the bytes, after which there is free space to read into.
    end: usize,
}

impl Cutter {
    /// Returns free space to read into.
    fn room(&mut self) -> &mut [u8] {
        self.held.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.searched -= self.start;
        self.start = 0;
        self.held.resize(self.end + CHUNK, 0);
        &mut self.held[self.end..]
    }

    fn filled(&mut self, count: usize) {
        self.end += count;
    }

    /// Whether the last line has no newline yet.
    fn unfinished(&self) -> bool {
        self.end > self.start && self.held[self.end - 1] != b'\n'
    }

    /// Takes a whole line, or a piece of the maximum length.
    fn line(&mut self) -> Option<Piece> {
        let fresh = &self.held[self.searched..self.end];
        let newline = fresh.iter().position(|byte| *byte == b'\n');
        let end = newline.map_or(self.end, |at| self.searched + at);
        self.searched = end;
        if end - self.start > LONGEST {
            return Some(self.take(self.start + LONGEST, false));
        }
        newline.is_some().then(|| self.take(end, true))
    }

    /// Takes the bytes of an incomplete line.
    fn rest(&mut self) -> Option<Piece> {
        (self.end > self.start).then(|| self.take(self.end, false))
    }

    fn take(&mut self, end: usize, ends_line: bool) -> Piece {
        let bytes = self.held[self.start..end].to_vec();
        self.start = end + usize::from(ends_line);
        self.searched = self.searched.max(self.start);
        Piece { bytes, ends_line }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::unix::pipe;

    use super::*;

    fn pieces(cutter: &mut Cutter, chunk: &[u8]) -> Vec<Piece> {
        cutter.room()[..chunk.len()].copy_from_slice(chunk);
        cutter.filled(chunk.len());
        std::iter::from_fn(|| cutter.line()).collect()
    }

    fn whole(pieces: &[Piece]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for piece in pieces {
            bytes.extend_from_slice(&piece.bytes);
            bytes.extend(piece.ends_line.then_some(b'\n'));
        }
        bytes
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_or_reordered(
            chunks in prop::collection::vec(
                prop_oneof![
                    "[a\n]{0,9}".prop_map(String::into_bytes),
                    (0usize..40_000).prop_map(|count| vec![b'x'; count]),
                    prop::collection::vec(any::<u8>(), 0..50),
                ],
                0..12,
            ),
            partial in any::<bool>(),
        ) {
            let mut cutter = Cutter::default();
            let mut out = Vec::new();
            for chunk in &chunks {
                out.extend(pieces(&mut cutter, chunk));
                if partial {
                    out.extend(cutter.rest());
                }
            }
            out.extend(cutter.rest());
            prop_assert_eq!(whole(&out), chunks.concat());
            prop_assert!(out.iter().all(|piece| piece.bytes.len() <= LONGEST));
            prop_assert!(out.iter().all(|piece| !piece.bytes.contains(&b'\n')));
            prop_assert!(cutter.held.capacity() <= 2 * (CHUNK + LONGEST + 40_000));
        }
    }

    fn lines() -> (pipe::Sender, Lines) {
        let (sender, receiver) = pipe::pipe().unwrap();
        (sender, Lines::new(receiver))
    }

    fn piece(text: &str, ends_line: bool) -> Option<Piece> {
        let bytes = text.as_bytes().to_vec();
        Some(Piece { bytes, ends_line })
    }

    #[tokio::test]
    async fn whole_lines_are_returned_and_the_last_one_needs_no_newline() {
        let (mut sender, mut lines) = lines();
        sender.write_all(b"one\ntw").await.unwrap();
        assert_eq!(lines.next().await, piece("one", true));
        sender.write_all(b"o\r\n\n\x1b[31mlast").await.unwrap();
        assert_eq!(lines.next().await, piece("two\r", true));
        assert_eq!(lines.next().await, piece("", true));
        drop(sender);
        assert_eq!(lines.next().await, piece("\x1b[31mlast", false));
        assert_eq!(lines.next().await, None);
        assert_eq!(lines.next().await, None);
    }

    #[tokio::test]
    async fn a_prompt_is_returned_after_a_short_pause() {
        let (mut sender, mut lines) = lines();
        sender.write_all(b"name? ").await.unwrap();
        let before = Instant::now();
        assert_eq!(lines.next().await, piece("name? ", false));
        assert!(before.elapsed() >= QUIET - Duration::from_millis(5));
        sender.write_all(b"\n").await.unwrap();
        assert_eq!(lines.next().await, piece("", true));
    }

    #[tokio::test]
    async fn a_slow_reader_does_not_split_a_line() {
        let (mut sender, mut lines) = lines();
        sender.write_all(b"one\ntw").await.unwrap();
        assert_eq!(lines.next().await, piece("one", true));
        sender.write_all(b"o\n").await.unwrap();
        // Wait for longer than hotrun holds back an incomplete line.
        std::thread::sleep(2 * QUIET);
        assert_eq!(lines.next().await, piece("two", true));
    }

    #[tokio::test]
    async fn a_cancelled_call_loses_nothing() {
        let (mut sender, mut lines) = lines();
        sender.write_all(b"half").await.unwrap();
        for _ in 0..5 {
            tokio::select! {
                biased;
                piece = lines.next() => panic!("the next piece was returned after one poll: {piece:?}"),
                () = tokio::task::yield_now() => {}
            }
        }
        sender.write_all(b" done\n").await.unwrap();
        assert_eq!(lines.next().await, piece("half done", true));
    }
}
