//! Finds out whether a file is open for writing, and which child has it open.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use libc::{F_RDLCK, F_SETLEASE, SIGURG, c_int};
use nix::errno::Errno;

use crate::os::process_tree::{children, descendants};

/// The command that selects the signal that reports a lease break (`include/uapi/asm-generic/fcntl.h`; `libc` does not
/// name it).
const F_SETSIG: c_int = 10;

/// Whether any process has this file open for writing or mapped writable. Returns `false` if unknown, as for other
/// users' files and on some file systems.
///
/// Asks for a read lease, which the kernel refuses for such a file (`F_SETLEASE`, `fcntl(2)`). A process that opens the
/// file for writing while we hold the lease waits briefly, and we get a signal: `SIGURG`, which is ignored by default,
/// instead of `SIGIO`, which would kill us.
pub fn is_being_written(path: &Path) -> bool {
    // Opening a pipe or a device could block or have side effects.
    if !path.is_file() {
        return false;
    }
    let Ok(file) = File::open(path) else {
        return false;
    };
    let control = |command: c_int, value: c_int| {
        // SAFETY: both commands take an integer, and touch no memory.
        unsafe { libc::fcntl(file.as_raw_fd(), command, value) == 0 }
    };
    // Closing the file releases the lease.
    control(F_SETSIG, SIGURG) && !control(F_SETLEASE, F_RDLCK) && Errno::last() == Errno::EAGAIN
}

/// Returns the child of this process that has the file with this device and inode number open for writing, or that has
/// a descendant which does. The file may have been deleted. A descriptor that we may not inspect does not count
/// (`proc_pid_fd(5)`).
pub fn child_that_writes(file: (u64, u64)) -> Option<i32> {
    let own = i32::try_from(std::process::id()).ok()?;
    let writes = |pid: i32| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd"));
        let mut descriptors = descriptors.into_iter().flatten().flatten();
        descriptors.any(|descriptor| {
            let found = fs::metadata(descriptor.path());
            // The mode of the link shows what the descriptor is open for (`tid_fd_update_inode` in `fs/proc/fd.c`).
            let link = || fs::symlink_metadata(descriptor.path());
            found.is_ok_and(|found| (found.dev(), found.ino()) == file)
                && link().is_ok_and(|link| link.mode() & libc::S_IWUSR != 0)
        })
    };
    let mut children = children(own).into_iter();
    children.find(|child| writes(*child) || descendants(*child).into_iter().any(writes))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_file_counts_as_being_written_while_it_is_open_for_writing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let file = File::create(&path).unwrap();
        assert!(is_being_written(&path));
        drop(file);
        // A child of another test may have inherited the descriptor, and keeps it until its exec.
        let deadline = Instant::now() + Duration::from_secs(20);
        while is_being_written(&path) {
            assert!(Instant::now() < deadline, "the file must be closed in time");
        }
        let _reader = File::open(&path).unwrap();
        assert!(!is_being_written(&path) && !is_being_written(dir.path()));
        assert!(!is_being_written(&dir.path().join("missing")));
    }

    #[test]
    fn a_child_that_writes_to_a_file_is_found_even_after_the_files_removal() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["written", "read"] {
            fs::write(path(name), "").unwrap();
        }
        let files = ["written", "read"].map(|name| fs::metadata(path(name)).unwrap());
        let [written, read] = files.map(|file| (file.dev(), file.ino()));
        let mut reader = Command::new("sleep");
        let reader = reader.arg("60").stdin(File::open(path("read")).unwrap());
        let mut reader = reader.stdout(Stdio::null()).spawn().unwrap();
        assert_eq!(child_that_writes(read), None);
        reader.kill().unwrap();
        reader.wait().unwrap();
        let mut writer = Command::new("sleep");
        let file = File::options().append(true).open(path("written")).unwrap();
        let mut writer = writer.arg("60").stdout(file).spawn().unwrap();
        fs::remove_file(path("written")).unwrap();
        assert_eq!(child_that_writes(written), i32::try_from(writer.id()).ok());
        writer.kill().unwrap();
        writer.wait().unwrap();
    }
}
