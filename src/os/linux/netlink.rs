//! Questions to `sock_diag(7)`: the messages are few and of fixed layout, so they are written and read as bytes.

use std::io;

use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;
/// The kernel fills at most 32 KiB a message of a dump (`netlink_dump` in `net/netlink/af_netlink.c`).
const BUFFER: usize = 64 * 1024;

/// Whether one socket is asked about or all that match.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    One,
    All,
}

/// Sends `request` and hands the payload of each answer to `each`.
pub(super) fn ask(request: &[u8], scope: Scope, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&message(request, scope), 0)?;
    let mut buffer = vec![0_u8; BUFFER];
    loop {
        let length = socket.recv(&mut &mut buffer[..], 0)?;
        if !answers(&buffer[..length], scope, &mut each)? {
            return Ok(());
        }
    }
}

fn message(request: &[u8], scope: Scope) -> Vec<u8> {
    let flags = match scope {
        Scope::One => libc::NLM_F_REQUEST,
        Scope::All => libc::NLM_F_REQUEST | libc::NLM_F_DUMP,
    };
    let length = u32::try_from(HEADER + request.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(HEADER + request.len());
    message.extend(length.to_ne_bytes());
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend((flags as u16).to_ne_bytes());
    // Sequence number and port: each question has a socket of its own, so no answer can be another's.
    message.extend([0; 8]);
    message.extend(request);
    message
}

/// Reads one datagram of answers; whether more will come.
fn answers(mut datagram: &[u8], scope: Scope, each: &mut impl FnMut(&[u8])) -> io::Result<bool> {
    while datagram.len() >= HEADER {
        let length = (u32_at(datagram, 0) as usize).clamp(HEADER, datagram.len());
        let payload = &datagram[HEADER..length];
        match i32::from(u16_at(datagram, 4)) {
            libc::NLMSG_DONE => return Ok(false),
            libc::NLMSG_ERROR => return Err(error(payload)),
            _ => each(payload),
        }
        datagram = &datagram[align(length).min(datagram.len())..];
    }
    Ok(scope == Scope::All)
}

fn error(payload: &[u8]) -> io::Error {
    io::Error::from_raw_os_error(-(u32_at(payload, 0) as i32))
}

/// The attributes after the fixed part of an answer: kind and content.
pub(super) fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0));
        if length < ATTRIBUTE_HEADER || rest.len() < length {
            return None;
        }
        let (this, _) = rest.split_at(length);
        let kind = u16_at(this, 2);
        rest = &rest[align(length).min(rest.len())..];
        Some((kind, &this[ATTRIBUTE_HEADER..]))
    })
}

const fn align(length: usize) -> usize {
    (length + 3) & !3
}

/// The number at `offset`, 0 where an older kernel's answer ends before it.
pub(super) fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    array_at(bytes, offset).map_or(0, u16::from_ne_bytes)
}

pub(super) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    array_at(bytes, offset).map_or(0, u32::from_ne_bytes)
}

pub(super) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    array_at(bytes, offset).map(u64::from_ne_bytes)
}

pub(super) fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset + N)?.try_into().ok()
}
