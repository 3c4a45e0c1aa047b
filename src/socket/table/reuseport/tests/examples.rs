//! Examples of members that may leave their group, and of members that must stay.

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
fn when_one_of_two_members_leaves_the_hash_can_only_choose_the_other() {
    let group = members_of(&[1, 2], 2);
    assert!(group.may_leave(key(0), &[]));
    assert!(!group.may_leave(key(1), &[]), "the live listener must stay");
}

#[test]
fn the_live_listener_must_not_move_while_there_are_other_members() {
    let group = members_of(&[1, 2, 3], 3);
    assert!(
        !group.may_leave(key(0), &[]),
        "with index 2 gone, a hash would choose between generations 2 and 3"
    );
    assert!(
        !group.may_leave(key(1), &[]),
        "with index 2 gone, a hash would choose between generations 1 and 3"
    );
}

#[test]
fn a_member_may_leave_once_a_later_one_has_joined() {
    let mut group = members_of(&[1, 2, 3], 3);
    group.join(key(3), generation(4));
    assert!(group.may_leave(key(0), &[]));
    group.leave(key(0));
    assert!(
        !group.may_leave(key(1), &[]),
        "the live listener is last again"
    );
    group.set_target(generation(4));
    group.attached(group.lacking().unwrap());
    assert!(group.may_leave(key(1), &[]));
}

#[test]
fn a_listener_must_not_move_during_a_probe() {
    let mut group = members_of(&[1, 2, 3], 2);
    group.divert(9, GenId(3));
    group.attached(group.lacking().unwrap());
    assert!(
        !group.may_leave(key(0), &[]),
        "the probed listener would move"
    );
    group.stop_diverting(9);
    group.attached(group.lacking().unwrap());
    assert!(group.may_leave(key(0), &[]));
}

#[test]
fn before_the_first_program_is_attached_the_hash_may_choose_any_member() {
    let mut group = Members::default();
    group.join(key(0), Owner::Next);
    group.join(key(1), generation(1));
    assert!(
        group.may_leave(key(1), &[]),
        "only the target is left, whatever the hash"
    );
    group.join(key(2), generation(2));
    assert!(!group.may_leave(key(1), &[]));
}

#[test]
fn a_listener_may_leave_if_misdirected_connections_are_forwarded() {
    let mut group = Members::default();
    group.join(key(0), NOBODY);
    group.join(key(1), NOBODY);
    group.join(key(2), generation(1));
    group.set_target(generation(1));
    group.attached(group.lacking().unwrap());
    assert!(!group.may_leave(key(0), &[]));
    assert!(group.may_leave(key(0), &[key(1)]));
    group.divert(7, GenId(1));
    group.attached(group.lacking().unwrap());
    assert!(
        !group.may_leave(key(0), &[key(1)]),
        "a probe would reach the wrong listener"
    );
}
