//! What adoption costs the program: nothing once it listens, and little while it begins to.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::harness::{BUILD_PATIENCE, Project, Run, Running, apps, http, kept, say, skip, until};

/// Pairs that are measured at least, and at most. In between it ends when the interval is narrow: how many there are
/// depends on how much the machine does besides, and never on what comes out, or it would end on a lucky one. Each
/// measures for a second: what else the machine does changes slower than that, and is in both halves of a pair.
const PAIRS: usize = 20;
const AT_MOST: usize = 45;
const NARROW: f64 = 0.01;

/// The first example of axum's documentation, built as for production, on the port that `PORT` says.
fn server() -> PathBuf {
    let dir = kept().join("bench-axum");
    for file in ["Cargo.toml", "Cargo.lock", "src/main.rs"] {
        let text = std::fs::read_to_string(apps::sources("hello-axum").join(file));
        let text = text.expect("the app has these files");
        let text = text.replace("\"hello-axum\"", "\"bench-axum\"").replace(
            "\"0.0.0.0:3000\"",
            "(\"127.0.0.1\", std::env::var(\"PORT\").unwrap().parse::<u16>().unwrap())",
        );
        let end = if file == "Cargo.toml" {
            "\n[workspace]\n"
        } else {
            ""
        };
        apps::write_if_other(&dir.join(file), &(text + end));
    }
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--quiet", "--release"])
        .current_dir(&dir);
    let built = cargo.env("CARGO_TARGET_DIR", apps::target_dir()).status();
    assert!(built.expect("cargo can be started").success());
    apps::target_dir().join("release/bench-axum")
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a port");
    listener.local_addr().expect("it is bound")
}

/// The same program twice, at the same time: bare, and under hotrun. The one that is not asked does nothing.
struct Pair {
    bare: Child,
    bare_at: SocketAddr,
    hotrun: Running,
    program: u32,
    _project: Project,
}

/// What a client says of a load.
struct Load {
    requests: f64,
    per_second: f64,
}

struct Measured {
    /// Requests a second.
    rate: f64,
    /// What the server computed for each request, in nanoseconds.
    cost: f64,
}

fn measured(pid: u32, at: SocketAddr, load: impl Fn(SocketAddr) -> Load) -> Measured {
    let before = computed(pid);
    let load = load(at);
    Measured {
        rate: load.per_second,
        cost: (computed(pid) - before) / load.requests,
    }
}

/// For how many nanoseconds the threads of a process have run (`Documentation/scheduler/sched-stats.rst`).
fn computed(pid: u32) -> f64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let ran = threads.map(|thread| {
        let path = thread.expect("it can be listed").path().join("schedstat");
        let text = std::fs::read_to_string(path).expect("a server's threads stay");
        let first = text
            .split(' ')
            .next()
            .and_then(|number| number.parse::<f64>().ok());
        first.unwrap_or_else(|| panic!("{text}"))
    });
    ran.sum()
}

impl Pair {
    fn start(server: &Path) -> Self {
        let (bare_at, at, project) = (free(), free(), Project::new());
        let port = |address: SocketAddr| address.port().to_string();
        // In this session, as the program under hotrun is without a terminal: Linux shares the processors out by
        // session first (`sched(7)`, "The autogroup feature").
        let bare = Command::new(server)
            .env("PORT", port(bare_at))
            .stdin(Stdio::null())
            .spawn();
        let run = Run::new(&project).opens(at).env("PORT", port(at));
        let mut hotrun = run.program([server]).spawn();
        let generation = hotrun.live();
        let program = hotrun.pid_of(generation);
        for address in [bare_at, at] {
            until("it answers", BUILD_PATIENCE, || {
                http::get(address, "/").ok()
            });
        }
        Self {
            bare: bare.expect("the server can be started"),
            bare_at,
            hotrun,
            program: u32::try_from(program).expect("it is a pid"),
            _project: project,
        }
    }

    /// What a request costs under hotrun as a share of what it costs bare, pair by pair, each of the two first as often
    /// as the other.
    fn shares(&self, load: impl Fn(SocketAddr) -> Load) -> (Shares, Shares) {
        let bare = || measured(self.bare.id(), self.bare_at, &load);
        let under = || measured(self.program, self.hotrun.address(), &load);
        let (mut rates, mut costs) = (Shares::default(), Shares::default());
        bare();
        under();
        while rates.0.len() < PAIRS || (rates.is_wide() && rates.0.len() < AT_MOST) {
            let (bare, under) = if rates.0.len().is_multiple_of(2) {
                let bare = bare();
                (bare, under())
            } else {
                let under = under();
                (bare(), under)
            };
            rates.0.push(under.rate / bare.rate);
            costs.0.push(under.cost / bare.cost);
        }
        (rates, costs)
    }

    fn end(mut self) {
        self.bare.kill().expect("it is ours");
        self.bare.wait().expect("it is ours");
        self.hotrun.quit();
    }
}

#[derive(Default)]
struct Shares(Vec<f64>);

impl Shares {
    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    fn median(&self) -> f64 {
        self.sorted()[self.0.len() / 2]
    }

    /// Where the true median is with 95 %, whatever the shares are spread like (the sign test): so many from either end.
    fn interval(&self) -> (f64, f64) {
        let (sorted, count) = (self.sorted(), self.0.len() as f64);
        let cut = (count / 2.0 - 0.98 * count.sqrt()).floor().max(0.0) as usize;
        (sorted[cut], sorted[sorted.len() - 1 - cut])
    }

    fn is_wide(&self) -> bool {
        let (least, most) = self.interval();
        most - least > 2.0 * NARROW
    }

    fn told(&self) -> String {
        let (least, most) = self.interval();
        format!("{:.3} (95 %: {least:.3} to {most:.3})", self.median())
    }
}

/// Says what came of it. Fails only where the measure is sure: the machine may do other things.
fn judge(what: &str, (rates, costs): &(Shares, Shares), aim: f64) {
    let verdict = match (rates.is_wide(), rates.median() >= aim) {
        (_, true) => "reached",
        (true, false) => "the machine is too busy to tell",
        (false, false) => "missed",
    };
    say(&format!(
        "throughput under hotrun, of bare, {what}: {}, the median of {} pairs, the aim is at least {aim}: {verdict}; what the \
         server computes for a request: {}",
        rates.told(),
        rates.0.len(),
        costs.told()
    ));
    assert!(rates.interval().1 >= aim, "{what}: surely below {aim}");
    assert!(
        costs.interval().0 <= 1.0 / aim,
        "{what}: a request surely costs more than 1/{aim}"
    );
}

/// What `wrk` and `hey` both say.
fn load(program: &str, arguments: &[&str], to: SocketAddr) -> Load {
    let output = Command::new(program)
        .args(arguments)
        .arg(format!("http://{to}/"))
        .output()
        .expect("it is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    let after = |label: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| {
            line.trim()
                .strip_prefix(label)?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
    };
    let before = |label: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| line.split_once(label)?.0.trim().parse().ok())
    };
    let requests: Option<f64> = before(" requests in").or_else(|| after("[200]"));
    let (Some(requests), Some(per_second)) = (requests, after("Requests/sec:")) else {
        panic!("{program}: {text}");
    };
    Load {
        requests,
        per_second,
    }
}

fn installed(program: &str) -> bool {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    let found = quiet.status().is_ok();
    if !found {
        skip(&format!("`{program}` is not installed"));
    }
    found
}

#[test]
fn throughput_of_an_adopted_program() {
    if !installed("wrk") || !installed("hey") {
        return;
    }
    let pair = Pair::start(&server());
    let wrk = pair.shares(|to| load("wrk", &["-t1", "-c16", "-d1s"], to));
    let hey = ["-disable-keepalive", "-z", "1s", "-c", "16"];
    let hey = pair.shares(|to| load("hey", &hey, to));
    pair.end();
    judge("`wrk`, keep-alive", &wrk, 0.99);
    judge("`hey`, a new connection for each request", &hey, 0.98);
}

/// Binds and listens on many ports, and tells how many microseconds each took: the median and what 99 of 100 did not
/// exceed. Beside each call, `ask`: how long an answer takes that another process gives at once, for which this machine
/// switches from one to the other and back as often.
const OPENS: &str = "
import os, socket, sys, time
port = int(os.environ['PORT'])
def timed(call):
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1e6
here, there = socket.socketpair()
if os.fork() == 0:
    here.close()
    while there.recv(1): there.send(b'.')
    os._exit(0)
there.close()
def ask():
    here.send(b'.')
    here.recv(1)
kept, binds, listens, asks = [], [], [], []
while len(kept) < 200:
    s = socket.socket()
    port = port + 1 if port < 60000 else 10000
    asks.append(timed(ask))
    try: took = timed(lambda: s.bind(('127.0.0.1', port)))
    except OSError: continue
    binds.append(took)
    asks.append(timed(ask))
    listens.append(timed(lambda: s.listen(100)))
    kept.append(s)
for name, all in ('ask', asks), ('bind', binds), ('listen', listens):
    all.sort()
    print(name, round(all[len(all) // 2]), round(all[len(all) * 99 // 100]), flush=True)
time.sleep(1000)
";

#[test]
fn bind_and_listen_of_an_adopted_program() {
    let python = "/usr/bin/python3";
    if !installed(python) {
        return;
    }
    let project = Project::new();
    project.save("app.py", OPENS);
    let run = Run::new(&project).env("PORT", free().port().to_string());
    let mut run = run.program([python, "app.py"]).spawn();
    for call in ["ask", "bind", "listen"] {
        let told = run.expect_that(call, BUILD_PATIENCE, |event| {
            event.is("output") && event.text("text").starts_with(call)
        });
        let numbers = told.text("text").split(' ').skip(1);
        let numbers: Vec<u32> = numbers.filter_map(|number| number.parse().ok()).collect();
        let [median, most] = numbers[..] else {
            panic!("{told}");
        };
        let what = match call {
            "ask" => "an answer by another process, without hotrun".to_owned(),
            _ => format!("a `{call}` under hotrun (the aim: under 300 µs)"),
        };
        say(&format!(
            "{what}: median {median} µs, 99 of 100 within {most} µs"
        ));
        assert!(call == "ask" || median < 300, "{call}: {median} µs");
    }
    run.quit();
}
