//! Receives the notifications that programs send to `NOTIFY_SOCKET` (`sd_notify(3)`).
//!
//! Each generation has its own socket. Datagrams arrive in the order in which they were sent, and each one is returned
//! before the next is received. The descriptor of a `BARRIER=1` message is closed on receipt (see
//! [`NotifySocket::poll_recv`]), so by then all earlier datagrams have been returned. This is what `sd_notify_barrier`
//! waits for.
//!
//! The socket must be read for as long as a process of the generation lives: the kernel queues only a few datagrams
//! (`net.unix.max_dgram_qlen`), and then the next sender blocks.

mod message;
mod store;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::net::UnixDatagram;

use crate::os::credentials::{self, DatagramAddress};
use crate::os::process_tree::has_ended;
use crate::os::{Datagram, Sender, scm_rights};
pub use message::{Assignments, StoreRequest};
pub use store::{CAPACITY, FdStore, StoreResult};

/// The size of the buffer for a message, in bytes: systemd's limit plus one, because on some systems only a full buffer
/// reveals truncation.
const MAX_TEXT: usize = 4096 + 1;

/// The socket that receives the notifications of one generation.
#[derive(Debug)]
pub struct NotifySocket {
    socket: UnixDatagram,
    name: DatagramAddress,
}

/// A notification from the generation.
#[derive(Debug)]
pub struct Notification {
    /// The content of the message.
    pub assignments: Assignments,
    /// The descriptors to store. Empty unless `assignments.store` is [`StoreRequest::Add`], because all others are
    /// closed.
    pub descriptors: Vec<OwnedFd>,
    /// The number of descriptors that were closed because the message did not ask to store them. A barrier's descriptor
    /// does not count.
    pub surplus: usize,
}

impl NotifySocket {
    /// Binds a new socket. Requires a tokio runtime.
    pub fn open() -> io::Result<Self> {
        let (socket, name) = credentials::bind()?;
        let socket = UnixDatagram::from_std(socket)?;
        Ok(Self { socket, name })
    }

    /// The value of `NOTIFY_SOCKET` for the program: `@name` (an abstract address) or a path.
    pub fn env_value(&self) -> &OsStr {
        &self.name.value
    }

    /// Receives the next datagram. If there is none, wakes the task when one arrives.
    ///
    /// `tree` returns the generation's pids at the time of the call. Messages are accepted from these processes, and
    /// from a process of hotrun's own user that has already exited (a script's `systemd-notify` may be gone before
    /// hotrun can check). Descriptors that are not to be stored are closed here. This includes a barrier's descriptor:
    /// closing it lets the barrier's sender continue. Of a message that is not accepted, all descriptors are closed, and
    /// a description is returned.
    ///
    /// # Errors
    /// The socket has failed, and is not expected to recover.
    pub fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        tree: impl FnOnce() -> Vec<i32>,
    ) -> Poll<io::Result<Result<Notification, String>>> {
        let mut text = [0; MAX_TEXT];
        loop {
            ready!(self.socket.poll_recv_ready(cx))?;
            let take = || scm_rights::receive(self.socket.as_fd(), &mut text);
            match self.socket.try_io(Interest::READABLE, take) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => {
                    return Poll::Ready(received.map(|datagram| read(&text, datagram, tree)));
                }
            }
        }
    }

    /// Receives the next datagram if one has arrived. Once a program has exited, all datagrams that it sent have
    /// arrived.
    pub fn try_recv(
        &self,
        tree: impl FnOnce() -> Vec<i32>,
    ) -> io::Result<Option<Result<Notification, String>>> {
        let mut text = [0; MAX_TEXT];
        match scm_rights::receive(self.socket.as_fd(), &mut text) {
            Ok(datagram) => Ok(Some(read(&text, datagram, tree))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn read(
    text: &[u8],
    datagram: Datagram,
    tree: impl FnOnce() -> Vec<i32>,
) -> Result<Notification, String> {
    if datagram.truncated || datagram.length == MAX_TEXT {
        return Err("a message that is too long".to_owned());
    }
    let user = nix::unistd::getuid().as_raw();
    match datagram.sender {
        None if cfg!(target_os = "linux") => return Err("a message without a sender".to_owned()),
        Some(sender) if !accepts(sender, &tree(), user, has_ended) => {
            let Sender { pid, uid } = sender;
            return Err(format!(
                "a message from process {pid} of user {uid}, which does not belong to the generation"
            ));
        }
        None | Some(_) => {}
    }
    let assignments = Assignments::parse(&text[..datagram.length]);
    let mut descriptors = datagram.descriptors;
    let mut surplus = 0;
    if !matches!(assignments.store, Some(StoreRequest::Add { .. })) {
        surplus = descriptors.len() * usize::from(!assignments.barrier);
        descriptors.clear();
    }
    Ok(Notification {
        assignments,
        descriptors,
        surplus,
    })
}

/// Whether a message from this sender is accepted.
///
/// A process in the tree may have a different user, because programs drop privileges after they start. A process of
/// hotrun's own user may have exited: a script's `systemd-notify` may be reaped before hotrun checks, and a pid that is
/// gone has no ancestors to look up. systemd loses such messages, which is why `sd_notify_barrier` exists, but many
/// senders use no barrier (`socat`, `systemd-notify --no-block`), and a lost message would cost them the whole readiness
/// timeout. Accepting them is harmless: only this generation gets the abstract name, and a process of the same user
/// could also stop hotrun with a signal. Other users can read the name in `/proc/net/unix`. Pid 0 stands for a process
/// in another pid namespace.
fn accepts(sender: Sender, tree: &[i32], user: u32, has_ended: impl FnOnce(i32) -> bool) -> bool {
    let Sender { pid, uid } = sender;
    pid > 0 && (tree.contains(&pid) || (uid == user && has_ended(pid)))
}
