use std::error::Error;
use std::io;

/// Returns a hint for the user if a shortage of resources caused this error.
pub fn hint_for_error(error: &(dyn Error + 'static)) -> Option<String> {
    let cause = error.downcast_ref::<io::Error>();
    let hint = cause.and_then(|cause| hint_for_errno(cause.raw_os_error()?));
    hint.or_else(|| hint_for_error(error.source()?))
}

/// Returns a hint for the user if this error number (`errno(3)`) means a shortage of resources.
pub fn hint_for_errno(errno: i32) -> Option<String> {
    let hint = match errno {
        libc::EMFILE => "run `ulimit -n 4096` before hotrun to allow more open files",
        libc::ENFILE => {
            "the system-wide limit on open files is reached; `sysctl fs.file-max` shows it"
        }
        libc::EAGAIN => {
            "no more processes are allowed; `ulimit -u` or the container sets the limit"
        }
        libc::ENOMEM => "out of memory; stop other programs, or give the container more memory",
        libc::ENOSPC => "the disk is full; free some space, then save again",
        libc::EDQUOT => "the disk quota is used up; free some space, then save again",
        _ => return None,
    };
    Some(hint.to_owned())
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn a_cause_anywhere_in_the_error_chain_yields_its_hint() {
        let hint = |errno: Errno| {
            let failed: io::Result<()> = Err(errno.into());
            let error = failed.context("preparing").context("starting").unwrap_err();
            hint_for_error(error.as_ref())
        };
        let contains = |errno, text| hint(errno).is_some_and(|hint| hint.contains(text));
        assert!(contains(Errno::EMFILE, "ulimit -n"));
        assert!(contains(Errno::EAGAIN, "ulimit -u"));
        assert!(contains(Errno::ENOSPC, "full"));
        assert_eq!(hint(Errno::ENOENT), None);
    }
}
