//! Descriptors that programs store for later generations (`FDSTORE=1`, systemd's "File Descriptor Store").

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::os;
use crate::os::HangupSet;

/// How many descriptors can be stored, like systemd's `FileDescriptorStoreMax=`. Half of the default limit on open
/// descriptors.
pub const CAPACITY: usize = 512;

/// The stored descriptors in order of arrival. A descriptor is stored until a program removes it or, if it is watched,
/// until it hangs up. Programs get duplicates, so a crash loses nothing.
#[derive(Debug)]
pub struct FdStore {
    entries: Vec<Entry>,
    hangups: HangupSet,
    last_key: u64,
}

#[derive(Debug)]
struct Entry {
    key: u64,
    name: String,
    fd: Arc<OwnedFd>,
    watched: bool,
}

/// How many descriptors were stored, and how many were not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreResult {
    /// The number of newly stored descriptors.
    pub new: usize,
    /// How many of those are not sealed, so that what they lead to may still change.
    pub changeable: usize,
    /// The number of descriptors that were closed because the store is full.
    pub refused: usize,
}

impl FdStore {
    /// Creates an empty store. Requires a tokio runtime.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            entries: Vec::new(),
            hangups: HangupSet::new()?,
            last_key: 0,
        })
    }

    /// All descriptors with their names.
    pub fn all(&self) -> Vec<(String, Arc<OwnedFd>)> {
        let named = |entry: &Entry| (entry.name.clone(), entry.fd.clone());
        self.entries.iter().map(named).collect()
    }

    /// Stores the descriptors that are not stored yet. With `poll`, they are stored only until they hang up.
    pub fn store(&mut self, name: &str, poll: bool, fds: Vec<OwnedFd>) -> StoreResult {
        let mut result = StoreResult::default();
        for fd in fds {
            let is_known = |known: &Entry| os::is_duplicate(&*known.fd, &fd);
            if self.entries.iter().any(is_known) {
                continue;
            }
            if self.entries.len() == CAPACITY {
                result.refused += 1;
            } else {
                result.new += 1;
                result.changeable += usize::from(!os::is_sealed(&fd));
                self.last_key += 1;
                let key = self.last_key;
                // A descriptor that cannot be watched, such as a file, never hangs up.
                let watched = poll && self.hangups.watch(&fd, key).is_ok();
                self.entries.push(Entry {
                    key,
                    name: name.to_owned(),
                    fd: Arc::new(fd),
                    watched,
                });
            }
        }
        result
    }

    /// Closes the descriptors with this name, and returns their number.
    pub fn remove(&mut self, name: &str) -> usize {
        self.close(|entry| entry.name == name)
    }

    /// Waits until a descriptor has hung up, and returns its key. Cancel safe.
    pub async fn hung_up(&self) -> u64 {
        self.hangups.next().await
    }

    /// Closes the descriptor with this key.
    pub fn close_hung_up(&mut self, key: u64) {
        self.close(|entry| entry.key == key);
    }

    fn close(&mut self, which: impl Fn(&Entry) -> bool) -> usize {
        let before = self.entries.len();
        let hangups = &self.hangups;
        self.entries.retain(|entry| {
            let closed = which(entry);
            if closed && entry.watched {
                hangups.forget(&*entry.fd);
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
    async fn descriptors_stay_in_order_and_are_removed_by_name() {
        let mut store = FdStore::new().unwrap();
        let (one, a) = pair();
        let (_other, b) = pair();
        assert_eq!(store.store("a", true, vec![a]).new, 1);
        store.store("b", true, vec![b]);
        store.store("a", true, vec![pair().1]);
        assert_eq!(names(&store), ["a", "b", "a"]);
        assert_eq!((store.remove("a"), store.remove("none")), (2, 0));
        assert_eq!(names(&store), ["b"]);
        // The store has closed the last descriptor of the other end.
        assert!((&one).write(b"x").is_err());
    }

    #[tokio::test]
    async fn a_duplicate_is_not_stored_again() {
        let mut store = FdStore::new().unwrap();
        let (_here, there) = pair();
        let again = there.try_clone().unwrap();
        store.store("a", true, vec![there]);
        let none = StoreResult::default();
        assert_eq!(store.store("b", true, vec![again]), none);
        assert_eq!(names(&store), ["a"]);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn only_a_memfd_that_is_sealed_against_writing_cannot_change() {
        use nix::fcntl::{FcntlArg, SealFlag, fcntl};
        use nix::sys::memfd::{MFdFlags, memfd_create};

        let mut store = FdStore::new().unwrap();
        let with = |seals| {
            let memfd = memfd_create("weights", MFdFlags::MFD_ALLOW_SEALING).unwrap();
            fcntl(&memfd, FcntlArg::F_ADD_SEALS(seals)).unwrap();
            memfd
        };
        let sealed = [with(SealFlag::F_SEAL_WRITE), with(SealFlag::all())];
        let result = store.store("sealed", true, sealed.into());
        assert_eq!((result.new, result.changeable), (2, 0));
        let open = [
            with(SealFlag::empty()),
            with(SealFlag::F_SEAL_GROW),
            pair().1,
        ];
        let result = store.store("open", true, open.into());
        assert_eq!((result.new, result.changeable), (3, 3));
    }

    #[tokio::test]
    async fn a_full_store_refuses_descriptors() {
        let mut store = FdStore::new().unwrap();
        let (_here, there) = pair();
        let some = |count| {
            (0..count)
                .map(|_| std::io::pipe().unwrap().0.into())
                .collect()
        };
        store.store("a", false, vec![there]);
        let result = store.store("b", false, some(CAPACITY + 1));
        assert_eq!(
            (result.new, result.refused, store.all().len()),
            (CAPACITY - 1, 2, CAPACITY)
        );
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn watched_descriptors_are_closed_when_they_hang_up() {
        let mut store = FdStore::new().unwrap();
        let ((gone, there), (unwatched, other), (_lives, third)) = (pair(), pair(), pair());
        store.store("lives", true, vec![third]);
        store.store("gone", true, vec![there]);
        store.store("unwatched", false, vec![other]);
        drop(unwatched);
        drop(gone);
        let hung_up = timeout(DEADLINE, store.hung_up()).await;
        let key = hung_up.expect("a descriptor hangs up in time");
        store.close_hung_up(key);
        assert_eq!(names(&store), ["lives", "unwatched"]);
    }

    /// Data that arrives on a stored connection must be left for the next generation.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn arriving_data_is_not_a_hangup() {
        let mut store = FdStore::new().unwrap();
        let ((mut lives, there), (gone, other)) = (pair(), pair());
        store.store("lives", true, vec![there]);
        store.store("gone", true, vec![other]);
        lives.write_all(b"x").unwrap();
        drop(gone);
        let hung_up = timeout(DEADLINE, store.hung_up()).await;
        let key = hung_up.expect("a descriptor hangs up in time");
        store.close_hung_up(key);
        assert_eq!(names(&store), ["lives"]);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_file_is_stored_although_it_cannot_be_watched() {
        let mut store = FdStore::new().unwrap();
        let file = tempfile::tempfile().unwrap();
        assert_eq!(store.store("state", true, vec![file.into()]).new, 1);
        assert_eq!(store.remove("state"), 1);
    }
}
