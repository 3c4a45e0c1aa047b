//! The clock of the machine. Time in which hotrun itself was away does not count: it was stopped, the machine slept, the
//! deciding thread was held up. What others did meanwhile was not heard, so nothing of it may be called late.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::reload::{Event, Time};

use super::Driver;
use super::inbox::Input;
use super::notified::hear_out;

/// Whoever wakes so long after a limit was away. What is queued behind one event is done with much sooner.
const AWAY: Duration = Duration::from_millis(500);
/// How long others have then to be heard before the limit.
const GRACE: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    /// What was told last: it never goes back.
    told: Duration,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            started: Instant::now(),
            told: Duration::ZERO,
        }
    }

    /// The time, for the machine.
    pub(super) fn tell(&mut self) -> Time {
        self.told = self.started.elapsed();
        Time::after_start(self.told)
    }

    /// Nothing was late because of this.
    pub(super) fn leave_out(&mut self, time: Duration) {
        self.started += time;
    }

    /// Goes back to before this limit if it passed while hotrun was away; whether it is yet to come then. It is not where
    /// something was told of a later time already.
    pub(super) fn was_away(&mut self, limit: Option<Time>) -> bool {
        let now = self.started.elapsed();
        let limit = limit.map(Time::since_start);
        let Some(limit) = limit.filter(|limit| now.saturating_sub(*limit) > AWAY) else {
            return false;
        };
        let back = limit.saturating_sub(GRACE).max(self.told);
        self.leave_out(now.saturating_sub(back));
        back < limit
    }

    /// Sleeps until the machine wants to be woken, for ever if it does not.
    pub(super) async fn sleep_until(&self, limit: Option<Time>) {
        /// The farthest that is slept in one go; the machine, asked again, then says the same.
        const FAR: Duration = Duration::from_secs(3600);
        let Some(limit) = limit else {
            return std::future::pending().await;
        };
        let left = limit.since_start().saturating_sub(self.started.elapsed());
        tokio::time::sleep(left.min(FAR)).await;
    }
}

impl Driver {
    /// A limit has passed. What programs have sent by now is heard first: it may lie in their sockets because nobody
    /// had the time to read it.
    pub(super) fn limit_passed(&mut self, limit: Option<Time>) {
        if self.clock.was_away(limit) {
            return;
        }
        self.hears_out = true;
        let listeners = self
            .generations
            .values()
            .map(|running| running.listener.clone());
        // All at once: one that does not answer costs its second, and the others none.
        let heard = listeners.map(|listener| async move { hear_out(&listener).await });
        let (mut heard, inbox) = (heard.collect::<JoinSet<()>>(), self.inbox.clone());
        tokio::spawn(async move {
            while heard.join_next().await.is_some() {}
            inbox.input(Input::HeardOut);
        });
    }

    pub(super) fn heard_out(&mut self) {
        self.handle(Event::Tick);
        self.hears_out = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(age: u64) -> Clock {
        Clock {
            started: Instant::now() - Duration::from_secs(age),
            told: Duration::ZERO,
        }
    }

    fn at(seconds: u64) -> Option<Time> {
        Some(Time::after_start(Duration::from_secs(seconds)))
    }

    #[test]
    fn a_limit_that_passed_while_hotrun_was_away_is_yet_to_come() {
        let mut clock = clock(100);
        assert!(clock.was_away(at(50)));
        let before = at(50).unwrap().since(clock.tell());
        assert!(before > Duration::ZERO && before <= GRACE, "{before:?}");
        assert!(!clock.was_away(at(50)), "once");
    }

    #[test]
    fn who_is_in_time_or_has_no_limit_was_not_away() {
        let mut clock = clock(100);
        for limit in [None, at(100), at(1000)] {
            assert!(!clock.was_away(limit), "{limit:?}");
        }
        assert!(clock.tell() >= at(100).unwrap());
    }

    #[test]
    fn it_never_goes_back_behind_what_was_told() {
        let mut clock = clock(100);
        let told = clock.tell();
        assert!(!clock.was_away(at(50)), "it has passed, and is due");
        assert!(clock.tell() >= told);
    }
}
