//! Hides new HTTP/1 requests from the program that holds a connection (`SO_ATTACH_FILTER`, `socket(7)`).

use std::io;
use std::os::fd::AsFd;

use nix::sys::socket::getsockopt;
use nix::{getsockopt_impl, sockopt_impl};
use socket2::{SockFilter, SockRef};

use super::socket_options::native;
use crate::os::Instruction;

// Numbers that `SK_MEMINFO_…` in `include/uapi/linux/sock_diag.h` names.
sockopt_impl!(
    MemInfo,
    GetOnly,
    libc::SOL_SOCKET,
    libc::SO_MEMINFO,
    [u32; 9]
);

/// `SK_MEMINFO_DROPS`
const DROPS: usize = 8;

/// The first four bytes of a request, by its method (RFC 9110, 9.1, and RFC 5789).
const METHODS: [&[u8; 4]; 9] = [
    b"GET ", b"HEAD", b"POST", b"PUT ", b"DELE", b"PATC", b"OPTI", b"CONN", b"TRAC",
];

/// Those whose client may send the head of a request first, and wait for an interim response (`100 Continue`) before it sends
/// the body (RFC 9110, 10.1.1).
const METHODS_WITH_BODY: [&[u8; 4]; 3] = [b"POST", b"PUT ", b"PATC"];

/// The end of a request's head.
const END_OF_HEAD: &[u8; 4] = b"\r\n\r\n";

/// Makes the kernel drop each arriving TCP segment that begins like an HTTP/1 request. It is as if the segment had been
/// lost on the way: the peer sends it again, first after at least 200 ms and then after twice the time before. All other
/// segments, such as the rest of a request body, arrive as usual.
///
/// # Errors
/// `EPERM` if the program has locked its own filter (`SO_LOCK_FILTER`).
pub fn hide_requests(connection: &impl AsFd) -> io::Result<()> {
    attach(connection, &program(&METHODS, false))
}

/// Like [`hide_requests`], but drops only segments that consist of the head of a request whose body may follow. Replaces what
/// that function did.
///
/// # Errors
/// As `hide_requests`.
pub fn hide_heads(connection: &impl AsFd) -> io::Result<()> {
    attach(connection, &program(&METHODS_WITH_BODY, true))
}

fn attach(connection: &impl AsFd, program: &[Instruction]) -> io::Result<()> {
    let filter: Vec<SockFilter> = program.iter().map(native).map(from).collect();
    SockRef::from(connection).attach_filter(&filter)
}

fn from(filter: libc::sock_filter) -> SockFilter {
    SockFilter::new(filter.code, filter.jt, filter.jf, filter.k)
}

/// Undoes [`hide_requests`] and [`hide_heads`].
pub fn show_requests(connection: &impl AsFd) -> io::Result<()> {
    SockRef::from(connection).detach_filter()
}

/// Returns how many segments the kernel has dropped so far that arrived at this connection, hidden requests and their
/// retransmissions among them.
pub fn dropped(connection: &impl AsFd) -> io::Result<u32> {
    Ok(getsockopt(connection, MemInfo)?[DROPS])
}

/// The filter, which returns 0 for a segment to drop: one that begins with one of the methods and, if `heads`, ends like the
/// head of a request. The data that it loads begins with the TCP header, and a load beyond the end would drop the segment.
fn program(methods: &[&[u8; 4]], heads: bool) -> Vec<Instruction> {
    // `include/uapi/linux/bpf_common.h`
    const LOAD_BYTE: u16 = 0x30;
    const LOAD_LENGTH: u16 = 0x80;
    const LOAD_WORD_AT_X: u16 = 0x40;
    const SHIFT_RIGHT: u16 = 0x74;
    const AND: u16 = 0x54;
    const SUBTRACT: u16 = 0x14;
    const SUBTRACT_X: u16 = 0x1c;
    const STORE_X: u16 = 0x07;
    /// The byte of a TCP header whose upper half is the header's length in words of four bytes.
    const DATA_OFFSET: u32 = 12;
    let count = methods.len() as u8;
    let mut program = vec![
        Instruction::plain(LOAD_BYTE, DATA_OFFSET),
        Instruction::plain(SHIFT_RIGHT, 2),
        Instruction::plain(AND, 0x3c),
        Instruction::plain(STORE_X, 0),
        Instruction::plain(LOAD_LENGTH, 0),
        Instruction::plain(SUBTRACT_X, 0),
        Instruction::jump_if_at_least(4, 0, count + 1),
        Instruction::plain(LOAD_WORD_AT_X, 0),
    ];
    // Each jump leads beyond the instruction that accepts the segment.
    let tests = methods.iter().zip((1..=count).rev());
    program.extend(tests.map(|(method, to_found)| {
        Instruction::jump_if_equal(u32::from_be_bytes(**method), to_found, 0)
    }));
    program.push(Instruction::plain(Instruction::RETURN, u32::MAX));
    if heads {
        program.extend([
            Instruction::plain(LOAD_LENGTH, 0),
            Instruction::plain(SUBTRACT, 4),
            Instruction::plain(STORE_X, 0),
            Instruction::plain(LOAD_WORD_AT_X, 0),
            Instruction::jump_if_equal(u32::from_be_bytes(*END_OF_HEAD), 1, 0),
            Instruction::plain(Instruction::RETURN, u32::MAX),
        ]);
    }
    program.push(Instruction::plain(Instruction::RETURN, 0));
    program
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    fn arrives(server: &mut TcpStream) -> Vec<u8> {
        let mut buffer = [0; 64];
        match server.read(&mut buffer) {
            Ok(count) => buffer[..count].to_vec(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Vec::new(),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_hidden_request_arrives_once_it_is_shown_and_other_bytes_arrive_at_once() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            client.set_nodelay(true).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            let timeout = |server: &TcpStream, ms| {
                server
                    .set_read_timeout(Some(Duration::from_millis(ms)))
                    .unwrap();
            };
            hide_requests(&server).unwrap();
            timeout(&server, 10_000);
            for other in [
                &b"G"[..],
                b"\x16\x03\x01\x02\x00",
                b"PRI * HTTP/2.0",
                b"body",
            ] {
                client.write_all(other).unwrap();
                assert_eq!(arrives(&mut server), other, "{address}");
            }
            assert_eq!(dropped(&server).unwrap(), 0);
            timeout(&server, 50);
            client.write_all(b"GET / HTTP/1.1\r\n").unwrap();
            assert_eq!(arrives(&mut server), b"", "{address}");
            assert!(dropped(&server).unwrap() > 0);
            server.write_all(b"response").unwrap();
            client.read_exact(&mut [0; 8]).unwrap();
            show_requests(&server).unwrap();
            timeout(&server, 10_000);
            assert_eq!(arrives(&mut server), b"GET / HTTP/1.1\r\n", "{address}");
        }
    }

    #[test]
    fn of_requests_whose_bodies_may_follow_only_heads_are_hidden() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_nodelay(true).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        hide_requests(&server).unwrap();
        hide_heads(&server).unwrap();
        for other in [
            &b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody"[..],
            b"GET / HTTP/1.1\r\n\r\n",
            b"POST",
            b"body\r\n\r\n",
            b"\r\n",
        ] {
            client.write_all(other).unwrap();
            assert_eq!(arrives(&mut server), other);
        }
        assert_eq!(dropped(&server).unwrap(), 0);
        client.write_all(b"PUT / HTTP/1.1\r\n\r\n").unwrap();
        assert!(dropped(&server).unwrap() > 0);
    }

    #[test]
    fn every_method_is_hidden() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for method in METHODS {
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, _) = listener.accept().unwrap();
            hide_requests(&server).unwrap();
            client.write_all(method).unwrap();
            assert!(dropped(&server).unwrap() > 0, "{method:?}");
        }
    }
}
