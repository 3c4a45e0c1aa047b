//! Whether it works here, found out by doing it once.

use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, socket};
use nix::sys::utsname::uname;
use nix::sys::wait::waitpid;
use nix::unistd::write;

use super::{
    Call, Filter, InterceptedCalls, Next, Reply, Syscall, TestRefusal, Unavailable, channel,
    descriptor_of, read_memory,
};
use crate::os::fork_exec::fork_beside_threads;
use crate::os::intercept::OLDEST;

/// No machine takes that long for one system call.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the process says when its call has returned what we answered.
const CAME_THROUGH: [u8; 1] = [b'+'];

/// Lets a process of our own be trapped in a `bind`, reaches into it, and answers. Takes about half a millisecond, and
/// two seconds at the most. `refuse` makes it fail as if the system had refused, for tests.
///
/// # Errors
/// [`Unavailable`]: why programs cannot be trapped here.
pub fn probe(refuse: Option<TestRefusal>) -> Result<(), Unavailable> {
    if let Some(refuse) = refuse {
        return Err(refused(refuse));
    }
    let trap = Filter::new();
    if !trap.fits() {
        return Err(Unavailable::Unsupported);
    }
    let (here, there) = channel().map_err(Unavailable::Process)?;
    // SAFETY: `child` makes a handful of system calls, and neither allocates nor locks.
    let pid = unsafe { fork_beside_threads(|| child(&trap, there.as_fd())) };
    let pid = pid.map_err(Unavailable::Process)?;
    drop(there);
    let result = Round::new(here).go();
    // Mostly it has ended by now. Its status is not always to be had: who started us may have let `CHLD` be ignored.
    let _ = kill(pid, Signal::SIGKILL);
    let _ = retry(|| Ok(waitpid(pid, None)?));
    result
}

fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn refused(refuse: TestRefusal) -> Unavailable {
    let forbidden = || Errno::EPERM.into();
    match refuse {
        TestRefusal::Kernel => Unavailable::OldKernel(release()),
        TestRefusal::Seccomp => Unavailable::Seccomp(forbidden()),
        TestRefusal::Busy => Unavailable::Busy,
        TestRefusal::Pidfd => Unavailable::Pidfd(forbidden()),
    }
}

fn release() -> String {
    let name = uname();
    name.map_or_else(
        |_| "unknown".into(),
        |name| name.release().display().to_string(),
    )
}

/// Without a name, which lets the kernel choose one (`unix(7)`, "Autobind feature"): that works on a system without any
/// network too.
fn child(trap: &Filter, channel: BorrowedFd<'_>) -> i32 {
    if trap.install(channel).is_err() {
        return 1;
    }
    let flags = SockFlag::SOCK_CLOEXEC;
    let Ok(socket) = socket(AddressFamily::Unix, SockType::Stream, flags, None) else {
        return 1;
    };
    if bind(socket.as_raw_fd(), &UnixAddr::new_unnamed()).is_ok() {
        let _ = write(channel, &CAME_THROUGH);
    }
    0
}

/// The side of the one who answers.
struct Round {
    channel: UnixStream,
    until: Instant,
}

impl Round {
    fn new(channel: OwnedFd) -> Self {
        Self {
            channel: channel.into(),
            until: Instant::now() + PATIENCE,
        }
    }

    fn go(&self) -> Result<(), Unavailable> {
        let calls = self.listener()?;
        let call = self.call(&calls)?;
        let Syscall::Bind {
            fd,
            address,
            length,
        } = call.syscall
        else {
            return Err(Unavailable::Silent);
        };
        descriptor_of(call.thread, fd).map_err(Unavailable::Pidfd)?;
        read_memory(call.thread, address, length.min(2) as usize).map_err(Unavailable::Memory)?;
        if !calls.is_pending(&call) {
            return Err(Unavailable::Silent);
        }
        calls
            .reply(&call, Reply::Success)
            .map_err(Unavailable::Seccomp)?;
        self.end()
    }

    fn left(&self) -> Duration {
        let left = self.until.saturating_duration_since(Instant::now());
        left.max(Duration::from_millis(1))
    }

    fn listener(&self) -> Result<InterceptedCalls, Unavailable> {
        let timeout = self.channel.set_read_timeout(Some(self.left()));
        timeout.map_err(Unavailable::Process)?;
        match InterceptedCalls::receive(self.channel.as_fd()) {
            Ok(Ok(calls)) => Ok(calls),
            Ok(Err(errno)) => Err(unavailable(errno)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Unavailable::Silent),
            // A sandbox may kill for the attempt.
            Err(error) => Err(Unavailable::Seccomp(error)),
        }
    }

    fn call(&self, calls: &InterceptedCalls) -> Result<Call, Unavailable> {
        match calls.next_within(None, Some(self.left())) {
            Ok(Next::Call(call)) => Ok(call),
            Ok(Next::Ended | Next::Stopped) => Err(Unavailable::Silent),
            Err(error) => Err(Unavailable::Seccomp(error)),
        }
    }

    fn end(&self) -> Result<(), Unavailable> {
        let timeout = self.channel.set_read_timeout(Some(self.left()));
        timeout.map_err(Unavailable::Process)?;
        let mut word = [0];
        // With a timeout no signal handler lets it go on by itself (`signal(7)`).
        match retry(|| (&self.channel).read(&mut word)) {
            Ok(1) if word == CAME_THROUGH => Ok(()),
            Ok(_) | Err(_) => Err(Unavailable::Silent),
        }
    }
}

/// What it means that [`InterceptedCalls::accept`] gives this instead of a listener.
pub fn unavailable(errno: Errno) -> Unavailable {
    reason(errno, &release())
}

fn reason(errno: Errno, release: &str) -> Unavailable {
    let busy = errno == Errno::EBUSY;
    let old = errno == Errno::EINVAL && older(release);
    match (busy, old) {
        (true, _) => Unavailable::Busy,
        (_, true) => Unavailable::OldKernel(release.to_owned()),
        (false, false) => Unavailable::Seccomp(errno.into()),
    }
}

/// A kernel that does not know a flag says `EINVAL`; newer ones may have other reasons for it.
fn older(release: &str) -> bool {
    let numbers = |text: &str| {
        let mut parts = text.split(|c: char| !c.is_ascii_digit());
        let mut number = || parts.next()?.parse::<u32>().ok();
        Some((number()?, number()?))
    };
    numbers(release).is_some_and(|release| Some(release) < numbers(OLDEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_works_here_and_is_quick() {
        let began = Instant::now();
        probe(None).unwrap();
        assert!(began.elapsed() < PATIENCE);
    }

    #[test]
    fn each_refusal_can_be_had() {
        let refused = |refuse| probe(Some(refuse)).unwrap_err();
        assert!(matches!(
            refused(TestRefusal::Kernel),
            Unavailable::OldKernel(release) if release == super::release()
        ));
        assert!(matches!(
            refused(TestRefusal::Seccomp),
            Unavailable::Seccomp(_)
        ));
        assert!(matches!(refused(TestRefusal::Busy), Unavailable::Busy));
        assert!(matches!(refused(TestRefusal::Pidfd), Unavailable::Pidfd(_)));
    }

    #[test]
    fn an_errno_means_what_the_kernel_means_by_it() {
        let new = "6.18.44-fc";
        assert!(matches!(reason(Errno::EBUSY, new), Unavailable::Busy));
        assert!(matches!(
            reason(Errno::EINVAL, "5.15.0-130-generic"),
            Unavailable::OldKernel(_)
        ));
        assert!(matches!(
            reason(Errno::EINVAL, "4.4.0"),
            Unavailable::OldKernel(_)
        ));
        for (errno, release) in [
            (Errno::EINVAL, new),
            (Errno::EINVAL, "5.19"),
            (Errno::EINVAL, "what"),
            (Errno::EPERM, "4.4.0"),
            (Errno::ENOSYS, new),
        ] {
            let reason = reason(errno, release);
            assert!(matches!(reason, Unavailable::Seccomp(_)), "{reason:?}");
        }
    }
}
