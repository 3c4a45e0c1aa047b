//! Accepts the connections that no program takes from a listener.

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
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::address::Address;
use super::forward::{self, Unclaimed};

/// When a forwarder looks again if there is no place, or no descriptor is left.
const CROWDED: Duration = Duration::from_millis(50);

/// What a forwarder works on.
pub(super) struct Work {
    pub(super) socket: Arc<Socket>,
    pub(super) address: Address,
    pub(super) unclaimed: watch::Receiver<Unclaimed>,
    pub(super) runtime: Handle,
    /// The places for connections, over all addresses. The others wait in the queues.
    pub(super) places: Arc<Semaphore>,
    /// Called when a program has shut the socket down.
    pub(super) shut_down: Box<dyn Fn() + Send>,
}

/// A thread that accepts connections from one listener.
///
/// The socket is shared with the program: `O_NONBLOCK` and `SO_RCVTIMEO` on it would be the program's as well
/// (`open(2)`, "open file description"), the latter even its connections'. And `accept4` has no flag for one call.
/// So the old program may take a connection between our `poll` and our `accept`, and the `accept` blocks. Therefore it
/// needs a thread. A blocked thread does no harm: it waits for the very next connection, which it would do anyway. It ends
/// when the listener is shut down as it is closed. Once the process tree is gone the socket is ours alone and is made
/// non-blocking.
pub(super) struct Forwarder {
    control: Arc<Control>,
}

/// The thread waits.
const WAITING: u8 = 0;
/// It is accepting a connection, which may take long.
const ACCEPTING: u8 = 1;
/// It accepts no more.
const ENDED: u8 = 2;

/// What the owner of the sockets and the thread share. There is no lock: the owner never waits for the thread.
struct Control {
    state: AtomicU8,
    /// Never blocks. If it is full the thread will wake anyway.
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
    /// Starts the thread. Fails if the system has no descriptor or thread left.
    pub(super) fn start(work: Work) -> io::Result<Self> {
        let (bell, ringer) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        ringer.set_nonblocking(true)?;
        let control = Arc::new(Control {
            state: AtomicU8::new(WAITING),
            bell: ringer,
        });
        // The kernel keeps 15 bytes of the name.
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

    /// Makes it look at the policy again.
    pub(super) fn wake(&self) {
        self.control.ring();
    }

    /// Ends it, unless it sleeps in `accept`: the shutdown of the socket has to follow.
    pub(super) fn end(&self) {
        self.control.state.store(ENDED, Ordering::Release);
        self.control.ring();
    }

    /// Ends it unless it is accepting a connection. If that worked it accepts none any more, though the thread may live
    /// on for a moment.
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
                // No other thread would be started.
                Err(_) => thread::sleep(CROWDED),
            }
        }
    }

    /// Waits for the listener or the bell. Returns what happened to the listener.
    fn wait(&self) -> io::Result<PollFlags> {
        let accepts = !matches!(*self.work.unclaimed.borrow(), Unclaimed::Wait);
        let crowded = accepts && self.work.places.available_permits() == 0;
        // While they are to wait, and while there is no place, connections wait best where they are.
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

    /// The place comes before the connection: a connection that cannot be treated yet is better off in the queue.
    fn accept(&self) {
        let Ok(place) = self.work.places.clone().try_acquire_owned() else {
            return;
        };
        if !self.control.goes(WAITING, ACCEPTING) {
            return;
        }
        let accepted = self.work.socket.accept();
        self.control.goes(ACCEPTING, WAITING);
        match accepted {
            Ok((client, _)) => self.hand_over(client, place),
            // Shut down while we slept: if not by us, then by its program.
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => self.shut_down(),
            Err(error) if is_passing(&error) => {}
            // No descriptor or no memory is left: that may pass, and the connection waits.
            Err(_) => thread::sleep(CROWDED),
        }
    }

    fn hand_over(&self, client: Socket, place: OwnedSemaphorePermit) {
        let (address, unclaimed) = (self.work.address.clone(), self.work.unclaimed.clone());
        let handled = forward::handle(client, address, unclaimed, place);
        self.work.runtime.spawn(handled);
    }

    fn shut_down(&self) {
        if !self.control.ended() {
            (self.work.shut_down)();
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
    )
}
