//! Limits how often warnings of one kind are shown, because a program, a client or another user may trigger them
//! endlessly.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How many warnings of one kind are shown before any is skipped.
const BURST: u32 = 5;
/// After the [`BURST`], at most one warning of the kind is shown per period. After a period without any, the next
/// [`BURST`] is shown again.
const PERIOD: Duration = Duration::from_secs(10);
/// The maximum number of kinds that are remembered. One more, and all are forgotten.
const KINDS: usize = 64;

/// The recent warnings of each kind. Texts that differ only in numbers (pids, ports) are of the same kind, except that
/// every generation has its own kinds.
#[derive(Debug, Default)]
pub(super) struct Repeats(HashMap<String, Kind>);

#[derive(Debug)]
struct Kind {
    shown: u32,
    shown_at: Instant,
    seen_at: Instant,
    skipped: u64,
}

impl Repeats {
    /// Decides whether to show this text. Returns how many of its kind were skipped since the last one that was shown,
    /// or `None` if this one is to be skipped as well.
    pub(super) fn admit(&mut self, text: &str, now: Instant) -> Option<u64> {
        let name = kind(text);
        if self.0.len() >= KINDS && !self.0.contains_key(&name) {
            self.0.clear();
        }
        let kind = self.0.entry(name).or_insert(Kind {
            shown: 0,
            shown_at: now,
            seen_at: now,
            skipped: 0,
        });
        if now - kind.seen_at >= PERIOD {
            kind.shown = 0;
        }
        kind.seen_at = now;
        if kind.shown >= BURST && now - kind.shown_at < PERIOD {
            kind.skipped += 1;
            return None;
        }
        kind.shown += 1;
        kind.shown_at = now;
        Some(std::mem::take(&mut kind.skipped))
    }
}

fn kind(text: &str) -> String {
    let without_digits = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
    let generation = text
        .strip_prefix("gen ")
        .and_then(|rest| rest.split_once([':', ' ']));
    match generation {
        Some((id, rest)) => format!("gen {id} {}", without_digits(rest)),
        None => without_digits(text),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_other_than_the_generation_are_not_part_of_a_kind() {
        assert_eq!(
            kind("gen 12: process 7 of user 99"),
            "gen 12  process  of user "
        );
        assert_ne!(kind("gen 1: late"), kind("gen 2: late"));
        for text in ["", "gen", "gen ", "gen é", "7", "über 7", "gen 7"] {
            let _ = kind(text);
        }
        assert_eq!(kind("port 80 of é"), "port  of é");
    }

    #[test]
    fn a_flood_is_summed_up_once_in_each_period() {
        let (mut repeats, begun) = (Repeats::default(), Instant::now());
        let shown = (0..30_000_u32)
            .filter_map(|ms| {
                let at = begun + Duration::from_millis(ms.into());
                repeats.admit(&format!("gen 1: ignored {ms}"), at)
            })
            .collect::<Vec<_>>();
        assert_eq!(shown, [0, 0, 0, 0, 0, 9_999, 9_999]);
    }

    proptest! {
        #[test]
        fn every_warning_is_shown_or_counted_and_no_period_shows_many_of_a_kind(
            steps in prop::collection::vec((0..4_usize, 0..6_000_u64), 1..200),
        ) {
            let (mut repeats, mut now) = (Repeats::default(), Instant::now());
            let mut shown = vec![Vec::new(); 4];
            let mut counts = [(0_u64, 0_u64); 4];
            let mut seen = [None; 4];
            for (kind, pause) in steps {
                now += Duration::from_millis(pause);
                counts[kind].0 += 1;
                let quiet = seen[kind].replace(now).is_none_or(|before| now - before >= PERIOD);
                let admitted = repeats.admit(&format!("kind {} 5", ["a", "b", "c", "d"][kind]), now);
                prop_assert!(admitted.is_some() || !quiet, "the first after a quiet period is shown");
                if let Some(skipped) = admitted {
                    counts[kind].1 += skipped + 1;
                    prop_assert_eq!(counts[kind].0, counts[kind].1);
                    shown[kind].push(now);
                    let recent = shown[kind].iter().filter(|at| now - **at < PERIOD).count();
                    prop_assert!(recent <= BURST as usize + 1);
                }
            }
        }

        #[test]
        fn the_number_of_remembered_kinds_is_bounded(texts in prop::collection::vec("[a-z]{2}", 0..200)) {
            let (mut repeats, now) = (Repeats::default(), Instant::now());
            for text in texts {
                let _ = repeats.admit(&text, now);
                prop_assert!(repeats.0.len() <= KINDS);
            }
        }
    }
}
