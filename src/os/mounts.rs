//! File systems that do not report every change.

use std::path::Path;

/// File systems mounted from the network or from a virtual machine's host, by magic number (`statfs(2)`,
/// `linux/magic.h`). A change made by another machine triggers no event (`inotify(7)`, "Limitations and caveats").
const REMOTE: &[(i64, &str)] = &[
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
    (0x4750_4653, "GPFS"),
    (0x7c7c_6673, "a Parallels folder"),
];

/// Returns the kind of the file system that contains `path`, if that file system does not report every change. Always
/// `None` on systems other than Linux.
pub fn without_events(path: &Path) -> Option<&'static str> {
    remote_kind(magic(path)?)
}

#[cfg(target_os = "linux")]
fn magic(path: &Path) -> Option<i64> {
    let found = nix::sys::statfs::statfs(path).ok()?.filesystem_type().0;
    // On some architectures the field is a signed 32-bit integer.
    Some(i64::from(found as u32))
}

#[cfg(not(target_os = "linux"))]
fn magic(_path: &Path) -> Option<i64> {
    None
}

fn remote_kind(found: i64) -> Option<&'static str> {
    let named = REMOTE.iter().find(|(magic, _)| *magic == found);
    named.map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hc11_remote_file_systems_are_recognized_by_their_magic_numbers() {
        for (magic, name) in [
            (0x6969, Some("NFS")),
            (0x6573_5546, Some("FUSE")),
            (0x0102_1997, Some("9p")),
            (0xff53_4d42, Some("CIFS")),
            // ext4, overlay, tmpfs, btrfs.
            (0xef53, None),
            (0x794c_7630, None),
            (0x0102_1994, None),
            (0x9123_683e, None),
        ] {
            assert_eq!(remote_kind(magic), name);
        }
    }

    #[test]
    fn a_local_file_system_is_not_treated_as_remote() {
        assert_eq!(without_events(Path::new("/proc")), None);
        assert_eq!(without_events(Path::new("/nonexistent")), None);
    }
}
