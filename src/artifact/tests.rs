use super::*;

fn launch(executable: &Path) -> Launch {
    Launch {
        argv: vec!["qemu".into(), "bin/app".into(), "--flag".into()],
        env: Vec::new(),
        workdir: executable.parent().unwrap().parent().unwrap().to_owned(),
        executable: Some(executable.to_owned()),
    }
}

/// Creates an empty directory `bin`, and returns the path at which an executable will be created in it.
fn place() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("bin")).unwrap();
    let app = root.path().join("bin/app");
    (root, app)
}

fn replace(app: &Path, text: &str) {
    let _ = fs::remove_file(app);
    fs::write(app, text).unwrap();
}

fn names(app: &Path) -> usize {
    fs::read_dir(app.parent().unwrap()).unwrap().count()
}

fn keep(store: &mut ArtifactStore, app: &Path, id: u32) -> ArtifactId {
    let kept = store.keep(&launch(app), ArtifactId(id), |_| true);
    kept.unwrap().unwrap()
}

fn argv(store: &ArtifactStore, id: u32) -> Vec<OsString> {
    store.launch(ArtifactId(id)).unwrap().0.argv
}

#[test]
fn a_kept_executable_outlives_the_next_build() {
    let (_root, app) = place();
    let mut store = ArtifactStore::default();
    for number in 1..=5 {
        replace(&app, &format!("build {number}"));
        let (id, needed) = (ArtifactId(number), |id: ArtifactId| id.0 >= 3);
        let kept = store.keep(&launch(&app), id, needed);
        assert_eq!(kept.unwrap(), Some(id));
    }
    assert_eq!(names(&app), 1 + 3);
    let old = argv(&store, 3);
    assert_eq!((&old[0], &old[2]), (&"qemu".into(), &"--flag".into()));
    assert_eq!(fs::read(&old[1]).unwrap(), b"build 3");
    assert!(store.launch(ArtifactId(2)).is_err());
    drop(store);
    assert_eq!(names(&app), 1);
}

#[test]
fn the_newest_artifact_is_started_from_its_original_path() {
    let (_root, app) = place();
    replace(&app, "one");
    let mut store = ArtifactStore::default();
    let id = keep(&mut store, &app, 1);
    store.set_newest(id, launch(&app), None);
    assert_eq!(argv(&store, 1), launch(&app).argv);
}

#[test]
fn the_newest_artifact_is_started_from_its_link_if_its_original_path_was_replaced() {
    let (_root, app) = place();
    replace(&app, "one");
    let mut store = ArtifactStore::default();
    let id = keep(&mut store, &app, 1);
    let newest = Launch {
        argv: vec!["bin/app".into(), "--other".into()],
        ..launch(&app)
    };
    store.set_newest(id, newest.clone(), None);
    fs::remove_file(&app).unwrap();
    replace(&app, "another program");
    let started = argv(&store, 1);
    assert_eq!(fs::read(&started[0]).unwrap(), b"one");
    assert_eq!(started[1], "--other", "the newest launch is used");
    fs::remove_file(&app).unwrap();
    assert_eq!(argv(&store, 1), started, "nothing is at the original path");
    // Without the link, there is nothing better than the original path.
    fs::remove_file(&started[0]).unwrap();
    assert_eq!(argv(&store, 1), newest.argv);
}

#[test]
fn an_overwritten_executable_is_not_started() {
    let (_root, app) = place();
    let mut store = ArtifactStore::default();
    replace(&app, "one");
    keep(&mut store, &app, 1);
    fs::write(&app, "another").unwrap();
    let error = store.launch(ArtifactId(1)).unwrap_err().to_string();
    assert!(error.contains("overwrote"), "{error}");
}

#[test]
fn a_symbolic_link_is_followed_when_the_executable_is_kept() {
    let (root, app) = place();
    let mut store = ArtifactStore::default();
    let write = |text: &str| {
        fs::write(root.path().join(text), text).unwrap();
        let _ = fs::remove_file(&app);
        std::os::unix::fs::symlink(root.path().join(text), &app).unwrap();
    };
    write("one");
    keep(&mut store, &app, 1);
    write("two");
    let link = argv(&store, 1)[1].clone();
    assert!(fs::symlink_metadata(&link).unwrap().is_file());
    assert_eq!(fs::read(&link).unwrap(), b"one");
}

#[test]
fn an_unchanged_executable_is_kept_only_once() {
    let (root, app) = place();
    let mut store = ArtifactStore::default();
    let [first, third] = [1, 3].map(ArtifactId);
    replace(&app, "one");
    assert_eq!(keep(&mut store, &app, 1), first);
    assert_eq!(keep(&mut store, &app, 2), first);
    fs::rename(&app, root.path().join("old")).unwrap();
    replace(&app, "two");
    assert_eq!(keep(&mut store, &app, 3), third);
    assert_eq!(fs::read(&argv(&store, 1)[1]).unwrap(), b"one");
    assert_eq!(fs::read(&argv(&store, 3)[1]).unwrap(), b"two");
}

#[test]
fn one_prefix_covers_all_links_that_a_guardian_removes() {
    let (_root, app) = place();
    let mut store = ArtifactStore::default();
    for number in 1..=2 {
        replace(&app, &format!("build {number}"));
        keep(&mut store, &app, number);
    }
    let prefix = app.with_file_name(format!(".app{MARK}{}-", store.token));
    let cleanup: Vec<_> = store.cleanup().collect();
    assert_eq!(cleanup, [Cleanup::Files(prefix.into())]);
}
