//! How each editor saves a file, with the same system calls.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::SystemTime;

use super::watched::watch;

#[test]
fn hc02_a_file_written_in_place() {
    let mut watched = watch(&[("src/main.rs", "one")]);
    // VS Code, nano and most others: truncate, then write.
    let mut file = File::create(watched.path("src/main.rs")).expect("opened");
    file.write_all(b"tw").expect("written");
    file.write_all(b"o").expect("written");
    drop(file);
    watched.expect_batch(&["src/main.rs"]);
    let mut file = OpenOptions::new()
        .append(true)
        .open(watched.path("src/main.rs"))
        .expect("opened");
    file.write_all(b" and a half").expect("written");
    drop(file);
    watched.expect_batch(&["src/main.rs"]);
}

#[test]
fn hc02_vim_with_a_backup() {
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
fn hc02_a_file_replaced_by_rename() {
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
fn hc02_jetbrains_safe_write_and_emacs() {
    let mut watched = watch(&[("main.rs", "one")]);
    watched.write("main.rs___jb_tmp___", "two");
    watched.rename("main.rs", "main.rs___jb_old___");
    watched.rename("main.rs___jb_tmp___", "main.rs");
    watched.remove("main.rs___jb_old___");
    watched.expect_batch(&["main.rs"]);
    symlink("me@host.123:456", watched.path(".#main.rs")).expect("a lock");
    watched.write("#main.rs#", "autosave");
    watched.expect_nothing();
    watched.rename("main.rs", "main.rs~");
    watched.write("main.rs", "three");
    watched.remove("#main.rs#");
    watched.remove(".#main.rs");
    watched.expect_batch(&["main.rs"]);
}

#[test]
fn hc02_a_file_deleted_and_created_again() {
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
fn hc07_a_save_with_the_same_contents_is_no_change() {
    let mut watched = watch(&[("main.rs", "one")]);
    let path = watched.path("main.rs");
    // Files are read ahead after "watching". A change makes sure that the contents are known.
    watched.write("main.rs", "two");
    watched.expect_batch(&["main.rs"]);
    watched.write("main.rs", "two");
    watched.expect_nothing();
    OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("opened")
        .set_modified(SystemTime::now())
        .expect("touched");
    watched.expect_nothing();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
    fs::read(&path).expect("read");
    watched.expect_nothing();
    watched.write("x.tmp.rs", "two");
    watched.rename("x.tmp.rs", "main.rs");
    watched.expect_nothing();
}

#[test]
fn hc07_a_touch_before_any_change_is_no_change() {
    let mut watched = watch(&[("main.rs", "one"), ("lib.rs", "two")]);
    // The worker reads all files ahead before it waits for the next event.
    watched.expect_nothing();
    for name in ["main.rs", "lib.rs"] {
        let file = OpenOptions::new()
            .write(true)
            .open(watched.path(name))
            .expect("opened");
        file.set_modified(SystemTime::now()).expect("touched");
        drop(file);
        watched.expect_nothing();
    }
}
