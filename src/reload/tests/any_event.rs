//! Arbitrary events, in the notation of the log.

use proptest::prelude::*;

use super::replay;
use crate::reload::Event;

/// Any event, whether it fits or not.
pub(super) fn any_event() -> impl Strategy<Value = Event> {
    let texts = prop::sample::select(vec![
        "begin",
        "change-seen",
        "changes-settled",
        "changed build",
        "changed restart",
        "config-changed 1",
        "config-changed 64",
        "requested reload",
        "memory-measured 1 2",
        "requested pause",
        "requested resume",
        "requested undo",
        "requested share-more",
        "requested share-less",
        "requested share-all",
        "requested kill-draining",
        "requested quit",
        "requested quit-now",
        "tick",
    ]);
    // `N` is a generation and `M` a number.
    let of_a_generation = prop::sample::select(vec![
        "build-ended N built aN kept",
        "build-ended N built aM",
        "build-ended N unchanged M",
        "build-ended N failed",
        "build-ended N cancelled",
        "reports-writes N",
        "start-failed N",
        "listening N",
        "is-server N",
        "listens-on-path N",
        "ready N",
        "switched N",
        "switch-failed N",
        "share-failed N",
        "share-checked N passed",
        "share-checked N",
        "quiescent N",
        "handles-stop-signal N",
        "idle N",
        "exited N code M survivors",
        "exited N code M",
        "gone N",
        "extend-timeout N Ms",
        "stored-fds N",
        "watchdog N ping",
        "watchdog N period Ms",
        "watchdog N trigger",
        "reload-signal-sent N M handled",
        "reload-signal-sent N M",
    ]);
    let of_a_generation = (of_a_generation, 1..8_u32, 0..2_u32);
    let of_a_generation = of_a_generation.prop_map(|(text, id, number)| {
        let text = text.replace('N', &id.to_string());
        text.replace('M', &number.to_string())
    });
    let texts = prop_oneof![1 => texts.prop_map(str::to_owned), 4 => of_a_generation];
    texts.prop_map(|text| replay::event(&text).unwrap())
}
