//! Three instances of each of a few servers, on the port that their documentation uses.

use std::collections::HashSet;
use std::fs;
use std::net::TcpStream;

use super::clients::StrictClient;
use super::program::Program;
use super::{SOME, STEADY, Size, is_problem};
use crate::harness::hey::{self, Load};
use crate::harness::{BUILD_TIMEOUT, Project, Run, Running, TIMEOUT, gunicorn, http, say, until};
use crate::instances::assert_even;

const INSTANCES: usize = 3;
/// How many connections are open at the same time.
const ROUND: usize = 600;

/// Waits until the instances are live, and returns their generations.
fn live(run: &mut Running, program: &Program) -> Vec<u64> {
    let next = |_| {
        let live = run.expect_that("an instance to go live", BUILD_TIMEOUT, |event| {
            event.is("live")
        });
        let id = live.generation();
        if let Some(workers) = program.gunicorn_workers() {
            gunicorn::wait_for_handlers(run.pid_of(id), workers);
        }
        id
    };
    (0..INSTANCES).map(next).collect()
}

/// The inodes of the sockets of a process tree.
fn sockets(pid: u64) -> HashSet<u64> {
    let read = |path: String| fs::read_to_string(path).unwrap_or_default();
    let mut all = HashSet::new();
    let mut pids = vec![pid];
    while let Some(pid) = pids.pop() {
        let children = read(format!("/proc/{pid}/task/{pid}/children"));
        pids.extend(
            children
                .split_whitespace()
                .filter_map(|pid| pid.parse::<u64>().ok()),
        );
        let entries = fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten();
        let targets = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let names = targets.map(|target| target.display().to_string());
        let inodes = names.filter_map(|name| {
            let inode = name.strip_prefix("socket:[")?.strip_suffix(']')?;
            inode.parse::<u64>().ok()
        });
        all.extend(inodes);
    }
    all
}

/// The sockets at this local port, from `/proc/net/tcp` (see `proc(5)`): their inodes, and how many connections each stands
/// for. A socket that listens (state 0A) stands for those in its queue, an established one (01) for one.
fn at(port: u16) -> Vec<(u64, u32)> {
    let suffix = format!(":{port:04X}");
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let read = |table| fs::read_to_string(table).unwrap_or_default();
    let row = |row: &str| {
        let fields: Vec<_> = row.split_whitespace().collect();
        let queue = fields.get(4)?.split(':').nth(1)?;
        let connections = match fields[3] {
            "01" => 1,
            "0A" => u32::from_str_radix(queue, 16).ok()?,
            _ => return None,
        };
        let inode = fields.get(9)?.parse().ok()?;
        fields[1].ends_with(&suffix).then_some((inode, connections))
    };
    let rows = tables.map(read);
    rows.iter()
        .flat_map(|table| table.lines().filter_map(row))
        .collect()
}

/// How many connections each instance has accepted or in its queue.
fn counts(pids: &[u64], port: u16) -> Vec<u32> {
    let rows = at(port);
    let count = |pid: &u64| {
        let own = sockets(*pid);
        let rows = rows.iter().filter(|(inode, _)| own.contains(inode));
        rows.map(|(_, connections)| connections).sum()
    };
    pids.iter().map(count).collect()
}

/// Opens 3000 connections, 600 at a time, and returns how many each instance gets.
fn spread(pids: &[u64], program: &Program) -> Vec<u32> {
    let port = program.address().port();
    let mut total = vec![0; pids.len()];
    for _ in 0..3000 / ROUND {
        let open = |_| TcpStream::connect(program.address()).expect("an instance listens");
        let connections: Vec<TcpStream> = (0..ROUND).map(open).collect();
        let counted = until("all connections are counted", TIMEOUT, || {
            let counted = counts(pids, port);
            let sum: u32 = counted.iter().sum();
            (sum as usize == ROUND).then_some(counted)
        });
        drop(connections);
        total
            .iter_mut()
            .zip(counted)
            .for_each(|(sum, count)| *sum += count);
        until("the instances have closed them", TIMEOUT, || {
            counts(pids, port)
                .iter()
                .all(|count| *count == 0)
                .then_some(())
        });
    }
    total
}

fn three(mut program: Program) {
    if !hey::installed_or_skip() || !program.can_run_or_skip() {
        return;
    }
    let (what, size) = (program.what(), Size::of(SOME));
    let project = Project::new();
    program.set_up(&project);
    let run = Run::new(&project).opens(program.address());
    let run = run.args(["--instances", "3", "--ready", "listen"]);
    let run = match program.extension() {
        Some(extension) => run.args(["--exts", extension]),
        None => run,
    };
    let mut run = program.environment(run, &project).spawn();
    let generations = live(&mut run, &program);
    let pids: Vec<u64> = generations.iter().map(|id| run.pid_of(*id)).collect();
    let counts = spread(&pids, &program);
    say(&format!("{what}: 3000 connections, spread {counts:?}"));
    assert_even(&counts);
    let load = Load::start(run.address(), STEADY, size.batch());
    let strict = StrictClient::start(run.address());
    let mut reloads = 0;
    while reloads < size.reloads || load.sent() < size.requests {
        let word = program.save(&project);
        let new = live(&mut run, &program);
        new.iter().for_each(|id| drop(run.wait_until_gone(id - 3)));
        reloads += 1;
        let response = http::get(program.address(), "/").expect("an instance responds");
        assert!(response.contains(&word), "{what}: an old version responded");
    }
    let figures = load.stop();
    let (answered, failures) = strict.stop();
    say(&format!(
        "{what}: {reloads} rolling reloads; {figures}; {answered} more responses checked completely, {} failed",
        failures.len()
    ));
    assert_eq!(
        figures.succeeded, figures.sent,
        "{what}: `hey` reports failed requests"
    );
    assert!(failures.is_empty(), "{what}: {failures:?}");
    let events = run.so_far().iter().filter(|event| is_problem(event));
    let problems: Vec<_> = events.map(ToString::to_string).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    run.quit();
}

#[test]
#[ignore = "takes minutes, needs hey and the runtimes of the servers"]
fn three_instances_of_each_server_get_equal_parts_and_lose_nothing_at_reloads() {
    three(Program::axum("axum_instances"));
    three(Program::node("node_instances"));
    three(Program::gunicorn("gunicorn_instances"));
    three(Program::go_static("go_instances"));
}
