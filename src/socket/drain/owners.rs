use std::collections::{HashMap, HashSet};
use std::io;

use crate::os::socket_holders::sockets_of;

/// How many looks a connection gets. Right after `accept` its descriptor is not visible yet, so one is not enough.
const LOOKS: u32 = 2;

/// Which connections a generation holds.
///
/// Reading that from `/proc` is the most expensive part of a look. It happens only if a connection is unknown, and only
/// for descriptors that may refer to another socket than before.
#[derive(Default)]
pub(super) struct ConnectionOwners {
    ours: HashSet<u64>,
    /// How often a socket was looked for and not found.
    missed: HashMap<u64, u32>,
    /// The sockets of each process, by descriptor.
    held: HashMap<i32, HashMap<u32, u64>>,
}

impl ConnectionOwners {
    /// Finds out which of the `present` sockets one of `pids` holds.
    ///
    /// # Errors
    /// If one of the processes may not be inspected: it may hold any connection.
    pub(super) fn update(&mut self, present: &HashSet<u64>, pids: &[i32]) -> io::Result<()> {
        let unknown = |inode: &u64| self.is_unknown(*inode);
        let unknown: Vec<u64> = present.iter().copied().filter(unknown).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let held = self.read(pids, present)?;
        for inode in unknown {
            match held.contains(&inode) {
                true => drop(self.ours.insert(inode)),
                false => *self.missed.entry(inode).or_default() += 1,
            }
        }
        Ok(())
    }

    pub(super) fn has(&self, inode: u64) -> bool {
        self.ours.contains(&inode)
    }

    /// Inode 0 is a connection that no process has accepted, or that no process holds any more.
    fn is_unknown(&self, inode: u64) -> bool {
        let looks = self.missed.get(&inode).copied().unwrap_or(0);
        inode != 0 && !self.has(inode) && looks < LOOKS
    }

    /// A connection of ours that is still present has kept its descriptor, which need not be read again.
    fn read(&mut self, pids: &[i32], present: &HashSet<u64>) -> io::Result<HashSet<u64>> {
        let before = std::mem::take(&mut self.held);
        for pid in pids {
            let known = before.get(pid);
            let stays = |inode: &u64| self.ours.contains(inode) && present.contains(inode);
            let knows = |descriptor| known?.get(&descriptor).copied().filter(stays);
            self.held.insert(*pid, sockets_of(*pid, knows)?);
        }
        let held = self.held.values();
        Ok(held.flat_map(|sockets| sockets.values().copied()).collect())
    }
}
