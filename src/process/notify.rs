//! What a program says of itself on `NOTIFY_SOCKET` (`sd_notify(3)`).
//!
//! One socket for each generation. Datagrams come in the order in which they were sent, and each is handed
//! out before the next is taken: so when the descriptor of a `BARRIER=1` is closed (at once, see
//! [`NotifySocket::recv`]), everything before it was handed out, which is what `sd_notify_barrier` waits for.
//!
//! The socket must be read as long as a process of the generation lives: the kernel queues a few datagrams
//! (`net.unix.max_dgram_qlen`), and after that a program that sends one blocks.

mod message;
mod store;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::Interest;
use tokio::net::UnixDatagram;

use crate::os::credentials::{self, Datagram, Name, Sender};
pub use message::{Assignments, Store, Watchdog};
pub use store::{FdStore, StoreResult};

/// As much text as `sd_notify` may send (systemd's own limit is the same). One byte more, so that a system
/// that does not say that it cut something shows it by a full buffer.
const MOST_TEXT: usize = 4096 + 1;

/// The socket on which one generation reports.
#[derive(Debug)]
pub struct NotifySocket {
    socket: UnixDatagram,
    name: Name,
}

/// One datagram from the generation.
#[derive(Debug)]
pub struct Message {
    /// The process that sent it; it may have ended since. `None` on systems that do not say.
    pub sender: Option<i32>,
    /// What it says.
    pub assignments: Assignments,
    /// The descriptors to store. Empty unless `assignments.store` is [`Store::Keep`]: others are closed.
    pub descriptors: Vec<OwnedFd>,
    /// How many descriptors were closed because the message gives no reason for them.
    pub surplus: usize,
}

/// Why a datagram was thrown away, its descriptors closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// It was longer than 4096 bytes, or there were no free descriptors for those that it brought.
    Cut,
    /// Its sender is not of the generation.
    Stranger {
        /// Its process, 0 if that has no number here.
        pid: i32,
        /// Its user.
        uid: u32,
    },
    /// The kernel did not say who sent it.
    Anonymous,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut => f.write_str("a message that did not fit"),
            Self::Stranger { pid, uid } => {
                write!(
                    f,
                    "a message from process {pid} of user {uid}, which is not of the generation"
                )
            }
            Self::Anonymous => f.write_str("a message without a sender"),
        }
    }
}

impl NotifySocket {
    /// Binds a new one. Has to be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// The socket cannot be made, or not be watched.
    pub fn open() -> io::Result<Self> {
        let bound = credentials::bind()?;
        Ok(Self {
            socket: UnixDatagram::from_std(bound.socket)?,
            name: bound.name,
        })
    }

    /// What `NOTIFY_SOCKET` has to be for the program: `@name` (an abstract address) or a path.
    #[must_use]
    pub fn env_value(&self) -> &OsStr {
        self.name.as_os_str()
    }

    /// The next datagram. May be dropped and called again, nothing is lost by that.
    ///
    /// `tree` gives the pids of the generation at the moment of the call. Heard is who is in it, and a process of our own
    /// user that has ended meanwhile (a script's `systemd-notify` may be gone before we can look).
    /// Descriptors are closed here unless they are to be stored, that of a barrier too: its sender goes on.
    ///
    /// # Errors
    ///
    /// The socket fails, which is not expected to pass.
    pub async fn recv(
        &self,
        tree: impl FnOnce() -> Vec<i32>,
    ) -> io::Result<Result<Message, Rejected>> {
        let mut text = [0; MOST_TEXT];
        let take = || credentials::receive(self.socket.as_fd(), &mut text);
        let datagram = self.socket.async_io(Interest::READABLE, take).await?;
        Ok(read(&text, datagram, tree))
    }

    /// The next datagram, if it is there already: what a program has sent before its end is.
    ///
    /// # Errors
    ///
    /// As for [`NotifySocket::recv`].
    pub fn try_recv(
        &self,
        tree: impl FnOnce() -> Vec<i32>,
    ) -> io::Result<Option<Result<Message, Rejected>>> {
        let mut text = [0; MOST_TEXT];
        match credentials::receive(self.socket.as_fd(), &mut text) {
            Ok(datagram) => Ok(Some(read(&text, datagram, tree))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Message {
    fn new(text: &[u8], datagram: Datagram) -> Self {
        let assignments = Assignments::parse(text);
        let (sender, mut descriptors) = (
            datagram.sender.map(|sender| sender.pid),
            datagram.descriptors,
        );
        let kept = matches!(assignments.store, Some(Store::Keep { .. }));
        let surplus = if kept || assignments.barrier {
            0
        } else {
            descriptors.len()
        };
        if !kept {
            descriptors.clear();
        }
        Self {
            sender,
            assignments,
            descriptors,
            surplus,
        }
    }
}

fn read(
    text: &[u8],
    datagram: Datagram,
    tree: impl FnOnce() -> Vec<i32>,
) -> Result<Message, Rejected> {
    let length = datagram.length;
    judge(&datagram, tree).map(|()| Message::new(&text[..length], datagram))
}

fn judge(datagram: &Datagram, tree: impl FnOnce() -> Vec<i32>) -> Result<(), Rejected> {
    if datagram.truncated || datagram.length == MOST_TEXT {
        return Err(Rejected::Cut);
    }
    match datagram.sender {
        None if credentials::VOUCHED => Err(Rejected::Anonymous),
        None => Ok(()),
        Some(sender)
            if admits(
                sender,
                &tree(),
                nix::unistd::getuid().as_raw(),
                credentials::ended,
            ) =>
        {
            Ok(())
        }
        Some(Sender { pid, uid }) => Err(Rejected::Stranger { pid, uid }),
    }
}

/// Whether the sender of a datagram is heard.
///
/// Who is in the tree is heard, whatever its user: programs give up rights after their start. So is one of
/// our own user that has ended meanwhile. A script's `systemd-notify` may be gone and reaped by the time we
/// look, and a pid that is gone has no ancestors to ask for. systemd finds the unit through the sender's
/// cgroup and loses such messages, the reason for `sd_notify_barrier` (`systemd-notify(1)`); senders that know no
/// barrier are many (`socat`, one-line scripts, its own `--no-block`), and a message that is lost costs
/// them the whole readiness time-out. What it lets in is harmless: the abstract name is handed
/// to this generation alone, and our own user could as well stop us with a signal. Other users, who can read the
/// name in `/proc/net/unix`, and living processes from elsewhere are not heard. Neither is pid 0, a
/// process of another pid namespace.
fn admits(sender: Sender, tree: &[i32], user: u32, ended: impl FnOnce(i32) -> bool) -> bool {
    let Sender { pid, uid } = sender;
    pid > 0 && (tree.contains(&pid) || (uid == user && ended(pid)))
}
