//! Tests splicing a client's connection to a server's.

use std::net::Shutdown;

use tokio::net::{TcpListener, UnixStream};

use super::*;

const DEADLINE: Duration = Duration::from_secs(30);

async fn splice_all(
    received: &[u8],
    client: impl AsyncRead + AsyncWrite,
    server: impl AsyncRead + AsyncWrite,
    after: Duration,
) -> io::Result<()> {
    let mut pending = received.to_vec();
    let spliced = splice(&mut pending, client, server, after, std::future::pending()).await;
    spliced.map(|moved| assert!(moved.is_none()))
}

/// The server shuts down its receiving side immediately, and responds after the client has sent everything.
#[tokio::test]
async fn a_response_arrives_even_though_the_request_was_not_read() {
    let (near, mut client) = UnixStream::pair().unwrap();
    let (far, mut server) = UnixStream::pair().unwrap();
    SockRef::from(&server).shutdown(Shutdown::Read).unwrap();
    let splicing = tokio::spawn(splice_all(b"?", near, far, DEADLINE));
    let exchange = async {
        client.write_all(&vec![b'x'; 1 << 20]).await.unwrap();
        client.shutdown().await.unwrap();
        server.write_all(b"too large").await.unwrap();
        drop(server);
        let mut response = String::new();
        client.read_to_string(&mut response).await.unwrap();
        response
    };
    let response = timeout(DEADLINE, exchange)
        .await
        .expect("the response arrives");
    assert_eq!(response, "too large");
    splicing.await.unwrap().unwrap();
}

#[tokio::test]
async fn splicing_does_not_wait_forever_for_a_client_that_never_closes() {
    let (near, _client) = UnixStream::pair().unwrap();
    let (far, server) = UnixStream::pair().unwrap();
    drop(server);
    let spliced = splice_all(b"", near, far, Duration::from_millis(20));
    let spliced = timeout(DEADLINE, spliced).await.expect("splicing ends");
    assert_eq!(spliced.unwrap_err().kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_client_may_continue_to_send_after_the_server_has_closed_its_sending_side() {
    let (near, mut client) = UnixStream::pair().unwrap();
    let (far, mut server) = UnixStream::pair().unwrap();
    let splicing = tokio::spawn(splice_all(b"what was ", near, far, DEADLINE));
    server.shutdown().await.unwrap();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    client.write_all(b"sent").await.unwrap();
    client.shutdown().await.unwrap();
    let mut request = String::new();
    server.read_to_string(&mut request).await.unwrap();
    assert_eq!(request, "what was sent");
    splicing.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_server_sees_a_loopback_clients_own_address() {
    for (from, at) in [("127.0.0.5:0", "127.0.0.1:0"), ("[::1]:0", "[::1]:0")] {
        let listener = TcpListener::bind(at).await.unwrap();
        let from: SocketAddr = from.parse().unwrap();
        let socket = match from {
            SocketAddr::V4(_) => TcpSocket::new_v4().unwrap(),
            SocketAddr::V6(_) => TcpSocket::new_v6().unwrap(),
        };
        socket.bind(from).unwrap();
        let _client = socket.connect(listener.local_addr().unwrap()).await;
        let (accepted, _) = listener.accept().await.unwrap();
        let forwarding = tokio::spawn(async move {
            forward(accepted, Vec::new(), &InnerConnections::default()).await
        });
        let (_server, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.ip(), from.ip());
        forwarding.abort();
    }
}
