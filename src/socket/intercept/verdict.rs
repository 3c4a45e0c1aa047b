use std::io;
use std::net::SocketAddr;

use super::event::InterceptEvent;
use crate::os::seccomp::Reply;
use crate::socket::Endpoint;

/// How a call is answered, and what is to be told of it once it is.
pub(super) struct Verdict {
    pub(super) answer: Reply,
    pub(super) news: Option<InterceptEvent>,
    /// Somebody else has this address: who that is has to be found out.
    pub(super) in_use: Option<Endpoint>,
}

impl From<Reply> for Verdict {
    fn from(answer: Reply) -> Self {
        Self {
            answer,
            news: None,
            in_use: None,
        }
    }
}

/// The program gets the kernel's answer.
pub(super) fn refuse(endpoint: Endpoint, error: &io::Error) -> Verdict {
    let errno = error.raw_os_error().unwrap_or(libc::EADDRINUSE);
    Verdict {
        answer: Reply::Errno(errno),
        news: None,
        in_use: (errno == libc::EADDRINUSE).then_some(endpoint),
    }
}

/// The kernel does it, and it can't be steered.
pub(super) fn missed(address: Option<SocketAddr>, error: io::Error) -> Verdict {
    let expected = [libc::EBADF, libc::ESRCH, libc::ENOTSOCK];
    let strange = !error
        .raw_os_error()
        .is_some_and(|errno| expected.contains(&errno));
    Verdict {
        answer: Reply::Continue,
        news: strange.then_some(InterceptEvent::Missed { address, error }),
        in_use: None,
    }
}
