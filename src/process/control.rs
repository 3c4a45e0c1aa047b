use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use super::wire::{self, Order};
use super::{Signal, disposition};
use crate::os::process_tree;

/// Controls a process tree. No method waits.
///
/// When the last clone is dropped the guardian kills the tree.
#[derive(Clone, Debug)]
pub struct Control(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Does not block. A duplicate is read by the task behind `Reports`.
    socket: UnixStream,
    guardian: i32,
    gone: Arc<AtomicBool>,
    /// The main process, if it is not the first one; otherwise 0.
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

    /// Sends a signal to the program: to each process of its tree that catches it and has no ancestor in the tree that does,
    /// and to the processes above those.
    pub fn signal(&self, signal: Signal) {
        self.order(Order::Signal(signal as i32));
    }

    /// Sends a signal that makes programs reload their configuration, to each process of the tree that catches it and has no
    /// ancestor in the tree that does. Returns whether there is one; no other process gets the signal.
    ///
    /// A Go program counts as catching every signal: its runtime does, and the user has chosen the signal. Beyond Linux this
    /// is unknown, and the whole tree gets the signal.
    pub fn reload_config(&self, signal: Signal) -> bool {
        let signal = signal as i32;
        let caught = !process_tree::KNOWN || disposition::catches(&self.pids(), signal);
        if caught {
            self.order(Order::ReloadConfig(signal));
        }
        caught
    }

    /// Sends the stop signal, as [`Control::signal`] does. No process gets it twice, however often this is called. Processes
    /// that are left when the program's first process ends get it then, unless they had it.
    pub fn stop(&self, signal: Signal) {
        self.order(Order::Stop(signal as i32));
    }

    /// Makes this process the main process (`MAINPID`, `sd_notify(3)`) if it is in the tree, and returns whether it is. Its
    /// end is then reported too, if it is a child of the guardian by then.
    pub fn set_main(&self, pid: i32) -> bool {
        let known = self.pids().contains(&pid);
        if known {
            self.0.main.store(pid, Ordering::Release);
            self.order(Order::SetMain(pid));
        }
        known
    }

    /// Whether a main process was set and is alive.
    pub fn main_alive(&self) -> bool {
        let main = self.0.main.load(Ordering::Acquire);
        main != 0 && !process_tree::has_ended(main) && self.pids().contains(&main)
    }

    /// Kills the whole tree, including processes that it forks meanwhile.
    pub fn kill(&self) {
        self.order(Order::Kill);
    }

    /// A snapshot of the tree's processes without the guardian; empty once the tree is gone. Always empty beyond Linux.
    pub fn pids(&self) -> Vec<i32> {
        // A reaped guardian's pid may belong to another process.
        if self.0.gone.load(Ordering::Acquire) {
            return Vec::new();
        }
        process_tree::descendants(self.0.guardian)
    }

    /// Whether the program handles the signal; otherwise it would die with requests in hand.
    ///
    /// The processes that do the work decide: those that hold a socket, and of these the ones furthest from the root. (`npm`
    /// catches `TERM` only to pass it on to a server that may not.) All of them must catch it. If no process holds a socket,
    /// one process of the tree that catches it is enough. A process that may not be inspected counts as one that holds a
    /// socket and does not catch the signal. Go's runtime catches every signal even for programs that do not, so it counts as
    /// not catching: the caller then waits until nothing is in hand, which is right for both kinds of program.
    ///
    /// Beyond Linux this is unknown, and the result is `true`.
    pub fn handles(&self, signal: Signal) -> bool {
        !process_tree::KNOWN || disposition::handles(&self.pids(), signal as i32)
    }

    fn order(&self, order: Order) {
        let line = wire::to_line(&order);
        let result = (&self.0.socket).write(line.as_bytes());
        let partial = matches!(&result, Ok(count) if *count < line.len());
        let full = matches!(&result, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        // The guardian has not read hundreds of orders, so it must be stopped (`SIGSTOP`). A kill has to reach it when it
        // continues, and closing the socket needs no room.
        if partial || full && order == Order::Kill {
            let _ = self.0.socket.shutdown(Shutdown::Write);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Closing is not enough: the reader of the reports has the socket too.
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}
