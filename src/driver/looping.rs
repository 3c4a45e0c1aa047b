//! A build that writes what it is built from: it would be built for ever. The same for a command that a rule runs: what
//! is said of builds here holds for it, too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// As often a file may change during a build and cause the next one, as it does when somebody saves while it is built.
const OFTEN: usize = 3;

/// Then builds come to their end, and the next one waits until nobody has saved the file for a while. If it changes in
/// so many of them it is the build: the last two began in a quiet moment.
const PROVEN: usize = OFTEN + 3;

/// A build writes a file about as long after its start each time. Who saves while it is built does not, for long.
const ABOUT: Duration = Duration::from_millis(500);

/// The same for two builds that both began in a quiet moment.
const ALMOST: Duration = Duration::from_millis(150);

/// How long nobody must have saved it, twice as long each time.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(32);

/// Which files changed during builds, build after build.
#[derive(Debug, Default)]
pub(super) struct Looping {
    seen: BTreeMap<PathBuf, Seen>,
    /// The newest build in which a file changed, and the one before.
    builds: [Option<u32>; 2],
    /// Those of which it was told that the build writes them.
    own: BTreeSet<PathBuf>,
}

/// How a file changed during builds.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// The newest one.
    build: u32,
    /// In how many in a row, in all of them about as long after the start.
    times: usize,
    /// How often the next one was put off because of it.
    pauses: u32,
    /// How long after the start of the last one.
    after: Duration,
}

/// What to do about a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Build, at once.
    Now,
    /// Let the build that runs come to its end, and build once more after a pause of this length: if the file changes
    /// then too, and not in the pause, it is the build.
    Later(Duration),
    /// Nothing: these are the build's own, which was not known before.
    Own(Vec<PathBuf>),
    /// Nothing.
    Nothing,
}

impl Looping {
    /// `changed` are all that changed together. `during` is the build in which all of them changed, if they did, and how
    /// long after its start.
    pub(super) fn judge(
        &mut self,
        changed: &[PathBuf],
        during: Option<(u32, Duration)>,
    ) -> Verdict {
        let Some((build, after)) = during else {
            self.forget(changed);
            return Verdict::Now;
        };
        self.count(changed, build, after);
        let others = || changed.iter().filter(|path| !self.own.contains(*path));
        let seen = || others().filter_map(|path| self.seen.get(path));
        let pauses = seen().map(|seen| seen.pauses).max().unwrap_or(0);
        match seen().map(|seen| seen.times).min() {
            None => Verdict::Nothing,
            Some(0..=OFTEN) => Verdict::Now,
            Some(times) if times < PROVEN => Verdict::Later(pause(pauses)),
            Some(_) => {
                self.own.extend(changed.iter().cloned());
                Verdict::Own(changed.to_vec())
            }
        }
    }

    fn count(&mut self, changed: &[PathBuf], build: u32, after: Duration) {
        if self.builds[0] != Some(build) {
            self.builds = [Some(build), self.builds[0]];
        }
        let builds = self.builds;
        self.seen
            .retain(|_, seen| builds.contains(&Some(seen.build)));
        for path in changed {
            let first = Seen::first(build, after);
            let seen = self.seen.entry(path.clone());
            seen.and_modify(|seen| seen.again(build, after))
                .or_insert(first);
        }
    }

    /// Somebody else writes them too.
    fn forget(&mut self, changed: &[PathBuf]) {
        self.seen.clear();
        for path in changed {
            self.own.remove(Path::new(path));
        }
    }
}

impl Seen {
    const fn first(build: u32, after: Duration) -> Self {
        Self {
            build,
            times: 1,
            pauses: 0,
            after,
        }
    }

    /// Several times in one build are one.
    fn again(&mut self, build: u32, after: Duration) {
        if self.build == build {
            return;
        }
        let (before, apart) = (self.after, self.after.abs_diff(after));
        if apart > ABOUT + before / 4 {
            *self = Self::first(build, after);
            return;
        }
        if self.times + 1 < PROVEN || apart <= ALMOST + before / 10 {
            self.times += 1;
        }
        self.pauses += u32::from(self.times > OFTEN);
        (self.build, self.after) = (build, after);
    }
}

fn pause(number: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(number.saturating_sub(1));
    PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    /// Builds from 1 on, in each of which these files change, or none in the build of 0.
    fn judge(looping: &mut Looping, builds: &[u32], names: &[&str]) -> Vec<Verdict> {
        let after = Duration::from_secs(1);
        let during = |build: &u32| Some((*build, after)).filter(|_| *build > 0);
        let verdict = |build| looping.judge(&paths(names), during(build));
        builds.iter().map(verdict).collect()
    }

    fn later(seconds: u64) -> Verdict {
        Verdict::Later(Duration::from_secs(seconds))
    }

    #[test]
    fn a_build_that_writes_its_inputs_is_found_out() {
        use Verdict::{Nothing, Now, Own};
        let mut looping = Looping::default();
        let verdicts = judge(&mut looping, &[1, 2, 3, 4, 5, 6, 7], &["gen.rs"]);
        let own = Own(paths(&["gen.rs"]));
        let expected = [Now, Now, Now, later(1), later(2), own, Nothing];
        assert_eq!(verdicts, expected);
        // With a file that somebody saves beside it.
        assert_eq!(judge(&mut looping, &[8], &["gen.rs", "main.rs"]), [Now]);
        assert_eq!(judge(&mut looping, &[9], &["gen.rs"]), [Nothing]);
        // Somebody edits it.
        assert_eq!(judge(&mut looping, &[0, 10], &["gen.rs"]), [Now, Now]);
    }

    #[test]
    fn a_build_that_writes_now_sooner_now_later_is_built_ever_more_rarely() {
        let mut looping = Looping::default();
        let mut verdict = |build: u32, after| {
            let after = Duration::from_millis(after);
            looping.judge(&paths(&["gen.rs"]), Some((build, after)))
        };
        for build in 1..=3 {
            assert_eq!(verdict(build, 100), Verdict::Now);
        }
        let pauses = [1, 2, 4, 8, 16, 32, 32];
        for (build, seconds) in (4..).zip(pauses) {
            let after = if build % 2 == 0 { 100 } else { 500 };
            assert_eq!(verdict(build, after), later(seconds), "build {build}");
        }
        assert_eq!(verdict(11, 100), Verdict::Own(paths(&["gen.rs"])));
    }

    #[test]
    fn who_saves_while_it_is_built_gets_every_save_built() {
        use Verdict::Now;
        let mut looping = Looping::default();
        assert_eq!(
            judge(&mut looping, &[1, 2, 3, 4], &["main.rs"]),
            [Now, Now, Now, later(1)]
        );
        assert_eq!(
            judge(&mut looping, &[0, 6, 7], &["main.rs"]),
            [const { Now }; 3]
        );
        // Several saves in one build are one.
        let mut looping = Looping::default();
        assert_eq!(
            judge(&mut looping, &[1, 1, 1, 1, 1], &["main.rs"]),
            [const { Now }; 5]
        );
        // Other files in between are other changes.
        let mut looping = Looping::default();
        judge(&mut looping, &[1, 2, 3], &["a.rs"]);
        assert_eq!(judge(&mut looping, &[4], &["b.rs"]), [Now]);
        assert_eq!(judge(&mut looping, &[5], &["a.rs"]), [Now]);
    }

    #[test]
    fn a_build_that_writes_two_files_one_after_the_other_is_found_out_for_both() {
        use Verdict::{Nothing, Now, Own};
        let mut looping = Looping::default();
        let mut a = judge(&mut looping, &[1, 2, 3], &["a.rs"]);
        let mut b = Vec::new();
        for build in 4..=10 {
            a.extend(judge(&mut looping, &[build], &["a.rs"]));
            b.extend(judge(&mut looping, &[build], &["b.rs"]));
        }
        let own = |name| Own(paths(&[name]));
        let [first, second] = [own("a.rs"), own("b.rs")];
        let (one, two) = (later(1), later(2));
        assert_eq!(a[..3], [Now, Now, Now]);
        assert_eq!(a[3..6], [one.clone(), two.clone(), first]);
        assert_eq!(b, [Now, Now, Now, one, two, second, Nothing]);
    }

    #[test]
    fn saves_at_odd_moments_of_long_builds_are_no_loop() {
        let mut looping = Looping::default();
        for build in 1..20 {
            let after = Duration::from_secs(if build % 3 == 0 { 4 } else { 7 });
            let verdict = looping.judge(&paths(&["main.rs"]), Some((build, after)));
            assert_eq!(verdict, Verdict::Now, "build {build}");
        }
    }

    /// Which of so many saves is built last, if there is one every `pause` and a build takes `takes`.
    fn last_built(saves: u32, pause: Duration, takes: Duration) -> u32 {
        let mut looping = Looping::default();
        let (mut saved, mut built, mut builds) = (0, 0, 0);
        // The build that runs, when it began, and what it reads; how long to wait after it, or until when.
        let (mut runs, mut later, mut due) = (None::<(Duration, u32)>, None, None);
        loop {
            let save = (saved < saves).then(|| pause * (saved + 1));
            let end = runs.map(|(began, _)| began + takes);
            let Some(now) = [save, end, due].into_iter().flatten().min() else {
                return built;
            };
            let mut begins = due == Some(now);
            if save == Some(now) {
                saved += 1;
                let during = runs.map(|(began, _)| (builds, now - began));
                match looping.judge(&paths(&["main.rs"]), during) {
                    Verdict::Now => begins = true,
                    Verdict::Later(pause) => later = Some(pause),
                    Verdict::Own(_) | Verdict::Nothing => {}
                }
            } else if end == Some(now) {
                built = runs.take().map_or(built, |(_, read)| read);
                due = later.take().map(|pause| now + pause);
            }
            if begins {
                builds += 1;
                (runs, later, due) = (Some((now, saved)), None, None);
            }
        }
    }

    #[test]
    fn who_saves_again_and_again_gets_the_last_save_built() {
        let takes = [50, 300, 1_000, 3_000, 10_000];
        for (takes, pause) in takes.into_iter().flat_map(|takes| {
            let pauses = (1..=20).map(move |part| takes * part / 10);
            pauses.map(move |pause| (takes, pause))
        }) {
            for saves in 1..=30 {
                let of = Duration::from_millis;
                let built = last_built(saves, of(pause), of(takes));
                let what = format!("{saves} saves, {pause} ms apart, builds of {takes} ms");
                assert_eq!(built, saves, "{what}");
            }
        }
    }
}
