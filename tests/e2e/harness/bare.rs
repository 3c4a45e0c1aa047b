//! A program that runs without hotrun and gets its listener as descriptor 3.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{TIMEOUT, until};

/// The running program. Dropping this kills it.
pub(crate) struct Bare {
    child: Child,
    address: SocketAddr,
}

impl Bare {
    pub(crate) fn start(program: &Path) -> Self {
        Self::with(
            program,
            TcpListener::bind("127.0.0.1:0").expect("can bind a free port"),
        )
    }

    pub(crate) fn start_on(program: &Path, address: SocketAddr) -> Self {
        let bind = || TcpListener::bind(address).ok();
        Self::with(program, until("the port is free", TIMEOUT, bind))
    }

    /// Starts the program through a shell. `Command` can pass the socket only as a standard stream, so the shell moves
    /// it from descriptor 0 to 3.
    fn with(program: &Path, listener: TcpListener) -> Self {
        let address = listener.local_addr().expect("the listener is bound");
        let child = Command::new("sh")
            .args(["-c", "exec \"$0\" 3<&0 </dev/null"])
            .arg(program)
            .env("LISTEN_FDS", "1")
            .env_remove("LISTEN_PID")
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::null())
            .spawn();
        Self {
            child: child.expect("can start a shell"),
            address,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
