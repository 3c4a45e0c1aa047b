//! Programs that bind a unix socket themselves, and remove its path when they end.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::{App, PYTHON, installed_or_skip, wait_until_serving};
use crate::harness::{TIMEOUT, until};

/// Listens on a port and on a unix socket. On the signal, removes the path at once and ends half a second later.
const REMOVES_PATH: &str = "
s = open_socket()
if os.path.exists('../own.sock'): os.unlink('../own.sock')
u = socket.socket(socket.AF_UNIX)
u.bind('../own.sock')
if os.path.exists('broken'): sys.exit(3)
u.listen()
def end(*_):
    os.unlink('../own.sock')
    time.sleep(.5)
    os._exit(0)
signal.signal(signal.SIGTERM, end)
serve_all(s, u)
";

/// Also listens on a unix socket, in generations 1 and 2. Its path is so long that no longer name fits next to it.
const LONG_PATH: &str = "
path = (os.environ['OUT'] + '/' + ('d' * 99 + '/') * 41)[:4090].rstrip('/')
os.makedirs(path, exist_ok=True)
os.chdir(path)
u = socket.socket(socket.AF_UNIX)
if generation < 3:
    if os.path.exists('s'): os.unlink('s')
    u.bind('s')
    u.listen()
serve(open_socket())
";

#[test]
#[ignore = "needs python3"]
fn a_unix_socket_that_a_reload_makes_unreachable_is_reported_once() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(LONG_PATH);
    let mut run = app.run().spawn();
    wait_until_serving(&mut run);
    for generation in 2..=4 {
        app.save(&format!("{LONG_PATH}# {generation}"));
        assert_eq!(run.live(), generation);
        run.wait_until_gone(generation - 1);
        if generation == 3 {
            run.expect_that("a message about the path", TIMEOUT, |event| {
                event.mentions("has not opened")
            });
        }
    }
    for (says, hint) in [
        ("hotrun cannot link its file", "with `--listen unix:/"),
        (
            "gen 3 has not opened the unix socket `/",
            "connections to it fail",
        ),
    ] {
        let said: Vec<_> = run
            .so_far()
            .iter()
            .filter(|event| event.mentions(says))
            .collect();
        assert_eq!(said.len(), 1, "{says}: {said:?}");
        assert!(said[0].text("hint").starts_with(hint), "{}", said[0]);
    }
    run.quit();
}

/// Returns the response of the program to which the path leads.
fn ask(path: &Path) -> Option<String> {
    let mut stream = UnixStream::connect(path).ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    Some(response)
}

#[test]
#[ignore = "needs python3"]
fn the_path_of_a_programs_own_unix_socket_leads_to_the_live_generation() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(REMOVES_PATH);
    let mut run = app.run().args(["--ignore", "broken"]).spawn();
    wait_until_serving(&mut run);
    let path = app.project.beside("own.sock");
    let leads_to = |generation: u64| {
        until("the path leads to the live generation", TIMEOUT, || {
            ask(&path)?
                .ends_with(&format!("generation {generation}"))
                .then_some(())
        });
    };
    leads_to(1);
    for generation in 2..4 {
        app.save(&format!("{REMOVES_PATH}# {generation}"));
        assert_eq!(run.live(), generation);
        run.wait_until_gone(generation - 1);
        leads_to(generation);
    }
    // Generation 4 binds the path, and ends before it is ready.
    app.project.save("broken", "");
    app.save(&format!("{REMOVES_PATH}# 4"));
    run.expect("failed");
    leads_to(3);
    run.quit();
    let names = std::fs::read_dir(path.parent().expect("the path has a parent"));
    let names = names.expect("can list the directory").flatten();
    let left = names.filter(|name| name.file_name().to_string_lossy().contains("."));
    assert_eq!(
        left.map(|name| name.path()).collect::<Vec<_>>(),
        [] as [std::path::PathBuf; 0]
    );
}
