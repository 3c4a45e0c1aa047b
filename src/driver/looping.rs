//! A build that writes what it is built from: it would be built for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::reload::GenId;

/// As often a file may change during a build and cause the next one, as it does when somebody saves while it is built.
const OFTEN: usize = 3;

/// A build writes a file about as long after its start each time. Who saves while it is built does not.
const ABOUT: Duration = Duration::from_millis(500);

/// Which files changed during builds, build after build.
#[derive(Debug, Default)]
pub(super) struct Looping {
    /// In how many builds in a row, and how long after the start of the first of them.
    seen: BTreeMap<PathBuf, (usize, Duration)>,
    /// The newest of them.
    last: Option<GenId>,
    /// Those of which it was told that the build writes them.
    own: BTreeSet<PathBuf>,
}

/// What to do about a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Build, at once.
    Build,
    /// Let the build that runs come to its end, and build once more: if the file changes then too, it is the build.
    Later,
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
        during: Option<(GenId, Duration)>,
    ) -> Verdict {
        let Some((build, after)) = during else {
            self.forget(changed);
            return Verdict::Build;
        };
        if self.last != Some(build) {
            self.last = Some(build);
            self.seen.retain(|path, _| changed.contains(path));
            for path in changed {
                let (times, first) = self.seen.entry(path.clone()).or_insert((0, after));
                if first.abs_diff(after) > ABOUT + *first / 4 {
                    (*times, *first) = (0, after);
                }
                *times += 1;
            }
        }
        let times = |path: &PathBuf| match self.own.contains(path) {
            true => usize::MAX,
            false => self.seen.get(path).map_or(0, |(times, _)| *times),
        };
        match changed.iter().map(times).min().unwrap_or(0) {
            0..=OFTEN => Verdict::Build,
            usize::MAX => Verdict::Nothing,
            often if often == OFTEN + 1 => Verdict::Later,
            _ => {
                self.own.extend(changed.iter().cloned());
                Verdict::Own(changed.to_vec())
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    /// Builds from 1 on, in each of which these files change, or none in the build of 0.
    fn judge(looping: &mut Looping, builds: &[u32], names: &[&str]) -> Vec<Verdict> {
        let after = Duration::from_secs(1);
        let during = |build: &u32| Some((GenId::new(*build), after)).filter(|_| *build > 0);
        let verdict = |build| looping.judge(&paths(names), during(build));
        builds.iter().map(verdict).collect()
    }

    #[test]
    fn a_build_that_writes_its_inputs_is_found_out() {
        use Verdict::{Build, Later, Nothing, Own};
        let mut looping = Looping::default();
        let verdicts = judge(&mut looping, &[1, 2, 3, 4, 5, 6], &["gen.rs"]);
        let own = Own(paths(&["gen.rs"]));
        assert_eq!(verdicts, [Build, Build, Build, Later, own, Nothing]);
        // With a file that somebody saves beside it.
        assert_eq!(judge(&mut looping, &[7], &["gen.rs", "main.rs"]), [Build]);
        assert_eq!(judge(&mut looping, &[8], &["gen.rs"]), [Nothing]);
        // Somebody edits it.
        assert_eq!(judge(&mut looping, &[0, 9], &["gen.rs"]), [Build, Build]);
    }

    #[test]
    fn who_saves_while_it_is_built_gets_every_save_built() {
        use Verdict::{Build, Later};
        let mut looping = Looping::default();
        assert_eq!(
            judge(&mut looping, &[1, 2, 3, 4], &["main.rs"]),
            [Build, Build, Build, Later]
        );
        assert_eq!(
            judge(&mut looping, &[0, 6, 7], &["main.rs"]),
            [const { Build }; 3]
        );
        // Several saves in one build are one.
        let mut looping = Looping::default();
        assert_eq!(
            judge(&mut looping, &[1, 1, 1, 1, 1], &["main.rs"]),
            [const { Build }; 5]
        );
        // Other files in between are other changes.
        let mut looping = Looping::default();
        judge(&mut looping, &[1, 2, 3], &["a.rs"]);
        assert_eq!(judge(&mut looping, &[4], &["b.rs"]), [Build]);
        assert_eq!(judge(&mut looping, &[5], &["a.rs"]), [Build]);
    }

    #[test]
    fn saves_at_odd_moments_of_long_builds_are_no_loop() {
        let mut looping = Looping::default();
        for build in 1..20 {
            let after = Duration::from_secs(if build % 3 == 0 { 4 } else { 7 });
            let verdict = looping.judge(&paths(&["main.rs"]), Some((GenId::new(build), after)));
            assert_eq!(verdict, Verdict::Build, "build {build}");
        }
    }
}
