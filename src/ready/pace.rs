//! How often to look. Pure.

use std::time::Duration;

/// Between two looks at the beginning; tokio's timers have no finer grain.
const SHORTEST: Duration = Duration::from_millis(1);

/// Between two looks at a program that takes long.
const LONGEST: Duration = Duration::from_millis(25);

/// The time to let pass after a look that took `cost`, when the start was `elapsed` ago.
///
/// What is felt is the ratio: a start that is seen 1 ms late matters after 20 ms and not after 2 s. So it is
/// a fiftieth of the time that has passed, within bounds. And a look never takes more than a tenth of a
/// core, however large the tree is.
pub(super) fn pause(elapsed: Duration, cost: Duration) -> Duration {
    (elapsed / 50).clamp(SHORTEST, LONGEST).max(cost * 9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_frequent_first_and_never_cost_much() {
        let ms = Duration::from_millis;
        let free = Duration::ZERO;
        assert_eq!(pause(free, free), ms(1));
        assert_eq!(pause(ms(500), free), ms(10));
        assert_eq!(pause(ms(60_000), free), ms(25));
        assert_eq!(pause(free, ms(2)), ms(18));
    }
}
