//! `--keep`: after the switch, the old generation stays as it is for a while.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::adopting::{App, installed_or_skip};
use crate::harness::request_loop::RequestLoop;
use crate::harness::{PYTHON, TIMEOUT, http, say, succeeds, until};
use crate::soak::{LOG, Terminal};

/// A server that takes two seconds and 256 MB to load, and appends the generation and the path of each request to a
/// file. Its warm-up fails if it is `cold`.
const MODEL: &str = "cold = False
log = open(os.environ['LOG'], 'a', buffering=1)
model = os.urandom(1 << 20) * 256
time.sleep(2)
def text(path):
    log.write(f'{generation} {path}\\n')
    if cold and path == '/warm':
        raise SystemExit
    return f'generation {generation}'
serve(open_socket(backlog=128), text)";

/// Requests on new connections, one after the other, each with the times before it and after its response.
struct Recorder {
    stop: Arc<AtomicBool>,
    client: JoinHandle<Vec<(Instant, Instant, String)>>,
}

impl Recorder {
    fn start(to: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let client = thread::spawn(move || {
            let mut all = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                let answer = http::get(to, "/").expect("no request is lost");
                all.push((began, Instant::now(), answer));
            }
            all
        });
        Self { stop, client }
    }

    /// How long after `since` the first response of this generation arrived. Checks that no later request got a response
    /// from another one.
    #[track_caller]
    fn switched_after(self, since: Instant, generation: u64) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        let all = self.client.join().expect("no request is lost");
        let wanted = format!("generation {generation}");
        let late = all.iter().filter(|(began, ..)| *began >= since);
        let mut first = None;
        for (began, ended, answer) in late {
            if *answer == wanted {
                first.get_or_insert(*ended);
            }
            let fine = first.is_none_or(|first| *began < first || *answer == wanted);
            assert!(fine, "{answer} after {wanted}");
        }
        first.expect("the generation responds") - since
    }
}

#[track_caller]
fn wait_for(address: SocketAddr, generation: u64) {
    let wanted = format!("generation {generation}");
    until(&format!("{wanted} responds"), TIMEOUT, || {
        (http::get(address, "/").ok()? == wanted).then_some(())
    });
}

/// The times of these events in hotrun's log.
fn logged(app: &App, event: &str) -> Vec<Duration> {
    let log = fs::read_to_string(app.project.beside(LOG)).unwrap_or_default();
    let lines = log.lines().filter(|line| line.contains(event));
    let time = |line: &str| humantime_like(line.split(' ').next()?);
    lines.filter_map(time).collect()
}

/// Reads a duration as `Debug` writes it, such as `1.5s`.
fn humantime_like(text: &str) -> Option<Duration> {
    let number = text.trim_end_matches(|letter: char| letter.is_alphabetic());
    let scale = match &text[number.len()..] {
        "s" => 1.0,
        "ms" => 1e-3,
        _ => return None,
    };
    Some(Duration::from_secs_f64(number.parse::<f64>().ok()? * scale))
}

/// Three times: a new version is live, `u` goes back. Each switch back is measured in hotrun's log, from the request to
/// its completion, and by a client, from the key to the first response.
#[test]
#[ignore = "needs python3"]
fn undo_switches_back_to_a_model_in_milliseconds_under_load() {
    if !installed_or_skip(PYTHON) || !succeeds("script", &["--version"]) {
        return;
    }
    let app = App::python(MODEL);
    let options = format!(
        "--keep 60s --ready listen --warm-up http:/warm -E PORT={} -E LOG='{}' -- {PYTHON} app.py",
        app.address().port(),
        app.project.beside("requests").display()
    );
    // See `Running::start`.
    thread::sleep(Duration::from_millis(20));
    let mut terminal = Terminal::start(&app.project, &options);
    until("generation 1 is live", TIMEOUT, || {
        (logged(&app, " switched 1 -> ").len() == 1).then_some(())
    });
    let load = RequestLoop::start(app.address());
    let mut seen = Vec::new();
    for generation in 2..5 {
        app.save(&format!("{MODEL} # {generation}"));
        wait_for(app.address(), generation);
        let recorder = Recorder::start(app.address());
        load.more(50);
        let pressed = Instant::now();
        terminal.press("u");
        load.more(50);
        seen.push(recorder.switched_after(pressed, 1));
        terminal.wait_until_idle(1);
    }
    let requested = logged(&app, " requested undo -> ");
    let switched = logged(&app, " switched 1 -> ").split_off(1);
    assert_eq!((requested.len(), switched.len()), (3, 3));
    let took = switched.iter().zip(&requested);
    let took: Vec<_> = took
        .map(|(end, begin)| end.saturating_sub(*begin))
        .collect();
    say(&format!(
        "undo to a kept model of 256 MB: switched in {took:?} of hotrun's time; from the key to a client's response {seen:?}"
    ));
    assert!(
        took.iter().min() < Some(&Duration::from_millis(5)),
        "{took:?}"
    );
    // Keeping ends with the key, too.
    app.save(&format!("{MODEL} # 5"));
    wait_for(app.address(), 5);
    terminal.press("k");
    terminal.wait_until_idle(1);
    load.assert_none_lost();
    terminal.quit();
}

#[test]
#[ignore = "needs python3"]
fn a_crash_switches_back_to_a_kept_model_at_once() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(MODEL);
    let requests = app.project.beside("requests");
    let run = app.run().env("LOG", &requests);
    let run = run.args(["--keep", "60s", "--rollback-within", "100ms"]);
    let mut run = run
        .args(["--ready", "listen", "--warm-up", "http:/warm"])
        .spawn();
    run.live();
    let load = RequestLoop::start(app.address());
    app.save(&format!("{MODEL} # two"));
    assert_eq!(run.live(), 2);
    assert_eq!(run.expect("kept").generation(), 1);
    // A version whose warm-up fails gets no other request, and changes nothing.
    app.save(&MODEL.replace("cold = False", "cold = True"));
    let failed = run.expect("failed");
    assert_eq!((failed.generation(), failed.text("reason")), (3, "warm_up"));
    run.wait_until_gone(3);
    load.more(50);
    let pid = i32::try_from(run.pid_of(2)).expect("a pid fits into an i32");
    let killed = Instant::now();
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("the program is running");
    let restored = run.expect("restored");
    assert_eq!(
        (restored.generation(), restored.text("cause")),
        (1, "crash")
    );
    say(&format!(
        "crash with a kept model of 256 MB: live again after {:?}",
        restored.at - killed
    ));
    load.more(50);
    // At most those of the two clients that the crash interrupted.
    load.assert_lost_at_most(2);
    assert_eq!(run.get("/"), "generation 1");
    let text = fs::read_to_string(requests).expect("the program has written");
    let mut of_third = text.lines().filter(|line| line.starts_with("3 "));
    assert!(of_third.all(|line| line == "3 /warm"), "{text}");
    run.assert_count("starting", 3);
    run.quit();
}

#[test]
#[ignore = "needs python3"]
fn a_kept_generation_drains_when_its_time_is_over() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let text = "serve(open_socket())";
    let app = App::python(text);
    let run = app.run().args(["--ready", "listen", "--keep", "1500ms"]);
    let mut run = run.spawn();
    run.live();
    let load = RequestLoop::start(app.address());
    app.save(&format!("{text} # two"));
    assert_eq!(run.live(), 2);
    let kept = run.expect("kept");
    assert_eq!(kept.generation(), 1);
    assert!(kept.mentions("1500"), "{kept}");
    run.assert_count("draining", 0);
    let draining = run.expect("draining");
    let passed = draining.at - kept.at;
    assert!(passed > Duration::from_millis(1400), "{passed:?}");
    assert_eq!(run.wait_until_gone(1).text("outcome"), "drained");
    load.assert_none_lost();
    run.quit();
}

/// Nobody misses it.
#[test]
#[ignore = "needs python3"]
fn a_kept_generation_that_is_killed_is_reported_and_leaves_the_live_one_alone() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let text = "serve(open_socket())";
    let app = App::python(text);
    let run = app.run().args(["--ready", "listen", "--keep", "60s"]);
    let mut run = run.spawn();
    run.live();
    let load = RequestLoop::start(app.address());
    app.save(&format!("{text} # two"));
    assert_eq!(run.live(), 2);
    run.expect("kept");
    // It finishes the requests that it has.
    load.more(50);
    let pid = i32::try_from(run.pid_of(1)).expect("a pid fits into an i32");
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("the program is running");
    let ended = run.expect("kept_ended");
    assert_eq!((ended.generation(), ended.number("signal")), (1, 9));
    run.wait_until_gone(1);
    load.more(50);
    load.assert_none_lost();
    run.assert_count("failed", 0);
    run.quit();
}

/// hotrun takes so little memory to be available that every program needs more.
#[test]
#[ignore = "needs python3"]
fn a_kept_generation_makes_room_before_the_next_start_if_memory_is_short() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let text = "serve(open_socket())";
    let app = App::python(text);
    let run = app.run().args(["--ready", "listen", "--keep", "60s"]);
    let mut run = run.env("HOTRUN_TEST_MEMORY_AVAILABLE", "4096").spawn();
    run.live();
    let load = RequestLoop::start(app.address());
    app.save(&format!("{text} # two"));
    assert_eq!(run.live(), 2);
    assert_eq!(run.expect("kept").generation(), 1);
    app.save(&format!("{text} # three"));
    let room = run.expect("makes_room");
    assert_eq!(
        (room.generation(), room.number("available_bytes")),
        (1, 4096)
    );
    assert!(room.number("needed_bytes") > 1 << 20, "{room}");
    assert_eq!(run.expect("gone").generation(), 1);
    assert_eq!(run.expect("starting").generation(), 3);
    assert_eq!(run.live(), 3);
    assert_eq!(run.expect("kept").generation(), 2);
    load.assert_none_lost();
    let warnings = run.so_far().iter();
    let warnings = warnings.filter(|event| event.text("hint").contains("`--stop-first`"));
    let warnings: Vec<_> = warnings.map(|event| event.text("text")).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("gen 2 may need "), "{warnings:?}");
    run.quit();
}

/// There is enough memory for this program, so that its start is checked and nothing is said. The log says how long the
/// checks took: those before a start with a kept generation, and those beside a start.
#[test]
#[ignore = "needs python3"]
fn memory_is_checked_in_less_than_the_time_of_a_start() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let text = "serve(open_socket())";
    let app = App::python(text);
    let log = app.project.beside(LOG);
    let run = app.run().args(["--ready", "listen", "--keep", "60s"]);
    let mut run = run.arg("--log").arg(&log).spawn();
    run.live();
    for generation in 2..6 {
        app.save(&format!("{text} # {generation}"));
        assert_eq!(run.live(), generation);
    }
    run.assert_count("makes_room", 0);
    assert!(!run.so_far().iter().any(|event| event.mentions("may need")));
    run.quit();
    let begun = logged(&app, " -> measure-memory");
    let ended = logged(&app, " memory-measured ");
    let delays: Vec<_> = ended
        .iter()
        .zip(&begun)
        .map(|(end, begin)| *end - *begin)
        .collect();
    say(&format!(
        "memory checks: starts with a kept generation waited {delays:?}"
    ));
    assert_eq!(delays.len(), 3);
    assert!(
        delays.iter().min() < Some(&Duration::from_secs(1)),
        "{delays:?}"
    );
}
