//! Takes over TCP connections that no program accepts, and handles each of them by an [`UnclaimedPolicy`]: it waits, gets
//! a response (`respond`), or is forwarded to the live generation (`forward`). So are the idle connections that a
//! generation has left open (`kept`).
//!
//! This module gets a listening socket and a policy that may change at any time. It does not know generations, groups
//! or steering: a connection to the socket's address reaches the live generation.

mod forward;
mod inner;
mod kept;
mod pending;
mod respond;

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::os::unix::net;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::Socket;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use self::forward::{accepted, forward};
use self::inner::InnerConnections;
use self::pending::{ClientEvent, PendingConnection};
use self::respond::send;
pub use self::respond::{GetReason, Reason};

/// How many connections hotrun handles at the same time. Each of them occupies one place. A forwarded connection uses
/// two descriptors, and a process may have only 1024 by default.
const PLACES: usize = 256;
/// How many connections that generations have left hotrun carries at the same time. They have places of their own,
/// because they may last as long as their clients.
const MOST_CARRIED: usize = 1024;
/// How long a forwarder waits before it retries if all places or all descriptors are in use.
const CROWDED: Duration = Duration::from_millis(50);
/// The errors after which `accept` can be called again at once.
const TEMPORARY: [io::ErrorKind; 3] = [
    io::ErrorKind::WouldBlock,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::Interrupted,
];
/// How many clients may wait without a place. If there are more, only the newest are kept.
const MOST_WITHOUT_PLACE: u64 = 256;

/// How to handle a connection that no program accepts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum UnclaimedPolicy {
    /// Let it wait.
    #[default]
    Wait,
    /// Accept it and let it wait, because a program that is about to be stopped could accept it. Those beyond the limit
    /// stay in the queue.
    Take,
    /// Forward it to the live generation.
    Forward,
    /// Forward it if the client has connected to one of these addresses, where the live generation has another socket.
    /// `0.0.0.0` stands for all IPv4 addresses. Otherwise, let it wait without a place: if it was forwarded, it would come
    /// straight back.
    ForwardTo(Vec<IpAddr>),
    /// Respond to it if it speaks HTTP, and let it wait otherwise.
    Respond,
}

const ALL_IPV4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

impl UnclaimedPolicy {
    /// Whether to forward a connection to this address.
    pub fn forwards(&self, to: IpAddr) -> bool {
        match self {
            Self::Forward => true,
            Self::ForwardTo(served) => {
                let to = to.to_canonical();
                served.contains(&to) || to.is_ipv4() && served.contains(&ALL_IPV4)
            }
            Self::Wait | Self::Take | Self::Respond => false,
        }
    }
}

/// The state that the unclaimed connections of all addresses share. Connections beyond the limits wait in the accept
/// queues.
pub struct Unclaimed {
    /// The runtime whose tasks handle the connections.
    runtime: Handle,
    /// One permit for each connection that may be handled at the same time.
    places: Arc<Semaphore>,
    /// One permit for each connection that may be carried at the same time.
    carried: Arc<Semaphore>,
    inner: InnerConnections,
    /// How many clients have given up their places so far.
    without_place: watch::Sender<u64>,
    reason: watch::Sender<Arc<GetReason>>,
}

impl Unclaimed {
    /// Creates the state, with no connections yet.
    pub fn new(runtime: Handle) -> Self {
        let unknown: Arc<GetReason> = Arc::new(Reason::default);
        Self {
            runtime,
            places: Arc::new(Semaphore::new(PLACES)),
            carried: Arc::new(Semaphore::new(MOST_CARRIED)),
            inner: InnerConnections::default(),
            without_place: watch::Sender::default(),
            reason: watch::Sender::new(unknown),
        }
    }

    /// Starts accepting connections from this socket, which listens on this port. Calls `shut_down` if a program shuts
    /// down the socket. Fails if no more descriptors can be opened or no more threads can be started.
    pub fn accept_from(
        self: &Arc<Self>,
        socket: Arc<Socket>,
        port: u16,
        policy: watch::Receiver<UnclaimedPolicy>,
        shut_down: impl Fn() + Send + 'static,
    ) -> io::Result<Arc<Forwarder>> {
        let (bell, ringer) = net::UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        ringer.set_nonblocking(true)?;
        let forwarder = Arc::new(Forwarder {
            state: AtomicU8::new(WAITING),
            bell: ringer,
        });
        let task = ForwarderThread {
            socket,
            policy,
            unclaimed: self.clone(),
            shut_down: Box::new(shut_down),
        };
        let controlled_by = forwarder.clone();
        // The kernel truncates the name to 15 bytes.
        let thread = thread::Builder::new().name(format!("forward {port}"));
        thread.spawn(move || task.run(&controlled_by, &bell))?;
        Ok(forwarder)
    }

    /// Numbers a client that gives up its place.
    fn number(&self) -> u64 {
        self.without_place.send_modify(|count| *count += 1);
        *self.without_place.borrow()
    }

    /// Returns when too many clients have given up their places after the one with this number.
    async fn outnumbered(&self, number: Option<u64>) {
        let Some(number) = number else {
            return std::future::pending().await;
        };
        let mut count = self.without_place.subscribe();
        let _ = count
            .wait_for(|count| *count >= number + MOST_WITHOUT_PLACE)
            .await;
    }

    /// Sets the reason that is given to clients while the policy is [`UnclaimedPolicy::Respond`].
    pub fn set_reason(&self, reason: Arc<GetReason>) {
        self.reason.send_replace(reason);
    }
}

/// A thread that accepts connections from one listener.
///
/// The socket is shared with the program, so `O_NONBLOCK` and `SO_RCVTIMEO` would affect the program as well
/// (`open(2)`, "open file description"), and `SO_RCVTIMEO` even the connections that it accepts. `accept4` has no flag
/// to make a single call non-blocking. So the old program may accept a connection between our `poll` and our `accept`,
/// and our `accept` then blocks. This is why a thread is needed. A blocked thread does no harm: it waits for the next
/// connection, as it would anyway. When the listener is closed, the socket is shut down, and the thread exits. Once the
/// process tree is gone, only hotrun has the socket, and makes it non-blocking.
struct ForwarderThread {
    socket: Arc<Socket>,
    policy: watch::Receiver<UnclaimedPolicy>,
    unclaimed: Arc<Unclaimed>,
    /// Called when a program has shut down the socket.
    shut_down: Box<dyn Fn() + Send>,
}

/// Controls a thread that accepts connections from one listener. It has no lock, so the caller never waits for the thread.
pub struct Forwarder {
    state: AtomicU8,
    /// Wakes the thread. Writing never blocks: if the buffer is full, the thread is about to wake anyway.
    bell: net::UnixStream,
}

/// The thread is waiting for a connection.
const WAITING: u8 = 0;
/// The thread is accepting a connection, which may take a long time.
const ACCEPTING: u8 = 1;
/// The thread accepts no more connections.
const ENDED: u8 = 2;

impl Forwarder {
    /// Wakes the thread, so that it checks the policy again.
    pub fn wake(&self) {
        let _ = (&self.bell).write(&[0]);
    }

    /// Stops the thread. If it is blocked in `accept`, the caller must also shut down the socket.
    pub fn end(&self) {
        self.state.store(ENDED, Ordering::Release);
        self.wake();
    }

    /// Stops the thread unless it is accepting a connection. Returns whether it was stopped. A stopped thread accepts no
    /// more connections, but may run a little longer.
    pub fn end_idle(&self) -> bool {
        let ended = self.change(WAITING, ENDED) || self.ended();
        self.wake();
        ended
    }

    fn change(&self, from: u8, to: u8) -> bool {
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        let exchanged = self.state.compare_exchange(from, to, success, failure);
        exchanged.is_ok()
    }

    fn ended(&self) -> bool {
        self.state.load(Ordering::Acquire) == ENDED
    }
}

impl ForwarderThread {
    fn run(&self, control: &Forwarder, bell: &net::UnixStream) {
        while !control.ended() {
            let shut_down = match self.wait(bell) {
                Ok(woken) if woken.contains(PollFlags::POLLHUP) => true,
                Ok(woken) if woken.contains(PollFlags::POLLIN) => self.accept(control),
                Ok(_) => false,
                // Keep this thread running, because hotrun would not start another one.
                Err(_) => {
                    thread::sleep(CROWDED);
                    false
                }
            };
            if shut_down && !control.ended() {
                return (self.shut_down)();
            }
        }
    }

    /// Waits for an event on the listener or for a wake-up. Returns the listener's events.
    fn wait(&self, bell: &net::UnixStream) -> io::Result<PollFlags> {
        let accepts = *self.policy.borrow() != UnclaimedPolicy::Wait;
        let crowded = accepts && self.unclaimed.places.available_permits() == 0;
        // Leave connections in the queue if the policy says so or no place is free.
        let wanted = match accepts && !crowded {
            true => PollFlags::POLLIN,
            false => PollFlags::empty(),
        };
        let timeout = match crowded {
            true => PollTimeout::try_from(CROWDED).unwrap_or(PollTimeout::MAX),
            false => PollTimeout::NONE,
        };
        let mut fds = [
            PollFd::new(self.socket.as_fd(), wanted),
            PollFd::new(bell.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, timeout) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(PollFlags::empty()),
            Err(error) => return Err(error.into()),
        }
        let [listener, rung] = fds.map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        if rung.contains(PollFlags::POLLIN) {
            let _ = { bell }.read(&mut [0; 64]);
            return Ok(PollFlags::empty());
        }
        Ok(listener)
    }

    /// Accepts a connection, and handles it in a task. Takes a place first, because a connection that cannot be handled
    /// yet should stay in the queue. Returns whether the socket was shut down, either by us or by the program.
    fn accept(&self, control: &Forwarder) -> bool {
        let Ok(place) = self.unclaimed.places.clone().try_acquire_owned() else {
            return false;
        };
        if !control.change(WAITING, ACCEPTING) {
            return false;
        }
        let accepted = self.socket.accept();
        control.change(ACCEPTING, WAITING);
        match accepted {
            Ok((client, _)) => {
                let handled = handle(client, self.policy.clone(), self.unclaimed.clone(), place);
                self.unclaimed.runtime.spawn(handled);
            }
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => return true,
            Err(error) if TEMPORARY.contains(&error.kind()) => {}
            // No descriptors or memory are left. This may be temporary, and the connection stays in the queue.
            Err(_) => thread::sleep(CROWDED),
        }
        false
    }
}

/// Handles one connection by the current policy until it is closed.
async fn handle(
    socket: Socket,
    mut policy: watch::Receiver<UnclaimedPolicy>,
    unclaimed: Arc<Unclaimed>,
    place: OwnedSemaphorePermit,
) {
    // If this fails, dropping the socket closes the client's connection.
    let Ok(stream) = accepted(socket) else {
        return;
    };
    let Ok(to) = stream.local_addr() else {
        return;
    };
    let mut client = PendingConnection {
        stream,
        received: Vec::new(),
        until: None,
        may_respond: true,
        place: Some(place),
        reason: unclaimed.reason.subscribe(),
    };
    let mut number = None;
    loop {
        let responds = {
            let policy = policy.borrow_and_update();
            if policy.forwards(to.ip()) {
                break;
            }
            // It would keep others from being forwarded.
            if matches!(*policy, UnclaimedPolicy::ForwardTo(_)) && client.place.take().is_some() {
                number = Some(unclaimed.number());
            }
            *policy == UnclaimedPolicy::Respond
        };
        tokio::select! {
            biased;
            changed = policy.changed() => if changed.is_err() {
                return;
            },
            () = unclaimed.outnumbered(number) => return,
            event = client.wait(responds) => match event {
                ClientEvent::Request(response) => {
                    let _ = send(client.stream, &response).await;
                    return;
                }
                ClientEvent::Gone => return,
                ClientEvent::Unanswerable => {
                    client.place = None;
                    number = Some(unclaimed.number());
                }
            },
        }
    }
    if client.place.is_none() {
        let places = unclaimed.places.clone();
        client.place = places.acquire_owned().await.ok();
    }
    let _ = forward(client.stream, client.received, &unclaimed.inner).await;
}
