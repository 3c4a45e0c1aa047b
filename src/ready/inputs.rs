//! What waiting needs of the rest.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};

use super::Trouble;

/// A connection to the new generation.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What a future of ours must be to be kept: boxed, and able to move between threads.
type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A connection being made.
pub type Dialed = Boxed<io::Result<Box<dyn Stream>>>;

/// Connects to the new generation alone: to its socket with this port, or without one to its first socket.
pub type Dial = Box<dyn FnMut(Option<u16>) -> Dialed + Send>;

/// Runs a shell line and says whether it succeeded. Dropping the future kills what runs.
pub type Exec = Box<dyn FnMut(&str) -> Boxed<io::Result<bool>> + Send>;

/// What was heard on the notify socket of the generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Heard {
    /// Nothing: it may be a program that never sends anything.
    #[default]
    Nothing,
    /// Something, such as `STATUS`, but not `READY=1`. So it is a program that will send it.
    Something,
    /// `READY=1`.
    Ready,
}

impl Heard {
    /// What is known after one more message, `ready` if it has `READY=1`. That is never taken back.
    #[must_use]
    pub fn after(self, ready: bool) -> Self {
        match self {
            Self::Ready => Self::Ready,
            Self::Nothing | Self::Something if ready => Self::Ready,
            Self::Nothing | Self::Something => Self::Something,
        }
    }
}

/// The sockets of a generation, by inode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listens {
    /// Those that listen, passed to it or opened by it.
    pub sockets: Vec<u64>,
    /// Those for datagrams on an address of their own.
    pub datagrams: Vec<u64>,
    /// Where the one before it listens, or connections wait, and it does not listen.
    pub missing: Vec<SocketAddr>,
    /// Whether another generation is live meanwhile.
    pub beside: bool,
}

impl Listens {
    /// Whether it has no socket at all.
    pub(super) fn nothing(&self) -> bool {
        self.sockets.is_empty() && self.datagrams.is_empty()
    }
}

/// All that waiting for one generation may need.
pub struct Inputs {
    /// The processes of the generation at the moment of the call.
    pub pids: Box<dyn FnMut() -> Vec<i32> + Send>,
    /// Its sockets at the moment of the call.
    pub listens: Box<dyn FnMut() -> Listens + Send>,
    /// Whether it may open sockets by itself that are seen.
    pub adopts: bool,
    /// What it has told.
    pub heard: watch::Receiver<Heard>,
    /// Lines of its output, standard output and error alike. Read only if [`ReadySpec::reads_output`] says so.
    ///
    /// [`ReadySpec::reads_output`]: super::ReadySpec::reads_output
    pub lines: mpsc::UnboundedReceiver<Vec<u8>>,
    /// Connects to it.
    pub dial: Dial,
    /// Runs the command of `exec:`.
    pub exec: Exec,
    /// Told again and again what is missing so far.
    pub trouble: Box<dyn FnMut(Trouble) + Send>,
}

impl fmt::Debug for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inputs")
            .field("adopts", &self.adopts)
            .finish_non_exhaustive()
    }
}
