//! Finds the processes that hold a socket (`proc_pid_fd(5)`).

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use nix::fcntl::readlinkat;

use super::process_tree::has_ended;
use crate::os::Holder;

/// Returns a process that holds the socket with this inode. A process whose descriptors we may not read, for example
/// because it belongs to another user, is not found.
pub fn socket_holder(inode: u64) -> Option<Holder> {
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let holds = |sockets: HashMap<i32, u64>| sockets.values().any(|held| *held == inode);
    let pid = pids.find(|pid| sockets_of(*pid).is_ok_and(holds))?;
    let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(Holder {
        pid,
        name: printable(&name),
    })
}

/// Removes control characters. A process chooses its own name (`PR_SET_NAME`, `prctl(2)`) and may belong to another
/// user, who must not control our terminal.
fn printable(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    text.chars().filter(|one| !one.is_control()).collect()
}

/// Returns the inodes of the sockets that a process holds, by descriptor. The map is empty if the process has exited.
///
/// # Errors
/// [`io::ErrorKind::PermissionDenied`] if the process belongs to another user or is not dumpable (`proc_pid_fd(5)`).
pub fn sockets_of(pid: i32) -> io::Result<HashMap<i32, u64>> {
    let descriptors = descriptors_of(pid)?.into_iter();
    let socket = |(fd, target): (i32, OsString)| Some((fd, socket_inode(&target)?));
    Ok(descriptors.filter_map(socket).collect())
}

/// Returns the descriptors of a process and what they refer to, such as `socket:[16935]`. There are none if the process
/// has exited.
///
/// # Errors
/// [`io::ErrorKind::PermissionDenied`] if the process belongs to another user or is not dumpable (`proc_pid_fd(5)`).
/// Such a process may hold any socket.
pub(super) fn descriptors_of(pid: i32) -> io::Result<Vec<(i32, OsString)>> {
    match read_descriptors(pid) {
        // A zombie belongs to root (`task_dump_owner` in `fs/proc/base.c`).
        Err(error) if is_gone(&error) || has_ended(pid) => Ok(Vec::new()),
        read => read,
    }
}

/// Reading a link takes 1 to 4 µs. Reading it by its name in the open directory takes half as long as by its full path.
fn read_descriptors(pid: i32) -> io::Result<Vec<(i32, OsString)>> {
    let path = format!("/proc/{pid}/fd");
    let directory = File::open(&path)?;
    let mut descriptors = Vec::new();
    for entry in fs::read_dir(&path)? {
        let name = entry?.file_name();
        let Some(fd) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        match readlinkat(&directory, name.as_os_str()).map_err(io::Error::from) {
            Ok(target) => descriptors.push((fd, target)),
            // It has been closed since it was listed.
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(descriptors)
}

/// Whether the error means that the process or its descriptor is gone.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// Parses the inode in a link such as `socket:[16935]`.
pub(super) fn socket_inode(link: &OsStr) -> Option<u64> {
    let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
    inode.parse().ok()
}

/// Returns a short path to `name` in the open `directory`. It fits into a unix socket address, which holds 107 bytes
/// (`unix(7)`), however long the path of the directory is.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] without `/proc`.
pub fn short_path(directory: &impl AsRawFd, name: &str) -> io::Result<PathBuf> {
    let short = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    match short.exists() {
        true => Ok(short.join(name)),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the path is too long for a unix socket",
        )),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::process::{Child, Command};
    use std::thread;
    use std::time::{Duration, Instant};

    use nix::unistd::{Uid, setfsuid};

    use super::*;

    /// Calls [`sockets_of`] as another user, because root may inspect every process. `setfsuid(2)` affects only one
    /// thread, and has no effect without root.
    fn as_another(pid: i32) -> io::Result<HashMap<i32, u64>> {
        let inspect = move || {
            setfsuid(Uid::from_raw(65534));
            sockets_of(pid)
        };
        thread::spawn(inspect).join().unwrap()
    }

    /// Starts a sleeping process that its own user is not allowed to inspect: its executable is not readable, so the
    /// process is not dumpable (`would_dump` in `fs/exec.c`).
    pub(crate) fn hidden(directory: &Path) -> Child {
        let program = directory.join("sleep");
        // The copy is made by another process. Otherwise a child of another test could inherit our open descriptor for
        // writing, and the start would fail with `ETXTBSY`.
        let sleep = ["/bin/sleep", "/usr/bin/sleep"].map(Path::new);
        let sleep = sleep.iter().find(|path| path.exists()).unwrap();
        let copied = Command::new("cp").arg(sleep).arg(&program).status();
        assert!(copied.unwrap().success());
        fs::set_permissions(&program, fs::Permissions::from_mode(0o111)).unwrap();
        Command::new(&program).arg("60").spawn().unwrap()
    }

    #[test]
    fn a_process_cannot_control_the_terminal_through_its_name() {
        assert_eq!(printable(b"my server\n"), "my server");
        assert_eq!(printable(b"\x1b[31mE\x07\n\x1b]0\n"), "[31mE]0");
        assert_eq!(printable(b"\xff\xc2\x9b1m\n"), "\u{fffd}1m");
    }

    #[test]
    fn an_inode_is_parsed_only_from_a_valid_socket_link() {
        assert_eq!(socket_inode("socket:[16935]".as_ref()), Some(16935));
        for other in [
            "pipe:[16935]",
            "socket:[]",
            "socket:[1",
            "anon_inode:[eventpoll]",
            "/socket:[1]x",
        ] {
            assert_eq!(socket_inode(other.as_ref()), None, "{other}");
        }
    }

    #[test]
    fn inspecting_a_hidden_process_is_an_error_until_it_has_exited() {
        let directory = tempfile::tempdir().unwrap();
        let mut child = hidden(directory.path());
        let pid = i32::try_from(child.id()).unwrap();
        let error = as_another(pid).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        child.kill().unwrap();
        let start = Instant::now();
        while !has_ended(pid) {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "the child must exit in time"
            );
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(
            as_another(pid).unwrap(),
            HashMap::new(),
            "a process that is not reaped yet must hold no sockets"
        );
        child.wait().unwrap();
        assert_eq!(
            as_another(pid).unwrap(),
            HashMap::new(),
            "a reaped process must hold no sockets"
        );
    }
}
