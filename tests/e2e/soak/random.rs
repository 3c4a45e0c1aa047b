use std::time::{SystemTime, UNIX_EPOCH};

/// A reproducible random number generator: xorshift64* (Vigna 2016).
pub(super) struct Random(u64);

impl Random {
    /// Returns the seed from `SOAK_SEED` or, if it is not set, one from the clock.
    pub(super) fn seed() -> u64 {
        let given = std::env::var("SOAK_SEED").ok();
        given.map_or_else(
            || {
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                u64::from(now.expect("the clock is later than 1970").subsec_nanos())
            },
            |text| text.parse().expect("`SOAK_SEED` is a number"),
        )
    }

    pub(super) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Returns a number less than `limit`.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).expect("31 bits fit into a usize") % limit
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}
