//! Somebody waits on every passed socket.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{How, Trouble, pace};
use crate::os::waiting::{Waiting, waiting};

/// How long a socket may be held out of sight until that counts as waiting.
const PATIENCE: Duration = Duration::from_secs(1);

/// Since when a socket has been out of sight, while it is.
#[derive(Clone, Copy)]
struct Sight {
    waits: bool,
    hidden_since: Option<Instant>,
}

impl Sight {
    fn next(self, seen: Waiting, now: Instant) -> Self {
        match seen {
            Waiting::Somebody => Self {
                waits: true,
                hidden_since: None,
            },
            Waiting::Nobody => Self {
                waits: false,
                hidden_since: None,
            },
            Waiting::Hidden => Self {
                waits: false,
                hidden_since: self.hidden_since.or(Some(now)),
            },
        }
    }

    fn counts(self, now: Instant) -> bool {
        self.waits
            || self
                .hidden_since
                .is_some_and(|since| now - since >= PATIENCE)
    }
}

/// Waits until each of `sockets` is waited on by one of `pids`.
///
/// All have to be at the same look: a worker that serves one and dies before the next opens leaves nothing. A
/// process that holds a socket, where everything can be seen and nobody waits, counts for nothing, however
/// long: it is a wrapper, or a program that is still loading. Only what is out of sight (an io_uring on a
/// kernel that does not list what is pending, a process of another user) counts after a second, and
/// without any sight at all (other systems) a second alone does.
pub(super) async fn somebody_waits(
    pids: &mut (dyn FnMut() -> Vec<i32> + Send),
    sockets: &[u64],
    trouble: &mut (dyn FnMut(Trouble) + Send),
) -> How {
    let start = Instant::now();
    // One look that was interrupted by other work of a busy machine says nothing about its cost.
    let mut cost_before = Duration::MAX;
    let mut sights = vec![
        Sight {
            waits: false,
            hidden_since: None
        };
        sockets.len()
    ];
    loop {
        let began = Instant::now();
        let Some(seen) = waiting(&pids(), sockets) else {
            sleep(PATIENCE).await;
            return How::Holds;
        };
        let now = Instant::now();
        sights
            .iter_mut()
            .zip(seen)
            .for_each(|(sight, seen)| *sight = sight.next(seen, now));
        match sights.iter().position(|sight| !sight.counts(now)) {
            Some(index) => trouble(Trouble::NobodyWaits(index)),
            None if sights.iter().all(|sight| sight.waits) => return How::Waits,
            None => return How::Holds,
        }
        let cost = now - began;
        sleep(pace::pause(now - start, cost.min(cost_before))).await;
        cost_before = cost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stays_out_of_sight_for_a_second_counts() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let unseen = Sight {
            waits: false,
            hidden_since: None,
        };
        let hidden = unseen
            .next(Waiting::Hidden, at(0))
            .next(Waiting::Hidden, at(900));
        assert!(!hidden.counts(at(999)) && hidden.counts(at(1000)));
        let seen_between = hidden
            .next(Waiting::Nobody, at(950))
            .next(Waiting::Hidden, at(960));
        assert!(!seen_between.counts(at(1000)) && seen_between.counts(at(1960)));
        assert!(!hidden.next(Waiting::Nobody, at(2000)).counts(at(9000)));
        assert!(hidden.next(Waiting::Somebody, at(1)).counts(at(1)));
    }
}
