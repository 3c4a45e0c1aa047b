use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use super::wake::is_readable;
use crate::process::Report;
use crate::process::wire::{self, Order};

/// The guardian's end of the control socket.
pub(super) struct Channel {
    socket: UnixStream,
    unread: Vec<u8>,
    closed: bool,
}

impl Channel {
    /// Takes the socket from standard input, and replaces it by the null device, which the program inherits.
    pub(super) fn take() -> io::Result<Self> {
        let fd = io::stdin().as_fd().try_clone_to_owned()?;
        let null = OpenOptions::new().read(true).open("/dev/null")?;
        nix::unistd::dup2_stdin(&null)?;
        Ok(Self {
            socket: UnixStream::from(fd),
            unread: Vec::new(),
            closed: false,
        })
    }

    pub(super) fn socket(&self) -> &UnixStream {
        &self.socket
    }

    /// The descriptor to wait on. `None` once hotrun's end is closed, when it would be readable for ever.
    pub(super) fn pollable(&self) -> Option<BorrowedFd<'_>> {
        (!self.closed).then(|| self.socket.as_fd())
    }

    pub(super) fn closed(&self) -> bool {
        self.closed
    }

    /// If the report cannot be written, hotrun is gone, and the next read notices.
    pub(super) fn report(&mut self, report: Report) {
        let _ = self.socket.write_all(wire::to_line(&report).as_bytes());
    }

    /// The orders that have arrived since the last call. Does not wait.
    pub(super) fn orders(&mut self) -> Vec<Order> {
        self.read();
        let Some(end) = self.unread.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let lines: Vec<u8> = self.unread.drain(..=end).collect();
        let text = String::from_utf8_lossy(&lines);
        text.lines().filter_map(wire::from_line).collect()
    }

    fn read(&mut self) {
        let mut buffer = [0; 4096];
        while !self.closed && is_readable(self.socket.as_fd()) {
            match self.socket.read(&mut buffer) {
                Ok(0) => self.closed = true,
                Ok(count) => self.unread.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // `ECONNRESET`: hotrun ended without reading all reports.
                Err(_) => self.closed = true,
            }
        }
    }
}

/// Closes the guardian's copies of the program's output.
pub(super) fn close_output() -> io::Result<()> {
    let null = OpenOptions::new().write(true).open("/dev/null")?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(())
}
