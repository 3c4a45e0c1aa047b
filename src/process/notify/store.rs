//! What programs have given away to be kept for those after them (`FDSTORE=1`, systemd's "File Descriptor Store").

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::os;
use crate::os::hangup::HangupSet;

/// As many as `FileDescriptorStoreMax=` would be set to by somebody who has many clients, and half of what a process may
/// have open by default.
const MOST: usize = 512;

/// The descriptors, in the order in which they came. They stay until the program has them removed or they hang up: what
/// a program is passed is a duplicate, so that one that crashes loses nothing to the next.
#[derive(Debug)]
pub struct FdStore {
    entries: Vec<Entry>,
    hang_ups: HangupSet,
    keys: u64,
}

#[derive(Debug)]
struct Entry {
    key: u64,
    name: String,
    fd: Arc<OwnedFd>,
    watched: bool,
}

/// What became of descriptors that were to be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreResult {
    /// So many are new.
    pub new: usize,
    /// So many had been there.
    pub known: usize,
    /// So many were closed for want of room.
    pub refused: usize,
}

impl FdStore {
    /// Nothing yet. Has to be called within a tokio runtime.
    ///
    /// # Errors
    /// There is no descriptor free to watch over them.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            entries: Vec::new(),
            hang_ups: HangupSet::new()?,
            keys: 0,
        })
    }

    /// The most that is kept.
    #[must_use]
    pub const fn most() -> usize {
        MOST
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All of them, with their names.
    #[must_use]
    pub fn all(&self) -> Vec<(String, Arc<OwnedFd>)> {
        let entries = self.entries.iter();
        entries
            .map(|entry| (entry.name.clone(), entry.fd.clone()))
            .collect()
    }

    /// Keeps these, unless they are there already. `poll`: only until they hang up.
    pub fn keep(&mut self, name: &str, poll: bool, fds: Vec<OwnedFd>) -> StoreResult {
        let mut kept = StoreResult::default();
        for fd in fds {
            if self
                .entries
                .iter()
                .any(|known| os::is_duplicate(&*known.fd, &fd))
            {
                kept.known += 1;
            } else if self.entries.len() == MOST {
                kept.refused += 1;
            } else {
                kept.new += 1;
                self.add(name, poll, fd);
            }
        }
        kept
    }

    fn add(&mut self, name: &str, poll: bool, fd: OwnedFd) {
        self.keys += 1;
        let key = self.keys;
        // One that can't be watched never hangs up: a file, a memory.
        let watched = poll && self.hang_ups.watch(&fd, key).is_ok();
        self.entries.push(Entry {
            key,
            name: name.to_owned(),
            fd: Arc::new(fd),
            watched,
        });
    }

    /// Closes those of this name, and says how many that were.
    pub fn remove(&mut self, name: &str) -> usize {
        self.close(|entry| entry.name == name)
    }

    /// Waits until one has hung up. May be dropped and called again, nothing is lost by that.
    pub async fn hung_up(&self) -> u64 {
        self.hang_ups.next().await
    }

    /// Closes the one that has hung up.
    pub fn close_hung_up(&mut self, key: u64) {
        self.close(|entry| entry.key == key);
    }

    fn close(&mut self, which: impl Fn(&Entry) -> bool) -> usize {
        let before = self.entries.len();
        let hang_ups = &self.hang_ups;
        self.entries.retain(|entry| {
            let closed = which(entry);
            if closed && entry.watched {
                hang_ups.forget(&*entry.fd);
            }
            !closed
        });
        before - self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    fn pair() -> (UnixStream, OwnedFd) {
        let (here, there) = UnixStream::pair().unwrap();
        (here, there.into())
    }

    fn names(store: &FdStore) -> Vec<String> {
        store.all().into_iter().map(|(name, _)| name).collect()
    }

    #[tokio::test]
    async fn they_are_kept_in_order_and_removed_by_name() {
        let mut store = FdStore::new().unwrap();
        let (one, a) = pair();
        let (_other, b) = pair();
        assert_eq!(store.keep("a", true, vec![a]).new, 1);
        store.keep("b", true, vec![b]);
        store.keep("a", true, vec![pair().1]);
        assert_eq!(names(&store), ["a", "b", "a"]);
        assert_eq!((store.remove("a"), store.remove("none")), (2, 0));
        assert_eq!(names(&store), ["b"]);
        // Closed here, and it was the last duplicate.
        assert!((&one).write(b"x").is_err());
    }

    #[tokio::test]
    async fn a_duplicate_is_kept_once() {
        let mut store = FdStore::new().unwrap();
        let (_here, there) = pair();
        let again = there.try_clone().unwrap();
        store.keep("a", true, vec![there]);
        let kept = StoreResult {
            known: 1,
            ..StoreResult::default()
        };
        assert_eq!(store.keep("b", true, vec![again]), kept);
        assert_eq!(names(&store), ["a"]);
    }

    #[tokio::test]
    async fn no_more_are_kept_than_there_is_room_for() {
        let mut store = FdStore::new().unwrap();
        let (_here, there) = pair();
        let some = |count| {
            (0..count)
                .map(|_| std::io::pipe().unwrap().0.into())
                .collect()
        };
        store.keep("a", false, vec![there]);
        let kept = store.keep("b", false, some(MOST + 1));
        assert_eq!((kept.new, kept.refused, store.len()), (MOST - 1, 2, MOST));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_hangs_up_is_closed_unless_it_is_not_to_be_watched() {
        let mut store = FdStore::new().unwrap();
        let ((gone, there), (unwatched, other), (_lives, third)) = (pair(), pair(), pair());
        store.keep("lives", true, vec![third]);
        store.keep("gone", true, vec![there]);
        store.keep("unwatched", false, vec![other]);
        drop(unwatched);
        drop(gone);
        let key = timeout(DEADLINE, store.hung_up()).await.expect("in time");
        store.close_hung_up(key);
        assert_eq!(names(&store), ["lives", "unwatched"]);
    }

    /// What arrives for a client that is kept wakes nobody here.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn data_is_nothing_to_be_told() {
        let mut store = FdStore::new().unwrap();
        let ((mut lives, there), (gone, other)) = (pair(), pair());
        store.keep("lives", true, vec![there]);
        store.keep("gone", true, vec![other]);
        lives.write_all(b"x").unwrap();
        drop(gone);
        let key = timeout(DEADLINE, store.hung_up()).await.expect("in time");
        store.close_hung_up(key);
        assert_eq!(names(&store), ["lives"]);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_file_is_kept_though_it_never_hangs_up() {
        let mut store = FdStore::new().unwrap();
        let file = tempfile::tempfile().unwrap();
        assert_eq!(store.keep("state", true, vec![file.into()]).new, 1);
        assert_eq!(store.remove("state"), 1);
    }
}
