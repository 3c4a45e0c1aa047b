use std::io::{self, ErrorKind, Write};
use std::thread;
use std::time::Duration;

/// How long to wait before retrying a write that would block.
const RETRY_AFTER: Duration = Duration::from_millis(1);

/// An output stream that reports only its first error.
///
/// Rust ignores `SIGPIPE`, so once a pipe's reader is gone, every write to it fails. Only the first error is kept; the
/// others would repeat it. A full disk is not an error: output that does not fit is lost, but later output may fit
/// again.
pub(super) struct TolerantWriter {
    out: Box<dyn Write + Send>,
    failed: bool,
    error: Option<io::Error>,
    /// Whether the last line was cut off because the disk was full.
    cut: bool,
}

impl TolerantWriter {
    pub(super) fn new(out: Box<dyn Write + Send>) -> Self {
        Self {
            out,
            failed: false,
            error: None,
            cut: false,
        }
    }

    /// Returns the error, but only once.
    pub(super) fn take_error(&mut self) -> Option<io::Error> {
        self.error.take()
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        if self.failed || bytes.is_empty() {
            return;
        }
        let written = match self.cut {
            // Start on a new line.
            true => self.write_all(b"\n").and_then(|()| self.write_all(bytes)),
            false => self.write_all(bytes),
        };
        self.error = written.err();
        let kind = self.error.as_ref().map(io::Error::kind);
        self.cut = matches!(
            kind,
            Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
        );
        self.error.take_if(|_| self.cut);
        self.failed = self.error.is_some();
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match retrying(|| self.out.write(bytes))? {
                0 => return Err(ErrorKind::WriteZero.into()),
                count => bytes = &bytes[count..],
            }
        }
        retrying(|| self.out.flush())
    }
}

/// Retries when a write would block: another process that shares the open file may have made it non-blocking.
fn retrying<T>(mut write: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match write() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY_AFTER),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            written => return written,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A writer that returns these results, one for each write.
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
        writer.write(b"ab");
        let error = writer.take_error().map(|error| error.kind());
        assert_eq!(error, Some(ErrorKind::BrokenPipe));
        writer.write(b"more");
        assert!(writer.take_error().is_none());
    }

    #[test]
    fn writing_continues_after_a_full_disk() {
        let full = || Err(ErrorKind::StorageFull.into());
        let results = vec![Ok(1), full(), full(), Ok(1), Ok(2)];
        let mut writer = TolerantWriter::new(Box::new(Results(results)));
        for bytes in [b"ab", b"cd", b"ef"] {
            writer.write(bytes);
            assert!(writer.take_error().is_none());
        }
        assert!(!writer.cut && !writer.failed);
    }

    #[test]
    fn a_write_that_would_block_is_retried() {
        let not_now = || Err(ErrorKind::WouldBlock.into());
        let mut writer =
            TolerantWriter::new(Box::new(Results(vec![not_now(), Ok(1), not_now(), Ok(1)])));
        writer.write(b"ab");
        assert!(writer.take_error().is_none());
    }
}
