//! Saves files with the same system calls as various editors, and tests that the saves are reported correctly.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::SystemTime;

use super::watched::watch;

const CAN_OPEN: &str = "can open the file";
const CAN_WRITE: &str = "can write to the file";

#[test]
fn hc02_writing_a_file_in_place_is_one_change() {
    let mut watched = watch(&[("src/main.rs", "one")]);
    // VS Code, nano and most other editors truncate the file and then write it.
    let mut file = File::create(watched.path("src/main.rs")).expect(CAN_OPEN);
    file.write_all(b"tw").expect(CAN_WRITE);
    file.write_all(b"o").expect(CAN_WRITE);
    drop(file);
    watched.expect_batch(&["src/main.rs"]);
    let mut file = OpenOptions::new()
        .append(true)
        .open(watched.path("src/main.rs"))
        .expect(CAN_OPEN);
    file.write_all(b" and a half").expect(CAN_WRITE);
    drop(file);
    watched.expect_batch(&["src/main.rs"]);
}

#[test]
fn hc02_a_save_by_vim_with_a_backup_is_one_change() {
    let mut watched = watch(&[("main.rs", "one")]);
    watched.write(".main.rs.swp", "swap");
    watched.write("4913", "");
    watched.remove("4913");
    watched.rename("main.rs", "main.rs~");
    watched.write("main.rs", "two");
    watched.remove("main.rs~");
    watched.write(".main.rs.swp", "more swap");
    watched.expect_batch(&["main.rs"]);
    watched.remove(".main.rs.swp");
    watched.expect_nothing();
}

#[test]
fn hc02_replacing_a_file_by_a_rename_is_one_change() {
    let mut watched = watch(&[("main.rs", "one")]);
    // GNOME, KDE (`QSaveFile`), `sed -i` and JetBrains rename a new file over the old one.
    for (turn, temporary) in [
        ".goutputstream-X1",
        "main.rs.aBcDeF",
        "sedq3Xz",
        "main.rs___jb_tmp___",
    ]
    .iter()
    .enumerate()
    {
        watched.write(temporary, &format!("text {turn}"));
        watched.rename(temporary, "main.rs");
        watched.expect_batch(&["main.rs"]);
    }
}

#[test]
fn hc02_saves_by_jetbrains_and_emacs_are_one_change_each() {
    let mut watched = watch(&[("main.rs", "one")]);
    watched.write("main.rs___jb_tmp___", "two");
    watched.rename("main.rs", "main.rs___jb_old___");
    watched.rename("main.rs___jb_tmp___", "main.rs");
    watched.remove("main.rs___jb_old___");
    watched.expect_batch(&["main.rs"]);
    let lock = watched.path(".#main.rs");
    symlink("me@host.123:456", lock).expect("can create the lock");
    watched.write("#main.rs#", "autosave");
    watched.expect_nothing();
    watched.rename("main.rs", "main.rs~");
    watched.write("main.rs", "three");
    watched.remove("#main.rs#");
    watched.remove(".#main.rs");
    watched.expect_batch(&["main.rs"]);
}

#[test]
fn hc02_removing_a_file_and_creating_it_again_is_one_change() {
    let mut watched = watch(&[("main.rs", "one")]);
    watched.remove("main.rs");
    watched.write("main.rs", "two");
    watched.expect_batch(&["main.rs"]);
    watched.remove("main.rs");
    watched.expect_batch(&["main.rs"]);
    watched.write("main.rs", "two");
    watched.expect_batch(&["main.rs"]);
}

#[test]
fn hc07_a_save_with_the_same_contents_is_not_a_change() {
    let mut watched = watch(&[("main.rs", "one")]);
    let path = watched.path("main.rs");
    // Files are read ahead only after `WatchMessage::Watching`. A first change makes sure that the contents are known.
    watched.write("main.rs", "two");
    watched.expect_batch(&["main.rs"]);
    watched.write("main.rs", "two");
    watched.expect_unchanged("main.rs");
    OpenOptions::new()
        .write(true)
        .open(&path)
        .expect(CAN_OPEN)
        .set_modified(SystemTime::now())
        .expect("can set the modification time");
    watched.expect_unchanged("main.rs");
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(&path, mode).expect("can change the mode");
    fs::read(&path).expect("can read the file");
    watched.expect_nothing();
    watched.write("x.tmp.rs", "two");
    watched.rename("x.tmp.rs", "main.rs");
    watched.expect_unchanged("main.rs");
}

#[test]
fn hc07_touching_a_file_that_has_never_changed_is_not_a_change() {
    let mut watched = watch(&[("main.rs", "one"), ("lib.rs", "two")]);
    // Before the watch thread waits for the next event, it reads all files ahead.
    watched.expect_nothing();
    for name in ["main.rs", "lib.rs"] {
        let file = OpenOptions::new()
            .write(true)
            .open(watched.path(name))
            .expect(CAN_OPEN);
        file.set_modified(SystemTime::now())
            .expect("can set the modification time");
        drop(file);
        watched.expect_unchanged(name);
    }
}
