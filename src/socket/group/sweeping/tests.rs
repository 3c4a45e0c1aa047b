use std::thread::sleep;

use super::*;
use crate::os::sock_diag::tcp_half_open;
use crate::reload::GenId;
use crate::socket::bind::listen;
use crate::socket::group::SharedGroup;
use crate::socket::steered::Steered;

fn id(number: u32) -> GenId {
    GenId::new(number)
}

/// A group of two generations, of which the second is live and the first is gone.
fn one_gone() -> SharedGroup {
    let endpoint = std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into();
    let first = Steered::bound(endpoint).unwrap();
    listen(&first, 0).unwrap();
    let face = Steered::new(&first, Group::FIRST, None).unwrap();
    let mut group = Group::new(Box::new(face), first).unwrap();
    for number in [1, 2] {
        group.prepare(id(number)).unwrap();
        group.switch(id(number)).unwrap();
    }
    group.release(id(1), false).unwrap();
    Arc::new(Mutex::new(group))
}

fn rested() -> SharedGroup {
    let group = one_gone();
    sleep(REST);
    group
}

fn slots(group: &SharedGroup) -> usize {
    lock(group).slot_count()
}

fn nothing(_: &Scan) -> Scanned {
    Scanned::seen(Instant::now(), Vec::new(), false)
}

#[test]
fn the_lock_is_free_while_it_looks() {
    let group = rested();
    let mut looked = false;
    let again = round(&group, |look| {
        looked = true;
        assert!(group.try_lock().is_ok());
        nothing(look)
    });
    assert_eq!((looked, again, slots(&group)), (true, false, 1));
}

#[test]
fn no_operation_looks_or_closes_by_itself() {
    let group = rested();
    lock(&group).switch(id(2)).unwrap();
    lock(&group).prepare(id(3)).unwrap();
    lock(&group).tend().unwrap();
    assert_eq!(slots(&group), 3);
    assert!(lock(&group).wants_sweeper(), "somebody has to");
    assert!(!lock(&group).wants_sweeper(), "and that is one");
}

#[test]
fn a_slot_rests_before_anything_is_looked_at() {
    let group = one_gone();
    let again = round(&group, |_| panic!("too early"));
    assert_eq!((again, slots(&group)), (true, 2));
}

#[test]
fn a_handshake_that_has_not_ended_keeps_the_slot() {
    let group = rested();
    let half_open = |look: &Scan| {
        assert!(look.handshakes);
        Scanned::seen(Instant::now(), Vec::new(), true)
    };
    assert!(round(&group, half_open));
    assert_eq!(slots(&group), 2);
    assert!(!round(&group, nothing));
    assert_eq!(slots(&group), 1);
}

#[test]
fn what_was_seen_before_the_switch_does_not_count() {
    let group = rested();
    let before = Instant::now() - REST - REST;
    assert!(round(&group, |_| Scanned::seen(before, Vec::new(), false)));
    assert_eq!(slots(&group), 2);
}

/// Members 1, 2, 3, and 3 is live: if 1 left, 2 would be where the program may send somebody, by its hash.
#[test]
fn what_the_order_forbids_to_close_is_closed_when_the_next_joins() {
    let group = one_gone();
    lock(&group).prepare(id(3)).unwrap();
    lock(&group).switch(id(3)).unwrap();
    sleep(REST);
    assert!(!round(&group, nothing), "the next operation decides");
    assert_eq!(slots(&group), 3);
    lock(&group).prepare(id(4)).unwrap();
    assert_eq!(slots(&group), 3, "1 has left, 4 has come");
}

#[test]
fn a_stranger_keeps_the_slot() {
    let group = rested();
    let stranger = |_: &Scan| Scanned::seen(Instant::now(), vec![1], false);
    assert!(round(&group, stranger));
    assert_eq!(slots(&group), 2);
    // One of our own that was opened while it looked is none.
    let ours = lock(&group).slots[0].inode;
    assert!(!round(&group, |_| Scanned::seen(
        Instant::now(),
        vec![ours],
        false
    )));
    assert_eq!(slots(&group), 1);
}

/// Only the kernel is told.
fn steer(group: &SharedGroup, to: u32) {
    let Group { face, slots, .. } = &mut *lock(group);
    face.aim(slots, Some(id(to))).unwrap();
}

/// A connection of which the handshake ended while somebody looked.
#[test]
fn what_arrived_while_it_looked_keeps_the_slot() {
    let group = rested();
    let address = match lock(&group).face().address() {
        crate::socket::Address::Tcp(address) => address,
        crate::socket::Address::Unix(_) => unreachable!(),
    };
    let mut client = None;
    let again = round(&group, |look| {
        let sight = nothing(look);
        steer(&group, 1);
        client = std::net::TcpStream::connect(address).ok();
        steer(&group, 2);
        sight
    });
    assert!(client.is_some() && !tcp_half_open(address).unwrap());
    assert_eq!((again, slots(&group)), (true, 2));
}
