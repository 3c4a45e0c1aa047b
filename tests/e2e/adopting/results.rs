//! A program gets the same results from `bind` and `listen` as without hotrun.

use std::fmt::Write;

use super::{App, PYTHON, installed_or_skip};
use crate::harness::{TIMEOUT, http, say, skip, until};

/// Runs the program without hotrun, as the first generation, and as the second one while the first is live. It must
/// print the same output each time, ending with `done`. Returns the number of lines.
fn assert_same_results_as_without_hotrun(body: &str) -> usize {
    let app = App::python(body);
    let bare = app.output_without_hotrun();
    app.save(&format!("{body}\nserve(open_socket(port=port + 2))"));
    let mut run = app.run().arg("--ready-timeout=120s").spawn();
    for generation in 1..=2 {
        run.wait_for_line(generation, "done");
        assert_eq!(run.live(), generation);
        let mut printed = String::new();
        for event in run.so_far() {
            if event.is("output") && event.generation() == generation {
                writeln!(printed, "{}", event.text("text")).expect("can write to a string");
            }
        }
        let other = bare
            .lines()
            .zip(printed.lines())
            .find(|(bare, printed)| bare != printed);
        assert_eq!(
            other, None,
            "generation {generation}: first difference (without hotrun, with hotrun)"
        );
        assert_eq!(bare.lines().count(), printed.lines().count());
        app.save(&format!(
            "{body}\nserve(open_socket(port=port + 2))\n# again"
        ));
    }
    run.quit();
    bare.lines().count()
}

/// Binds pairs of sockets with various addresses and options to one port, in different orders, and prints the results.
const PAIRS: &str = "
A4, A6 = socket.AF_INET, socket.AF_INET6
places = [(A4, '127.0.0.1', 0), (A4, '0.0.0.0', 0), (A4, '127.0.0.2', 0), (A6, '::', 0), (A6, '::', 1),
          (A6, '::1', 0), (A6, '::1', 1), (A6, '::ffff:127.0.0.1', 0), (A6, '::ffff:0.0.0.0', 0)]
kinds = [(p, a, r, l) for p in places for a in (0, 1) for r in (0, 1) for l in (0, 1)]
def make(kind, sort):
    (family, host, only), address, reuse_port, listens = kind
    s = socket.socket(family, sort)
    if family == A6: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, address)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, reuse_port)
    return s
def step(s, kind, what):
    try:
        if what == 'bind': s.bind((kind[0][1], port))
        elif kind[3]: s.listen(5)
        return 0
    except OSError as e: return e.errno
def pair(a, b, order, sort):
    x, y = make(a, sort), make(b, sort)
    all = {'a': (x, a, 'bind'), 'b': (y, b, 'bind'), 'A': (x, a, 'listen'), 'B': (y, b, 'listen')}
    print(sort.name, order, a, b, [step(*all[c]) for c in order])
    x.close(); y.close()
n = 0
for a in kinds:
    for b in kinds:
        n += 1
        if n % 17: continue
        for order in ('abAB', 'aAbB'): pair(a, b, order, socket.SOCK_STREAM)
single = [k for k in kinds if k[1:] == (0, 0, 0)]
for a in single:
    for b in single: pair(a, b, 'ab', socket.SOCK_DGRAM)
print('done', flush=True)
";

#[test]
#[ignore = "needs python3"]
fn two_sockets_of_one_program_conflict_in_the_same_cases_as_without_hotrun() {
    if installed_or_skip(PYTHON) {
        let pairs = assert_same_results_as_without_hotrun(PAIRS);
        say(&format!(
            "{pairs} pairs of sockets on one port: the same results without hotrun and in both generations"
        ));
    }
}

/// Calls `bind` and `listen` with invalid arguments.
const INVALID_CALLS: &str = "
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def bind(fd, address, length):
    if isinstance(address, int): address = ctypes.c_void_p(address)
    result = libc.bind(fd, address, ctypes.c_uint(length & 0xffffffff))
    print('bind', length, result, result and ctypes.get_errno())
def listen(fd, backlog):
    result = libc.listen(fd, ctypes.c_uint(backlog & 0xffffffff))
    print('listen', backlog, result, result and ctypes.get_errno())
v4 = socket.AF_INET.to_bytes(2, sys.byteorder) + port.to_bytes(2, 'big') + bytes([127, 0, 0, 1]) + bytes(120)
v6 = socket.AF_INET6.to_bytes(2, sys.byteorder) + port.to_bytes(2, 'big') + bytes(4) + bytes(15) + b'\\1' + bytes(104)
for family, good in ((socket.AF_INET, v4), (socket.AF_INET6, v6)):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        for length in [*range(0, 40), 127, 128, 129, 4096, 0x7fffffff, -1]:
            with socket.socket(family, kind) as s: bind(s.fileno(), good, length)
        for address in (0, 1, -1, 0xffff800000000000):
            with socket.socket(family, kind) as s: bind(s.fileno(), address, 16)
        for other in (v4, v6):
            with socket.socket(family, kind) as s: bind(s.fileno(), other, 28)
        with socket.socket(family, kind) as s:
            bind(s.fileno(), good, 28); bind(s.fileno(), good, 28)
            for backlog in (0, -1, 0x7fffffff): listen(s.fileno(), backlog)
        with socket.socket(family, kind) as s: listen(s.fileno(), 5)
for fd in (-1, 0, 77): bind(fd, v4, 16); listen(fd, 5)
pipe, _ = os.pipe()
bind(pipe, v4, 16); listen(pipe, 5)
with socket.socket(socket.AF_INET) as s: bind(s.fileno(), v4[:4] + bytes([203, 0, 113, 7]) + v4[8:], 16)
with socket.socket(socket.AF_UNIX) as s: bind(s.fileno(), socket.AF_UNIX.to_bytes(2, sys.byteorder) + bytes(1) + str(os.getpid()).encode(), 12)
with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as s: bind(s.fileno(), socket.AF_NETLINK.to_bytes(2, sys.byteorder) + bytes(10), 12)
print('done', flush=True)
";

#[test]
#[ignore = "needs python3"]
fn calls_with_invalid_arguments_return_the_kernels_errors() {
    if installed_or_skip(PYTHON) {
        assert_same_results_as_without_hotrun(INVALID_CALLS);
    }
}

/// Drops root's privileges, tries to bind privileged ports, and tries again with all privileges in a user namespace of
/// its own. The program must not gain hotrun's privileges.
const PRIVILEGED: &str = "
if os.getuid() == 0: os.setuid(65534)
def attempt():
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        for low in (80, 1):
            try:
                socket.socket(socket.AF_INET, kind).bind(('127.0.0.1', low))
                print('bound')
            except OSError as e: print(e.errno)
attempt()
import ctypes
print('namespace', ctypes.CDLL(None).unshare(0x10000000))
attempt()
print('done', flush=True)
";

#[test]
#[ignore = "needs python3"]
fn an_unprivileged_program_cannot_bind_a_privileged_port() {
    if installed_or_skip(PYTHON) {
        assert_same_results_as_without_hotrun(PRIVILEGED);
        if !App::python(PRIVILEGED)
            .output_without_hotrun()
            .contains("namespace 0")
        {
            skip("user namespaces cannot be created here");
        }
    }
}

/// Forbids itself to bind all but two ports (`landlock(7)`), and tries to bind allowed and forbidden ones.
const LANDLOCKED: &str = "
import ctypes, struct
libc = ctypes.CDLL(None)
BIND = 1
ruleset = libc.syscall(444, struct.pack('QQQ', 0, BIND, 0), 24, 0)
for allowed in (port + 1, port + 2): libc.syscall(445, ruleset, 2, struct.pack('QQ', BIND, allowed), 0)
libc.prctl(38, 1, 0, 0, 0)
print('landlock', libc.syscall(446, ruleset, 0))
for number in (port, port + 1, port, port + 3):
    for reuse in (0, 1):
        try:
            open_socket(port=number, options=[(socket.SOL_SOCKET, socket.SO_REUSEPORT, reuse)]).close()
            print('bound')
        except OSError as e: print(e.errno)
print('done', flush=True)
";

#[test]
#[ignore = "needs python3"]
fn every_generation_can_bind_exactly_the_ports_that_landlock_allows() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    if !App::python(LANDLOCKED)
        .output_without_hotrun()
        .contains("landlock 0")
    {
        return skip("Landlock cannot restrict the network here");
    }
    assert_same_results_as_without_hotrun(LANDLOCKED);
}

const STORM: &str = "
began = time.monotonic()
for n in range(1000):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(('127.0.0.1', port + 1))
        if n % 10 == 0: s.listen(5)
print(f'1000 binds, 100 listens: {time.monotonic() - began:.2f} s', file=sys.stderr, flush=True)
began = time.monotonic()
for n in range(100):
    pid = os.fork()
    if pid == 0:
        open_socket(port=port + 1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
print(f'100 children: {time.monotonic() - began:.2f} s', file=sys.stderr, flush=True)
for n in range(50):
    pid = os.fork()
    if pid == 0:
        while True:
            with socket.socket() as s: s.bind(('127.0.0.1', port + 1))
    time.sleep(n / 5000)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
open_socket(port=port + 1).close()
print('done', flush=True)
";

/// The program binds a thousand times. It starts a hundred children that bind and exit, and fifty that are killed while
/// they bind in a loop.
#[test]
#[ignore = "needs python3"]
fn every_call_gets_a_reply_under_load() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(&format!("{STORM}\nserve(open_socket())"));
    let mut run = app.run().arg("--ready-timeout=120s").spawn();
    run.wait_for_line(1, "done");
    assert_eq!(run.live(), 1);
    until("the program responds", TIMEOUT, || {
        http::get(app.address(), "/").ok()
    });
    for event in run.so_far() {
        if event.text("stream") == "stderr" {
            say(event.text("text"));
        }
    }
    run.quit();
}
