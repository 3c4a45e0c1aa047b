use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use super::wire::Order;
use super::{Signal, disposition};
use crate::os::{credentials, process_tree};

/// What can be done to a tree. None of it waits.
///
/// When the last clone is dropped the guardian kills the tree.
#[derive(Clone, Debug)]
pub struct Control(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Does not block; the other half of the same socket is read by the task behind `Reports`.
    socket: UnixStream,
    guardian: i32,
    gone: Arc<AtomicBool>,
    /// Which process is the program in truth; 0: the one that was started.
    main: AtomicI32,
}

impl Control {
    pub(super) fn new(socket: UnixStream, guardian: i32, gone: Arc<AtomicBool>) -> Self {
        Self(Arc::new(Inner {
            socket,
            guardian,
            gone,
            main: AtomicI32::new(0),
        }))
    }

    /// Sends a signal to the program: to each process of its tree that catches it and has no ancestor
    /// in the tree that does, and to those above it.
    pub fn signal(&self, signal: Signal) {
        self.order(Order::Signal(signal));
    }

    /// Sends a signal on which programs read their configuration again, to each process of the tree that
    /// catches it and has no ancestor in the tree that does. Says whether there is one; nobody else gets it.
    ///
    /// A Go program counts as one that handles every signal: its runtime catches them all, and whoever names one for
    /// it knows better. Beyond Linux nobody can tell, and the whole tree gets it.
    pub fn reload_config(&self, signal: Signal) -> bool {
        let handled = !process_tree::KNOWN || disposition::catches(&self.pids(), signal as i32);
        if handled {
            self.order(Order::ReloadConfig(signal));
        }
        handled
    }

    /// Sends the stop signal, as [`Control::signal`] does. No process gets it twice, however often this is called; and
    /// what is left when the program's first process ends gets it then, if it has not had it.
    pub fn stop(&self, signal: Signal) {
        self.order(Order::Stop(signal));
    }

    /// Takes this process for the program in truth (`MAINPID` of `sd_notify(3)`), if it is of the tree, and says whether it
    /// is: its end will be reported as well, unless its parent takes it in.
    pub fn set_main(&self, pid: i32) -> bool {
        let known = self.pids().contains(&pid);
        if known {
            self.0.main.store(pid, Ordering::Release);
            self.order(Order::Main(pid));
        }
        known
    }

    /// Whether there is such a process, and it lives.
    pub fn main_alive(&self) -> bool {
        let main = self.0.main.load(Ordering::Acquire);
        main != 0 && !credentials::ended(main) && self.pids().contains(&main)
    }

    /// Kills the whole tree, and whatever it forks meanwhile.
    pub fn kill(&self) {
        self.order(Order::Kill);
    }

    /// The tree's processes, the guardian not included; empty once it is gone. A snapshot. Beyond
    /// Linux always empty.
    pub fn pids(&self) -> Vec<i32> {
        // The guardian's number may belong to a stranger once it has been taken in.
        if self.0.gone.load(Ordering::Acquire) {
            return Vec::new();
        }
        process_tree::descendants(self.0.guardian)
    }

    /// Whether the program handles the signal, or would die of it with what it has in hand.
    ///
    /// The processes that do the work decide: those that hold a socket, and of these the ones
    /// furthest from the root. `npm` catches `TERM` only to pass it on to a server that may not. All
    /// of them must catch it; where none holds a socket, it is enough that one process of the tree does.
    /// One that may not be looked into counts as one that holds a socket and does not catch it.
    /// Go's runtime catches every signal for programs that handle none, so it counts as `false`: then
    /// the caller waits until nothing is in hand, which is right for either kind.
    ///
    /// Beyond Linux nobody can tell, and the answer is `true`.
    pub fn handles(&self, signal: Signal) -> bool {
        !process_tree::KNOWN || disposition::handles(&self.pids(), signal as i32)
    }

    fn order(&self, order: Order) {
        let line = order.line();
        let result = (&self.0.socket).write(line.as_bytes());
        let cut = matches!(&result, Ok(count) if *count < line.len());
        let full = matches!(&result, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        // The guardian has not read for hundreds of orders: somebody has stopped it. A kill must reach
        // it when it goes on, and the end of the socket needs no room.
        if cut || full && order == Order::Kill {
            let _ = self.0.socket.shutdown(Shutdown::Write);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Not by closing alone: whoever reads the reports has the socket too.
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}
