use std::io;
use std::net::SocketAddr;

use super::event::InterceptEvent;
use crate::os::seccomp::Reply;
use crate::socket::adopter::Joined;
use crate::socket::endpoint::Endpoint;

/// A reply, and what to report after it.
pub(super) struct Outcome {
    pub(super) reply: Reply,
    pub(super) event: Option<InterceptEvent>,
    /// Another process has this address.
    pub(super) in_use: Option<Endpoint>,
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Self {
        Self {
            reply,
            event: None,
            in_use: None,
        }
    }
}

pub(super) fn listens(joined: Joined) -> Outcome {
    Outcome {
        event: Some(InterceptEvent::Listens {
            address: joined.address,
            first: joined.first,
        }),
        ..Reply::Success.into()
    }
}

/// The program gets the kernel's error.
pub(super) fn refused(endpoint: Endpoint, error: &io::Error) -> Outcome {
    let errno = error.raw_os_error().unwrap_or(libc::EADDRINUSE);
    Outcome {
        in_use: (errno == libc::EADDRINUSE).then_some(endpoint),
        ..Reply::Errno(errno).into()
    }
}

/// The kernel handles the call, so the socket cannot be steered. Errors that are the program's own are not reported.
pub(super) fn not_adopted(address: Option<SocketAddr>, error: io::Error) -> Outcome {
    let own = [libc::EBADF, libc::ESRCH, libc::ENOTSOCK];
    let is_own = error
        .raw_os_error()
        .is_some_and(|errno| own.contains(&errno));
    Outcome {
        event: (!is_own).then_some(InterceptEvent::NotAdopted { address, error }),
        ..Reply::Continue.into()
    }
}
