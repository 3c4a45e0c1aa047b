use std::fs::File;
use std::io;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{F_RDLCK, F_UNLCK, F_WRLCK, c_int, c_short, flock};

/// Far beyond the end of any file: a program that locks the same file does not reach it.
const OFFSET: i64 = i64::MAX - 1;

/// One byte, from the start of the file.
fn lock(kind: c_int) -> flock {
    flock {
        l_type: c_short::try_from(kind).unwrap_or_default(),
        l_whence: 0,
        l_start: OFFSET,
        l_len: 1,
        l_pid: 0,
    }
}

/// Marks the file as in use until this open file is closed, which the kernel does if the process is killed. Several
/// processes may mark the same file. See "Open file description locks" in `fcntl_locking(2)`; they do not conflict with
/// `flock(2)`.
///
/// # Errors
/// The file system has no locks.
pub fn mark_in_use(file: &File) -> io::Result<()> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&lock(F_RDLCK)))?;
    Ok(())
}

/// Whether another open file marks it as in use.
///
/// # Errors
/// The file system has no locks.
pub fn is_in_use(file: &File) -> io::Result<bool> {
    let mut conflict = lock(F_WRLCK);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut conflict))?;
    Ok(c_int::from(conflict.l_type) != F_UNLCK)
}
