//! Adopts the unix sockets that a program binds to a path.
//!
//! The kernel performs both `bind` and `listen`, so the file has the owner and the mode that the program gives it, and
//! clients see the identity of the program (`SO_PEERCRED`, `unix(7)`). The bind makes the path lead to the new socket.
//! Once the program listens, hotrun makes the path lead to the live generation's socket again, until the switch.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use socket2::{Socket, Type};

use super::InterceptedProgram;
use crate::os;
use crate::os::cleanup::file_id;

impl InterceptedProgram {
    /// Adopts the socket on which this thread has just been allowed to listen, if it is a unix socket with a path.
    pub(in super::super) fn join_path(&mut self, thread: i32) {
        let Some(socket) = self.path.take() else {
            return;
        };
        let Some(path) = path_of(&socket, thread) else {
            return;
        };
        for microseconds in [5, 10, 20, 40, 80, 160, 320, 640] {
            if os::is_listening(&socket).unwrap_or(true) {
                break;
            }
            thread::sleep(Duration::from_micros(microseconds));
        }
        // The path may lead elsewhere: in another mount namespace, or after another bind.
        let leads_here = |file: &fs::Metadata| {
            let listening = os::unix_listening(file).ok().flatten();
            listening.is_some() && listening == os::inode(&socket).ok()
        };
        let file = fs::symlink_metadata(&path).ok().filter(leads_here);
        let Some(file) = file else {
            return;
        };
        match self
            .adopter
            .join_path(self.id, socket, path.clone(), file_id(&file))
        {
            Ok(()) => tracing::debug!("gen {}: listens on {}", self.id, path.display()),
            Err(error) => drop(self.not_adopted(None, error)),
        }
    }
}

/// Returns the absolute path that a unix stream socket is bound to. The program may have passed a path relative to its
/// working directory.
fn path_of(socket: &Socket, thread: i32) -> Option<PathBuf> {
    let bound = socket.local_addr().ok()?.as_pathname()?.to_owned();
    let workdir = fs::read_link(format!("/proc/{thread}/cwd")).ok()?;
    let stream = socket.r#type().is_ok_and(|kind| kind == Type::STREAM);
    stream.then(|| workdir.join(bound))
}
