//! Programs that move from an address to a wider one that covers it. The kernel prefers the narrower address, so
//! without extra care new connections would miss the new generation. And programs that move to a narrower one.

use std::collections::HashSet;

use socket2::Protocol;

use super::adopting::{ANY, REST_AND_MORE, address, bound, leave, none, open_own, settle};
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

/// A program first listens on all addresses to check its port. A connection to an address that it does not serve waits,
/// and does not go round in circles.
#[tokio::test]
async fn connections_that_wait_at_a_wider_address_are_forwarded_to_the_narrower_one() {
    let (mut sockets, adopter) = none();
    let check = bound("0.0.0.0:0".parse().unwrap(), Protocol::TCP);
    let all = address(&check);
    adopter.join(id(1), check, 5).unwrap();
    let local = |last| SocketAddr::from(([127, 0, 0, last], all.port()));
    let [served, other] = [1, 2].map(|last| To::Tcp(local(last)).connect().unwrap());
    let (served, other) = (answers(vec![served]), answers(vec![other]));
    adopter.orphan_unheld(id(1), HashSet::new()).unwrap();
    let narrow = open_own(&adopter, 1, local(1));
    sockets.switch(id(1)).unwrap();
    until("the connection is answered", || served.is_finished()).await;
    assert_eq!(served.join().unwrap(), [1]);
    let late = To::Tcp(local(2)).connect().unwrap();
    let late = answers(vec![late]);
    tokio::time::sleep(REST_AND_MORE).await;
    assert!(!other.is_finished() && !late.is_finished());
    let wide = open_own(&adopter, 1, all);
    until("both are answered", || {
        other.is_finished() && late.is_finished()
    })
    .await;
    assert_eq!(
        (other.join().unwrap(), late.join().unwrap()),
        (vec![1], vec![1])
    );
    narrow.program.ask_to_stop();
    wide.program.ask_to_stop();
}

/// There are more of them than hotrun handles at the same time.
#[tokio::test]
async fn connections_to_an_address_that_is_not_served_do_not_keep_others_from_being_forwarded() {
    let (mut sockets, adopter) = none();
    let check = bound("0.0.0.0:0".parse().unwrap(), Protocol::TCP);
    let all = address(&check);
    adopter.join(id(1), check, 1000).unwrap();
    let local = |last| SocketAddr::from(([127, 0, 0, last], all.port()));
    let waiting = (0..300).map(|_| To::Tcp(local(2)).connect().unwrap());
    let waiting: Vec<_> = waiting.collect();
    let served = answers(vec![To::Tcp(local(1)).connect().unwrap()]);
    adopter.orphan_unheld(id(1), HashSet::new()).unwrap();
    let narrow = open_own(&adopter, 1, local(1));
    sockets.switch(id(1)).unwrap();
    until("the connection is answered", || served.is_finished()).await;
    assert_eq!(served.join().unwrap(), [1]);
    drop(waiting);
    narrow.program.ask_to_stop();
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
