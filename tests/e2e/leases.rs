//! A service that hooks register in etcd, with a lease that a hook renews.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::adopting::{App, installed_or_skip};
use crate::etcd::{self, Etcd};
use crate::harness::{PYTHON, Project, Running, TIMEOUT, until};

/// The leases' time to live. etcd notices within another second that one has expired.
const TTL: Duration = Duration::from_secs(3);
const NOTICE: Duration = Duration::from_secs(1);

const REGISTER: &str = "live=lease=$(etcdctl lease grant 3 | cut -d' ' -f2)
    etcdctl put --lease=$lease /services/$HOTRUN_GENERATION $HOTRUN_ADDRESS >&2
    echo $lease >\"$LEASES$HOTRUN_GENERATION\"";
/// The first run comes together with the `live` hook.
const RENEW: &str = "every:500ms=if lease=$(cat \"$LEASES$HOTRUN_GENERATION\" 2>/dev/null); then
    etcdctl lease keep-alive --once $lease >&2; fi";
/// If the stop signal did not wait for this hook, the program would find itself in the registry.
const DEREGISTER: &str = "drain=sleep 0.5; etcdctl del /services/$HOTRUN_GENERATION >&2";

/// A server that writes down what the registry says about it when it gets the stop signal.
const SERVER: &str = "import subprocess
def stop(*_):
    key = f'/services/{generation}'
    found = subprocess.run(['etcdctl', 'get', '--print-value-only', key], capture_output=True)
    name = f'{os.environ[\"LEASES\"]}{generation}-at-stop'
    open(name, 'wb').write(found.stdout + found.stderr)
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
serve(open_socket())";

fn start(app: &App, etcd: &Etcd) -> Running {
    let hooks = [REGISTER, RENEW, DEREGISTER];
    let run = app.run().args(["--ready", "listen"]);
    let run = run.args(["--rollback-within", "0s"]);
    let run = run.args(hooks.into_iter().flat_map(|hook| ["--hook", hook]));
    let run = run.env("ETCDCTL_API", "3");
    let run = run.env("ETCDCTL_ENDPOINTS", etcd::url(etcd.port));
    let mut run = run.env("LEASES", app.project.beside("lease-")).spawn();
    run.live();
    run
}

/// The addresses by which the registry names this generation.
fn registered(etcd: &Etcd, generation: u64) -> String {
    let key = format!("/services/{generation}");
    let found = etcd.ctl_output(&["get", "--print-value-only", &key]);
    found.trim().to_owned()
}

#[track_caller]
fn wait_until_registered(etcd: &Etcd, app: &App, generation: u64) {
    let address = app.address().to_string();
    until("the generation is registered", TIMEOUT, || {
        (registered(etcd, generation) == address).then_some(())
    });
}

/// Waits until the registry has forgotten this generation. Returns how long that took.
#[track_caller]
fn forgotten(etcd: &Etcd, generation: u64) -> Duration {
    let began = Instant::now();
    until("the registry has forgotten the generation", TIMEOUT, || {
        registered(etcd, generation).is_empty().then_some(())
    });
    began.elapsed()
}

#[track_caller]
fn assert_not_registered_at_its_stop(project: &Project, generation: u64) {
    let found = fs::read_to_string(project.beside(&format!("lease-{generation}-at-stop")));
    assert_eq!(found.expect("the program got the stop signal"), "");
}

#[test]
#[ignore = "needs etcd and python3"]
fn a_registry_names_only_generations_that_have_not_been_asked_to_stop() {
    if !etcd::installed_or_skip() || !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(SERVER);
    let etcd = Etcd::start(&app.project);
    let mut run = start(&app, &etcd);
    for generation in 1..3 {
        wait_until_registered(&etcd, &app, generation);
        app.save(&format!("{SERVER} # {generation}"));
        assert_eq!(run.live(), generation + 1);
        let gone = run.wait_until_gone(generation);
        assert_eq!(gone.text("outcome"), "drained", "{gone}");
        assert_not_registered_at_its_stop(&app.project, generation);
    }
    wait_until_registered(&etcd, &app, 3);
    // The hook renews the lease.
    let began = Instant::now();
    while began.elapsed() < TTL + NOTICE * 2 {
        sleep(NOTICE / 4);
        assert_ne!(registered(&etcd, 3), "", "after {:?}", began.elapsed());
    }
    run.quit();
    assert_not_registered_at_its_stop(&app.project, 3);
    assert_eq!(registered(&etcd, 3), "");
}

#[test]
#[ignore = "needs etcd and python3"]
fn a_registry_forgets_a_killed_program_and_a_killed_hotrun_within_the_time_to_live() {
    if !etcd::installed_or_skip() || !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(SERVER);
    let etcd = Etcd::start(&app.project);
    let mut run = start(&app, &etcd);
    wait_until_registered(&etcd, &app, 1);
    // No hook removes its key.
    let program = i32::try_from(run.pid_of(1)).expect("a pid fits into an i32");
    kill(Pid::from_raw(program), Signal::SIGKILL).expect("the program runs");
    let took = forgotten(&etcd, 1);
    assert!(took < TTL + NOTICE, "after {took:?}");
    app.save(&format!("{SERVER} # 2"));
    assert_eq!(run.live(), 2);
    wait_until_registered(&etcd, &app, 2);
    run.kill_and_check();
    let took = forgotten(&etcd, 2);
    assert!(took < TTL + NOTICE, "after {took:?}");
}
