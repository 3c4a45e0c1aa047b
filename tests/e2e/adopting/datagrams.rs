//! Datagrams on a fixed port, and sockets that hotrun does not adopt.

use std::net::UdpSocket;
use std::time::Duration;

use super::{App, PYTHON, installed_or_skip};
use crate::harness::{TIMEOUT, until};

const ECHO: &str = "
s = open_socket(kind=socket.SOCK_DGRAM)
while True:
    text, who = s.recvfrom(1000)
    s.sendto(f'{generation} '.encode() + text, who)
";

/// Sends a datagram and returns the generation that responds, or `None` after a timeout.
fn ask(client: &UdpSocket, app: &App, number: usize) -> Option<u64> {
    let text = number.to_string();
    client.send_to(text.as_bytes(), app.address()).ok()?;
    let mut buffer = [0; 100];
    let got = client.recv(&mut buffer).ok()?;
    let answer = String::from_utf8_lossy(&buffer[..got]);
    let (generation, echo) = answer.split_once(' ')?;
    assert_eq!(echo, text);
    generation.parse().ok()
}

#[test]
#[ignore = "needs python3"]
fn a_fixed_datagram_port_moves_to_the_next_generation() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(ECHO);
    let mut run = app.run().spawn();
    assert_eq!(run.live(), 1);
    let client = UdpSocket::bind("127.0.0.1:0").expect("can bind a free port");
    client
        .set_read_timeout(Some(Duration::from_millis(500)))
        .expect("can set a timeout");
    until("the first generation responds", TIMEOUT, || {
        ask(&client, &app, 0)
    });
    let mut number = 0;
    for generation in 2..=6 {
        app.save(&format!("{ECHO}# {generation}"));
        let answered = until("the new generation responds", TIMEOUT, || {
            number += 1;
            let answered = ask(&client, &app, number).expect("no datagram is lost");
            assert!((generation - 1..=generation).contains(&answered));
            (answered == generation).then_some(answered)
        });
        assert_eq!(run.live(), answered);
        // From now on, only the new generation responds.
        for _ in 0..20 {
            number += 1;
            assert_eq!(ask(&client, &app, number), Some(generation));
        }
        // hotrun cannot see whether clients expected more from it.
        let gone = run.wait_until_gone(generation - 1);
        assert_eq!(gone.text("outcome"), "ended");
    }
    run.quit();
}

/// Opens sockets that hotrun does not adopt, and then a listener that it does.
const OTHERS: &str = "
kept = [open_socket(kind=socket.SOCK_DGRAM, port=port + 1, options=[(socket.SOL_SOCKET, name, 1)])
        for name in (socket.SO_REUSEADDR,) for _ in range(2)]
group = socket.inet_aton('239.1.2.3') + socket.inet_aton('127.0.0.1')
kept[0].setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
kept.append(open_socket(port=0))
path = os.path.join(os.environ['OUT'], 'unix')
if os.path.exists(path): os.unlink(path)
unix = socket.socket(socket.AF_UNIX)
unix.bind(path)
unix.listen()
try:
    socket.socket().bind(('127.0.0.1', kept[-1].getsockname()[1]))
except OSError as e: print('errno', e.errno)
print('shares', kept[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT), flush=True)
serve(open_socket())
";

#[test]
#[ignore = "needs python3"]
fn sockets_on_port_0_unix_sockets_and_shared_datagram_sockets_are_not_adopted() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(OTHERS);
    let mut run = app.run().spawn();
    for generation in 1..=2 {
        run.wait_for_line(generation, "shares 0");
        run.wait_for_line(generation, &format!("errno {}", nix::libc::EADDRINUSE));
        assert_eq!(run.live(), generation);
        until("the new generation responds", TIMEOUT, || {
            let body = crate::harness::http::get(app.address(), "/").ok()?;
            (body == format!("generation {generation}")).then_some(())
        });
        app.save(&format!("{OTHERS}# {generation}"));
    }
    let listening = run.so_far().iter().filter(|event| event.is("listening"));
    let addresses: Vec<_> = listening
        .map(|event| event.text("address").to_owned())
        .collect();
    assert_eq!(addresses, [app.address().to_string()]);
    run.live();
    run.quit();
    std::fs::remove_file(app.project.tmp().join("unix")).expect("can remove the program's socket");
}
