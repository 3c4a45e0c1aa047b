use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::thread;
use std::time::Duration;

/// How long to wait before retrying a write that would block.
const RETRY_AFTER: Duration = Duration::from_millis(1);

/// An output stream that reports only its first failure.
///
/// Rust ignores `SIGPIPE`, so after its reader is gone every write to a pipe fails. The first error is returned; the rest
/// would only repeat it. A full disk is not final: output that does not fit is lost, later output may not be.
pub(super) struct TolerantWriter {
    out: Box<dyn Write + Send>,
    failed: bool,
    /// A line was cut off because the disk was full.
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
            // Start on a new line.
            true => self.write_all(b"\n").and_then(|()| self.write_all(bytes)),
            false => self.write_all(bytes),
        };
        self.cut = written.as_ref().is_err_and(is_full);
        self.failed = written.is_err() && !self.cut;
        if self.cut { Ok(()) } else { written }
    }

    /// Retries when the write would block: another process that shares the open file may have made it non-blocking.
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
        thread::sleep(RETRY_AFTER);
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

    /// Returns these results, one for each write.
    struct Results(Vec<io::Result<usize>>);

    impl Write for Results {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.0.remove(0)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_reported_once() {
        let mut writer = TolerantWriter::new(Box::new(Results(vec![
            Ok(1),
            Err(ErrorKind::BrokenPipe.into()),
        ])));
        assert_eq!(
            writer.write(b"ab").unwrap_err().kind(),
            ErrorKind::BrokenPipe
        );
        assert!(writer.write(b"more").is_ok());
    }

    #[test]
    fn a_full_disk_is_not_final() {
        let full = || Err(ErrorKind::StorageFull.into());
        let results = vec![Ok(1), full(), full(), Ok(1), Ok(2)];
        let mut writer = TolerantWriter::new(Box::new(Results(results)));
        assert!(writer.write(b"ab").is_ok(), "cut");
        assert!(writer.write(b"cd").is_ok(), "lost");
        assert!(writer.write(b"ef").is_ok(), "a line end, then this");
        assert!(!writer.cut && !writer.failed);
    }

    #[test]
    fn a_write_that_would_block_is_retried() {
        let not_now = || Err(ErrorKind::WouldBlock.into());
        let mut writer =
            TolerantWriter::new(Box::new(Results(vec![not_now(), Ok(1), not_now(), Ok(1)])));
        assert!(writer.write(b"ab").is_ok());
    }
}
