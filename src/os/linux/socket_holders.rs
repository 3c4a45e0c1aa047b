//! Which process holds a socket (`proc_pid_fd(5)`).

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::fcntl::readlinkat;

use crate::os::Holder;

/// A process that holds the socket with this inode, as far as we may look: the descriptors of another user's
/// processes are hidden.
pub fn socket_holder(inode: u64) -> Option<Holder> {
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let pid = pids.find(|pid| holds(*pid, inode))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(Holder {
        pid,
        name: name.trim_end().to_owned(),
    })
}

fn holds(pid: i32, inode: u64) -> bool {
    sockets_of(pid, |_| None)
        .values()
        .any(|this| *this == inode)
}

/// The sockets that a process holds, by descriptor; none if it is gone or another user's.
///
/// Reading a link takes 1 to 4 us, so those of which the caller `knows` the socket are not read again.
/// By its name in the open directory it takes half of what it does by its whole path.
pub fn sockets_of(pid: i32, knows: impl Fn(u32) -> Option<u64>) -> HashMap<u32, u64> {
    let path = format!("/proc/{pid}/fd");
    let (Ok(directory), Ok(entries)) = (File::open(&path), fs::read_dir(&path)) else {
        return HashMap::new();
    };
    let names = entries
        .filter_map(Result::ok)
        .map(|entry| entry.file_name());
    let sockets = names.filter_map(|name| {
        let descriptor = name.to_str()?.parse().ok()?;
        let inode =
            knows(descriptor).or_else(|| socket_inode(&readlinkat(&directory, &*name).ok()?));
        Some((descriptor, inode?))
    });
    sockets.collect()
}

fn socket_inode(target: &OsStr) -> Option<u64> {
    target
        .to_str()?
        .strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

/// A path to `name` in the open `directory` that is short enough for a unix socket's address, of which the
/// kernel takes 107 bytes (`unix(7)`), however long the directory's own path is.
///
/// # Errors
/// None here; other systems have no such path.
pub fn short_path(directory: &impl AsRawFd, name: &str) -> io::Result<PathBuf> {
    Ok(PathBuf::from(format!(
        "/proc/self/fd/{}/{name}",
        directory.as_raw_fd()
    )))
}

/// Whether a process with this pid exists.
pub fn process_exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}
