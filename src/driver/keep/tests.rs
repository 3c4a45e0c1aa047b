//! What is kept, what is started of it, and what goes.

use super::*;

fn launch(executable: &Path) -> Launch {
    Launch {
        argv: vec!["qemu".into(), "bin/app".into(), "--flag".into()],
        env: Vec::new(),
        workdir: executable.parent().unwrap().parent().unwrap().to_owned(),
        executable: Some(executable.to_owned()),
    }
}

fn names(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

#[test]
fn what_was_built_before_is_there_when_something_else_has_its_name() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("bin");
    fs::create_dir(&dir).unwrap();
    let app = dir.join("app");
    let mut keep = Keep::default();
    for number in 1..=5 {
        let _ = fs::remove_file(&app);
        fs::write(&app, format!("build {number}")).unwrap();
        let needed = |id: ArtifactId| id.get() >= 3;
        keep.add(GenId::new(number), &launch(&app), needed).unwrap();
    }
    assert_eq!(names(&dir), 1 + 3 + 1, "and a lock");
    let old = keep.launch(ArtifactId::new(3)).unwrap();
    assert_eq!(
        (&old.argv[0], &old.argv[2]),
        (&"qemu".into(), &"--flag".into())
    );
    assert_eq!(fs::read(&old.argv[1]).unwrap(), b"build 3");
    assert!(keep.launch(ArtifactId::new(2)).is_err());
    drop(keep);
    assert_eq!(names(&dir), 1);
}

#[test]
fn what_was_written_over_is_not_taken_for_what_it_was() {
    let root = tempfile::tempdir().unwrap();
    let app = root.path().join("app");
    fs::write(&app, "one").unwrap();
    let mut keep = Keep::default();
    keep.add(GenId::new(1), &launch(&app), |_| true).unwrap();
    fs::write(&app, "another").unwrap();
    let error = keep.launch(ArtifactId::new(1)).unwrap_err().to_string();
    assert!(error.contains("written over"), "{error}");
}

/// As scripts do that must not run twice (`flock(1)`).
#[test]
fn the_lock_of_the_executable_itself_is_the_programs() {
    let root = tempfile::tempdir().unwrap();
    let app = root.path().join("app");
    fs::write(&app, "one").unwrap();
    let mut keep = Keep::default();
    keep.add(GenId::new(1), &launch(&app), |_| true).unwrap();
    let program = File::open(&app).unwrap();
    program.try_lock().expect("nobody else locks it");
    fs::rename(&app, root.path().join("old")).unwrap();
    fs::write(&app, "two").unwrap();
    let added = keep.add(GenId::new(2), &launch(&app), |_| true).unwrap();
    assert!(added.is_some(), "meanwhile");
}

#[test]
fn what_a_link_leads_to_is_kept() {
    let root = tempfile::tempdir().unwrap();
    let (dir, app) = (root.path().join("bin"), root.path().join("bin/app"));
    fs::create_dir(&dir).unwrap();
    let write = |text: &str| {
        fs::write(root.path().join(text), text).unwrap();
        let _ = fs::remove_file(&app);
        std::os::unix::fs::symlink(root.path().join(text), &app).unwrap();
    };
    let mut keep = Keep::default();
    write("one");
    keep.add(GenId::new(1), &launch(&app), |_| true).unwrap();
    write("two");
    let old = keep.launch(ArtifactId::new(1)).unwrap();
    let kept = fs::symlink_metadata(&old.argv[1]).unwrap();
    assert!(kept.is_file(), "and whoever cleans up takes it away");
    assert_eq!(fs::read(&old.argv[1]).unwrap(), b"one");
}

#[test]
fn a_file_that_a_build_has_left_alone_is_kept_once() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("bin")).unwrap();
    let app = root.path().join("bin/app");
    fs::write(&app, "one").unwrap();
    let mut keep = Keep::default();
    let mut add = |number| {
        let added = keep.add(GenId::new(number), &launch(&app), |_| true);
        let (artifact, new) = added.unwrap().unwrap();
        (artifact.get(), new)
    };
    assert_eq!((add(1), add(2)), ((1, true), (1, false)));
    fs::rename(&app, root.path().join("old")).unwrap();
    fs::write(&app, "two").unwrap();
    assert_eq!(add(3), (2, true));
    let word = |build| keep.launch(ArtifactId::new(build)).unwrap().argv[1].clone();
    assert_eq!(fs::read(word(1)).unwrap(), b"one");
    assert_eq!(fs::read(word(2)).unwrap(), b"two");
}

#[test]
fn who_cleans_up_takes_the_lock_along_and_it_is_taken_again() {
    let root = tempfile::tempdir().unwrap();
    let app = root.path().join("app");
    fs::write(&app, "one").unwrap();
    let mut keep = Keep::default();
    keep.add(GenId::new(1), &launch(&app), |_| true).unwrap();
    let lock = beside(&app, std::process::id(), LOCK);
    fs::remove_file(&lock).unwrap();
    keep.add(GenId::new(2), &launch(&app), |_| true).unwrap();
    let held = File::open(&lock).unwrap().try_lock();
    assert!(matches!(held, Err(TryLockError::WouldBlock)));
    assert!(Lock::take(lock).is_err(), "there is only one");
}

#[test]
fn what_a_killed_hotrun_kept_is_removed_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let app = root.path().join("app");
    let file = |name: &str| fs::write(root.path().join(name), "").unwrap();
    // In a container it had the same pid as this one.
    let killed = format!(".app.hotrun-{}-1", std::process::id());
    let of_another = ".app.hotrun-999999999-3";
    for name in [
        "app",
        &killed,
        ".app.hotrun-1-3",
        of_another,
        ".app.hotrun-x-3",
        "app.hotrun-1-3",
    ] {
        file(name);
    }
    let lock = |pid| beside(&app, pid, LOCK);
    let held = Lock::take(lock(999_999_999)).unwrap();
    let mut file = File::options();
    // Of one that was killed.
    file.write(true).create_new(true).open(lock(12)).unwrap();
    let new = GenId::new(1);
    Keep::default().add(new, &launch(&app), |_| true).unwrap();
    assert!(!root.path().join(".app.hotrun-1-3").exists());
    assert!(root.path().join(of_another).exists(), "it still runs");
    assert_eq!(names(root.path()), 5);
    drop(held);
    Keep::default().add(new, &launch(&app), |_| true).unwrap();
    assert_eq!(names(root.path()), 3);
}
