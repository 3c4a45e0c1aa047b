use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::thread;
use std::time::Duration;

/// How long to wait before writing again to something that takes no more right now.
const PAUSE: Duration = Duration::from_millis(1);

/// A stream of hotrun's own that fails once.
///
/// Rust ignores `SIGPIPE`, so a reader that went away shows as an error at each write. The first is passed on, the
/// rest would only repeat it.
///
/// A full disk is no such end: what does not fit is lost, and what comes once there is room again is not.
pub(super) struct TolerantWriter {
    out: Box<dyn Write + Send>,
    failed: bool,
    /// Whether a line was cut because the disk was full.
    cut: bool,
}

impl TolerantWriter {
    pub(super) fn new(out: Box<dyn Write + Send>) -> Self {
        Self {
            out,
            failed: false,
            cut: false,
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.failed || bytes.is_empty() {
            return Ok(());
        }
        let written = match self.cut {
            // What comes now begins a line.
            true => self.write_all(b"\n").and_then(|()| self.write_all(bytes)),
            false => self.write_all(bytes),
        };
        self.cut = written.as_ref().is_err_and(is_full);
        self.failed = written.is_err() && !self.cut;
        if self.cut { Ok(()) } else { written }
    }

    /// A terminal or pipe that hotrun shares with others may have been made non-blocking by one of them (the
    /// flag belongs to the open file, not to the descriptor), so "not now" is no failure.
    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.out.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) => retry(error)?,
            }
        }
        loop {
            match self.out.flush() {
                Ok(()) => return Ok(()),
                Err(error) => retry(error)?,
            }
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    )
}

fn retry(error: io::Error) -> io::Result<()> {
    if error.kind() == ErrorKind::WouldBlock {
        thread::sleep(PAUSE);
        return Ok(());
    }
    if error.kind() == ErrorKind::Interrupted {
        Ok(())
    } else {
        Err(error)
    }
}

impl fmt::Debug for TolerantWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TolerantWriter")
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers with these, one a write.
    struct Answers(Vec<io::Result<usize>>);

    impl Write for Answers {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.0.remove(0)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_went_away_is_reported_once() {
        let mut sink = TolerantWriter::new(Box::new(Answers(vec![
            Ok(1),
            Err(ErrorKind::BrokenPipe.into()),
        ])));
        assert_eq!(sink.write(b"ab").unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert!(sink.write(b"more").is_ok());
    }

    #[test]
    fn a_full_disk_is_not_the_end() {
        let full = || Err(ErrorKind::StorageFull.into());
        let answers = vec![Ok(1), full(), full(), Ok(1), Ok(2)];
        let mut sink = TolerantWriter::new(Box::new(Answers(answers)));
        assert!(sink.write(b"ab").is_ok(), "cut");
        assert!(sink.write(b"cd").is_ok(), "lost");
        assert!(sink.write(b"ef").is_ok(), "a new line, and this");
        assert!(!sink.cut && !sink.failed);
    }

    #[test]
    fn what_cannot_be_written_now_is_written_later() {
        let not_now = || Err(ErrorKind::WouldBlock.into());
        let mut sink =
            TolerantWriter::new(Box::new(Answers(vec![not_now(), Ok(1), not_now(), Ok(1)])));
        assert!(sink.write(b"ab").is_ok());
    }
}
