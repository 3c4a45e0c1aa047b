//! A full disk, a limit on open files, and a clock that is set back.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::harness::request_loop::RequestLoop;
use crate::harness::sockets::free_address;
use crate::harness::{Event, Project, Run, TIMEOUT, apps, http, say, until};

/// A small file system, mounted for the test.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts a tmpfs with these options. Returns `None` without the privilege to mount.
    fn mount(at: PathBuf, options: &str) -> Option<Self> {
        fs::create_dir(&at).expect("can create the directory");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&at);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        if !mounted {
            say("not tested: mounting a small disk needs privileges");
        }
        mounted.then_some(Self(at))
    }

    /// Writes files until there is no room for another file of `least` bytes.
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
        panic!("the disk cannot be filled");
    }

    /// Removes the files that [`Self::fill`] has written.
    fn make_room(&self) {
        for entry in fs::read_dir(&self.0)
            .expect("can read the directory")
            .flatten()
        {
            if entry.file_name().to_string_lossy().starts_with("fill-") {
                fs::remove_file(entry.path()).expect("can remove the file");
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// hotrun's output is written to a disk that is full for a while.
#[test]
fn a_log_on_a_full_disk_does_not_disturb_reloads_and_later_output_is_written() {
    let project = Project::new();
    let Some(disk) = SmallDisk::mount(project.beside("full"), "size=256k") else {
        return;
    };
    let address = free_address();
    project.server("one");
    let run = Run::through(&project, "exec \"$0\" \"$@\" >../full/log 2>&1").opens(address);
    let run = run
        .args(["--listen", &address.to_string()])
        .program(["sh", "start"]);
    let mut run = run.spawn();
    run.wait_for_version("one");
    let load = RequestLoop::paced(address, Duration::from_millis(5));
    disk.fill(1);
    for version in ["two", "three"] {
        project.server(version);
        run.wait_for_version(version);
    }
    disk.make_room();
    project.server("four");
    run.wait_for_version("four");
    let log = disk.0.join("log");
    let is_live = |event: &Event| event.is("live") && event.generation() == 4;
    until("generation 4 is in the log", TIMEOUT, || {
        let text = fs::read(&log).expect("can read the log");
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines()
            .any(|line| is_live(&Event::read(line)))
            .then_some(())
    });
    load.assert_none_lost();
    run.quit();
}

/// Each generation's unix socket needs a directory entry, but the disk has no room for one.
#[test]
fn a_full_disk_for_the_unix_sockets_is_reported_and_the_old_generation_stays_live() {
    let project = Project::new();
    let Some(disk) = SmallDisk::mount(project.beside("full"), "size=64k,nr_inodes=32") else {
        return;
    };
    let path = disk.0.join("app.sock");
    let ask = |path: &Path| http::ask(UnixStream::connect(path).expect("can connect"), "/");
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
    assert!(says, "the full disk is reported");
    assert!(
        ask(&path)
            .expect("a complete response")
            .ends_with("version one\n")
    );
    disk.make_room();
    project.faulty("unix three");
    run.live();
    assert!(
        ask(&path)
            .expect("a complete response")
            .ends_with("version three\n")
    );
    run.quit();
    assert_eq!(
        fs::read_dir(&disk.0)
            .expect("can read the directory")
            .count(),
        0
    );
}

/// hotrun needs many descriptors, but a program may misbehave with a high limit.
#[test]
fn hotrun_raises_only_its_own_limit_on_open_files() {
    let project = Project::new();
    let server = apps::std().server.display();
    let limit = "echo \"limit $(ulimit -Sn)\"";
    project.script(&format!("{limit}; exec '{server}' one"));
    let run = Run::through(&project, "ulimit -Sn 300; exec \"$0\" \"$@\"").listen();
    let build = ["--build", limit];
    let mut run = run.args(build).program(["sh", "start"]).spawn();
    run.live();
    run.wait_for_line(1, "limit 300");
    let built = run
        .so_far()
        .iter()
        .any(|event| event.mentions("limit 300") && !event.is("output"));
    assert!(built, "the build has the original limit");
    let limits =
        fs::read_to_string(format!("/proc/{}/limits", run.pid())).expect("can read the limits");
    let own = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let own = own.and_then(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok());
    assert!(own > Some(300), "{limits}");
    // hotrun's descriptor table has already grown, because growing it during a switch would delay the switch.
    let status =
        fs::read_to_string(format!("/proc/{}/status", run.pid())).expect("can read the status");
    let room = status
        .lines()
        .find_map(|line| line.strip_prefix("FDSize:")?.trim().parse().ok());
    assert!(room >= own.map(|own| own.min(4096)), "{status}");
    run.quit();
}

/// Timers use the monotonic clock, and files are compared by more than their modification times.
#[test]
fn setting_the_clock_back_by_an_hour_does_not_affect_reloads() {
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
    let load = RequestLoop::paced(run.address(), Duration::from_millis(5));
    fs::write(&back, "").expect("can write the file");
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
    run.wait_for_version("three");
    load.assert_none_lost();
    run.quit();
}

/// Saves a version with the modification time that a clock set back by an hour would give it.
fn save_an_hour_ago(project: &Project, version: &str) {
    let new = project.beside("new");
    let server = apps::std().server.display();
    fs::write(&new, format!("exec '{server}' {version}\n")).expect("can write the file");
    let ago = SystemTime::now() - Duration::from_secs(3600);
    let file = File::options()
        .write(true)
        .open(&new)
        .expect("can open the file");
    file.set_modified(ago)
        .expect("can set the modification time");
    fs::rename(new, project.work().join("start")).expect("can rename the file");
}
