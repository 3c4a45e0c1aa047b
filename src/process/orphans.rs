//! Kills process trees that have lost their guardian, and reaps orphans.
//!
//! When a guardian is killed, the kernel gives its children to the next subreaper above it, which is hotrun. Orphans
//! are all of hotrun's children except guardians, which are recorded here, helpers (`cargo metadata`), which are in
//! hotrun's own process group, and children that existed before hotrun. Programs have process groups of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::process::id;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpgid};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::os::process::{self, Reaped, reap};
use crate::os::process_tree;
use crate::reload::Ended;

/// The longest pause between two attempts to kill the remaining orphans.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// The maximum number of entries in [`Children::ended`]: entries for orphans that were not programs are never looked
/// up.
const MOST_ENDED: usize = 256;

static CHILDREN: Mutex<Children> = Mutex::new(Children {
    inherited: None,
    guardians: BTreeSet::new(),
    ended: BTreeMap::new(),
});

struct Children {
    /// Children that already existed when hotrun started: a shell that replaces itself with hotrun (`exec`) leaves its
    /// own children to hotrun. `None` before [`become_subreaper`].
    inherited: Option<BTreeSet<i32>>,
    guardians: BTreeSet<i32>,
    /// How each reaped orphan ended. An entry is removed when the task that monitors the orphan's tree asks for it.
    ended: BTreeMap<i32, Ended>,
}

fn children() -> MutexGuard<'static, Children> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes hotrun inherit the trees of killed guardians, on systems that support this. Must be called once, before
/// anything is spawned.
pub fn become_subreaper() -> io::Result<()> {
    let inherited = process_tree::children(own_pid()).into_iter().collect();
    children().inherited.get_or_insert(inherited);
    process::become_subreaper()
}

/// Whether this child of hotrun was not inherited from a shell. `false` before [`become_subreaper`], because hotrun has
/// not started anything yet.
pub(super) fn started_by_us(child: i32) -> bool {
    let children = children();
    let inherited = children.inherited.as_ref();
    inherited.is_some_and(|inherited| !inherited.contains(&child))
}

/// Starts a guardian, and records it before anything can mistake it for an orphan.
pub(super) fn start_guardian(command: &mut Command) -> io::Result<Child> {
    let mut children = children();
    let child = command.spawn()?;
    children.guardians.extend(child.id().map(u32::cast_signed));
    Ok(child)
}

/// Removes the record of a guardian that was reaped.
pub(super) fn forget_guardian(pid: Option<u32>) {
    if let Some(pid) = pid {
        children().guardians.remove(&pid.cast_signed());
    }
}

/// Kills and reaps all orphans. Returns how `program` ended, if it was one of them.
pub(super) async fn kill_all(program: Option<i32>) -> Option<Ended> {
    let mut pause = Duration::from_millis(1);
    while kill_once() {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    children().ended.remove(&program?)
}

/// Kills the orphans that a scan finds, and reaps those that have ended. Returns whether there were any orphans.
fn kill_once() -> bool {
    let orphans = orphans();
    orphans.iter().copied().for_each(kill_with_descendants);
    reap_each(&orphans);
    !orphans.is_empty()
}

/// Reaps the orphans that have ended, each by its pid, because other parts of hotrun wait for the other children.
fn reap_each(orphans: &[i32]) {
    for orphan in orphans {
        if let Reaped::Ended(pid, status) = reap(Some(*orphan)) {
            let ended = &mut children().ended;
            ended.insert(pid, super::ended(status));
            if ended.len() > MOST_ENDED {
                ended.pop_first();
            }
        }
    }
}

/// Keeps reaping the orphans that end on their own. As pid 1 of a container, hotrun gets the orphans of every process
/// (`pid_namespaces(7)`). Requires a tokio runtime with I/O.
pub async fn reap_ended() {
    let Ok(mut ends) = signal(SignalKind::child()) else {
        return;
    };
    loop {
        reap_each(&orphans());
        if ends.recv().await.is_none() {
            return;
        }
    }
}

/// Kills hotrun's helper processes: `cargo` and `rustup`, which hotrun runs to get metadata and which may run for
/// minutes. Spares guardians, because each of them kills its tree and then exits, and children that hotrun inherited
/// from a shell.
pub fn kill_helpers() {
    let own = own_pid();
    let hotrun = process_tree::executable(own);
    let is_helper =
        |child: &i32| started_by_us(*child) && process_tree::executable(*child) != hotrun;
    let children = process_tree::children(own).into_iter();
    children.filter(is_helper).for_each(kill_with_descendants);
}

fn kill_with_descendants(process: i32) {
    let descendants = process_tree::descendants(process);
    for pid in descendants.into_iter().chain([process]) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

fn orphans() -> Vec<i32> {
    let children = children();
    let inherited = children.inherited.iter().flatten();
    let known: BTreeSet<_> = inherited.chain(&children.guardians).collect();
    let own_group = getpgid(None).ok();
    let mut found = process_tree::children(own_pid());
    found.retain(|pid| {
        let group = getpgid(Some(Pid::from_raw(*pid))).ok();
        !known.contains(pid) && group.is_some() && group != own_group
    });
    found
}

fn own_pid() -> i32 {
    id().cast_signed()
}
