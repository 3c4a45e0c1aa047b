//! What a restart starts after somebody went back, and what there is to go back to.

use super::{cargo, check};

#[test]
fn what_was_not_kept_is_not_gone_back_to() {
    check(
        &cargo(),
        "
           0 begin      -> build 1 | building 1 begin
          10 built 1    -> start 1 | built 1 10ms, starting 1 begin
          30 ready 1    -> switch 1 | ready 1 20ms
          31 switched 1 -> | live 1 1ms
        5000 changed    -> build 2 | building 2 change
        5999 kept 2     -> nothing
        6000 built 2    -> start 2 | built 2 1000ms, starting 2 change
        6030 ready 2    -> switch 2 | ready 2 30ms
        6031 switched 2 -> settle 1 | live 2 1ms, draining 1 10000ms
        7000 undo       -> | nothing-to-undo
        ",
    );
}
