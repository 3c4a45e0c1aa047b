//! Tests symbolic links in watched directories and in the paths of watch roots.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use hotrun::watch::Poll;

use super::watched::{Watched, tree, watch_as};

/// Watches `roots` in a tree with two releases and shared files.
fn watch_releases(roots: &[&str], poll: Poll) -> Watched {
    let root = tree(&[
        ("app/main.py", ""),
        ("shared/lib/a.py", ""),
        ("shared/conf.py", ""),
        ("rel1/src/x", "1"),
        ("rel2/src/x", "2"),
    ]);
    let path = root.path().canonicalize().expect("can resolve the path");
    let link =
        |target: &str, link: &str| symlink(target, path.join(link)).expect("can create the link");
    link("../shared/lib", "app/lib");
    link("../shared/conf.py", "app/conf.py");
    link("..", "app/circle");
    link("rel1", "current");
    let roots: Vec<PathBuf> = roots.iter().map(|root| path.join(root)).collect();
    watch_as(root, |spec| {
        spec.roots = roots;
        spec.poll = poll;
    })
}

#[track_caller]
fn expect(watched: &mut Watched, names: &[&str]) {
    let expected: Vec<PathBuf> = names.iter().map(|name| watched.path(name)).collect();
    assert_eq!(watched.changed(), expected);
}

fn for_every_kind_of_watch(test: impl Fn(Poll)) {
    test(Poll::IfNeeded);
    test(Poll::Every(Duration::from_millis(50)));
}

#[test]
fn the_target_of_a_link_in_a_watched_directory_is_watched() {
    for_every_kind_of_watch(|poll| {
        let mut watched = watch_releases(&["app"], poll);
        watched.write("shared/lib/a.py", "edited");
        expect(&mut watched, &["shared/lib/a.py"]);
        watched.write("shared/conf.py", "edited");
        assert!(watched.changed().contains(&watched.path("shared/conf.py")));
        watched.write("shared/lib/new/b.py", "new");
        expect(&mut watched, &["shared/lib/new/b.py"]);
        watched.write("rel1/src/x", "not watched");
        symlink("../rel1", watched.path("app/rel")).expect("can create the link");
        expect(&mut watched, &["app/rel"]);
        watched.write("rel1/src/x", "watched from now on");
        expect(&mut watched, &["rel1/src/x"]);
    });
}

#[test]
fn a_link_in_the_path_of_a_watch_root_is_watched() {
    for_every_kind_of_watch(|poll| {
        for root in ["current", "current/src", "current/src/x"] {
            let mut watched = watch_releases(&[root], poll);
            let next = watched.path("next");
            symlink("rel2", &next).expect("can create the link");
            fs::rename(next, watched.path("current")).expect("can replace the link");
            assert!(watched.changed().contains(&watched.path("current")));
            watched.write("rel2/src/x", "edited");
            expect(&mut watched, &["rel2/src/x"]);
        }
    });
}

#[test]
fn a_link_to_a_directory_counts_although_its_name_has_no_watched_extension() {
    for poll in [Poll::IfNeeded, Poll::Every(Duration::from_millis(50))] {
        let root = tree(&[("app/main.py", ""), ("rel1/a.py", ""), ("rel2/a.py", "")]);
        let path = root.path().canonicalize().expect("can resolve the path");
        symlink("../rel1", path.join("app/src")).expect("can create the link");
        let mut watched = watch_as(root, |spec| {
            spec.roots = vec![path.join("app")];
            spec.exts = vec!["py".into()];
            spec.poll = poll;
        });
        symlink("../rel2", path.join("next")).expect("can create the link");
        watched.rename("next", "app/src");
        expect(&mut watched, &["app/src"]);
        watched.write("rel2/a.py", "edited");
        expect(&mut watched, &["rel2/a.py"]);
    }
}
