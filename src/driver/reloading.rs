//! A program that says that it reads its configuration again (`sd_notify(3)`: `RELOADING=1`, then `READY=1`).

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use crate::process::notify::Assignments;
use crate::reload::GenId;
use crate::ui::{Human, Level};

use super::feed::Feed;

/// Since when it does, if it does.
#[derive(Debug, Default)]
pub(super) struct Reloading(Option<Instant>);

impl Reloading {
    /// Shows when it begins and when it is done.
    pub(super) fn follow(&mut self, id: GenId, said: &Assignments, feed: &Feed) {
        if said.reloading {
            self.0 = Some(began(said.monotonic));
            let text = format!("gen {id} reloads its configuration");
            feed.offer(Feed::text(Level::Info, text));
        } else if let Some(since) = self.0.take_if(|_| said.ready) {
            let took = Human(since.elapsed());
            let text = format!("gen {id} has reloaded in {took}");
            feed.offer(Feed::text(Level::Info, text));
        }
    }
}

/// When it began by its own account, which is earlier than when that is heard (`MONOTONIC_USEC`). A moment that is still
/// to come, or long gone, is no account.
fn began(monotonic: Option<Duration>) -> Instant {
    const OLDEST: Duration = Duration::from_secs(60);
    let now = Instant::now();
    let clock = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from);
    let ago = clock.ok().zip(monotonic);
    let ago = ago.and_then(|(clock, began)| clock.checked_sub(began));
    let ago = ago.filter(|ago| *ago < OLDEST).unwrap_or_default();
    now.checked_sub(ago).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_moment_that_may_be_true_counts() {
        let clock = || Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap());
        let second = Duration::from_secs(1);
        let early = began(Some(clock().saturating_sub(second)));
        assert!(early.elapsed() >= second, "{:?}", early.elapsed());
        for wrong in [None, Some(clock() + 100 * second), Some(Duration::ZERO)] {
            let before = Instant::now();
            let uptime = clock() < 60 * second;
            assert!(began(wrong) >= before || uptime, "{wrong:?}");
        }
    }
}
