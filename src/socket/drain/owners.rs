use std::collections::{HashMap, HashSet};
use std::io;

use super::AGREEING;
use crate::os::socket_holders::sockets_of;

/// Which connections a generation holds.
///
/// To read that from `/proc` is the dearest part of a look. It is done only when there is a connection of which it is
/// not known, and only for those descriptors that may be another socket than they were.
#[derive(Default)]
pub(in crate::socket) struct ConnectionOwners {
    ours: HashSet<u64>,
    /// How often a socket was looked for and not found. Once is not enough (see [`AGREEING`]).
    others: HashMap<u64, u32>,
    /// The sockets of each process, by descriptor.
    held: HashMap<i32, HashMap<u32, u64>>,
}

impl ConnectionOwners {
    /// Those of `all` that one of `pids` holds.
    ///
    /// # Errors
    /// If one of the processes may not be looked into: whatever is not known to be another's may be its.
    pub(in crate::socket) fn of<T>(
        &mut self,
        all: Vec<T>,
        pids: &[i32],
        inode: impl Fn(&T) -> u64,
    ) -> io::Result<Vec<T>> {
        let present: HashSet<u64> = all.iter().map(&inode).collect();
        let unknown: Vec<u64> = present
            .iter()
            .copied()
            .filter(|inode| self.is_unknown(*inode))
            .collect();
        if !unknown.is_empty() {
            let held = self.read(pids, &present)?;
            for inode in unknown {
                self.note(inode, held.contains(&inode));
            }
        }
        let ours = all
            .into_iter()
            .filter(|one| self.ours.contains(&inode(one)));
        Ok(ours.collect())
    }

    /// Inode 0 is a connection that nobody has accepted, or that nobody has any more.
    fn is_unknown(&self, inode: u64) -> bool {
        let looks = self.others.get(&inode).copied().unwrap_or(0);
        inode != 0 && !self.ours.contains(&inode) && looks < AGREEING
    }

    /// A connection of ours that is still present has kept its descriptor: that one need not be read again.
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

    fn note(&mut self, inode: u64, held: bool) {
        if held {
            self.ours.insert(inode);
        } else {
            *self.others.entry(inode).or_default() += 1;
        }
    }
}
