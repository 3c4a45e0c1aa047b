//! Trees without a guardian.
//!
//! When a guardian is killed the kernel gives its children to the next subreaper above it: hotrun.
//! They are the children of hotrun that it did not start itself. Those that it did start are its
//! guardians, which are known here, and helpers (`cargo metadata`), which are in its own process group; a
//! program is in a group of its own from its first instruction on.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::process::id;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpgid};

use super::wire;
use crate::os::reap::{Reaped, reap as take_in};
use crate::os::{self, process_tree};
use crate::reload::Ended;

/// The longest pause between two looks at what is being killed.
const PAUSE: Duration = Duration::from_millis(50);

/// Children of ours that are not orphans: guardians, and what was there before us.
static KNOWN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// What was there before us: a shell that executed hotrun in its own place leaves its children behind.
static BEFORE: OnceLock<BTreeSet<i32>> = OnceLock::new();

/// How orphans ended whom somebody else took in while looking for his own.
static ENDED: Mutex<BTreeMap<i32, Ended>> = Mutex::new(BTreeMap::new());

/// Makes hotrun the one to whom the tree of a killed guardian falls. Once, before anything is spawned.
///
/// # Errors
/// What the system reports; it goes without on systems that know no such thing.
pub fn become_subreaper() -> io::Result<()> {
    let before = BEFORE.get_or_init(|| process_tree::children(own_pid()).into_iter().collect());
    locked(&KNOWN).extend(before);
    os::become_subreaper()
}

/// Whether this child of ours was not there before us. Before [`become_subreaper`] nothing has been started.
pub(super) fn started_by_us(child: i32) -> bool {
    BEFORE.get().is_some_and(|before| !before.contains(&child))
}

/// Starts a guardian so that it is known from the first moment on.
pub(super) fn start_guardian<T>(
    start: impl FnOnce() -> io::Result<T>,
    pid: impl FnOnce(&T) -> Option<u32>,
) -> io::Result<T> {
    let mut known = locked(&KNOWN);
    let child = start()?;
    known.extend(pid(&child).and_then(|pid| i32::try_from(pid).ok()));
    Ok(child)
}

/// The guardian has been taken in.
pub(super) fn forget_guardian(pid: Option<u32>) {
    let pid = pid.and_then(|pid| i32::try_from(pid).ok());
    if let Some(pid) = pid {
        locked(&KNOWN).remove(&pid);
    }
}

/// Kills whatever has fallen to hotrun from guardians that were killed, and waits until it is gone.
async fn kill_and_reap() {
    let mut pause = Duration::from_millis(1);
    while strike() {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE);
    }
}

/// The same, and how this process among them ended.
pub(super) async fn reap(program: Option<i32>) -> Option<Ended> {
    kill_and_reap().await;
    locked(&ENDED).remove(&program?)
}

/// Kills what can be seen and takes in what has ended; whether something is left.
fn strike() -> bool {
    let orphans = orphans();
    for orphan in &orphans {
        let mut tree = process_tree::descendants(*orphan);
        tree.push(*orphan);
        for pid in tree {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    for orphan in &orphans {
        // By number: the statuses of other children are waited for by whoever started them.
        if let Reaped::Ended(pid, status) = take_in(Some(*orphan)) {
            locked(&ENDED).insert(pid, wire::ended(status));
        }
    }
    !orphans.is_empty()
}

fn orphans() -> Vec<i32> {
    let known = locked(&KNOWN);
    let ours = getpgid(None).ok();
    let orphan = |pid: &i32| {
        let group = getpgid(Some(Pid::from_raw(*pid))).ok();
        !known.contains(pid) && group.is_some() && group != ours
    };
    process_tree::children(own_pid())
        .into_iter()
        .filter(orphan)
        .collect()
}

fn own_pid() -> i32 {
    // Process numbers fit: `pid_t` is an `i32`.
    id().cast_signed()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
