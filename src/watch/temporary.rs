use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Whether a file is a by-product: of an editor, beside the file that it edits, or of a crash.
///
/// Most files of editors are gone before it is quiet. Those that stay while a file is open (swap files, locks,
/// autosaves, backups) must not count as changes. If files of a crash counted, a crash would cause the next start.
pub(super) fn is_temporary(path: &Path) -> bool {
    path.file_name().map(OsStr::as_bytes).is_some_and(|name| {
        is_of_editor(name) || is_of_crash(name) || is_core(name) && is_core_dump(path)
    })
}

fn is_of_editor(name: &[u8]) -> bool {
    is_vim(name) || is_emacs(name) || is_jetbrains(name) || is_gnome_or_kde(name)
}

/// Crash logs of the Java virtual machine and of `npm` ("Fatal Error Log" in Oracle's "Troubleshooting Guide",
/// `npm help logging`).
fn is_of_crash(name: &[u8]) -> bool {
    let numbered = |start: &[u8]| {
        let number = name.strip_prefix(start);
        let number = number.and_then(|rest| rest.strip_suffix(b".log"));
        number.is_some_and(is_number)
    };
    numbered(b"hs_err_pid") || numbered(b"replay_pid") || name.starts_with(b"npm-debug.log")
}

fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

/// The kernel's default name for a core dump (`core(5)`). Other files may have it, too.
fn is_core(name: &[u8]) -> bool {
    name == b"core" || name.strip_prefix(b"core.").is_some_and(is_number)
}

/// Judges by the header of the file (`elf(5)`: the magic number, the byte order, `e_type`).
fn is_core_dump(path: &Path) -> bool {
    const CORE: u16 = 4;
    let mut header = [0; 18];
    let is_file = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
    let read =
        is_file && File::open(path).is_ok_and(|mut file| file.read_exact(&mut header).is_ok());
    let kind = match header[5] {
        2 => u16::from_be_bytes([header[16], header[17]]),
        _ => u16::from_le_bytes([header[16], header[17]]),
    };
    read && header.starts_with(b"\x7fELF") && kind == CORE
}

/// Swap files are called `.x.swp`, down to `.x.saa`. With `4913`, or `5036` if that exists, vim tests whether it may
/// write to the directory.
fn is_vim(name: &[u8]) -> bool {
    let swap = name.starts_with(b".")
        && matches!(
            name,
            [.., b'.', b's', b'a'..=b'w', b'a'..=b'z'] | [.., b'.', b's', b'w', b'p', b'x']
        );
    swap || name == b"4913" || name == b"5036" || name.ends_with(b"~")
}

/// `.#x` is a lock, `#x#` an autosave. Backups (`x~`) are called as in vim.
fn is_emacs(name: &[u8]) -> bool {
    name.starts_with(b".#") || name.len() > 1 && name.starts_with(b"#") && name.ends_with(b"#")
}

/// "Safe write" renames the old file, and writes the new one under another name.
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
    fn files_of_editors_and_similar_names() {
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
            "hs_err_pid4711.log",
            "replay_pid4711.log",
            "npm-debug.log",
            "npm-debug.log.1234",
        ] {
            assert!(is_temporary(Path::new(name)), "{name}");
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
            "hs_err_pid.log",
            "hs_err_pid1x.log",
            "core",
            "core.1",
        ] {
            assert!(!is_temporary(Path::new(name)), "{name}");
        }
        assert!(is_temporary(Path::new(OsStr::from_bytes(b"\xff~"))));
    }

    #[test]
    fn a_core_dump_is_known_by_its_header() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let mut header = *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x04\0";
        for name in ["core", "core.4711", "core.rs", "cores"] {
            fs::write(path(name), header).unwrap();
        }
        assert!(is_temporary(&path("core")) && is_temporary(&path("core.4711")));
        assert!(!is_temporary(&path("core.rs")) && !is_temporary(&path("cores")));
        fs::write(path("core.1"), ".TH CORE 1 \"a page of a manual\"").unwrap();
        fs::create_dir(path("folder")).unwrap();
        fs::create_dir(path("folder/core")).unwrap();
        assert!(!is_temporary(&path("core.1")) && !is_temporary(&path("folder/core")));
        // An executable with that name.
        header[16] = 2;
        fs::write(path("core"), header).unwrap();
        assert!(!is_temporary(&path("core")));
        header = *b"\x7fELF\x02\x02\x01\0\0\0\0\0\0\0\0\0\0\x04";
        fs::write(path("core"), header).unwrap();
        assert!(is_temporary(&path("core")), "with the other byte order");
    }
}
