use std::io;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::UnreadyReason;
use crate::socket::{Connection, GenSockets};

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A connection attempt.
pub type Connecting = BoxFuture<io::Result<Box<dyn Connection>>>;

/// Connects to the new generation: to its socket with this port, or to its sockets in turn if no port is given.
pub type Connect = Box<dyn FnMut(Option<u16>) -> Connecting + Send>;

/// Runs a shell command and returns whether it succeeded. Dropping the future kills the command.
pub type Exec = Arc<dyn Fn(&str) -> BoxFuture<io::Result<bool>> + Send + Sync>;

/// What a generation has sent to its notify socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotifyState {
    /// Nothing yet. Some programs never send anything.
    #[default]
    Silent,
    /// Messages such as `STATUS=…`, but not `READY=1`. Such a program is expected to send `READY=1` later.
    NotReady,
    /// `READY=1`. Later messages do not change this.
    Ready,
}

/// A generation's sockets, and the processes that may wait for connections on them.
pub struct GenerationSockets {
    /// Returns the generation's processes.
    pub pids: Box<dyn FnMut() -> Vec<i32> + Send>,
    /// Returns the generation's sockets.
    pub state: Box<dyn FnMut() -> GenSockets + Send>,
}

/// Receives the reason why a generation is not ready yet.
pub type OnUnready = Box<dyn FnMut(UnreadyReason) + Send>;

/// Everything that [`wait`](super::wait) needs to know about a generation.
pub struct ReadyInputs {
    /// The generation's sockets.
    pub sockets: GenerationSockets,
    /// Whether hotrun sees the sockets that the generation opens itself.
    pub adopts: bool,
    /// What the generation has sent to its notify socket.
    pub notify_state: watch::Receiver<NotifyState>,
    /// The lines that the generation prints to standard output and standard error. Read only if
    /// [`ReadySpec::reads_output`](super::ReadySpec::reads_output).
    pub lines: mpsc::UnboundedReceiver<Vec<u8>>,
    /// Connects to the generation.
    pub connect: Connect,
    /// Runs the `exec:` command.
    pub exec: Exec,
    /// Called with the reason after each check that fails.
    pub on_unready: OnUnready,
}
