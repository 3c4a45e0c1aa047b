//! Accepts connections from a listener when no program does.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::Socket;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::address::Address;
use super::forward::{self, Places, Unclaimed};

/// How long a forwarder waits before it retries if all permits or all descriptors are in use.
const CROWDED: Duration = Duration::from_millis(50);

/// The listener that a forwarder serves, and the means to handle its connections.
pub(super) struct Work {
    pub(super) socket: Arc<Socket>,
    pub(super) address: Address,
    pub(super) unclaimed: watch::Receiver<Unclaimed>,
    pub(super) runtime: Handle,
    pub(super) places: Arc<Places>,
    /// Called when a program has shut down the socket.
    pub(super) shut_down: Box<dyn Fn() + Send>,
}

/// A handle for a thread that accepts connections from one listener.
///
/// The socket is shared with the program, so `O_NONBLOCK` and `SO_RCVTIMEO` would affect the program as well
/// (`open(2)`, "open file description"), and `SO_RCVTIMEO` even the connections that it accepts. `accept4` has no flag
/// to make a single call non-blocking. So the old program may accept a connection between our `poll` and our `accept`,
/// and our `accept` then blocks. This is why a thread is needed. A blocked thread does no harm: it waits for the next
/// connection, as it would anyway. It exits when the listener is closed, because that shuts the socket down. Once the
/// process tree is gone, only hotrun has the socket, and makes it non-blocking.
pub(super) struct Forwarder {
    control: Arc<Control>,
}

/// The thread is waiting for a connection.
const WAITING: u8 = 0;
/// The thread is accepting a connection, which may take a long time.
const ACCEPTING: u8 = 1;
/// The thread accepts no more connections.
const ENDED: u8 = 2;

/// The state shared between the owner of the sockets and the thread. It has no lock, so the owner never waits for the
/// thread.
struct Control {
    state: AtomicU8,
    /// Wakes the thread. Writing never blocks: if the buffer is full, the thread is about to wake anyway.
    bell: UnixStream,
}

impl Control {
    fn ring(&self) {
        let _ = (&self.bell).write(&[0]);
    }

    fn goes(&self, from: u8, to: u8) -> bool {
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        let exchanged = self.state.compare_exchange(from, to, success, failure);
        exchanged.is_ok()
    }

    fn ended(&self) -> bool {
        self.state.load(Ordering::Acquire) == ENDED
    }
}

impl Forwarder {
    /// Starts the thread. Fails if the system has no free descriptor or thread.
    pub(super) fn start(work: Work) -> io::Result<Self> {
        let (bell, ringer) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        ringer.set_nonblocking(true)?;
        let control = Arc::new(Control {
            state: AtomicU8::new(WAITING),
            bell: ringer,
        });
        // The kernel truncates the name to 15 bytes.
        let name = match &work.address {
            Address::Tcp(address) => format!("forward {}", address.port()),
            Address::Unix(_) => "forward unix".to_owned(),
        };
        let worker = Worker {
            work,
            control: control.clone(),
            bell,
        };
        let thread = thread::Builder::new().name(name);
        thread.spawn(move || worker.run())?;
        Ok(Self { control })
    }

    /// Wakes the thread to check the policy again.
    pub(super) fn wake(&self) {
        self.control.ring();
    }

    /// Stops the thread. If it is blocked in `accept`, the caller must also shut down the socket.
    pub(super) fn end(&self) {
        self.control.state.store(ENDED, Ordering::Release);
        self.control.ring();
    }

    /// Stops the thread unless it is accepting a connection. Returns whether it was stopped: it accepts no more
    /// connections, although it may run a little longer.
    pub(super) fn end_idle(&self) -> bool {
        let ended = self.control.goes(WAITING, ENDED) || self.control.ended();
        self.control.ring();
        ended
    }
}

struct Worker {
    work: Work,
    control: Arc<Control>,
    bell: UnixStream,
}

impl Worker {
    fn run(self) {
        while !self.control.ended() {
            match self.wait() {
                Ok(woken) if woken.contains(PollFlags::POLLHUP) => return self.shut_down(),
                Ok(woken) if woken.contains(PollFlags::POLLIN) => self.accept(),
                Ok(_) => {}
                // Keep this thread running, because no other would be started.
                Err(_) => thread::sleep(CROWDED),
            }
        }
    }

    /// Waits for an event on the listener or for a wake-up. Returns the listener's events.
    fn wait(&self) -> io::Result<PollFlags> {
        let accepts = !matches!(*self.work.unclaimed.borrow(), Unclaimed::Wait);
        let crowded = accepts && self.work.places.free.available_permits() == 0;
        // While connections have to wait, or no place is free, leave them in the queue.
        let wanted = match accepts && !crowded {
            true => PollFlags::POLLIN,
            false => PollFlags::empty(),
        };
        let timeout = match crowded {
            true => PollTimeout::try_from(CROWDED).unwrap_or(PollTimeout::MAX),
            false => PollTimeout::NONE,
        };
        let mut fds = [
            PollFd::new(self.work.socket.as_fd(), wanted),
            PollFd::new(self.bell.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, timeout) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(PollFlags::empty()),
            Err(error) => return Err(error.into()),
        }
        let [listener, bell] = fds.map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        if bell.contains(PollFlags::POLLIN) {
            let _ = (&self.bell).read(&mut [0; 64]);
            return Ok(PollFlags::empty());
        }
        Ok(listener)
    }

    /// Accepts a connection. Acquires the permit first, because a connection that cannot be handled yet should stay in
    /// the queue.
    fn accept(&self) {
        let Ok(place) = self.work.places.free.clone().try_acquire_owned() else {
            return;
        };
        if !self.control.goes(WAITING, ACCEPTING) {
            return;
        }
        let accepted = self.work.socket.accept();
        self.control.goes(ACCEPTING, WAITING);
        match accepted {
            Ok((client, _)) => self.hand_over(client, place),
            // The socket was shut down while we were blocked, either by us or by the program.
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => self.shut_down(),
            Err(error) if is_temporary(&error) => {}
            // No descriptors or memory are left. This may be temporary, and the connection stays in the queue.
            Err(_) => thread::sleep(CROWDED),
        }
    }

    fn hand_over(&self, client: Socket, place: OwnedSemaphorePermit) {
        let (address, unclaimed) = (self.work.address.clone(), self.work.unclaimed.clone());
        let places = self.work.places.clone();
        let handled = forward::handle(client, address, unclaimed, places, place);
        self.work.runtime.spawn(handled);
    }

    fn shut_down(&self) {
        if !self.control.ended() {
            (self.work.shut_down)();
        }
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
    )
}
