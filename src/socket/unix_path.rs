//! The path of a unix socket, and the names next to it.

use std::fs::{self, File, Metadata};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, lchown};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::LazyLock;

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use socket2::{Domain, SockAddr, Socket, Type};

use super::open::{accepts_connections, listen};
use crate::os;
use crate::os::cleanup::{FileId, PREFIX, file_id};

/// `sizeof(sun_path)` without the terminating zero (`unix(7)`).
const LONGEST_UNIX_PATH: usize = 107;

/// A path that leads to one of several listeners at a time.
///
/// Each listener is bound to its own name next to the path. The path is a second hard link to one listener's file. It
/// is replaced with `rename(2)`, so that a client always finds either the old listener or the new one. A listener keeps
/// its own name for its whole life: it is used to restore the path when a program removes the path on exit, and probes
/// use it to reach a listener that is not live yet.
pub(super) struct UnixPath {
    pub(super) path: PathBuf,
    directory: File,
    /// The file that the path leads to, if we put it there.
    pub(super) linked: Option<FileId>,
}

/// A listener's own name. Dropping it removes the file.
#[derive(Debug)]
pub(super) struct SocketName {
    pub(super) file: PathBuf,
    /// The name as passed to `bind`. `getsockname` reports it, even for accepted connections.
    pub(super) bound: PathBuf,
    pub(super) id: FileId,
}

impl Drop for SocketName {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

impl UnixPath {
    /// Prepares a path, which must not exist or must be safe to replace. Removes the files that a killed hotrun left
    /// next to it.
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        remove_leftovers(directory);
        Ok(Self {
            path: path.to_owned(),
            directory: File::open(directory)?,
            linked: None,
        })
    }

    /// Opens another listener, which the path does not lead to yet.
    pub(super) fn open(&self) -> io::Result<(Socket, SocketName)> {
        loop {
            let name = fresh_name();
            let file = self.path.with_file_name(&name);
            let bound = match file.as_os_str().len() <= LONGEST_UNIX_PATH {
                true => file.clone(),
                false => os::socket_holders::short_path(&self.directory, &name)?,
            };
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.bind(&SockAddr::unix(&bound)?)?;
            let listening = listen(&socket, 0);
            let id = listening.and_then(|()| Ok(file_id(&fs::symlink_metadata(&file)?)));
            match id {
                Ok(id) => return Ok((socket, SocketName { file, bound, id })),
                // Another hotrun found the socket before it was listening, and removed it as a leftover.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let _ = fs::remove_file(&file);
                    return Err(error);
                }
            }
        }
    }

    /// Opens one listener for all generations, bound to the path itself.
    pub(super) fn open_shared(&mut self) -> io::Result<Socket> {
        let _ = fs::remove_file(&self.path);
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(&self.path)?)?;
        self.linked = Some(file_id(&fs::symlink_metadata(&self.path)?));
        listen(&socket, 0)?;
        Ok(socket)
    }

    /// Makes the path lead to this listener. The path keeps its mode and owner, which a program may have changed.
    /// `rename` does nothing if both names already refer to the same file, so the temporary second name is always
    /// removed.
    pub(super) fn link(&mut self, name: &SocketName) -> io::Result<()> {
        match fs::symlink_metadata(&self.path) {
            Ok(metadata) if file_id(&metadata) == name.id => {}
            Ok(metadata) if !metadata.file_type().is_socket() => {
                let path = self.path.display();
                let message = format!("`{path}` was replaced by something that is not a socket");
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
            }
            found => {
                if let Ok(before) = found
                    && Some(file_id(&before)) == self.linked
                {
                    copy_access(&before, &name.file);
                }
                let second = self.path.with_file_name(fresh_name());
                fs::hard_link(&name.file, &second)?;
                let renamed = fs::rename(&second, &self.path);
                let _ = fs::remove_file(&second);
                renamed?;
            }
        }
        self.linked = Some(name.id);
        Ok(())
    }

    /// Restores the path if it is missing. A file that another process has put there is kept.
    pub(super) fn restore(&self, name: &SocketName) {
        let found = fs::symlink_metadata(&self.path);
        if found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            // This fails if the directory is gone, and then there is no path to restore.
            let _ = fs::hard_link(&name.file, &self.path);
        }
    }
}

impl Drop for UnixPath {
    /// Removes the file if it is ours.
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path);
        if found.is_ok_and(|metadata| Some(file_id(&metadata)) == self.linked) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// How the names of this hotrun's socket files begin. They contain a random number, because another hotrun may have the
/// same pid in another pid namespace.
pub(super) fn own_prefix() -> &'static str {
    static OWN: LazyLock<String> =
        LazyLock::new(|| format!("{PREFIX}{}-{:08x}-", process::id(), random()));
    &OWN
}

/// Returns a name that nobody can guess. Otherwise, another user could create a file with that name in a sticky
/// directory, where hotrun could not remove it.
pub(super) fn fresh_name() -> String {
    format!("{}{:08x}", own_prefix(), random())
}

fn random() -> u32 {
    RandomState::new().hash_one(()) as u32
}

/// Gives a file the mode and the owner of another one, if they differ and as far as the system allows: only root may give
/// a file away (`chown(2)`), and glibc before 2.32 cannot change a mode without following links (`fchmodat(3)`). Follows
/// no symbolic link that another user may have put in the file's place.
fn copy_access(from: &Metadata, to: &Path) {
    let Ok(metadata) = fs::symlink_metadata(to) else {
        return;
    };
    let log = |what: &str, error: io::Error| {
        tracing::debug!("`{}` does not keep its {what}: {error}", to.display());
    };
    if metadata.mode() != from.mode() {
        let mode = Mode::from_bits_truncate(from.mode() as nix::libc::mode_t);
        if let Err(error) = fchmodat(AT_FDCWD, to, mode, FchmodatFlags::NoFollowSymlink) {
            log("mode", error.into());
        }
    }
    for (uid, gid) in [(None, Some(from.gid())), (Some(from.uid()), None)] {
        let differs = uid.is_some_and(|uid| uid != metadata.uid())
            || gid.is_some_and(|gid| gid != metadata.gid());
        if differs && let Err(error) = lchown(to, uid, gid) {
            log("owner", error);
        }
    }
}

/// Removes the socket files that a killed hotrun left in this directory. Checks that no process listens on them,
/// because the pid in a name may be from another pid namespace.
pub(super) fn remove_leftovers(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let pid = rest.and_then(|rest| rest.split('-').next()?.parse().ok());
        if pid.is_some_and(os::process_tree::has_ended)
            && entry.file_type().is_ok_and(|kind| kind.is_socket())
            && accepts_connections(&entry.path()).is_ok_and(|accepts| !accepts)
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_path_keeps_its_mode_and_owner_when_it_leads_to_another_listener() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.sock");
        let mut at = UnixPath::new(&path).unwrap();
        let all: Vec<_> = (0..2).map(|_| at.open().unwrap()).collect();
        at.link(&all[0].1).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o620)).unwrap();
        if nix::unistd::geteuid().is_root() {
            lchown(&path, Some(12), Some(34)).unwrap();
        }
        let before = fs::metadata(&path).unwrap();
        at.link(&all[1].1).unwrap();
        let after = fs::metadata(&path).unwrap();
        assert_ne!(before.ino(), after.ino());
        let access = |of: &Metadata| (of.mode() & 0o777, of.uid(), of.gid());
        assert_eq!(access(&after), access(&before));
    }

    #[test]
    fn no_bit_of_a_name_can_be_guessed_from_the_names_before() {
        let number = |name: String| {
            let random = name.strip_prefix(own_prefix()).unwrap();
            u32::from_str_radix(random, 16).unwrap()
        };
        let numbers: Vec<u32> = (0..100).map(|_| number(fresh_name())).collect();
        let ones = numbers.iter().fold(0, |ones, number| ones | number);
        let zeros = numbers.iter().fold(0, |zeros, number| zeros | !number);
        assert_eq!((ones, zeros), (u32::MAX, u32::MAX));
    }

    #[test]
    fn a_listener_is_opened_although_another_hotrun_removes_its_file_before_it_listens() {
        let directory = tempfile::tempdir().unwrap();
        let at = UnixPath::new(&directory.path().join("app.sock")).unwrap();
        let ends = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ends.load(std::sync::atomic::Ordering::Relaxed) {
                    for entry in fs::read_dir(directory.path()).unwrap().flatten() {
                        if accepts_connections(&entry.path()).is_ok_and(|accepts| !accepts) {
                            let _ = fs::remove_file(entry.path());
                        }
                    }
                }
            });
            let opened: Vec<_> = (0..2000).map(|_| at.open().map(drop)).collect();
            ends.store(true, std::sync::atomic::Ordering::Relaxed);
            opened.into_iter().for_each(Result::unwrap);
        });
    }

    #[test]
    fn a_socket_on_which_a_process_listens_is_not_removed_as_a_leftover() {
        let directory = tempfile::tempdir().unwrap();
        let name = |name: &str| directory.path().join(format!("{PREFIX}99999999-{name}"));
        let _live = std::os::unix::net::UnixListener::bind(name("live")).unwrap();
        drop(std::os::unix::net::UnixListener::bind(name("dead")).unwrap());
        let _ = UnixPath::new(&directory.path().join("app.sock")).unwrap();
        assert!(name("live").exists());
        assert!(!name("dead").exists());
    }
}
