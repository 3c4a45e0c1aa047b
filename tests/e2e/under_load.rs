//! Reloads under load from `hey`, an independent client. No request may fail.

mod rules;

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::harness::bare::Bare;
use crate::harness::hey::{self, Load, Pressure};
use crate::harness::slow::SlowClients;
use crate::harness::sockets::established_connections;
use crate::harness::{Project, Run, Running, TIMEOUT, apps, say, until};

const RELOADS: usize = 30;
const REQUESTS: usize = 150_000;
const HEAVY: Pressure = Pressure {
    clients: 50,
    rate: 80,
};
const LIGHT: Pressure = Pressure {
    clients: 25,
    rate: 40,
};

/// Keeps other tests from generating load while the guard is held, because that would disturb the measurements.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The requests sent during a test: fast ones from `hey`, and slow ones.
struct Traffic {
    load: Load,
    slow: SlowClients,
}

impl Traffic {
    fn start(to: SocketAddr, pressure: Pressure, batch: usize) -> Self {
        let slow = SlowClients::start(to, 10, Duration::from_secs(2));
        Self {
            load: Load::start(to, pressure, batch),
            slow,
        }
    }

    /// Stops the load, and checks that every request got a complete response.
    #[track_caller]
    fn stop(self, what: &str) {
        let figures = self.load.stop();
        let (answered, failures) = self.slow.stop();
        say(&format!("{what}: {figures}"));
        say(&format!(
            "{what}: {answered} requests that take 2 s got a complete response, {} failed",
            failures.len()
        ));
        assert_eq!(
            figures.succeeded, figures.sent,
            "{what}: `hey` reports failed requests"
        );
        assert!(failures.is_empty(), "{what}: {failures:?}");
        assert!(
            figures.sent > 0 && answered > 0,
            "{what}: `hey` sent no request, or no slow request got a response"
        );
    }
}

/// Reloads under load, checks that no request fails, and prints how long the switches took.
fn reload_under_load(mut run: Running, what: &str, mut save: impl FnMut(usize)) {
    run.live();
    let began = Instant::now();
    let traffic = Traffic::start(run.address(), HEAVY, REQUESTS / 15);
    let mut switches = Vec::new();
    while switches.len() < RELOADS || traffic.load.sent() < REQUESTS {
        save(switches.len() + 2);
        let live = run.expect("live");
        switches.push(live.took());
        // Let at most two generations drain at once, which leads to about one reload per second.
        if live.generation() > 2 {
            run.wait_until_gone(live.generation() - 2);
        }
    }
    traffic.stop(what);
    let took: Vec<_> = switches
        .iter()
        .map(|took| format!("{:.2}", took.as_secs_f64() * 1e3))
        .collect();
    say(&format!(
        "{what}: {} reloads in {:.0?}",
        switches.len(),
        began.elapsed()
    ));
    say(&format!(
        "{what}: from ready to live, in ms for each switch: {}",
        took.join(" ")
    ));
    run.assert_count("failed", 0);
    run.quit();
}

/// The number of back-to-back reloads: the environment variable `RELOADS`, or 100.
fn reloads() -> usize {
    let given = std::env::var("RELOADS").ok();
    given.map_or(100, |text| text.parse().expect("`RELOADS` is a number"))
}

/// Reloads again as soon as a generation is live, under a steady stream of new connections.
#[test]
#[ignore = "takes minutes, needs hey"]
fn reload_after_reload_loses_no_request_and_hotruns_memory_does_not_grow() {
    let _alone = alone();
    if !hey::installed_or_skip() {
        return;
    }
    let project = Project::new();
    project.server("v1");
    let mut run = project.run().listen().spawn();
    run.live();
    let load = Load::start(run.address(), LIGHT, 1_000);
    let mut switches = Vec::new();
    let mut memory = Vec::new();
    for n in 0..reloads() {
        project.server(&format!("v{}", n + 2));
        let live = run.expect("live");
        switches.push(live.took());
        // Let at most two generations drain at once.
        if live.generation() > 2 {
            run.wait_until_gone(live.generation() - 2);
        }
        memory.push(resident(run.pid()));
    }
    let figures = load.stop();
    switches.sort_unstable();
    let last = switches.len() - 1;
    let (median, late) = (switches[last / 2], switches[last * 99 / 100]);
    let (early, now) = (memory[last / 10], memory[last]);
    say(&format!("{} reloads in a row: {figures}", switches.len()));
    say(&format!(
        "{} reloads in a row: from ready to live: median {median:.1?}, p99 {late:.1?}; memory: {early} KiB after a tenth of the reloads, {now} KiB at the end",
        switches.len()
    ));
    assert_eq!(
        figures.succeeded, figures.sent,
        "`hey` reports failed requests"
    );
    assert!(
        now * 100 <= early * 110,
        "memory usage has grown: {memory:?}"
    );
    run.assert_count("failed", 0);
    run.quit();
}

/// A process's resident memory in KiB.
fn resident(pid: nix::unistd::Pid) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("hotrun is running");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let size = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    size.expect("`VmRSS` is a size in KiB")
}

/// A control: a server without hotrun under the same load. A failure here is not caused by hotrun.
#[test]
#[ignore = "takes minutes, needs hey"]
fn control_no_request_fails_without_hotrun() {
    let _alone = alone();
    if !hey::installed_or_skip() {
        return;
    }
    let server = Bare::start(&apps::axum().v1);
    let traffic = Traffic::start(server.address(), HEAVY, 10_000);
    traffic.stop("control, no hotrun, no reload");
}

/// A control for the clients: they must detect the requests that a plain restart loses.
#[test]
#[ignore = "takes minutes, needs hey"]
fn control_a_plain_restart_loses_requests() {
    let _alone = alone();
    if !hey::installed_or_skip() {
        return;
    }
    let mut server = Bare::start(&apps::std().server);
    let address = server.address();
    let traffic = Traffic::start(address, HEAVY, 10_000);
    // A single restart may take place between two requests of `hey`.
    for _ in 0..5 {
        until("some requests are in flight", TIMEOUT, || {
            (established_connections(address) > 10).then_some(())
        });
        drop(server);
        server = Bare::start_on(&apps::std().server, address);
    }
    let figures = traffic.load.stop();
    let (_, failures) = traffic.slow.stop();
    say(&format!(
        "control, a plain restart: {figures}; {} slow requests failed",
        failures.len()
    ));
    assert!(
        figures.succeeded < figures.sent,
        "`hey` reports lost requests"
    );
    assert!(
        !failures.is_empty(),
        "the slow clients report lost requests"
    );
}

#[test]
#[ignore = "takes minutes, needs hey"]
fn thirty_reloads_of_the_axum_example_lose_no_request() {
    let _alone = alone();
    if !hey::installed_or_skip() {
        return;
    }
    let project = Project::new();
    let pair = apps::axum();
    project.swap(&pair.v1);
    let run = Run::new(&project).listen().program(["./server"]).spawn();
    reload_under_load(run, "axum", |n| {
        project.swap(if n % 2 == 0 { &pair.v2 } else { &pair.v1 });
    });
}

#[test]
#[ignore = "takes minutes, needs hey"]
fn thirty_reloads_of_a_std_server_lose_no_request() {
    let _alone = alone();
    if !hey::installed_or_skip() {
        return;
    }
    let project = Project::new();
    project.server("v1");
    let run = project.run().listen().spawn();
    reload_under_load(run, "std", |n| project.server(&format!("v{n}")));
}

/// Makes a bad save under load. The reload must fail for this reason while the old generation stays live, and the next
/// good version must go live.
fn fails_under_load(what: &str, options: &[&str], reason: &str, bad: impl FnOnce(&Project)) {
    let _alone = alone();
    if !hey::installed_or_skip() {
        return;
    }
    let project = Project::new();
    project.server("good");
    project.save("build", "exit 0");
    let run = project
        .run()
        .listen()
        .args(["--build", "sh build"])
        .args(options);
    let mut run = run.spawn();
    run.live();
    let traffic = Traffic::start(run.address(), LIGHT, 2_000);
    bad(&project);
    let failed = run.expect("failed");
    assert_eq!(
        (failed.text("reason"), failed.number("live")),
        (reason, 1),
        "{failed}"
    );
    assert_eq!(
        run.get("/"),
        "generation 1 version good\n",
        "the old generation stays live"
    );
    project.server("better");
    project.save("build", "exit 0 # fixed");
    run.live();
    assert!(run.get("/").ends_with("version better\n"));
    traffic.stop(what);
    run.quit();
}

#[test]
#[ignore = "takes minutes, needs hey"]
fn hc13_a_broken_build_loses_no_request_under_load() {
    fails_under_load("broken build", &[], "build", |project| {
        project.save("build", "echo 'error: broken build' >&2; exit 1");
    });
}

#[test]
#[ignore = "takes minutes, needs hey"]
fn hc14_a_panic_before_the_program_is_ready_loses_no_request_under_load() {
    fails_under_load("panic before ready", &[], "exited_early", |project| {
        project.faulty("panic");
    });
}

#[test]
#[ignore = "takes minutes, needs hey"]
fn hc14_a_ready_timeout_loses_no_request_under_load() {
    let options = ["--ready-timeout", "2s"];
    fails_under_load("readiness timeout", &options, "ready_timeout", |project| {
        project.faulty("hang");
    });
}
