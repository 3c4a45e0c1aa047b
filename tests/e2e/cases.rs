//! Hard cases of file watching, on a real file system with real tools. The tests count the builds that each change
//! triggers.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::harness::{Builds, Project, Run, skip, succeeds};

/// Runs a command in the watched directory.
#[track_caller]
fn run(builds: &Builds, argv: &[&str]) {
    run_in(&builds.work(), argv);
}

#[track_caller]
fn run_in(dir: &Path, argv: &[&str]) {
    let mut command = Command::new(argv[0]);
    command.args(&argv[1..]).current_dir(dir);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    for name in ["GIT_AUTHOR", "GIT_COMMITTER"] {
        command.env(format!("{name}_NAME"), "a");
        command.env(format!("{name}_EMAIL"), "a@example.org");
    }
    let output = command.output().expect("can start the command");
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{argv:?}: {printed}");
}

#[track_caller]
fn shell(builds: &Builds, line: &str) {
    run(builds, &["sh", "-c", line]);
}

#[test]
fn hc01_fifty_saves_within_the_debounce_trigger_one_build() {
    let mut builds = Builds::start(Project::with(&["main.rs"]), |run| run, "true", "1s");
    for number in 0..50 {
        builds.save("main.rs", &format!("save {number}"));
    }
    builds.assert_count(
        1,
        "fifty saves, each within the debounce of the previous one",
    );
    builds.quit();
}

#[test]
#[ignore = "needs vim"]
fn hc02_each_save_with_vim_triggers_one_build() {
    if !succeeds("vim", &["--version"]) {
        return skip("`vim` is not installed (`apt install vim`)");
    }
    // 20 ms is the default debounce; it suffices because vim writes its file in one go.
    for debounce in ["300ms", "20ms"] {
        save_with_vim(debounce);
    }
}

fn save_with_vim(debounce: &str) {
    let project = Project::with(&["main.rs"]);
    let mut builds = Builds::start(project, |run| run, "true", debounce);
    for (option, text) in [
        ("set backupcopy=auto", "two"),
        ("set backupcopy=no backup", "three"),
        ("set backupcopy=yes", "four"),
        ("set nowritebackup", "five"),
    ] {
        let edit = format!("call setline(1, '{text}')");
        let start = ["vim", "-u", "NONE", "-i", "NONE", "-es", "-N"];
        let rest = ["-c", option, "-c", &edit, "-c", "wq", "main.rs"];
        run(&builds, &[&start[..], &rest[..]].concat());
        builds.assert_count(1, option);
    }
    builds.quit();
}

#[test]
fn hc02_each_save_with_other_tools_triggers_one_build() {
    let mut builds = Builds::new(&["main.rs"]);
    for line in [
        "sed -i s/one/two/ main.rs",
        // In this order: VS Code and most editors; JetBrains; emacs; KDE and GNOME; a tool that deletes the file first.
        "printf three > main.rs",
        "printf four > main.rs___jb_tmp___; mv main.rs main.rs___jb_old___; mv main.rs___jb_tmp___ main.rs; rm main.rs___jb_old___",
        "ln -s me@host:1 .#main.rs; printf x > '#main.rs#'; mv main.rs main.rs~; printf five > main.rs; rm '#main.rs#' .#main.rs",
        "printf six > main.rs.AbCdEf; mv main.rs.AbCdEf main.rs",
        "rm main.rs; printf seven > main.rs",
    ] {
        shell(&builds, line);
        builds.assert_count(1, line);
    }
    shell(&builds, "sed -i s/nothing/two/ main.rs");
    builds.assert_count(0, "a `sed -i` that changes nothing");
    builds.quit();
}

#[test]
#[ignore = "needs git"]
fn hc03_switching_branches_with_five_thousand_files_triggers_one_build_of_the_complete_tree() {
    if !succeeds("git", &["--version"]) {
        return skip("`git` is not installed (`apt install git`)");
    }
    let project = Project::new();
    let write = |text: &str| {
        for number in 0..5_000 {
            let dir = project.work().join(format!("src/m{}", number % 100));
            fs::create_dir_all(&dir).expect("can create the directory");
            fs::write(dir.join(format!("f{number}.rs")), text).expect("can write the file");
        }
    };
    let git = |argv: &[&str]| run_in(&project.work(), &[&["git"], argv].concat());
    git(&["init", "-q", "-b", "main"]);
    for text in ["one", "two"] {
        git(&["checkout", "-q", "-b", text]);
        write(text);
        git(&["add", "."]);
        git(&["commit", "-q", "-m", text]);
    }
    let counted = project.beside("counted");
    let build = format!("grep -rlx one src | wc -l >> '{}'", counted.display());
    let mut builds = Builds::start(project, |run| run, &build, "20ms");
    run(&builds, &["git", "checkout", "-q", "one"]);
    builds.assert_count(1, "git checkout");
    let seen = fs::read_to_string(counted).expect("the build has written its count");
    assert_eq!(
        seen.lines().last(),
        Some("5000"),
        "the build sees the complete tree: {seen}"
    );
    run(&builds, &["git", "status"]);
    run(
        &builds,
        &["git", "commit", "-q", "--allow-empty", "-m", "x"],
    );
    builds.assert_count(0, "git status and commit");
    builds.quit();
}

#[test]
fn hc04_each_move_removal_or_recreation_of_a_directory_triggers_one_build() {
    let mut builds = Builds::new(&["main.rs", "src/lib.rs"]);
    for line in [
        "mkdir -p a/b/c && printf x > a/b/c/new.rs",
        "printf later > a/b/c/new.rs",
        "mv a z",
        "printf moved > z/b/c/new.rs",
        "rm -rf z",
        "rm -rf src && mkdir src && printf again > src/lib.rs",
        "printf 'and again' > src/lib.rs",
        "mv src old && mkdir src && printf other > src/lib.rs && rm -r old",
        "printf 'and once more' > src/lib.rs",
    ] {
        shell(&builds, line);
        builds.assert_count(1, line);
    }
    shell(&builds, "mkdir -p empty/deep && rmdir empty/deep");
    builds.assert_count(0, "empty directories");
    builds.quit();
}

#[test]
fn hc04_the_watched_directory_can_be_deleted_and_recreated() {
    let project = Project::with(&["app/main.rs"]);
    let mut builds = Builds::start(project, |run| run.args(["-w", "app"]), "true", "300ms");
    for line in [
        "rm -r app",
        "mkdir app && printf two > app/main.rs",
        "printf three > app/main.rs",
        "mv app elsewhere && mkdir app && printf four > app/main.rs",
        "printf five > app/main.rs",
    ] {
        shell(&builds, line);
        builds.assert_count(1, line);
    }
    shell(&builds, "printf x > elsewhere/main.rs; printf x > other");
    builds.assert_count(0, "a change outside of `app`");
    builds.quit();
}

#[test]
fn hc05_no_change_is_missed_when_the_event_queue_overflows() {
    let limit =
        fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("can read the limit");
    let limit: usize = limit.trim().parse().expect("the limit is a number");
    if limit > 100_000 {
        return skip("`fs.inotify.max_queued_events` is too large for the test to fill the queue");
    }
    let project = Project::with(&["main.rs", "many/0", "gone.rs"]);
    let counted = project.beside("counted");
    let build = format!("ls many late | wc -l >> '{}'", counted.display());
    let mut builds = Builds::start(project, |run| run, &build, "100ms");
    // While hotrun is stopped, it does not read the queue. Each file adds at least two events.
    builds.signal(Signal::SIGSTOP);
    for number in 1..=limit / 2 {
        let path = builds.work().join(format!("many/{number}"));
        fs::write(path, "x").expect("can write the file");
    }
    // The queue is full, so the kernel drops the events for these changes.
    shell(&builds, "mkdir late && printf x > late/file && rm gone.rs");
    builds.signal(Signal::SIGCONT);
    builds.assert_count(1, "an overflow");
    assert_eq!(builds.count_mentions("the system dropped events"), 1);
    let seen = fs::read_to_string(counted).expect("the build has written its count");
    // `ls` prints the entries of both directories, the directories' names, and a blank line.
    let expected = (limit / 2 + 1 + 1 + 3).to_string();
    assert_eq!(
        seen.lines().last(),
        Some(expected.as_str()),
        "the build sees every file"
    );
    for line in ["printf y > late/file", "printf y > main.rs"] {
        shell(&builds, line);
        builds.assert_count(1, line);
    }
    builds.quit();
}

/// Prepares a run in a user namespace, in which setting a limit needs no privileges. `limit` is what follows `echo` in
/// a shell command: the value, and a redirection to a file in `/proc`.
fn run_with_limit(project: &Project, limit: &str) -> Option<Run> {
    if !succeeds("unshare", &["-Ur", "true"]) {
        skip("user namespaces are not allowed here");
        return None;
    }
    let line = format!("echo {limit} && exec \"$0\" \"$@\"");
    let line = format!("exec unshare -Ur sh -c '{line}' \"$0\" \"$@\"");
    Some(Run::through(project, &line))
}

#[test]
fn hc06_directories_beyond_the_watch_limit_are_polled_and_the_sysctl_is_named_once() {
    let files = ["a/x", "b/x", "c/x", "d/x", "e/x"];
    let project = Project::with(&files);
    let Some(run) = run_with_limit(&project, "3 > /proc/sys/user/max_inotify_watches") else {
        return;
    };
    let mut builds = Builds::from(project, run, "true", "100ms");
    assert_eq!(builds.watched(), 3);
    for name in files {
        builds.save(name, "two");
        builds.assert_count(1, name);
    }
    builds.save("f/new", "one");
    builds.assert_count(1, "a new directory");
    assert_eq!(builds.count_mentions("fs.inotify.max_user_watches"), 1);
    builds.quit();
}

#[test]
fn hc06_without_watches_everything_is_polled_and_the_sysctl_is_named_once() {
    let project = Project::with(&["a/x", "main.rs"]);
    let Some(run) = run_with_limit(&project, "0 > /proc/sys/user/max_inotify_instances") else {
        return;
    };
    let mut builds = Builds::from(project, run, "true", "100ms");
    assert_eq!(builds.watched(), 0);
    for name in ["a/x", "main.rs", "b/new"] {
        builds.save(name, "two");
        builds.assert_count(1, name);
    }
    assert_eq!(builds.count_mentions("fs.inotify.max_user_instances"), 1);
    builds.quit();
}

#[test]
fn hc07_a_signal_triggers_a_build_and_unchanged_contents_do_not() {
    let mut builds = Builds::new(&["main.rs", "lib.rs"]);
    for line in [
        "touch main.rs",
        "chmod 700 main.rs",
        "cp main.rs x.new && mv x.new main.rs",
        "cat main.rs > /dev/null && ls -l",
        "printf half > lib.new && rm lib.new",
        "sleep 0.05; touch -d '2020-01-01' lib.rs",
    ] {
        shell(&builds, line);
        builds.assert_count(0, line);
    }
    builds.signal(Signal::SIGUSR1);
    builds.assert_count(1, "a requested reload");
    builds.quit();
}

#[test]
fn hc10_ignored_files_need_no_watch_and_trigger_no_build() {
    let files = [
        "main.rs",
        "src/lib.rs",
        "logs/today",
        "web/node_modules/a/b/x.js",
        "target/debug/deps/x",
        "Cargo.toml",
    ];
    let project = Project::with(&files);
    fs::write(project.work().join(".gitignore"), "node_modules\nlogs/\n")
        .expect("can write the file");
    let mut builds = Builds::start(project, |run| run, "true", "100ms");
    assert_eq!(builds.watched(), 3, "`.`, `src` and `web` are watched");
    shell(
        &builds,
        "echo x >> logs/today; echo x >> web/node_modules/a/b/x.js; mkdir -p web/node_modules/c target/release; \
         echo x > web/node_modules/c/d; echo x > target/release/x; echo x >> target/debug/deps/x",
    );
    builds.assert_count(0, "ignored files");
    builds.save("src/lib.rs", "two");
    builds.assert_count(1, "a file that is not ignored");
    builds.save(".gitignore", "node_modules\n");
    builds.assert_count(1, "the ignore file itself");
    builds.save("logs/today", "three");
    builds.assert_count(1, "a file that is no longer ignored");
    builds.quit();
}

#[test]
#[ignore = "needs python3"]
fn hc11_a_mount_without_events_is_reported_and_polled() {
    if !succeeds("unshare", &["-Urm", "true"]) || fs::File::open("/dev/fuse").is_err() {
        return skip("`/dev/fuse` and user namespaces are needed");
    }
    let project = Project::new();
    let far = project.beside("far");
    let put = |name: &str, text: &str| {
        let path = far.join(name);
        fs::create_dir_all(path.parent().expect("a file has a parent"))
            .expect("can create the parent directory");
        fs::write(path, text).expect("can write the file");
    };
    put("src/main.rs", "one");
    put("gone.rs", "one");
    let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/far.py");
    let words = [&server, &project.work(), &far].map(|path| format!("'{}'", path.display()));
    let line = format!(
        "exec unshare -Urm python3 {} \"$0\" \"$@\"",
        words.join(" ")
    );
    let run = Run::through(&project, &line);
    let mut builds = Builds::far(project, run, far.clone());
    put("src/main.rs", "two");
    builds.assert_count(1, "a save that bypasses the mount");
    put("new/deep/x.rs", "one");
    builds.assert_count(1, "new directories");
    put("new/deep/x.rs", "two");
    builds.assert_count(1, "a file in a new directory");
    fs::remove_file(far.join("gone.rs")).expect("can remove the file");
    builds.assert_count(1, "a removal");
    put("src/main.rs", "two");
    builds.assert_count(0, "the same contents again");
    assert_eq!(builds.count_mentions("is on FUSE"), 1);
    builds.quit();
}

#[test]
fn hc12_odd_names_and_symlinks_trigger_builds_and_short_lived_files_do_not() {
    let mut builds = Builds::new(&["a/x", "main.rs"]);
    for (line, expected) in [
        ("ln -s .. a/circle", 1),
        ("ln -s nowhere a/dangling", 1),
        ("printf x > \"$(printf 'odd-\\377\\376')\"", 1),
        ("printf y > \"$(printf 'odd-\\377\\376')\"", 1),
        ("for n in 1 2 3 4 5; do printf x > a/$n; rm a/$n; done", 0),
        ("mkfifo a/pipe", 0),
        ("mkdir a/d && printf x > a/d/x && rm -r a/d", 0),
    ] {
        shell(&builds, line);
        builds.assert_count(expected, line);
    }
    symlink("main.rs", builds.work().join("alias")).expect("can create the symlink");
    builds.assert_count(1, "a link to a file");
    builds.quit();
}

#[test]
fn hc12_an_unreadable_directory_is_reported_once_and_the_rest_is_watched() {
    let project = Project::with(&["closed/x", "open/x"]);
    let closed = project.work().join("closed");
    let mode = |mode| fs::set_permissions(&closed, fs::Permissions::from_mode(mode));
    let run = match nix::unistd::geteuid().is_root() {
        true => Run::as_nobody(&project),
        false => Run::new(&project),
    };
    mode(0o000).expect("can change the permissions");
    let mut builds = Builds::from(project, run, "true", "100ms");
    builds.save("open/x", "two");
    builds.assert_count(1, "a readable file");
    builds.save("open/new/x", "one");
    builds.assert_count(1, "a new file");
    assert_eq!(builds.count_mentions("cannot watch"), 1);
    mode(0o700).expect("can change the permissions");
    builds.assert_count(1, "a directory that became readable");
    builds.save("closed/x", "two");
    builds.assert_count(1, "a change in the directory that became readable");
    builds.quit();
}
