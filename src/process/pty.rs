//! A terminal of the program's own.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use tokio::io::unix::AsyncFd;

use crate::os::terminal::{self, Size};

/// Our side of the terminal on which a program runs.
#[derive(Debug)]
pub struct Pty(AsyncFd<OwnedFd>);

impl Pty {
    pub(super) fn new(ours: OwnedFd) -> io::Result<Self> {
        Ok(Self(terminal::watch(ours)?))
    }

    /// What is printed next: what is there, up to the size of the buffer. 0 when the tree has closed the terminal.
    /// Cancel safe.
    ///
    /// # Errors
    /// What `read(2)` reports.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        loop {
            let mut ready = self.0.readable().await?;
            // The kernel hands over a page at a time, however much is there.
            while filled < buffer.len() {
                match nix::unistd::read(self.0.get_ref(), &mut buffer[filled..]) {
                    // All that had it open have closed it: an error by `tty_ioctl(4)`'s tradition, no end of file.
                    Ok(0) | Err(Errno::EIO) => return Ok(filled),
                    Ok(count) => filled += count,
                    Err(Errno::EINTR) => {}
                    Err(Errno::EAGAIN) => {
                        ready.clear_ready();
                        break;
                    }
                    Err(errno) => return Err(errno.into()),
                }
            }
            if filled > 0 {
                return Ok(filled);
            }
        }
    }

    /// Types something. What the program has no room for waits.
    ///
    /// # Errors
    /// What `write(2)` reports.
    pub async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut ready = self.0.writable().await?;
            match ready.try_io(|ours| Ok(nix::unistd::write(ours.get_ref(), bytes)?)) {
                Ok(Ok(count)) => bytes = &bytes[count..],
                Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
        Ok(())
    }

    /// Makes it so large; the program is told by `SIGWINCH`.
    pub fn resize(&self, size: Size) {
        // Only a terminal that nobody has open any more refuses.
        let _ = terminal::resize(self.0.get_ref(), size);
    }
}
