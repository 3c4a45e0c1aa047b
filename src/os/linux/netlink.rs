//! Requests to `sock_diag(7)`. The few message types have a fixed layout, so they are written and parsed by hand.

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

/// Sends `request` and passes each response to `each`. With `dump`, the request is about all sockets that match instead
/// of one. The fixed part of a response has `fixed` bytes.
pub(super) fn query(
    request: &[u8],
    dump: bool,
    fixed: usize,
    mut each: impl FnMut(&DiagResponse<'_>),
) -> io::Result<()> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    let fd = socket.as_raw_fd();
    connect(fd, &NetlinkAddr::new(0, 0))?;
    send(fd, &message(request, dump), MsgFlags::empty())?;
    let mut buffer = vec![0_u8; BUFFER];
    loop {
        let length = recv(fd, &mut buffer, MsgFlags::empty())?;
        let mut datagram = &buffer[..length];
        while let Some((header, rest)) = datagram.split_at_checked(HEADER) {
            let length = (u32_at(header, 0) as usize).clamp(HEADER, datagram.len()) - HEADER;
            let payload = &rest[..length];
            match i32::from(u16_at(header, 4)) {
                libc::NLMSG_DONE => return Ok(()),
                libc::NLMSG_ERROR => {
                    let errno = u32_at(payload, 0).cast_signed();
                    return Err(io::Error::from_raw_os_error(-errno));
                }
                _ => {
                    if let Some((fixed, attributes)) = payload.split_at_checked(fixed) {
                        each(&DiagResponse { fixed, attributes });
                    }
                }
            }
            datagram = rest.get(align(length)..).unwrap_or_default();
        }
        if !dump {
            return Ok(());
        }
    }
}

fn message(request: &[u8], dump: bool) -> Vec<u8> {
    let flags = libc::NLM_F_REQUEST | if dump { libc::NLM_F_DUMP } else { 0 };
    let length = u32::try_from(HEADER + request.len()).unwrap_or(u32::MAX);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend((flags as u16).to_ne_bytes());
    // The sequence number and port stay 0: every request has its own socket, so responses cannot be mixed up.
    message.extend([0; 8]);
    message.extend(request);
    message
}

/// The kernel's report about one socket.
pub(super) struct DiagResponse<'a> {
    pub(super) fixed: &'a [u8],
    attributes: &'a [u8],
}

impl DiagResponse<'_> {
    /// Returns the number at this offset of the fixed part.
    pub(super) fn u32(&self, offset: usize) -> u32 {
        u32_at(self.fixed, offset)
    }

    /// Returns the content of the first attribute of this kind.
    pub(super) fn attribute(&self, wanted: u16) -> Option<&[u8]> {
        let mut rest = self.attributes;
        loop {
            let length = usize::from(u16_at(rest, 0));
            let content = rest.get(ATTRIBUTE_HEADER..length)?;
            if u16_at(rest, 2) == wanted {
                return Some(content);
            }
            rest = rest.get(align(length)..)?;
        }
    }
}

const fn align(length: usize) -> usize {
    (length + 3) & !3
}

/// Returns the number at `offset`, or 0 if an older kernel's response is shorter.
fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    array_at(bytes, offset).map_or(0, u16::from_ne_bytes)
}

pub(super) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    array_at(bytes, offset).map_or(0, u32::from_ne_bytes)
}

pub(super) fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset + N)?.try_into().ok()
}
