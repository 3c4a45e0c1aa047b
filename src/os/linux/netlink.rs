//! Requests to `sock_diag(7)`. The few messages have a fixed layout, so they are written and read as bytes.

use std::io;
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, connect, recv, send,
    socket,
};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;
/// One message of a dump holds at most 32 KiB (`netlink_dump` in `net/netlink/af_netlink.c`).
const BUFFER: usize = 64 * 1024;

/// Whether a request concerns one socket or all that match.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    One,
    All,
}

/// Sends `request` and passes the payload of each response to `each`.
pub(super) fn query(request: &[u8], scope: Scope, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    let fd = socket.as_raw_fd();
    connect(fd, &NetlinkAddr::new(0, 0))?;
    send(fd, &message(request, scope), MsgFlags::empty())?;
    let mut buffer = vec![0_u8; BUFFER];
    loop {
        let length = recv(fd, &mut buffer, MsgFlags::empty())?;
        if !read_responses(&buffer[..length], scope, &mut each)? {
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
    // Sequence number and port stay 0: every request has its own socket, so responses cannot be mixed up.
    message.extend([0; 8]);
    message.extend(request);
    message
}

/// Reads one datagram of responses; returns whether more will follow.
fn read_responses(
    mut datagram: &[u8],
    scope: Scope,
    each: &mut impl FnMut(&[u8]),
) -> io::Result<bool> {
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

/// The content of the first attribute of this kind that follows the fixed part of a response.
pub(super) fn attribute(mut rest: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(rest, 0));
        if length < ATTRIBUTE_HEADER || rest.len() < length {
            return None;
        }
        if u16_at(rest, 2) == wanted {
            return Some(&rest[ATTRIBUTE_HEADER..length]);
        }
        rest = &rest[align(length).min(rest.len())..];
    }
}

const fn align(length: usize) -> usize {
    (length + 3) & !3
}

/// The number at `offset`; 0 if the response of an older kernel ends before it.
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
