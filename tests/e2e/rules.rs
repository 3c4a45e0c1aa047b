//! Rules (`--on`): actions for changes to matching files.

use std::fs;
use std::time::Duration;

use crate::harness::{Project, Running, TIMEOUT, apps, until};

/// A server that responds with the contents of `config/app.toml`, which it reads when it starts and, with the argument
/// `HUP`, on `SIGHUP`. With `SLOW`, it takes five seconds to start, and responds with the first three bytes of
/// `data/weights`.
const SERVER: &str = "
import os, signal, socket, sys, threading
value = None
def read(*_):
    global value
    value = open('config/app.toml').read().strip()
def notify(text):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.sendto(text.encode(), os.environ['NOTIFY_SOCKET'].replace('@', '\\0', 1))
def hup(*_):
    notify('RELOADING=1')
    read()
    notify('READY=1')
read()
if 'SLOW' in sys.argv:
    import time
    data = open('data/weights', 'rb').read()
    value = data[:3].decode()
    time.sleep(5)
if 'HUP' in sys.argv:
    signal.signal(signal.SIGHUP, hup)
done = threading.Event()
def answer(c):
    with c:
        c.recv(4096)
        body = value.encode() + b'\\n'
        c.sendall(b'HTTP/1.1 200 OK\\r\\ncontent-length: %d\\r\\nconnection: close\\r\\n\\r\\n%s' % (len(body), body))
def serve(s):
    while True:
        c, _ = s.accept()
        threading.Thread(target=answer, args=(c,), daemon=True).start()
s = socket.socket(fileno=3)
s.setblocking(True)
threading.Thread(target=serve, args=(s,), daemon=True).start()
notify('READY=1')
signal.signal(signal.SIGTERM, lambda *_: done.set())
while not done.wait(0.05):
    pass
";

pub(crate) fn run_configured_server(project: &Project, handles: &str, rules: &[&str]) -> Running {
    fs::write(project.beside("server.py"), SERVER).expect("can write the file");
    fs::create_dir(project.work().join("config")).expect("can create the directory");
    project.save("config/app.toml", "one\n");
    let server = project.beside("server.py").display().to_string();
    let mut run = project.run().listen();
    for rule in rules {
        run = run.args(["--on", rule]);
    }
    run.program(["python3", &server, handles]).spawn()
}

#[track_caller]
pub(crate) fn wait_for_value(run: &Running, value: &str) {
    until(
        &format!("the server responds with `{value}`"),
        TIMEOUT,
        || (run.get("/") == format!("{value}\n")).then_some(()),
    );
}

#[test]
#[ignore = "needs python3"]
fn a_signal_makes_the_program_reload_its_configuration() {
    let project = Project::new();
    let mut run = run_configured_server(
        &project,
        "HUP",
        &["config/*.toml=signal:HUP", "*.md=ignore"],
    );
    run.live();
    wait_for_value(&run, "one");
    project.save("config/app.toml", "two\n");
    run.expect("reload_signal_sent");
    wait_for_value(&run, "two");
    project.save("notes.md", "ignored\n");
    run.wait_until_quiet(Duration::from_millis(300));
    run.assert_count("starting", 1);
    for word in [
        "is reloading its configuration",
        "reloaded its configuration in",
    ] {
        let shown = run.so_far().iter().any(|event| event.mentions(word));
        assert!(shown, "{word}");
    }
    run.quit();
}

#[test]
#[ignore = "needs python3"]
fn a_program_that_does_not_handle_the_reload_signal_is_restarted() {
    let project = Project::new();
    let mut run = run_configured_server(&project, "no", &["config/*.toml=signal:HUP"]);
    run.live();
    project.save("config/app.toml", "two\n");
    run.expect("reload_signal_unhandled");
    assert_eq!(run.live(), 2);
    wait_for_value(&run, "two");
    run.quit();
}

#[test]
fn neither_a_restart_rule_nor_a_run_rule_triggers_a_build() {
    let project = Project::new();
    project.save(".gitignore", ".env\nmade\n");
    project.save("source", "v1\n");
    let server = apps::std().server.display().to_string();
    let start = format!("exec '{server}' \"$(cat source)\"");
    let rules = [
        "*.css=run:cat style.css >> made; echo styled",
        "data/**=restart",
    ];
    let mut run = project.run().listen().args(["--build", "true"]);
    for rule in rules {
        run = run.args(["--on", rule]);
    }
    let mut run = run.program(["sh", "-c", &start]).spawn();
    run.live();
    project.save("style.css", "a\n");
    run.expect_that("the command's output", TIMEOUT, |event| {
        event.mentions("styled")
    });
    project.save(".env", "A=1\n");
    assert_eq!(run.live(), 2);
    fs::create_dir_all(project.work().join("data/deep")).expect("can create the directory");
    project.save("data/deep/table", "1\n");
    assert_eq!(run.live(), 3);
    run.assert_count("building", 1);
    project.save("source", "v2\n");
    assert_eq!(run.live(), 4);
    run.assert_count("building", 2);
    run.quit();
}

#[test]
fn simultaneous_changes_that_need_a_build_and_a_restart_lead_to_one_start() {
    let project = Project::new();
    project.save("source", "v1\n");
    let server = apps::std().server.display().to_string();
    let start = format!("exec '{server}' \"$(cat source)\"");
    let run = project.run().listen().args(["--build", "sleep 0.2"]);
    let run = run.args(["--debounce", "300ms", "--on", "*.toml=restart"]);
    let mut run = run.program(["sh", "-c", &start]).spawn();
    run.live();
    project.save("a.toml", "a\n");
    project.save("source", "v2\n");
    let changed = run.expect("changed").to_string();
    let at = |name| changed.find(name).expect("both files are reported");
    assert!(at("/source\"") < at("/a.toml\""), "{changed}");
    run.wait_for_version("v2");
    run.wait_until_quiet(Duration::from_millis(500));
    run.assert_count("starting", 2);
    run.quit();
}

#[test]
fn a_command_that_waits_for_the_terminal_is_reported_and_can_run_again() {
    let project = Project::new();
    project.server("v1");
    let (answer, made) = (project.beside("answer"), project.beside("made"));
    let command = format!(
        "test -e '{}' || kill -TTIN $$; cp style.css '{}'",
        answer.display(),
        made.display()
    );
    let rule = format!("*.css=run:{command}");
    let mut run = project.run().listen().args(["--on", &rule]).spawn();
    run.live();
    project.save("style.css", "a\n");
    run.expect_that("a warning about the command", TIMEOUT, |event| {
        event.mentions("is waiting for the terminal") && event.mentions("save the file again")
    });
    fs::write(answer, "").expect("can write the answer");
    project.save("style.css", "b\n");
    until("the command has run", TIMEOUT, || {
        fs::read_to_string(&made).ok().filter(|made| made == "b\n")
    });
    run.quit();
}

#[test]
fn hc08_a_self_triggered_command_is_reported_and_does_not_run_forever() {
    let project = Project::new();
    project.server("v1");
    let rule = "*.css=run:sleep 0.1; date +%s%N > made.css; sleep 0.1";
    let mut run = project.run().listen().args(["--on", rule]).spawn();
    run.live();
    project.save("style.css", "a\n");
    let named = run.expect_that("a warning about `made.css`", TIMEOUT, |event| {
        event.mentions("rewrites its own input")
    });
    assert!(named.mentions("made.css"), "{named}");
    let runs = |run: &mut Running| {
        let events = run.so_far().iter();
        events.filter(|event| event.mentions("running `")).count()
    };
    // On a busy machine, where the command writes its file at varying times, there may be more than three runs.
    let before = runs(&mut run);
    assert!(before >= 3, "only {before} runs before the warning");
    run.wait_until_quiet(Duration::from_millis(700));
    assert_eq!(
        runs(&mut run),
        before,
        "the command does not run after the warning"
    );
    // A user's save still triggers a run.
    project.save("style.css", "b\n");
    run.wait_until_quiet(Duration::from_millis(1500));
    assert_eq!(runs(&mut run), before + 1);
    run.assert_count("starting", 1);
    run.quit();

    let ignore = "made.css=ignore";
    assert!(
        named.text("hint").contains(&format!("`--on '{ignore}'`")),
        "{named}"
    );
    let run = project.run().listen().args(["--on", rule, "--on", ignore]);
    let mut run = run.spawn();
    run.live();
    project.save("style.css", "c\n");
    run.wait_until_quiet(Duration::from_millis(1500));
    assert_eq!(runs(&mut run), 1);
    run.quit();
}
