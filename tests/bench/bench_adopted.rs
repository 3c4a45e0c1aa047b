//! What adoption costs the program: nothing once it listens, and little while it begins to.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::harness::{BUILD_PATIENCE, Project, Run, Running, apps, http, kept, say, skip, until};

/// Pairs that are measured at least, and at most. In between it ends when the interval is narrow: how many there are
/// depends on how much the machine does besides, and never on what comes out, or it would end on a lucky one.
const PAIRS: usize = 15;
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
    _project: Project,
}

impl Pair {
    fn start(server: &Path) -> Self {
        let (bare_at, at, project) = (free(), free(), Project::new());
        let port = |address: SocketAddr| address.port().to_string();
        let bare = Command::new(server)
            .env("PORT", port(bare_at))
            .stdin(Stdio::null())
            .spawn();
        let run = Run::new(&project).opens(at).env("PORT", port(at));
        let mut hotrun = run.program([server]).spawn();
        hotrun.live();
        for address in [bare_at, at] {
            until("it answers", BUILD_PATIENCE, || {
                http::get(address, "/").ok()
            });
        }
        Self {
            bare: bare.expect("the server can be started"),
            bare_at,
            hotrun,
            _project: project,
        }
    }

    /// Requests a second under hotrun as a share of those bare, pair by pair, each of the two first as often as the
    /// other: the median of the shares.
    fn share(&self, rate: impl Fn(SocketAddr) -> f64) -> Shares {
        let mut shares = Shares(Vec::new());
        rate(self.bare_at);
        rate(self.hotrun.address());
        while shares.0.len() < PAIRS || (shares.is_wide() && shares.0.len() < AT_MOST) {
            let (bare, hotrun) = if shares.0.len().is_multiple_of(2) {
                let bare = rate(self.bare_at);
                (bare, rate(self.hotrun.address()))
            } else {
                let hotrun = rate(self.hotrun.address());
                (rate(self.bare_at), hotrun)
            };
            shares.0.push(hotrun / bare);
        }
        shares
    }

    fn end(mut self) {
        self.bare.kill().expect("it is ours");
        self.bare.wait().expect("it is ours");
        self.hotrun.quit();
    }
}

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

    fn report(&self, what: &str, aim: f64) {
        let (least, most) = self.interval();
        let verdict = match (self.is_wide(), self.median() >= aim) {
            (true, _) => "the machine is too busy to tell",
            (false, true) => "reached",
            (false, false) => "missed",
        };
        say(&format!(
            "throughput under hotrun, of bare, {what}: {:.3}, the median of {} pairs (95 %: {least:.3} to {most:.3}; the \
             aim: at least {aim}: {verdict})",
            self.median(),
            self.0.len()
        ));
    }
}

/// What `wrk` and `hey` both say.
fn requests_a_second(program: &str, arguments: &[&str], to: SocketAddr) -> f64 {
    let output = Command::new(program)
        .args(arguments)
        .arg(format!("http://{to}/"))
        .output()
        .expect("it is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let rate = lines.find_map(|line| {
        line.trim()
            .strip_prefix("Requests/sec:")?
            .trim()
            .parse()
            .ok()
    });
    rate.unwrap_or_else(|| panic!("{program}: {text}"))
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
    let wrk = pair.share(|to| requests_a_second("wrk", &["-t1", "-c16", "-d2s"], to));
    wrk.report("`wrk`, keep-alive", 0.99);
    let hey = ["-disable-keepalive", "-z", "2s", "-c", "16"];
    let hey = pair.share(|to| requests_a_second("hey", &hey, to));
    hey.report("`hey`, a new connection for each request", 0.98);
    pair.end();
    assert!(wrk.median() >= 0.99 && hey.median() >= 0.98);
}

/// Binds and listens on many ports, and tells how many microseconds each took: the median and what 99 of 100 did not
/// exceed.
const OPENS: &str = "
import os, socket, sys, time
port = int(os.environ['PORT'])
def timed(call):
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1e6
kept, binds, listens = [], [], []
while len(kept) < 200:
    s = socket.socket()
    port = port + 1 if port < 60000 else 10000
    try: took = timed(lambda: s.bind(('127.0.0.1', port)))
    except OSError: continue
    binds.append(took)
    listens.append(timed(lambda: s.listen(100)))
    kept.append(s)
for name, all in ('bind', binds), ('listen', listens):
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
    for call in ["bind", "listen"] {
        let told = run.expect_that(call, BUILD_PATIENCE, |event| {
            event.is("output") && event.text("text").starts_with(call)
        });
        let numbers = told.text("text").split(' ').skip(1);
        let numbers: Vec<u32> = numbers.filter_map(|number| number.parse().ok()).collect();
        let [median, most] = numbers[..] else {
            panic!("{told}");
        };
        say(&format!(
            "a `{call}` under hotrun: median {median} µs, 99 of 100 within {most} µs (the aim: under 300 µs)"
        ));
        assert!(median < 300, "{call}: {median} µs");
    }
    run.quit();
}
