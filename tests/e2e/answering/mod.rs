//! The 503 response while no generation is live.

mod browser;
mod chromium;
mod under_load;

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;

use crate::adopting::{App, installed_or_skip, wait_until_serving};
use crate::harness::{PYTHON, Project, Run, TIMEOUT, apps, http};

/// Runs hotrun with the std server and the build script `build`.
fn run(project: &Project) -> Run {
    let server = apps::std().server.display().to_string();
    let run = Run::new(project)
        .listen()
        .args(["--build", "exec sh build"]);
    run.program([&*server, "fixed"])
}

/// Replaces the build script.
fn build(project: &Project, script: &str) {
    project.save("build", script);
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&to, TIMEOUT).expect("can connect");
    let timeout = stream.set_read_timeout(Some(TIMEOUT));
    timeout.expect("can set a timeout");
    stream
}

/// Sends these bytes on a new connection, and returns everything that arrives until it is closed.
fn send(to: SocketAddr, bytes: &str) -> String {
    let mut stream = connect(to);
    stream
        .write_all(bytes.as_bytes())
        .expect("can send the request");
    rest(stream)
}

fn rest(mut stream: TcpStream) -> String {
    let mut response = String::new();
    stream
        .read_to_string(&mut response)
        .expect("a complete response");
    response
}

const CURL: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n";
const BROWSER: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/html,*/*;q=0.8\r\n\r\n";

#[test]
fn http_clients_get_the_errors_of_a_broken_first_build() {
    let project = Project::new();
    build(&project, "echo 'error: <b>broken</b>'; exit 1");
    let mut run = run(&project).spawn();
    run.expect("failed");
    let response = send(run.address(), CURL);
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    assert!(response.contains("\r\nRetry-After: 1\r\n"), "{response}");
    assert!(response.contains("gen 1 failed to build"), "{response}");
    assert!(response.contains("\nerror: <b>broken</b>\n"), "{response}");
    let page = send(run.address(), BROWSER);
    assert!(page.contains("\r\nContent-Type: text/html;"), "{page}");
    let escaped = page.contains("error: &lt;b&gt;broken&lt;/b&gt;");
    assert!(escaped && !page.contains("<b>"), "{page}");
    let rebound = send(
        run.address(),
        &BROWSER.replace("localhost", "attacker.example"),
    );
    assert!(rebound.starts_with("HTTP/1.1 503 "), "{rebound}");
    assert!(!rebound.contains("broken"), "{rebound}");

    // While a build is running, all clients wait, including one that then gets the next error.
    let go = project.beside("go");
    let wait = format!("until [ -e '{}' ]; do sleep 0.01; done", go.display());
    build(&project, &format!("{wait}; echo another; exit 1"));
    run.expect("building");
    let mut waiting = http::open(run.address(), "/");
    waiting
        .set_nonblocking(true)
        .expect("can change the blocking mode");
    let early = waiting.read(&mut [0]);
    assert!(
        early.is_err(),
        "no response arrives during a build: {early:?}"
    );
    waiting
        .set_nonblocking(false)
        .expect("can change the blocking mode");
    fs::write(&go, "").expect("can create `go`");
    let response = rest(waiting);
    assert!(response.contains("gen 2 failed to build"), "{response}");
    assert!(
        response.contains("another") && !response.contains("broken"),
        "{response}"
    );

    let mut other = connect(run.address());
    other.write_all(b"GET /").expect("can send the request");
    build(&project, "true");
    run.live();
    assert_eq!(run.get("/"), "generation 3 version fixed\n");
    other
        .write_all(b" HTTP/1.1\r\nconnection: close\r\n\r\n")
        .expect("can send the request");
    let answer = rest(other);
    assert!(answer.ends_with("generation 3 version fixed\n"), "{answer}");
    run.quit();
}

#[test]
fn all_connections_wait_if_the_error_page_is_disabled() {
    let project = Project::new();
    build(&project, "exit 1");
    let mut run = run(&project).arg("--no-error-page").spawn();
    run.expect("failed");
    let waiting = http::open(run.address(), "/");
    build(&project, "true");
    run.live();
    let answered = http::finish(waiting).expect("a response");
    assert_eq!(answered, "generation 2 version fixed\n");
    run.quit();
}

/// A server that responds to HTTP requests, and echoes anything else.
const SERVER: &str = "
s = open_socket()
while True:
    c, _ = s.accept()
    text = c.recv(4096)
    if b'/crash' in text:
        print('the <last> words', flush=True)
        os._exit(3)
    if text.startswith(b'GET'):
        text = b'generation %d' % generation
    c.sendall(b'HTTP/1.1 200 OK\\r\\nconnection: close\\r\\n\\r\\n' + text)
    c.close()
";

#[test]
#[ignore = "needs python3"]
fn http_clients_of_an_adopted_listener_get_the_reason_for_a_crash() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(SERVER);
    let mut run = app.run().args(["--rollback-within", "0s"]).spawn();
    wait_until_serving(&mut run);
    for generation in 1..4 {
        let _crash = http::get(run.address(), "/crash");
        run.expect("failed");
        let response = send(run.address(), CURL);
        assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
        assert!(response.contains("exit status 3"), "{response}");
        assert!(response.contains("\nthe <last> words\n"), "{response}");
        let mut other = connect(run.address());
        other
            .write_all(b"\x16\x03\x01 hello")
            .expect("can send the request");
        app.save(&format!("{SERVER}# {generation}"));
        assert_eq!(run.live(), generation + 1);
        let answer = rest(other);
        assert!(answer.ends_with("\r\n\r\n\x16\x03\x01 hello"), "{answer:?}");
        let body = http::get(run.address(), "/").expect("a response");
        assert_eq!(body, format!("generation {}", generation + 1));
    }
    run.quit();
}

#[test]
fn http_clients_get_the_reason_if_the_program_cannot_start() {
    let project = Project::new();
    let program = project.work().join("program");
    fs::write(&program, "#!/no/such/interpreter\n").expect("can write the program");
    fs::set_permissions(&program, Permissions::from_mode(0o755))
        .expect("can change the permissions");
    let mut run = Run::new(&project).listen().program(["./program"]).spawn();
    run.expect("failed");
    let response = send(run.address(), CURL);
    assert!(response.contains("could not be started"), "{response}");
    assert!(response.contains("cannot start `./program`"), "{response}");
    run.quit();
}
