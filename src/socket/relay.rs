use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::Socket;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::Address;
use super::attend::{Closed, Permit, attend};
use super::duty::Duty;
use super::group::{Group, lock};
use super::roster::Key;
use super::slot::Slot;

/// How many connections are carried at the same time. The others wait in the queue. Each takes two descriptors, of which
/// a process has 1024 where nobody raised that.
const CARRIED: usize = 256;
/// How many are answered, or were taken to be answered and wait now, at the same time.
const ATTENDED: usize = 256;
/// After which time a relay looks again when too much is under way, or no descriptor is left.
const CROWDED: Duration = Duration::from_millis(50);

/// What relays of all groups have in common.
#[derive(Clone)]
pub(super) struct Helper {
    pub(super) runtime: Handle,
    carried: Arc<Semaphore>,
    attended: Arc<Semaphore>,
    closed: Arc<Mutex<Closed>>,
    /// So many relays can't be started, as where the system has run out of something.
    #[cfg(test)]
    pub(super) refused: Arc<std::sync::atomic::AtomicUsize>,
}

/// Where a relay works.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) address: Address,
    pub(super) tend_every: Option<Duration>,
    /// What is to be done with what comes.
    pub(super) duty: watch::Receiver<Duty>,
    pub(super) group: Weak<Mutex<Group>>,
}

impl Helper {
    /// # Panics
    /// Outside of a tokio runtime.
    pub(super) fn new() -> Self {
        Self {
            runtime: Handle::current(),
            carried: Arc::new(Semaphore::new(CARRIED)),
            attended: Arc::new(Semaphore::new(ATTENDED)),
            closed: Arc::default(),
            #[cfg(test)]
            refused: Arc::default(),
        }
    }

    /// The permits for what is to be done; none to wait in the queue.
    fn permits(&self, duty: &Duty) -> Option<&Arc<Semaphore>> {
        match duty {
            Duty::Wait => None,
            Duty::Carry => Some(&self.carried),
            Duty::Answer(_) => Some(&self.attended),
        }
    }

    fn permit(&self, duty: &Duty) -> Option<Permit> {
        let permit = self.permits(duty)?.clone().try_acquire_owned().ok()?;
        Some(match duty {
            Duty::Answer(_) => Permit::Attended { _permit: permit },
            Duty::Carry | Duty::Wait => Permit::Carried(permit),
        })
    }

    #[cfg(test)]
    fn check(&self) -> io::Result<()> {
        let one_less = |left: usize| left.checked_sub(1);
        let order = Ordering::SeqCst;
        match self.refused.fetch_update(order, order, one_less) {
            Ok(_) => Err(Errno::EMFILE.into()),
            Err(_) => Ok(()),
        }
    }

    /// The place of a connection on which no more is sent; told when it has to make room.
    pub(super) fn closed(&self) -> oneshot::Receiver<()> {
        let closed = self.closed.lock();
        closed.unwrap_or_else(PoisonError::into_inner).add()
    }

    /// Waits until one more may be carried.
    pub(super) async fn carried(&self) -> Option<OwnedSemaphorePermit> {
        self.carried.clone().acquire_owned().await.ok()
    }
}

/// Takes the connections that land in one slot and carries them to the live generation, or answers them while there is
/// none and none comes.
///
/// The slot's socket is shared with the program: `O_NONBLOCK` and `SO_RCVTIMEO` on it would be the program's as well
/// (`open(2)`, "open file description"), the latter even its connections'. And `accept4` has no flag for one call.
/// So the old program may take a connection between our `poll` and our `accept`, and the `accept` blocks. It must
/// therefore be a thread's, and that does no harm: what such a thread waits for is the very next connection, which
/// is what it would wait for anyway. It is ended by shutting the listener down when the slot is closed (see the drop
/// of [`Slot`]). Once the tree is gone the socket is ours alone and made non-blocking.
pub(super) struct Relay {
    leash: Arc<Leash>,
}

/// What a relay is held by.
struct Leash {
    ended: AtomicBool,
    /// Held while a connection is taken, which may be long.
    turn: Mutex<()>,
    rung: AtomicBool,
    bell: PipeWriter,
}

impl Leash {
    /// Makes the thread look again. At most one byte is in the pipe, so this never blocks.
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            let _ = (&self.bell).write(&[0]);
        }
    }

    fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

impl Relay {
    /// Begins, in a thread of its own.
    pub(super) fn start(slot: &Slot, place: Place, helper: &Helper) -> io::Result<Self> {
        #[cfg(test)]
        helper.check()?;
        let (bell, ringer) = io::pipe()?;
        let (ended, rung) = (AtomicBool::new(false), AtomicBool::new(false));
        let leash = Arc::new(Leash {
            ended,
            turn: Mutex::new(()),
            rung,
            bell: ringer,
        });
        let name = thread_name(&place.address);
        let worker = Worker {
            key: slot.key,
            socket: slot.socket.clone(),
            place,
            helper: helper.clone(),
            leash: leash.clone(),
            bell,
        };
        thread::Builder::new()
            .name(name)
            .spawn(move || worker.run())?;
        Ok(Self { leash })
    }

    pub(super) fn wake(&self) {
        self.leash.ring();
    }

    /// Ends it, unless it sleeps in `accept`: the shutdown of the socket has to follow.
    pub(super) fn end(&self) {
        self.leash.ended.store(true, Ordering::Release);
        self.leash.ring();
    }

    /// Ends it if it is not taking a connection; then it takes none any more, though the thread may live on for a
    /// moment. It is not waited for: it may be waiting for the group, which the caller has locked.
    pub(super) fn end_idle(&self) -> bool {
        let turn = match self.leash.turn.try_lock() {
            Ok(turn) => turn,
            Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        self.end();
        drop(turn);
        true
    }
}

struct Worker {
    key: Key,
    socket: Arc<Socket>,
    place: Place,
    helper: Helper,
    leash: Arc<Leash>,
    bell: PipeReader,
}

/// Why a relay woke.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Woken {
    /// Something waits in the slot.
    Connection,
    /// Somebody shut the listener down.
    Left,
    /// The bell, or the time.
    Otherwise,
}

impl Worker {
    fn run(self) {
        while !self.leash.ended() {
            match self.wait() {
                Ok(Woken::Connection) => self.take(),
                Ok(Woken::Left) => return self.left(),
                Ok(Woken::Otherwise) => {}
                // Nobody would begin another one.
                Err(_) => thread::sleep(CROWDED),
            }
            self.tend();
        }
    }

    fn wait(&self) -> io::Result<Woken> {
        let wanted = if self.may_take() {
            PollFlags::POLLIN
        } else {
            PollFlags::empty()
        };
        let timeout = self.timeout();
        let timeout = timeout.map_or(PollTimeout::NONE, |time| {
            PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX)
        });
        let mut fds = [
            PollFd::new(self.socket.as_fd(), wanted),
            PollFd::new(self.bell.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, timeout) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Woken::Otherwise),
            Err(error) => return Err(error.into()),
        }
        let [slot, bell] = fds.map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        if bell.contains(PollFlags::POLLIN) {
            self.answer_bell();
            return Ok(Woken::Otherwise);
        }
        Ok(match slot {
            flags if flags.contains(PollFlags::POLLHUP) => Woken::Left,
            flags if flags.contains(PollFlags::POLLIN) => Woken::Connection,
            _ => Woken::Otherwise,
        })
    }

    /// While there is nothing to do for them, and while too much is being done, connections wait best where they are.
    fn may_take(&self) -> bool {
        self.room().is_some_and(|room| room > 0)
    }

    fn room(&self) -> Option<usize> {
        let permits = self.helper.permits(&self.place.duty.borrow());
        permits.map(|permits| permits.available_permits())
    }

    fn timeout(&self) -> Option<Duration> {
        let crowded = self.room() == Some(0);
        [crowded.then_some(CROWDED), self.place.tend_every]
            .into_iter()
            .flatten()
            .min()
    }

    fn answer_bell(&self) {
        let _ = (&self.bell).read(&mut [0]);
        // Read and written at once: what is looked at next must not be older than this.
        self.leash.rung.swap(false, Ordering::AcqRel);
    }

    /// The permit comes before the connection: the runtime may be busy, and a connection that cannot be carried yet
    /// is better off in the queue.
    fn take(&self) {
        let Some(permit) = self.helper.permit(&self.place.duty.borrow()) else {
            return;
        };
        let _turn = self.turn();
        if self.leash.ended() {
            return;
        }
        match self.socket.accept() {
            Ok((client, _)) => self.hand_over(client, permit),
            // Shut down while we slept: if not by us, then by its program.
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => self.left(),
            Err(error) if is_passing(&error) => {}
            // No descriptor or no memory is left: that may pass, and the connection waits.
            Err(_) => thread::sleep(CROWDED),
        }
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        let turn = self.leash.turn.lock();
        turn.unwrap_or_else(PoisonError::into_inner)
    }

    fn hand_over(&self, client: Socket, permit: Permit) {
        let (address, duty) = (self.place.address.clone(), self.place.duty.clone());
        let attended = attend(client, address, duty, permit, self.helper.clone());
        self.helper.runtime.spawn(attended);
    }

    fn left(&self) {
        if self.leash.ended() {
            return;
        }
        if let Some(group) = self.place.group.upgrade() {
            let _ = lock(&group).left(self.key);
        }
    }

    /// Puts a path back that the program removed.
    fn tend(&self) {
        if self.place.tend_every.is_some()
            && let Some(group) = self.place.group.upgrade()
        {
            let _ = lock(&group).tend();
        }
    }
}

/// The kernel keeps 15 bytes of it.
fn thread_name(address: &Address) -> String {
    match address {
        Address::Tcp(address) => format!("relay {}", address.port()),
        Address::Unix(_) => "relay unix".to_owned(),
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
    )
}
