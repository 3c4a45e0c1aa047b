//! Carries connections that a generation has left open to the live generation.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use socket2::Socket;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::Unclaimed;
use super::forward::{accepted, forward};
use super::respond::HttpRequest;

/// How many bytes of a request to read before it is forwarded.
const FIRST_READ: usize = 8 << 10;

impl Unclaimed {
    /// Takes over a connection whose program has closed it, or has ended, with nothing under way. If the client sends an
    /// HTTP/1 request within `wait`, forwards the connection to the live generation; otherwise closes it, as the program
    /// would have. Also closes it if too many are carried already.
    pub fn carry(self: &Arc<Self>, connection: OwnedFd, wait: Duration) {
        let socket = Socket::from(connection);
        let peer = socket.peer_addr().ok().and_then(|peer| peer.as_socket());
        // The client is hotrun itself, which forwards another client's connection. It only has to reconnect.
        if let Some(moved) = peer.and_then(|peer| self.inner.remove(peer)) {
            let _ = moved.send(socket);
            return;
        }
        let Ok(place) = self.carried.clone().try_acquire_owned() else {
            return;
        };
        let this = self.clone();
        self.runtime.spawn(async move {
            let _place = place;
            // If this fails, the client's connection has been closed.
            let _ = this.carry_first(socket, wait).await;
        });
    }

    async fn carry_first(&self, socket: Socket, wait: Duration) -> io::Result<()> {
        let mut client = accepted(socket)?;
        let mut received = Vec::with_capacity(FIRST_READ);
        let read = timeout(wait, client.read_buf(&mut received)).await??;
        match HttpRequest::parse(&received, false) {
            HttpRequest::Http { .. } | HttpRequest::Incomplete if read > 0 => {
                forward(client, received, &self.inner).await
            }
            HttpRequest::Http { .. } | HttpRequest::Incomplete | HttpRequest::OtherProtocol => {
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::runtime::Handle;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(30);

    /// A client, the server's end of its connection, and the listener that stands for the live generation.
    async fn connected() -> (TcpStream, TcpStream, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (server, _) = listener.accept().await.unwrap();
        (client.unwrap(), server, listener)
    }

    fn carry(unclaimed: &Arc<Unclaimed>, server: TcpStream, wait: Duration) {
        unclaimed.carry(server.into_std().unwrap().into(), wait);
    }

    async fn accept(listener: &TcpListener) -> TcpStream {
        let accepted = timeout(DEADLINE, listener.accept()).await;
        accepted.expect("the request is forwarded").unwrap().0
    }

    async fn expect(stream: &mut TcpStream, expected: &str) {
        let mut buffer = vec![0; expected.len()];
        let read = timeout(DEADLINE, stream.read_exact(&mut buffer)).await;
        read.expect("it arrives").unwrap();
        assert_eq!(String::from_utf8_lossy(&buffer), expected);
    }

    #[tokio::test]
    async fn a_carried_connection_outlives_any_number_of_generations() {
        let unclaimed = Arc::new(Unclaimed::new(Handle::current()));
        let (mut client, mut server, listener) = connected().await;
        for number in 0..4 {
            let (request, response) = (format!("GET /{number} HTTP/1.1"), format!("r{number}"));
            carry(&unclaimed, server, DEADLINE);
            client.write_all(request.as_bytes()).await.unwrap();
            server = accept(&listener).await;
            expect(&mut server, &request).await;
            server.write_all(response.as_bytes()).await.unwrap();
            expect(&mut client, &response).await;
            assert_eq!(
                unclaimed.inner.all().len(),
                1,
                "one connection for the client"
            );
        }
        // What the last generation has not read reaches its successor, after what it has sent.
        server.write_all(b"late").await.unwrap();
        client.write_all(b"GET /last").await.unwrap();
        timeout(DEADLINE, server.readable()).await.unwrap().unwrap();
        carry(&unclaimed, server, DEADLINE);
        expect(&mut client, "late").await;
        let mut server = accept(&listener).await;
        expect(&mut server, "GET /last").await;
        drop((client, server));
        while unclaimed.carried.available_permits() < super::super::MOST_CARRIED {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(unclaimed.inner.all().is_empty());
    }

    #[tokio::test]
    async fn other_protocols_and_silent_clients_are_closed() {
        let unclaimed = Arc::new(Unclaimed::new(Handle::current()));
        for sent in [
            &b"\x16\x03\x01\x02\x00\x01"[..],
            b"PRI * HTTP/2.0\r\n\r\n",
            b"",
        ] {
            let (mut client, server, _listener) = connected().await;
            let wait = if sent.is_empty() {
                Duration::from_millis(20)
            } else {
                DEADLINE
            };
            carry(&unclaimed, server, wait);
            client.write_all(sent).await.unwrap();
            let read = timeout(DEADLINE, client.read(&mut [0])).await;
            assert!(!matches!(read.expect("it is closed"), Ok(1..)), "{sent:?}");
        }
    }
}
