use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Whether a file of this name is one that an editor makes for itself beside the file that is edited.
///
/// Most are gone again before it is quiet; those that stay while a file is open (swap files, locks,
/// autosaves, backups) must not count as changes.
pub(super) fn is_temporary(name: &OsStr) -> bool {
    let name = name.as_bytes();
    is_vim(name) || is_emacs(name) || is_jetbrains(name) || is_gnome_or_kde(name)
}

/// `4913` is how vim finds out whether it may write here, `5036` if that exists; `.x.swp` down to `.x.saa`.
fn is_vim(name: &[u8]) -> bool {
    let swap = name.starts_with(b".")
        && matches!(
            name,
            [.., b'.', b's', b'a'..=b'w', b'a'..=b'z'] | [.., b'.', b's', b'w', b'p', b'x']
        );
    swap || name == b"4913" || name == b"5036" || name.ends_with(b"~")
}

/// `.#x` is a lock, `#x#` an autosave, `x~` a backup (as vim's).
fn is_emacs(name: &[u8]) -> bool {
    name.starts_with(b".#") || name.len() > 1 && name.starts_with(b"#") && name.ends_with(b"#")
}

/// Safe write: the old file under another name, and the new one under yet another.
fn is_jetbrains(name: &[u8]) -> bool {
    name.ends_with(b"___jb_tmp___") || name.ends_with(b"___jb_old___")
}

fn is_gnome_or_kde(name: &[u8]) -> bool {
    name.starts_with(b".goutputstream-") || name.starts_with(b".") && name.ends_with(b".kate-swp")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editors_files_and_those_that_only_look_like_them() {
        for name in [
            "4913",
            "5036",
            ".main.rs.swp",
            ".main.rs.swo",
            ".main.rs.svz",
            ".main.rs.swpx",
            "main.rs~",
            ".#main.rs",
            "#main.rs#",
            "main.rs___jb_tmp___",
            "main.rs___jb_old___",
            ".goutputstream-AB12",
            ".main.rs.kate-swp",
        ] {
            assert!(is_temporary(OsStr::new(name)), "{name}");
        }
        for name in [
            "main.rs",
            "4914",
            "main.swp",
            ".env",
            "#",
            "#x",
            "x#",
            ".gitignore",
            ".rs",
            "logo.svg",
            ".a.rs",
            "~x",
        ] {
            assert!(!is_temporary(OsStr::new(name)), "{name}");
        }
        assert!(is_temporary(OsStr::from_bytes(b"\xff~")));
    }
}
