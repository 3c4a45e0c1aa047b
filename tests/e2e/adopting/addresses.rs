//! Programs whose addresses change from one generation to the next.

use std::net::{Ipv6Addr, SocketAddr, TcpStream};

use super::{App, PYTHON, installed_or_skip, wait_until_serving};
use crate::harness::request_loop::RequestLoop;
use crate::harness::{TIMEOUT, http, until};

/// Opens a debugger's port first, which closes every connection without a response.
const DEBUGGED: &str = "
debugger = open_socket(port=port + 1)
threading.Thread(target=serve, args=(debugger, None), daemon=True).start()
time.sleep(.5)
serve(open_socket())
";

#[test]
#[ignore = "needs python3"]
fn a_debuggers_port_does_not_keep_the_http_probe_from_the_programs_own_port() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(DEBUGGED);
    let mut run = app.run().args(["--ready", "http:/"]).spawn();
    wait_until_serving(&mut run);
    let asking = RequestLoop::start(app.address());
    for generation in 2..=3 {
        app.save(&format!("{DEBUGGED}# {generation}"));
        assert_eq!(run.live(), generation);
        asking.more(10);
        run.wait_until_gone(generation - 1);
    }
    asking.assert_none_lost();
    run.quit();
}

#[test]
#[ignore = "needs python3"]
fn hc32_a_generation_may_open_more_fewer_or_different_ports() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python("serve(open_socket())");
    let at = |n: u16| SocketAddr::from(([127, 0, 0, 1], app.port + n));
    let mut run = app.run().args(["--ready-timeout", "3s"]).spawn();
    wait_until_serving(&mut run);
    let first = RequestLoop::start(at(0));
    app.save("serve_all(open_socket(), open_socket(port=port + 1))");
    assert_eq!(run.live(), 2);
    assert_eq!(
        http::get(at(1), "/").expect("the second port responds"),
        "generation 2"
    );
    let second = RequestLoop::start(at(1));
    first.more(20);
    // Generation 3 takes over both ports at the same time.
    app.save("serve_all(open_socket(port=port + 1), open_socket()) # in another order");
    assert_eq!(run.live(), 3);
    run.wait_until_gone(2);
    assert_eq!(run.get("/"), "generation 3");
    first.assert_none_lost();
    app.save("serve(open_socket(port=port + 1))");
    assert_eq!(run.live(), 4);
    run.wait_until_gone(3);
    until("the first port is closed", TIMEOUT, || {
        TcpStream::connect(at(0)).err()
    });
    second.more(20);
    second.assert_none_lost();
    app.save("serve(open_socket(port=port + 2))");
    assert_eq!(run.live(), 5);
    assert_eq!(
        http::get(at(2), "/").expect("the third port responds"),
        "generation 5"
    );
    run.wait_until_gone(4);
    until("the second port is closed", TIMEOUT, || {
        TcpStream::connect(at(1)).err()
    });
    // A released port may be opened again.
    app.save("serve(open_socket())");
    assert_eq!(run.live(), 6);
    assert_eq!(run.get("/"), "generation 6");
    run.quit();
}

#[test]
#[ignore = "needs python3"]
fn a_program_may_change_between_one_dual_stack_socket_and_two_sockets() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let only = "options=[(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)]";
    let each = format!("serve_all(open_socket('0.0.0.0'), open_socket('::', {only}))");
    let app = App::python(&each);
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, app.port));
    let mut run = app.run().spawn();
    wait_until_serving(&mut run);
    let both = "serve(open_socket('::', options=[(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)]))";
    let mapped = "serve_all(open_socket('::ffff:127.0.0.1', options=[(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)]), \
                  open_socket('::1'))";
    // Each variant comes twice in a row, so that some reloads do not change the addresses.
    for (generation, text) in (2..).zip([&each, both, both, mapped, mapped, &each, &each]) {
        let asking = [RequestLoop::start(app.address()), RequestLoop::start(v6)];
        app.save(&format!("{text} # {generation}"));
        assert_eq!(run.live(), generation);
        let answer = format!("generation {generation}");
        until("the new generation responds", TIMEOUT, || {
            let (v4, v6) = (http::get(app.address(), "/"), http::get(v6, "/"));
            (v4.ok()? == answer && v6.ok()? == answer).then_some(())
        });
        run.wait_until_gone(generation - 1);
        asking.iter().for_each(|one| one.more(20));
        for one in asking {
            one.assert_none_lost();
        }
    }
    run.quit();
}
