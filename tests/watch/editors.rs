//! Each editor's way to save, by the same system calls.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::SystemTime;

use super::watched::watch;

#[test]
fn hc02_written_in_place() {
    let mut watched = watch(&[("src/main.rs", "one")]);
    // VS Code, nano and most others: truncate, then write.
    let mut file = File::create(watched.path("src/main.rs")).expect("opened");
    file.write_all(b"tw").expect("written");
    file.write_all(b"o").expect("written");
    drop(file);
    watched.one(&["src/main.rs"]);
    let mut file = OpenOptions::new()
        .append(true)
        .open(watched.path("src/main.rs"))
        .expect("opened");
    file.write_all(b" and a half").expect("written");
    drop(file);
    watched.one(&["src/main.rs"]);
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
    watched.one(&["main.rs"]);
    watched.remove(".main.rs.swp");
    watched.none();
}

#[test]
fn hc02_rename_over() {
    let mut watched = watch(&[("main.rs", "one")]);
    // GNOME, KDE (`QSaveFile`), `sed -i`, JetBrains: another file takes the place of the old one.
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
        watched.one(&["main.rs"]);
    }
}

#[test]
fn hc02_jetbrains_safe_write_and_emacs() {
    let mut watched = watch(&[("main.rs", "one")]);
    watched.write("main.rs___jb_tmp___", "two");
    watched.rename("main.rs", "main.rs___jb_old___");
    watched.rename("main.rs___jb_tmp___", "main.rs");
    watched.remove("main.rs___jb_old___");
    watched.one(&["main.rs"]);
    symlink("me@host.123:456", watched.path(".#main.rs")).expect("a lock");
    watched.write("#main.rs#", "autosave");
    watched.none();
    watched.rename("main.rs", "main.rs~");
    watched.write("main.rs", "three");
    watched.remove("#main.rs#");
    watched.remove(".#main.rs");
    watched.one(&["main.rs"]);
}

#[test]
fn hc02_deleted_and_made_anew() {
    let mut watched = watch(&[("main.rs", "one")]);
    watched.remove("main.rs");
    watched.write("main.rs", "two");
    watched.one(&["main.rs"]);
    watched.remove("main.rs");
    watched.one(&["main.rs"]);
    watched.write("main.rs", "two");
    watched.one(&["main.rs"]);
}

#[test]
fn hc07_what_changes_no_content_is_no_change() {
    let mut watched = watch(&[("main.rs", "one")]);
    let path = watched.path("main.rs");
    // Read ahead comes after "watching": a change and back again makes sure that the content is known.
    watched.write("main.rs", "two");
    watched.one(&["main.rs"]);
    watched.write("main.rs", "two");
    watched.none();
    OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("opened")
        .set_modified(SystemTime::now())
        .expect("touched");
    watched.none();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
    fs::read(&path).expect("read");
    watched.none();
    watched.write("x.tmp.rs", "two");
    watched.rename("x.tmp.rs", "main.rs");
    watched.none();
}

#[test]
fn hc07_a_touch_of_what_was_never_changed_is_no_change() {
    let mut watched = watch(&[("main.rs", "one"), ("lib.rs", "two")]);
    // Everything is read ahead before the next event is waited for.
    watched.none();
    for name in ["main.rs", "lib.rs"] {
        let file = OpenOptions::new()
            .write(true)
            .open(watched.path(name))
            .expect("opened");
        file.set_modified(SystemTime::now()).expect("touched");
        drop(file);
        watched.none();
    }
}
