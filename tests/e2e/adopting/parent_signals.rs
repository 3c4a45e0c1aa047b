//! Programs that ask their parent to exit, as some libraries do to restart a program (such as endless and grace for
//! Go).

use nix::sys::signal::Signal;

use super::{App, PYTHON, installed_or_skip, wait_until_serving};
use crate::harness::{Project, TIMEOUT, http, until};

/// A server that, on a request for `/up`, sends signals to hotrun, which is its guardian's parent.
const REBEL: &str = "
def act(path):
    if path == '/up':
        stat = open(f'/proc/{os.getppid()}/stat').read()
        hotrun = int(stat.rsplit(')', 1)[1].split()[1])
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT): os.kill(hotrun, number)
    return f'generation {generation}'
serve(open_socket(), act)
";

#[test]
#[ignore = "needs python3"]
fn signals_from_the_program_do_not_stop_hotrun_and_are_reported_once() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(REBEL);
    let mut run = app.run().spawn();
    wait_until_serving(&mut run);
    assert_eq!(run.get("/up"), "generation 1");
    let report = run.expect_that("a report of the ignored signal", TIMEOUT, |event| {
        event.text("text").starts_with("ignored a SIG")
    });
    let text = report.text("text");
    assert!(
        text.contains("`python3") && text.contains("pid "),
        "{report}"
    );
    assert!(report.text("hint").contains("Ctrl-C"), "{report}");
    assert_eq!(run.get("/up"), "generation 1");
    // After another reload, all signals have arrived. hotrun has neither exited nor reloaded because of them.
    app.save(&format!("{REBEL}\n# again"));
    assert_eq!(run.live(), 2);
    let ignored = |event: &&crate::harness::Event| event.mentions("ignored a SIG");
    assert_eq!(run.so_far().iter().filter(ignored).count(), 1);
    run.assert_count("quitting", 0);
    run.quit();
}

/// A server that starts a successor on `SIGHUP` and passes its socket on. Each process asks its parent to exit: the
/// first one asks its guardian, and the successor asks the first one.
const SUCCESSOR: &str = "
import subprocess
inherited = os.environ.get('INHERITED')
s = socket.socket(fileno=int(inherited)) if inherited else open_socket()
def restart(*_):
    os.set_inheritable(s.fileno(), True)
    subprocess.Popen([sys.executable, 'app.py'], env=dict(os.environ, INHERITED=str(s.fileno())), close_fds=False)
signal.signal(signal.SIGHUP, restart)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
os.kill(os.getppid(), signal.SIGTERM)
serve(s, f'generation {generation} pid {os.getpid()}')
";

#[test]
#[ignore = "needs python3"]
fn a_program_that_restarts_itself_stays_the_same_generation() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(SUCCESSOR);
    let mut run = app.run().spawn();
    wait_until_serving(&mut run);
    let first = run.pid_of(1);
    assert_eq!(run.get("/"), format!("generation 1 pid {first}"));
    let program = nix::unistd::Pid::from_raw(i32::try_from(first).expect("a pid fits into an i32"));
    nix::sys::signal::kill(program, Signal::SIGHUP).expect("can signal the program");
    let second = until("only the successor is left", TIMEOUT, || {
        // A request may fail here, because the first process drops its connections when it exits.
        let answer = http::get(app.address(), "/").ok()?;
        let gone = nix::sys::signal::kill(program, None).is_err();
        (gone && !answer.ends_with(&format!("pid {first}"))).then_some(answer)
    });
    assert!(second.starts_with("generation 1 "), "{second}");
    app.save(&format!("{SUCCESSOR}\n# again"));
    assert_eq!(run.live(), 2);
    assert_eq!(run.wait_until_gone(1).text("outcome"), "drained");
    assert!(run.get("/").starts_with("generation 2 "));
    run.assert_count("failed", 0);
    run.quit();
}

/// A child that the shell started before it became hotrun belongs to no generation.
#[test]
fn a_signal_from_a_process_outside_the_generations_stops_hotrun() {
    let project = Project::new();
    project.server("one");
    let go = project.beside("go");
    let line = format!(
        "(until [ -e '{}' ]; do sleep 0.02; done; kill -TERM $$; sleep 0.5) & exec \"$0\" \"$@\"",
        go.display()
    );
    let run = crate::harness::Run::through(&project, &line);
    let mut run = run.listen().program(["sh", "start"]).spawn();
    run.live();
    std::fs::write(go, "").expect("can create `go`");
    assert_eq!(run.wait_for_exit().code(), Some(143));
    run.assert_nothing_left();
}
