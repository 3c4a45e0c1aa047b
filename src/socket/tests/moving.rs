//! Programs that move from an address to a wider one that covers it. The kernel prefers the narrower address, so
//! without extra care new connections would miss the new generation.

use socket2::Protocol;

use super::adopting::{ANY, address, bound, leave, none, open_own, settle};
use super::*;

/// Moves to the wider address and back again, under load.
#[tokio::test]
async fn moving_to_a_wider_address_and_back_loses_no_connection() {
    let (mut sockets, adopter) = none();
    let narrow = open_own(&adopter, 1, ANY.parse().unwrap());
    sockets.switch(id(1)).unwrap();
    let to = To::Tcp(narrow.address);
    let load = Load::start(&to, 4);
    load.more(20).await;
    let all = SocketAddr::from(([0, 0, 0, 0], narrow.address.port()));
    let wide = open_own(&adopter, 2, all);
    assert!(wide.first);
    assert_eq!(to.ask().unwrap(), 1, "before the switch");
    sockets.switch(id(2)).unwrap();
    assert_eq!(to.ask().unwrap(), 2, "after the switch");
    let refused = sockets.switch(id(1)).unwrap_err();
    assert_eq!(
        refused.kind(),
        io::ErrorKind::NotFound,
        "generation 1 is hidden"
    );
    assert_eq!(to.ask().unwrap(), 2, "the failed switch changes nothing");
    leave(&mut sockets, 1, &narrow).await;
    load.more(20).await;
    let third = open_own(&adopter, 3, narrow.address);
    assert!(third.first, "the hidden group is not reused");
    sockets.switch(id(3)).unwrap();
    settle(&sockets, 2).await;
    leave(&mut sockets, 2, &wide).await;
    assert_eq!(
        to.ask().unwrap(),
        3,
        "generation 3 answers on the narrow address"
    );
    assert!(load.finish().await > 40);
    third.program.ask_to_stop();
}

/// Connections in the queue of a program that does not accept them are forwarded to the generation that gets new
/// connections.
#[tokio::test]
async fn waiting_connections_are_forwarded_to_the_covering_address() {
    let (mut sockets, adopter) = none();
    let socket = bound(ANY.parse().unwrap(), Protocol::TCP);
    let at = address(&socket);
    adopter.join(id(1), socket.try_clone().unwrap(), 5).unwrap();
    sockets.switch(id(1)).unwrap();
    let mut waits = To::Tcp(at).connect().unwrap();
    let all = SocketAddr::from(([0, 0, 0, 0], at.port()));
    let wide = open_own(&adopter, 2, all);
    sockets.switch(id(2)).unwrap();
    sockets.forward(id(1)).unwrap();
    let answered = thread::spawn(move || answer(&mut *waits));
    until("the connection is answered", || answered.is_finished()).await;
    assert_eq!(answered.join().unwrap().unwrap(), 2);
    wide.program.ask_to_stop();
}

/// If the generation went live again, it would get no connections on the hidden address.
#[tokio::test]
async fn a_generation_hidden_on_one_address_cannot_go_live_again() {
    let (mut sockets, adopter) = none();
    let narrow = open_own(&adopter, 1, ANY.parse().unwrap());
    let kept = open_own(&adopter, 1, ANY.parse().unwrap());
    sockets.switch(id(1)).unwrap();
    let all = SocketAddr::from(([0, 0, 0, 0], narrow.address.port()));
    let wide = open_own(&adopter, 2, all);
    let same = open_own(&adopter, 2, kept.address);
    sockets.switch(id(2)).unwrap();
    let refused = sockets.switch(id(1)).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::NotFound);
    for at in [narrow.address, kept.address] {
        assert_eq!(To::Tcp(at).ask().unwrap(), 2);
    }
    for opened in [narrow, kept, wide, same] {
        opened.program.ask_to_stop();
    }
}
