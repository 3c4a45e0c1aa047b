//! Fuzzing of parsers for external input: the output of programs and compilers, and data from the kernel.
//!
//! Each parser has a test named `fuzz_…` beside it, which calls [`fuzz`] with examples of its input and with words that
//! it recognizes. By default, a test runs for one second with a fixed seed. `FUZZ_SECONDS=600 cargo test --lib fuzz_ --
//! --test-threads=1` runs each test for ten minutes with a random seed, and also checks that memory does not keep
//! growing. A failing input is printed together with the seed; setting `FUZZ_SEED` to this seed repeats the run.
//!
//! Unlike cargo-fuzz, this has no coverage feedback, because that needs a nightly compiler. Repeated mutation of the
//! examples is enough to reach the branches of these small parsers.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write as _;
use std::time::{Duration, Instant};

const DEFAULT: Duration = Duration::from_secs(1);
/// The maximum number of inputs that are kept for further mutation.
const MAX_KEPT: usize = 64;
/// The maximum length of an input, in bytes.
const MAX_LENGTH: usize = 64 * 1024;
/// How much the memory of the process may grow during a run, in bytes.
const MAX_MEMORY: u64 = 256 << 20;

/// Passes mutated examples to a parser until the time is up. The parser must not panic or accumulate memory.
pub(crate) fn fuzz(name: &str, examples: &[&[u8]], words: &[&str], mut parser: impl FnMut(&[u8])) {
    let (seconds, seed) = (env_number("FUZZ_SECONDS"), env_number("FUZZ_SEED"));
    let seed = seed.unwrap_or_else(|| match seconds {
        Some(_) => RandomState::new().build_hasher().finish(),
        None => 1,
    });
    let mut fuzzer = Fuzzer::new(seed, examples, words);
    let (began, before) = (Instant::now(), memory());
    let budget = seconds.map_or(DEFAULT, Duration::from_secs);
    let (mut count, mut slowest) = (0_u64, Duration::ZERO);
    while began.elapsed() < budget {
        let input = fuzzer.next();
        let input_guard = PrintOnPanic {
            name,
            seed,
            input: &input,
        };
        let started = Instant::now();
        parser(input_guard.input);
        slowest = slowest.max(started.elapsed());
        count += 1;
        if seconds.is_some() && count.is_multiple_of(4096) {
            let grown = memory().saturating_sub(before);
            assert!(grown < MAX_MEMORY, "{name}: memory grew by {grown} bytes");
        }
        drop(input_guard);
        fuzzer.keep(input);
    }
    let grown = memory().saturating_sub(before) >> 10;
    let took = began.elapsed().as_secs_f64();
    let _ = writeln!(
        std::io::stderr(),
        "fuzz {name}: {count} inputs in {took:.1} s, the slowest {slowest:?}, memory +{grown} KiB, seed {seed}"
    );
}

fn env_number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|error| panic!("`{variable}`: {error}")),
    )
}

/// The resident memory of this process, in bytes; 0 if unknown.
fn memory() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

/// Prints the parser's input if the parser panics.
struct PrintOnPanic<'a> {
    name: &'a str,
    seed: u64,
    input: &'a [u8],
}

impl Drop for PrintOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { name, seed, input } = self;
            let input = input.escape_ascii();
            let _ = writeln!(std::io::stderr(), "fuzz {name}, seed {seed}: b\"{input}\"");
        }
    }
}

/// Generates inputs.
struct Fuzzer<'a> {
    random: SplitMix64,
    /// Inputs to mutate. The examples come first and are never replaced.
    kept: Vec<Vec<u8>>,
    examples: usize,
    words: &'a [&'a str],
}

impl<'a> Fuzzer<'a> {
    fn new(seed: u64, examples: &[&[u8]], words: &'a [&'a str]) -> Self {
        Self {
            random: SplitMix64(seed),
            kept: examples.iter().map(|example| example.to_vec()).collect(),
            examples: examples.len(),
            words,
        }
    }

    fn next(&mut self) -> Vec<u8> {
        let which = self.random.below(self.kept.len());
        let mut input = self.kept[which].clone();
        for _ in 0..=self.random.below(6) {
            self.mutate(&mut input);
        }
        input.truncate(MAX_LENGTH);
        input
    }

    /// Keeps about one input in 32, so that mutations accumulate.
    fn keep(&mut self, input: Vec<u8>) {
        if self.random.below(32) > 0 {
            return;
        }
        if self.kept.len() < MAX_KEPT {
            self.kept.push(input);
        } else {
            let place = self.examples + self.random.below(MAX_KEPT - self.examples);
            self.kept[place] = input;
        }
    }

    fn mutate(&mut self, input: &mut Vec<u8>) {
        let at = self.random.below(input.len() + 1);
        let end = (at + 1 + self.random.below(16)).min(input.len());
        match self.random.below(9) {
            0 => input.insert(at, self.random.byte()),
            1 if at < input.len() => input[at] = self.random.byte(),
            2 if at < input.len() => input[at] ^= 1 << self.random.below(8),
            3 if at < end => drop(input.drain(at..end)),
            4 => input.truncate(at),
            5 if at < end => {
                let piece = input[at..end].to_vec();
                let times = 1 << self.random.below(10);
                let many = piece.repeat(times);
                drop(input.splice(at..at, many));
            }
            6 => {
                let other = self.random.below(self.kept.len());
                let other = &self.kept[other];
                let cut = self.random.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[cut..]);
            }
            _ if self.words.is_empty() => input.insert(at, self.random.byte()),
            _ => {
                let word = self.words[self.random.below(self.words.len())];
                drop(input.splice(at..at, word.bytes()));
            }
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(1);
        usize::try_from(self.next() % end.max(1)).unwrap_or(0)
    }
}
