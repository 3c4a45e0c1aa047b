//! What helps when the system has run out of something.

use std::io;

use nix::errno::Errno;

/// What to do about an error of the system, if that is in the user's hands.
pub(super) fn for_error(error: &anyhow::Error) -> Option<String> {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref());
    causes.find_map(|cause: &io::Error| for_errno(cause.raw_os_error()?))
}

/// The same for its number (`errno(3)`).
pub(super) fn for_errno(errno: i32) -> Option<String> {
    let errno = Errno::from_raw(errno);
    let remedy = REMEDIES.iter().find(|(known, _)| *known == errno);
    remedy.map(|(_, text)| (*text).to_owned())
}

const REMEDIES: [(Errno, &str); 6] = [
    (
        Errno::EMFILE,
        "`ulimit -n 4096` before hotrun is started allows more open files",
    ),
    (
        Errno::ENFILE,
        "the system has no open files left: `sysctl fs.file-max` is its limit",
    ),
    (
        Errno::EAGAIN,
        "no more processes are allowed: `ulimit -u` and a container's limit say how many",
    ),
    (
        Errno::ENOMEM,
        "memory has run out: end something else, or give the container more",
    ),
    (Errno::ENOSPC, "the disk is full: make room, and save again"),
    (
        Errno::EDQUOT,
        "the quota of the disk is used up: make room, and save again",
    ),
];

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_cause_anywhere_in_the_chain_has_its_remedy() {
        let error = |errno: Errno| {
            let failed: io::Result<()> = Err(errno.into());
            failed.context("preparing").context("starting").unwrap_err()
        };
        let hint = |errno| for_error(&error(errno)).unwrap_or_default();
        assert!(hint(Errno::EMFILE).contains("ulimit -n"));
        assert!(hint(Errno::EAGAIN).contains("ulimit -u"));
        assert!(hint(Errno::ENOSPC).contains("full"));
        assert_eq!(for_error(&error(Errno::ENOENT)), None);
    }
}
