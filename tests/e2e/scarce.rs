//! A disk that is full, and a clock that goes back.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::harness::asking::Asking;
use crate::harness::{Event, PATIENCE, Project, Run, apps, http, say, until};

/// A small file system of its own.
struct Small(PathBuf);

impl Small {
    /// Only root may mount one.
    fn mount(at: PathBuf, options: &str) -> Option<Self> {
        fs::create_dir(&at).expect("the folder is ours");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&at);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        if !mounted {
            say("not tested: whoever runs this may not mount a small disk to fill it");
        }
        mounted.then_some(Self(at))
    }

    /// Files until no other one of so many bytes fits.
    fn fill(&self, least: usize) {
        for n in 0..1000 {
            let all = [64 << 10, 4 << 10, least];
            let fits = |size: usize| {
                fs::write(self.0.join(format!("fill-{n}-{size}")), vec![0; size]).is_ok()
            };
            if !all.into_iter().any(fits) {
                return;
            }
        }
        panic!("it cannot be filled");
    }

    fn make_room(&self) {
        for entry in fs::read_dir(&self.0).expect("it is mounted").flatten() {
            if entry.file_name().to_string_lossy().starts_with("fill-") {
                fs::remove_file(entry.path()).expect("it is ours");
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn answers(to: SocketAddr, version: &str) {
    let wanted = format!("version {version}\n");
    until(&wanted, PATIENCE, || {
        http::get(to, "/")
            .ok()
            .filter(|body| body.ends_with(&wanted))
    });
}

/// What is told goes to a disk that is full for a while.
#[test]
fn a_full_disk_under_the_log_ends_nothing_and_what_comes_later_is_told() {
    let project = Project::new();
    let Some(disk) = Small::mount(project.beside("full"), "size=256k") else {
        return;
    };
    let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let address = free.expect("there is a free port");
    project.server("one");
    let run = Run::through(&project, "exec \"$0\" \"$@\" >../full/log 2>&1").opens(address);
    let run = run
        .args(["--listen", &address.to_string()])
        .program(["sh", "start"]);
    let run = run.spawn();
    answers(address, "one");
    let load = Asking::paced(address, Duration::from_millis(5));
    disk.fill(1);
    for version in ["two", "three"] {
        project.server(version);
        answers(address, version);
    }
    disk.make_room();
    project.server("four");
    answers(address, "four");
    let log = disk.0.join("log");
    let told = |event: &Event| event.is("live") && event.generation() == 4;
    until("the fourth in the log", PATIENCE, || {
        let text = fs::read(&log).expect("it is there");
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines()
            .any(|line| told(&Event::read(line)))
            .then_some(())
    });
    load.stop_in_full();
    run.quit();
}

/// A unix socket for each generation needs a name, and there is no room for it.
#[test]
fn a_full_disk_under_the_sockets_is_said_and_the_old_one_serves() {
    let project = Project::new();
    let Some(disk) = Small::mount(project.beside("full"), "size=64k,nr_inodes=32") else {
        return;
    };
    let path = disk.0.join("app.sock");
    let ask = |path: &Path| http::ask(UnixStream::connect(path).expect("it is open"), "/");
    project.faulty("unix one");
    let run = project
        .run()
        .args(["--listen", &format!("unix:{}", path.display())]);
    let mut run = run.spawn();
    run.live();
    disk.fill(0);
    project.faulty("unix two");
    let failed = run.expect("failed");
    assert_eq!(
        (failed.text("reason"), failed.number("live")),
        ("start", 1),
        "{failed}"
    );
    let says = run
        .so_far()
        .iter()
        .any(|event| event.mentions("the disk is full"));
    assert!(says, "the reason is told");
    assert!(ask(&path).expect("it serves").ends_with("version one\n"));
    disk.make_room();
    project.faulty("unix three");
    run.live();
    assert!(ask(&path).expect("it serves").ends_with("version three\n"));
    run.quit();
    assert_eq!(fs::read_dir(&disk.0).expect("it is mounted").count(), 0);
}

/// hotrun needs more descriptors than is usual, and programs may not bear them.
#[test]
fn hotrun_raises_its_limit_of_open_files_and_nobody_elses() {
    let project = Project::new();
    let server = apps::std().server.display();
    let limit = "echo \"limit $(ulimit -Sn)\"";
    project.script(&format!("{limit}; exec '{server}' one"));
    let run = Run::through(&project, "ulimit -Sn 300; exec \"$0\" \"$@\"").listen();
    let build = ["--build", limit];
    let mut run = run.args(build).program(["sh", "start"]).spawn();
    run.live();
    run.printed(1, "limit 300");
    let built = run
        .so_far()
        .iter()
        .any(|event| event.mentions("limit 300") && !event.is("output"));
    assert!(built, "the build's");
    let limits = fs::read_to_string(format!("/proc/{}/limits", run.pid())).expect("it runs");
    let own = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let own = own.and_then(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok());
    assert!(own > Some(300), "{limits}");
    // To let the table grow later takes the time of a whole switch.
    let status = fs::read_to_string(format!("/proc/{}/status", run.pid())).expect("it runs");
    let room = status
        .lines()
        .find_map(|line| line.strip_prefix("FDSize:")?.trim().parse().ok());
    assert!(room >= own.map(|own| own.min(4096)), "{status}");
    run.quit();
}

/// All that waits goes by a clock that only goes forward, and files are compared by more than their times.
#[test]
fn a_clock_that_is_set_back_by_an_hour_changes_nothing() {
    apps::cargo_build(&apps::sources("clock"));
    let library = apps::target_dir().join("debug/libclock.so");
    let project = Project::new();
    let back = project.beside("back");
    project.server("one");
    let run = project
        .run()
        .listen()
        .env("LD_PRELOAD", library)
        .env("CLOCK_BACK", &back);
    let mut run = run.args(["--ready-timeout", "2s"]).spawn();
    let first = run.expect("live");
    let load = Asking::paced(run.address(), Duration::from_millis(5));
    fs::write(&back, "").expect("the folder is ours");
    save_an_hour_ago(&project, "two");
    let second = run.expect("live");
    assert!(
        second.text("time") < first.text("time"),
        "{second}: the clock was set back"
    );
    project.faulty("hang");
    assert_eq!(run.expect("failed").text("reason"), "ready_timeout");
    save_an_hour_ago(&project, "three");
    run.live();
    answers(run.address(), "three");
    load.stop_in_full();
    run.quit();
}

/// As a save looks whose clock was set back.
fn save_an_hour_ago(project: &Project, version: &str) {
    let new = project.beside("new");
    let server = apps::std().server.display();
    fs::write(&new, format!("exec '{server}' {version}\n")).expect("the folder is ours");
    let ago = SystemTime::now() - Duration::from_secs(3600);
    let file = File::options().write(true).open(&new).expect("it is there");
    file.set_modified(ago).expect("it is ours");
    fs::rename(new, project.work().join("start")).expect("the folder is ours");
}
