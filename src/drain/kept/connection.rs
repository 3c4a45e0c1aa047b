//! One connection that hotrun has duplicated.
//!
//! A request is hidden by dropping each arriving segment that begins like one ([`hide_requests`]). A request's body may begin
//! like a request too. If such a body were taken for the next request, the successor would handle it, and the client would
//! get a wrong response. So a dropped segment counts as the next request only if no body can be due:
//!
//! - If a request was in progress when hiding began, the program must have responded since, and not just with an interim
//!   response ([`is_interim`]).
//! - Otherwise, the last response may have been an interim one, although the client usually sends the body at once. So at
//!   first, only heads whose bodies may follow are hidden ([`hide_heads`]). Once another request has arrived, the program
//!   can't be waiting for a body.

use std::io;
use std::os::fd::OwnedFd;

use socket2::SockRef;

use super::super::idle::{Exchange, Hidden, QUIET};
use crate::os::seccomp::descriptor_of;
use crate::os::{
    TcpConnection, TcpState, dropped, hide_heads, hide_requests, inode, show_requests,
    tcp_connection,
};

/// The lengths of interim responses (`100 Continue`): without a reason phrase (h11), without a header (nearly all servers),
/// and with `Content-Length: 0` (the JDK).
const INTERIM_RESPONSES: [u64; 3] = [17, 25, 44];

/// Returns whether the client has the response to its last request on a connection in this state.
pub(in crate::drain) type AskExchange<'a> = dyn FnMut(&TcpConnection) -> Exchange + 'a;

/// A connection that hotrun has duplicated. Dropping it shows its requests to the program and closes the duplicate.
pub struct Kept {
    pub(in crate::drain) socket: OwnedFd,
    /// What [`dropped`] returned at the beginning.
    dropped: u32,
    hides: Hides,
    /// The state of the connection when it was last found to be idle.
    pub(in crate::drain) idle: Option<TcpConnection>,
    /// How often in a row no process held it.
    pub(in crate::drain) unheld: u32,
}

/// Which segments the kernel drops.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hides {
    Nothing,
    /// Heads of requests whose bodies may follow, since so many bytes had been received.
    Heads {
        received: u64,
    },
    /// All that begin like a request, since the program had sent so many bytes.
    Requests {
        sent: u64,
        exchange: Exchange,
    },
}

/// Whether all requests can be hidden without taking a body for a request. `received`: how many bytes had been received when
/// heads were hidden.
pub(super) fn may_hide_all(received: u64, now: &TcpConnection, exchange: Exchange) -> bool {
    let quiet = now.since_received.min(now.since_sent) >= QUIET;
    now.received > received || quiet || exchange == Exchange::InProgress
}

impl Hides {
    /// What a segment is that has been dropped, if the program has `sent` so many bytes. `None`: that is not known.
    pub(super) fn hidden(self, sent: u64) -> Option<Hidden> {
        let Hides::Requests {
            sent: before,
            exchange,
        } = self
        else {
            return None;
        };
        let sent = sent.saturating_sub(before);
        let waits = exchange == Exchange::InProgress && sent == 0 || is_interim(sent);
        Some(if waits {
            Hidden::Unclear
        } else {
            Hidden::NextRequest
        })
    }
}

impl Kept {
    /// Duplicates the connection `seen`.
    pub(super) fn new(pid: i32, fd: i32, seen: &TcpConnection) -> Option<Self> {
        let socket = descriptor_of(pid, fd).ok()?;
        let same = inode(&socket).is_ok_and(|found| found == seen.inode);
        Some(Self {
            dropped: dropped(&socket).ok().filter(|_| same)?,
            socket,
            hides: Hides::Nothing,
            idle: None,
            unheld: 0,
        })
    }

    /// Hides as many requests as it is safe to. `seen` may be several requests old. Returns false if that is impossible or the
    /// program may be waiting for what was dropped, so that the requests must be shown.
    pub(super) fn hide(&mut self, seen: &TcpConnection, ask: &mut AskExchange) -> bool {
        let received = match self.hides {
            Hides::Nothing => self.hide_heads(seen, ask),
            Hides::Heads { received } => Ok(received),
            Hides::Requests { .. } => return true,
        };
        received.is_ok_and(|received| {
            let hidden = self.hide_all(received, seen, ask);
            hidden.is_ok() && (matches!(self.hides, Hides::Requests { .. }) || !self.has_dropped())
        })
    }

    /// Returns how many bytes have been received.
    fn hide_heads(&mut self, seen: &TcpConnection, ask: &mut AskExchange) -> io::Result<u64> {
        ask(&tcp_connection(&self.socket, seen)?);
        hide_heads(&self.socket)?;
        let received = tcp_connection(&self.socket, seen)?.received;
        self.hides = Hides::Heads { received };
        Ok(received)
    }

    fn hide_all(
        &mut self,
        received: u64,
        seen: &TcpConnection,
        ask: &mut AskExchange,
    ) -> io::Result<()> {
        let before = tcp_connection(&self.socket, seen)?;
        let exchange = ask(&before);
        let unclear = self.has_dropped() && before.received == received;
        if unclear || !may_hide_all(received, &before, exchange) {
            return Ok(());
        }
        hide_requests(&self.socket)?;
        let now = tcp_connection(&self.socket, seen)?;
        self.hides = match now.received == before.received {
            true => Hides::Requests {
                sent: before.sent,
                exchange,
            },
            false => {
                hide_heads(&self.socket)?;
                Hides::Heads {
                    received: now.received,
                }
            }
        };
        Ok(())
    }

    /// Whether the kernel has dropped a segment.
    pub(in crate::drain) fn has_dropped(&self) -> bool {
        dropped(&self.socket).is_ok_and(|dropped| dropped != self.dropped)
    }

    /// Records that no process of the generation was found to hold the connection. Returns whether the client's next request
    /// has been hidden, so that the successor can respond to it.
    pub(super) fn leave(&mut self) -> bool {
        self.unheld += 1;
        self.idle.is_some() && self.has_dropped()
    }

    pub(super) fn hidden(&self, now: &TcpConnection) -> Option<Hidden> {
        self.hides.hidden(now.sent).filter(|_| self.has_dropped())
    }

    pub(in crate::drain) fn port(&self) -> Option<u16> {
        let address = SockRef::from(&self.socket).local_addr().ok()?;
        Some(address.as_socket()?.port())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = show_requests(&self.socket);
    }
}

/// Whether a program that has sent this many bytes may have sent an interim response.
fn is_interim(sent: u64) -> bool {
    INTERIM_RESPONSES.contains(&sent)
}

/// Whether the program has neither read nor sent anything in the meantime.
pub(in crate::drain) fn is_untouched(before: &TcpConnection, now: &TcpConnection) -> bool {
    let read = |one: &TcpConnection| one.received.saturating_sub(one.unread.into());
    now.state == TcpState::Open && now.sent == before.sent && read(now) == read(before)
}
