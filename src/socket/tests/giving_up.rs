//! Addresses that the live generation closes, or that the next one does not open.

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, channel};

use super::adopting::{ANY, leave, none, open_own};
use super::*;

fn events(sockets: &Sockets) -> Receiver<(SocketAddr, AddressEvent)> {
    let (sender, events) = channel();
    sockets.on_event(move |address, event| {
        let _ = sender.send((address, event));
    });
    events
}

#[tokio::test]
async fn an_address_that_the_next_generation_does_not_open_is_reported_at_the_switch() {
    let (mut sockets, adopter) = none();
    let events = events(&sockets);
    let kept = open_own(&adopter, 1, ANY.parse().unwrap());
    let dropped = open_own(&adopter, 1, ANY.parse().unwrap());
    sockets.switch(id(1)).unwrap();
    let second = open_own(&adopter, 2, kept.address);
    assert_eq!(adopter.opened(id(2)).addresses, [kept.address]);
    assert!(events.try_recv().is_err());
    sockets.switch(id(2)).unwrap();
    let given_up = (dropped.address, AddressEvent::GivenUp);
    assert_eq!(events.try_recv(), Ok(given_up));
    // Once generation 1 is about to be asked to stop, connections wait.
    leave(&mut sockets, 1, &kept).await;
    let waiting = answers(vec![To::Tcp(dropped.address).connect().unwrap()]);
    dropped.program.ask_to_stop();
    until("the program exits", || dropped.program.is_gone()).await;
    let late = open_own(&adopter, 2, dropped.address);
    until("the connection is answered", || waiting.is_finished()).await;
    assert_eq!(waiting.join().unwrap(), [2]);
    sockets.switch(id(3)).unwrap();
    let both = [events.try_recv().unwrap().0, events.try_recv().unwrap().0];
    assert_eq!(both, [kept.address, dropped.address]);
    second.program.ask_to_stop();
    late.program.ask_to_stop();
}

#[tokio::test]
async fn the_next_generation_need_not_open_an_address_that_was_opened_late() {
    let (mut sockets, adopter) = none();
    let events = events(&sockets);
    let first = open_own(&adopter, 1, ANY.parse().unwrap());
    sockets.switch(id(1)).unwrap();
    let late = adopter.clone().expecting(Duration::ZERO);
    let opened_late = open_own(&late, 1, ANY.parse().unwrap());
    let opened_again = open_own(&late, 1, first.address);
    assert_eq!(adopter.opened(id(2)).missing, [first.address]);
    let second = open_own(&adopter, 2, first.address);
    sockets.switch(id(2)).unwrap();
    let given_up = (opened_late.address, AddressEvent::GivenUp);
    assert_eq!(events.try_recv(), Ok(given_up));
    for opened in [first, opened_late, opened_again, second] {
        opened.program.ask_to_stop();
    }
}

#[tokio::test]
async fn an_address_that_is_closed_during_a_reload_is_kept_until_the_reload_ends() {
    let (mut sockets, adopter) = none();
    let events = events(&sockets);
    let first = open_own(&adopter, 1, ANY.parse().unwrap());
    sockets.switch(id(1)).unwrap();
    first.program.ask_to_stop();
    until("the program closes its socket", || first.program.is_gone()).await;
    // hotrun notices the change a moment after the program does.
    adopter.orphan_unheld(id(1), HashSet::new()).unwrap();
    sockets.set_reloading(true);
    assert_eq!(adopter.opened(id(2)).missing, [first.address]);
    let closed = (first.address, AddressEvent::ClosedDuringReload);
    assert_eq!(events.recv_timeout(Duration::from_secs(10)), Ok(closed));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let waiting = answers(vec![To::Tcp(first.address).connect().unwrap()]);
    let again = open_own(&adopter, 1, first.address);
    until("the connection is answered", || waiting.is_finished()).await;
    assert_eq!(waiting.join().unwrap(), [1]);
    sockets.set_reloading(false);
    assert!(events.try_recv().is_err());
    again.program.ask_to_stop();
}

#[tokio::test]
async fn an_address_that_the_live_generation_closes_is_reported_and_soon_refused() {
    let (mut sockets, adopter) = none();
    let events = events(&sockets);
    let first = open_own(&adopter, 1, ANY.parse().unwrap());
    sockets.switch(id(1)).unwrap();
    first.program.ask_to_stop();
    until("the program closes its socket", || first.program.is_gone()).await;
    adopter.orphan_unheld(id(1), HashSet::new()).unwrap();
    let closed = (first.address, AddressEvent::Closed);
    assert_eq!(events.recv_timeout(Duration::from_secs(10)), Ok(closed));
    until("connections are refused", || {
        TcpStream::connect(first.address).is_err()
    })
    .await;
}

#[tokio::test]
async fn an_address_that_the_next_generation_opens_in_part_is_narrowed_and_not_missing() {
    let (mut sockets, adopter) = none();
    let whole = open_own(&adopter, 1, "0.0.0.0:0".parse().unwrap());
    sockets.switch(id(1)).unwrap();
    assert_eq!(adopter.opened(id(2)).missing, [whole.address]);
    let part = ([127, 0, 0, 1], whole.address.port());
    let part = open_own(&adopter, 2, part.into());
    let opened = adopter.opened(id(2));
    assert_eq!(
        (opened.missing, opened.narrowed),
        (vec![], vec![whole.address])
    );
    whole.program.ask_to_stop();
    part.program.ask_to_stop();
}

#[tokio::test]
async fn the_next_generation_need_not_open_a_temporary_address() {
    let (mut sockets, adopter) = none();
    let kept = open_own(&adopter, 1, ANY.parse().unwrap());
    sockets.switch(id(1)).unwrap();
    let tried = open_own(&adopter, 1, ANY.parse().unwrap());
    tried.program.ask_to_stop();
    let held = HashSet::from([kept.inode]);
    adopter.orphan_unheld(id(1), held.clone()).unwrap();
    sockets.set_reloading(true);
    assert_eq!(adopter.opened(id(2)).missing, [kept.address]);
    // It must open the address if it is the only one: the program is restarting its server.
    kept.program.ask_to_stop();
    adopter.orphan_unheld(id(1), HashSet::new()).unwrap();
    assert_eq!(adopter.opened(id(2)).missing.len(), 2);
}

#[tokio::test]
async fn the_next_generation_must_open_an_address_that_was_open_at_the_switch() {
    let (mut sockets, adopter) = none();
    let [kept, closed] = [(); 2].map(|()| open_own(&adopter, 1, ANY.parse().unwrap()));
    sockets.switch(id(1)).unwrap();
    closed.program.ask_to_stop();
    let held = HashSet::from([kept.inode]);
    adopter.orphan_unheld(id(1), held).unwrap();
    sockets.set_reloading(true);
    assert_eq!(adopter.opened(id(2)).missing.len(), 2);
    kept.program.ask_to_stop();
}
