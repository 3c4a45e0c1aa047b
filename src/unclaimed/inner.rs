//! Finds the forwarded connection that a connection of the live generation belongs to.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use socket2::Socket;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// hotrun's own connections to the live generation, by their local addresses.
#[derive(Default)]
pub(super) struct InnerConnections(Mutex<HashMap<SocketAddr, oneshot::Sender<Socket>>>);

impl InnerConnections {
    /// Adds a connection until the returned guard is dropped. The receiver gets the server's end of it if the server has
    /// left it with nothing under way.
    pub(super) fn add(
        &self,
        server: &TcpStream,
    ) -> io::Result<(impl Drop + use<'_>, oneshot::Receiver<Socket>)> {
        let (sender, receiver) = oneshot::channel();
        let at = canonical(server.local_addr()?);
        self.all().insert(at, sender);
        Ok((RemoveOnDrop(self, at), receiver))
    }

    pub(super) fn remove(&self, at: SocketAddr) -> Option<oneshot::Sender<Socket>> {
        self.all().remove(&canonical(at))
    }

    pub(super) fn all(&self) -> MutexGuard<'_, HashMap<SocketAddr, oneshot::Sender<Socket>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct RemoveOnDrop<'a>(&'a InnerConnections, SocketAddr);

impl Drop for RemoveOnDrop<'_> {
    fn drop(&mut self) {
        self.0.remove(self.1);
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
