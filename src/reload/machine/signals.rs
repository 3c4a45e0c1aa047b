/// A set of signals, one bit for each number from 1 to 64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Signals(u64);

impl Signals {
    pub(super) const NONE: Self = Self(0);

    pub(super) fn add(&mut self, signal: i32) {
        self.0 |= bit(signal);
    }

    pub(super) fn numbers(self) -> impl Iterator<Item = i32> {
        (1..=64).filter(move |signal| self.0 & bit(*signal) != 0)
    }
}

/// Zero for a number that is no signal.
fn bit(signal: i32) -> u64 {
    let place = u32::try_from(signal - 1).ok();
    place
        .and_then(|place| 1_u64.checked_shl(place))
        .unwrap_or(0)
}
