//! Programs that connect to their own address while they start, some of them before they listen there.

use super::{App, PYTHON, installed_or_skip, wait_until_serving};
use crate::harness::request_loop::RequestLoop;

/// Saves the program several times under load. After each save, the new generation must answer, and none of the requests
/// may fail.
fn assert_reloads_under_load(text: &str, options: &[&str]) {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(text);
    let mut run = app.run().args(options).spawn();
    wait_until_serving(&mut run);
    let asking = RequestLoop::start(app.address());
    for generation in 2..=6 {
        app.save(&format!("{text}# {generation}"));
        assert_eq!(run.live(), generation);
        asking.more(20);
        assert_eq!(run.get("/"), format!("generation {generation}"));
        run.wait_until_gone(generation - 1);
    }
    asking.assert_none_lost();
    run.assert_count("failed", 0);
    run.quit();
}

/// Exits if something accepts connections on its port.
const EXITS: &str = "
if socket.socket().connect_ex(('localhost', port)) == 0:
    sys.exit('the port is in use')
serve(open_socket('0.0.0.0'))
";

#[test]
#[ignore = "needs python3"]
fn a_program_that_first_connects_to_its_port_finds_it_free_while_another_generation_is_live() {
    assert_reloads_under_load(EXITS, &[]);
}

#[test]
#[ignore = "needs python3"]
fn a_program_that_first_connects_to_its_port_finds_it_free_while_hotrun_holds_the_port() {
    assert_reloads_under_load(EXITS, &["--stop-first"]);
}

/// Tries the next port as long as something accepts connections on the current one.
const MOVES: &str = "
s = socket.socket(socket.AF_INET6)
s.settimeout(5)
while s.connect_ex(('::ffff:127.0.0.1', port)) == 0:
    s, port = socket.socket(socket.AF_INET6), port + 1
serve(open_socket(port=port))
";

#[test]
#[ignore = "needs python3"]
fn a_program_that_connects_to_find_a_free_port_keeps_its_port() {
    assert_reloads_under_load(MOVES, &[]);
}

/// Opens a port of its own and connects to it, as debuggers do, and then starts the program that opens the main port.
const DEBUGGER: &str = "
import subprocess
if 'CHILD' not in os.environ:
    debugger = open_socket(port=port + 1)
    threading.Thread(target=serve, args=(debugger, f'debugger {generation}'), daemon=True).start()
    with socket.create_connection(('127.0.0.1', port + 1)) as c:
        c.sendall(b'GET / HTTP/1.1')
        said = b''.join(iter(lambda: c.recv(100), b'')).decode()
    if not said.endswith(f'debugger {generation}'):
        sys.exit('my own request was answered by ' + repr(said))
    sys.exit(subprocess.call([sys.executable] + sys.argv, env={**os.environ, 'CHILD': '1'}))
time.sleep(.5)
serve(open_socket())
";

#[test]
#[ignore = "needs python3"]
fn a_debugger_goes_live_when_the_program_behind_it_listens() {
    assert_reloads_under_load(DEBUGGER, &[]);
}

/// Sends requests to itself from a child process, before any client's request can arrive.
const WARMS_UP: &str = "
import subprocess
ASK = '''import sys, urllib.request
print(urllib.request.urlopen('http://127.0.0.1:' + sys.argv[1]).read().decode())'''
s = open_socket()
threading.Thread(target=serve, args=(s,), daemon=True).start()
for _ in range(3):
    said = subprocess.run([sys.executable, '-c', ASK, str(port)], capture_output=True, text=True).stdout.strip()
    if said != f'generation {generation}':
        sys.exit('my own request was answered by ' + repr(said))
print('warm', flush=True)
threading.Event().wait()
";

#[test]
#[ignore = "needs python3"]
fn a_starting_programs_requests_to_itself_reach_it() {
    assert_reloads_under_load(WARMS_UP, &["--ready=log:warm"]);
}

/// Exits if the system's list of sockets contains a listener on its port. hotrun cannot hide the listener from this
/// check.
const LOOKS: &str = "
if any(f':{port:04X} 00000000:0000 0A' in line for line in open('/proc/net/tcp')):
    sys.exit(f'port {port} is already in use')
serve(open_socket())
";

#[test]
#[ignore = "needs python3"]
fn adopt_never_is_suggested_for_a_program_that_finds_its_port_in_use_and_helps() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(LOOKS);
    let save = |generation| app.save(&format!("{LOOKS}# {generation}"));
    for options in [&[][..], &["--stop-first"]] {
        let mut run = app.run().args(options).spawn();
        wait_until_serving(&mut run);
        for generation in 2..=3 {
            save(generation);
            assert_eq!(run.expect("failed").generation(), generation);
            run.wait_until_gone(generation);
        }
        let hints = run.so_far().iter();
        let hints = hints.filter(|event| event.mentions("--adopt never"));
        assert_eq!(hints.count(), 1, "{options:?}");
        run.quit();
    }
    let mut run = app.run().args(["--adopt", "never"]).spawn();
    wait_until_serving(&mut run);
    for generation in 2..=3 {
        save(generation);
        assert_eq!(run.live(), generation);
    }
    run.quit();
}
