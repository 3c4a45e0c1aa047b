//! Accepts the connections that no program takes from a listener.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::Socket;
use tokio::sync::watch;

use super::address::Address;
use super::client;
use super::limits::{Limits, Permit};
use super::unclaimed::Unclaimed;

/// After which time a forwarder looks again when too much is under way, or no descriptor is left.
const CROWDED: Duration = Duration::from_millis(50);

/// What a forwarder works on.
pub(super) struct Work {
    pub(super) socket: Arc<Socket>,
    pub(super) address: Address,
    /// What is to become of the connections.
    pub(super) unclaimed: watch::Receiver<Unclaimed>,
    pub(super) limits: Limits,
    /// Called when a program has shut the socket down.
    pub(super) shut_down: Box<dyn Fn() + Send>,
}

/// A thread that accepts connections from one listener. They are forwarded to the live generation, or get a response
/// while there is none and none is on its way.
///
/// The socket is shared with the program: `O_NONBLOCK` and `SO_RCVTIMEO` on it would be the program's as well
/// (`open(2)`, "open file description"), the latter even its connections'. And `accept4` has no flag for one call.
/// So the old program may take a connection between our `poll` and our `accept`, and the `accept` blocks. Therefore it
/// needs a thread, and that does no harm: what such a thread waits for is the very next connection, which is what it
/// would wait for anyway. The thread ends when the listener is shut down as it is closed. Once the process tree is gone
/// the socket is ours alone and is made non-blocking.
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
    rung: AtomicBool,
    bell: PipeWriter,
}

impl Control {
    /// Makes the thread look again. At most one byte is in the pipe, so this never blocks.
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            let _ = (&self.bell).write(&[0]);
        }
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
    /// Starts the thread.
    ///
    /// # Errors
    /// Where no pipe or no thread can be had.
    pub(super) fn start(work: Work) -> io::Result<Self> {
        work.limits.check()?;
        let (bell, ringer) = io::pipe()?;
        let control = Arc::new(Control {
            state: AtomicU8::new(WAITING),
            rung: AtomicBool::new(false),
            bell: ringer,
        });
        let name = thread_name(&work.address);
        let worker = Worker {
            work,
            control: control.clone(),
            bell,
        };
        thread::Builder::new()
            .name(name)
            .spawn(move || worker.run())?;
        Ok(Self { control })
    }

    /// Makes it look again what is to become of connections.
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
    bell: PipeReader,
}

/// Why the thread woke.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Woken {
    Connection,
    ShutDown,
    /// The bell, or the time.
    Otherwise,
}

impl Worker {
    fn run(self) {
        while !self.control.ended() {
            match self.wait() {
                Ok(Woken::Connection) => self.accept(),
                Ok(Woken::ShutDown) => return self.shut_down(),
                Ok(Woken::Otherwise) => {}
                // No other thread would be started.
                Err(_) => thread::sleep(CROWDED),
            }
        }
    }

    fn wait(&self) -> io::Result<Woken> {
        let room = self.work.limits.room(&self.work.unclaimed.borrow());
        // While there is nothing to do for connections, and while there is no room, they wait best where they are.
        let wanted = match room {
            None | Some(0) => PollFlags::empty(),
            Some(_) => PollFlags::POLLIN,
        };
        let timeout = match room {
            Some(0) => PollTimeout::try_from(CROWDED).unwrap_or(PollTimeout::MAX),
            None | Some(_) => PollTimeout::NONE,
        };
        let mut fds = [
            PollFd::new(self.work.socket.as_fd(), wanted),
            PollFd::new(self.bell.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, timeout) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Woken::Otherwise),
            Err(error) => return Err(error.into()),
        }
        let [listener, bell] = fds.map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        if bell.contains(PollFlags::POLLIN) {
            self.answer_bell();
            return Ok(Woken::Otherwise);
        }
        Ok(match listener {
            flags if flags.contains(PollFlags::POLLHUP) => Woken::ShutDown,
            flags if flags.contains(PollFlags::POLLIN) => Woken::Connection,
            _ => Woken::Otherwise,
        })
    }

    fn answer_bell(&self) {
        let _ = (&self.bell).read(&mut [0]);
        // Read and written at once: what is looked at next must not be older than this.
        self.control.rung.swap(false, Ordering::AcqRel);
    }

    /// The permit comes before the connection: the runtime may be busy, and a connection that cannot be forwarded yet
    /// is better off in the queue.
    fn accept(&self) {
        let Some(permit) = self.work.limits.permit(&self.work.unclaimed.borrow()) else {
            return;
        };
        if !self.control.goes(WAITING, ACCEPTING) {
            return;
        }
        let accepted = self.work.socket.accept();
        self.control.goes(ACCEPTING, WAITING);
        match accepted {
            Ok((client, _)) => self.hand_over(client, permit),
            // Shut down while we slept: if not by us, then by its program.
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => self.shut_down(),
            Err(error) if is_passing(&error) => {}
            // No descriptor or no memory is left: that may pass, and the connection waits.
            Err(_) => thread::sleep(CROWDED),
        }
    }

    fn hand_over(&self, client: Socket, permit: Permit) {
        let (address, unclaimed) = (self.work.address.clone(), self.work.unclaimed.clone());
        let limits = self.work.limits.clone();
        let runtime = limits.runtime.clone();
        runtime.spawn(client::handle(client, address, unclaimed, permit, limits));
    }

    fn shut_down(&self) {
        if !self.control.ended() {
            (self.work.shut_down)();
        }
    }
}

/// The kernel keeps 15 bytes of it.
fn thread_name(address: &Address) -> String {
    match address {
        Address::Tcp(address) => format!("forward {}", address.port()),
        Address::Unix(_) => "forward unix".to_owned(),
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
    )
}
