use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use tokio::io::unix::AsyncFd;

use crate::os::terminal::{self, Size};

/// hotrun's side of the pty that a program runs on.
#[derive(Debug)]
pub struct Pty(AsyncFd<OwnedFd>);

impl Pty {
    pub(super) fn new(ours: OwnedFd) -> io::Result<Self> {
        Ok(Self(terminal::watch(ours)?))
    }

    /// Reads all the output that is available, up to the size of the buffer. Returns 0 once the tree has closed the
    /// pty. Cancel safe.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        loop {
            let mut ready = self.0.readable().await?;
            // One call returns at most one page, even if more is available.
            while filled < buffer.len() {
                match nix::unistd::read(self.0.get_ref(), &mut buffer[filled..]) {
                    // Every process has closed the pty. Linux reports this as `EIO`, other systems as end of file.
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

    /// Sends these bytes as terminal input. Waits while the input queue is full.
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

    /// Changes the size of the terminal. The program gets `SIGWINCH`.
    pub fn resize(&self, size: Size) {
        // Fails only if every process has closed the pty.
        let _ = terminal::resize(self.0.get_ref(), size);
    }
}
