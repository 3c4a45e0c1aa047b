//! File systems.

use std::path::Path;

use nix::sys::statfs::statfs;

/// Network and host mounts, by the magic numbers of `statfs(2)` and `linux/magic.h`, and how they are called. Changes
/// that another machine makes to them are not told (`inotify(7)`, "Limitations and caveats").
const FAR: &[(i64, &str)] = &[
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x517b, "SMB"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "FUSE"),
    (0x786f_4256, "a VirtualBox folder"),
    (0xbacb_acbc, "a VMware folder"),
    (0x5346_414f, "AFS"),
    (0x00c3_6400, "Ceph"),
    (0x7375_7245, "Coda"),
    (0x0bd0_0bd0, "Lustre"),
];

/// The kind of the file system on which `path` is, if it is one that does not tell of all changes.
pub fn without_events(path: &Path) -> Option<&'static str> {
    let found = statfs(path).ok()?.filesystem_type().0;
    // The field is 32 bits wide on some systems, and signed.
    let found = i64::from(found as u32);
    FAR.iter()
        .find(|(magic, _)| *magic == found)
        .map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_file_system_tells_of_changes() {
        assert_eq!(without_events(Path::new("/proc")), None);
        assert_eq!(without_events(Path::new("/nonexistent")), None);
    }
}
