//! Which members may leave, by example.

use super::*;

fn key(number: u64) -> Key {
    Key(number)
}

fn members_of(owners: &[u32], target: u32) -> Members {
    let mut group = Members::default();
    for (number, owner) in (0..).zip(owners) {
        group.join(key(number), generation(*owner));
    }
    group.set_target(generation(target));
    let steering = group.lacking().unwrap();
    group.attached(steering);
    group
}

#[test]
fn with_two_members_the_fallback_is_the_survivor() {
    let group = members_of(&[1, 2], 2);
    assert!(group.may_leave(key(0), &[]));
    assert!(!group.may_leave(key(1), &[]), "the live one");
}

#[test]
fn the_live_listener_must_not_move_while_others_are_there() {
    let group = members_of(&[1, 2, 3], 3);
    assert!(
        !group.may_leave(key(0), &[]),
        "index 2 would fall to 2 or 3 by a hash"
    );
    assert!(
        !group.may_leave(key(1), &[]),
        "index 2 would fall to 1 or 3 by a hash"
    );
}

#[test]
fn a_later_member_makes_the_deferred_leave_safe() {
    let mut group = members_of(&[1, 2, 3], 3);
    group.join(key(3), generation(4));
    assert!(group.may_leave(key(0), &[]));
    group.leave(key(0));
    assert!(!group.may_leave(key(1), &[]), "listener 3 is last again");
    group.set_target(generation(4));
    group.attached(group.lacking().unwrap());
    assert!(group.may_leave(key(1), &[]));
}

#[test]
fn a_probe_under_way_keeps_its_listener_where_it_is() {
    let mut group = members_of(&[1, 2, 3], 2);
    group.divert(9, GenId::new(3));
    group.attached(group.lacking().unwrap());
    assert!(
        !group.may_leave(key(0), &[]),
        "the probed listener would move"
    );
    group.restore(9);
    group.attached(group.lacking().unwrap());
    assert!(group.may_leave(key(0), &[]));
}

#[test]
fn nothing_may_leave_before_the_first_program() {
    let mut group = Members::default();
    group.join(key(0), Owner::Next);
    group.join(key(1), generation(1));
    assert!(
        group.may_leave(key(1), &[]),
        "whatever the hash, the target is all that is left"
    );
    group.join(key(2), generation(2));
    assert!(!group.may_leave(key(1), &[]));
}

#[test]
fn a_listener_leaves_where_only_what_is_forwarded_may_get_what_goes_astray() {
    let mut group = Members::default();
    group.join(key(0), NOBODY);
    group.join(key(1), NOBODY);
    group.join(key(2), generation(1));
    group.set_target(generation(1));
    group.attached(group.lacking().unwrap());
    assert!(!group.may_leave(key(0), &[]));
    assert!(group.may_leave(key(0), &[key(1)]));
    group.divert(7, GenId::new(1));
    group.attached(group.lacking().unwrap());
    assert!(
        !group.may_leave(key(0), &[key(1)]),
        "a probe would go astray"
    );
}
