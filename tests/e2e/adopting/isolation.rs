//! Programs that run as another user or in another network namespace.

use std::process::Command;

use super::{App, PYTHON, installed_or_skip, wait_until_serving};
use crate::harness::request_loop::RequestLoop;
use crate::harness::{Event, Run, TIMEOUT, http, skip, until};

/// Returns whether the tests run as root; if not, reports the test as skipped.
fn root_or_skip() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        skip("needs root");
    }
    root
}

/// A server that drops its privileges after it has bound its port.
const DROPS: &str = "
s = open_socket()
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
print('user', os.getuid(), flush=True)
serve(s)
";

#[test]
#[ignore = "needs python3"]
fn a_program_that_drops_its_privileges_after_bind_can_be_reloaded() {
    if !installed_or_skip(PYTHON) || !root_or_skip() {
        return;
    }
    let app = App::python(DROPS);
    let mut run = app.run().spawn();
    wait_until_serving(&mut run);
    let asking = RequestLoop::start(app.address());
    for generation in 2..=5 {
        app.save(&format!("{DROPS}# {generation}"));
        assert_eq!(run.live(), generation);
        run.wait_for_line(generation, "user 65534");
        assert_eq!(run.get("/"), format!("generation {generation}"));
        asking.more(20);
        run.wait_until_gone(generation - 1);
    }
    asking.assert_none_lost();
    run.quit();
}

/// A server that listens on the same port in two network namespaces.
const TWO_NETWORKS: &str = "
if len(sys.argv) > 1:
    s = open_socket('0.0.0.0')
    print('elsewhere', flush=True)
    serve(s, 'elsewhere')
os.spawnlp(os.P_NOWAIT, 'unshare', 'unshare', '-n', sys.executable, 'app.py', 'elsewhere')
serve(open_socket())
";

#[test]
#[ignore = "needs python3"]
fn a_listener_in_another_network_namespace_is_not_adopted() {
    if !installed_or_skip(PYTHON) || !installed_or_skip("unshare") || !root_or_skip() {
        return;
    }
    let can = Command::new("unshare").args(["-n", "true"]).status();
    if !can.is_ok_and(|status| status.success()) {
        return skip("network namespaces cannot be created here");
    }
    let app = App::python(TWO_NETWORKS);
    let mut run = app.run().spawn();
    wait_until_serving(&mut run);
    run.wait_for_line(1, "elsewhere");
    let asking = RequestLoop::start(app.address());
    for generation in 2..=4 {
        app.save(&format!("{TWO_NETWORKS}# {generation}"));
        assert_eq!(run.live(), generation);
        run.wait_for_line(generation, "elsewhere");
        assert_eq!(run.get("/"), format!("generation {generation}"));
        asking.more(20);
    }
    asking.assert_none_lost();
    let listening = run.so_far().iter().filter(|event| event.is("listening"));
    let addresses: Vec<_> = listening
        .map(|event| event.text("address").to_owned())
        .collect();
    assert_eq!(addresses, [app.address().to_string()]);
    run.quit();
}

/// A server that may not be inspected without `CAP_SYS_PTRACE`, even by its own user. It uses the inherited socket, if
/// there is one.
const NOT_DUMPABLE: &str = "
import ctypes
PR_SET_DUMPABLE = 4
ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0)
serve(socket.socket(fileno=3) if 'LISTEN_FDS' in os.environ else open_socket())
";

#[test]
#[ignore = "needs python3"]
fn a_program_that_is_not_dumpable_is_reported_and_listen_helps() {
    if !installed_or_skip(PYTHON) || !installed_or_skip("setpriv") || !root_or_skip() {
        return;
    }
    let app = App::python(NOT_DUMPABLE);
    let warned = |event: &Event| event.mentions("does not let hotrun inspect the program");
    let mut run = app
        .complete(without_ptrace(&app), [PYTHON, "app.py"])
        .spawn();
    let report = run.wait_for_event("the reason why nothing is adopted", warned);
    let hint = report.text("hint");
    assert!(
        hint.contains("not dumpable") && hint.contains("`--listen`"),
        "{hint}"
    );
    wait_until_serving(&mut run);
    run.quit();

    let run = app.complete(without_ptrace(&app), [PYTHON, "app.py"]);
    let mut run = run.listen_on(&app.address().to_string()).spawn();
    assert_eq!(run.live(), 1);
    let asking = RequestLoop::start(app.address());
    app.save(&format!("{NOT_DUMPABLE}# 2"));
    assert_eq!(run.live(), 2);
    asking.more(20);
    asking.assert_none_lost();
    assert_eq!(run.get("/"), "generation 2");
    assert!(!run.so_far().iter().any(warned));
    run.quit();
}

/// Runs hotrun without the capability to inspect every process.
fn without_ptrace(app: &App) -> Run {
    let line = "exec setpriv --bounding-set -sys_ptrace --inh-caps -sys_ptrace \"$0\" \"$@\"";
    Run::through(&app.project, line)
}

/// A server that becomes another user before it opens its socket, so hotrun may inspect it only with `CAP_SYS_PTRACE`.
const ANOTHER_USER: &str = "
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
serve(open_socket())
";

#[test]
#[ignore = "needs python3"]
fn a_program_that_hotrun_may_not_inspect_is_reported_once_and_the_suggested_capability_helps() {
    if !installed_or_skip(PYTHON) || !installed_or_skip("setpriv") || !root_or_skip() {
        return;
    }
    let app = App::python(ANOTHER_USER);
    let mut run = app
        .complete(without_ptrace(&app), [PYTHON, "app.py"])
        .spawn();
    let warned = |event: &Event| event.mentions("does not let hotrun inspect the program");
    let report = run.wait_for_event("the reason why nothing is adopted", warned);
    assert!(report.text("hint").contains("CAP_SYS_PTRACE"), "{report}");
    wait_until_serving(&mut run);
    app.save(&format!("{ANOTHER_USER}# 2"));
    assert_eq!(run.live(), 2);
    until("generation 2 responds", TIMEOUT, || {
        http::get(run.address(), "/").ok()
    });
    assert_eq!(run.so_far().iter().filter(|event| warned(event)).count(), 1);
    run.quit();

    let mut run = app.run().spawn();
    wait_until_serving(&mut run);
    let asking = RequestLoop::start(app.address());
    app.save(&format!("{ANOTHER_USER}# 3"));
    assert_eq!(run.live(), 2);
    asking.more(20);
    asking.assert_none_lost();
    assert!(!run.so_far().iter().any(warned));
    run.quit();
}
