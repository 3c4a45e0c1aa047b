//! What keys and the terminal ask for.

use std::collections::HashSet;
use std::io;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::os::terminal::{self, Size};
use crate::process::Control;
use crate::process::signals::HotrunSignal;
use crate::reload::Request;
use crate::ui;
use crate::ui::keys::Key;
use crate::ui::{Mode, Report, UiCommand};

use super::Driver;
use super::console::{Came, Console};

/// How often connections are counted while their number changes: that is as soon as a person sees it.
const LOOK: Duration = Duration::from_secs(1);
/// And while it does not. Each time costs some milliseconds, for the processes of a program have to be looked into.
const LOOK_AT_REST: Duration = Duration::from_secs(3);
/// How often to look for processes that were forked while we looked.
const LOOKS: usize = 16;

impl Driver {
    pub(super) fn came(&mut self, came: Came) -> Option<Suspend> {
        match came {
            Came::Keys(keys) => keys.into_iter().for_each(|key| self.pressed(key)),
            Came::Typed(bytes) => self.typed(&bytes),
            Came::Resized(size) => self.resized(size),
            Came::Suspend => return Some(Suspend),
            Came::Continued => self.continued(Duration::ZERO),
        }
        None
    }

    fn pressed(&mut self, key: Key) {
        match key {
            Key::Reload => {
                ui::panic_for_test();
                self.request(Request::Reload);
            }
            // As Ctrl-C: the second time it is at once.
            Key::Quit => self.signalled(HotrunSignal::Interrupt),
            Key::Errors => self.feed.command(UiCommand::ShowBuildLog),
            Key::Clear => self.feed.command(UiCommand::Clear),
            Key::Help => self.feed.command(UiCommand::ToggleHelp),
            Key::Escape => self.feed.command(UiCommand::HideHelp),
            Key::Mark => self.feed.command(UiCommand::Mark),
            Key::Pause if self.machine.is_paused() => self.request(Request::Resume),
            Key::Pause => self.request(Request::Pause),
            Key::Undo => self.request(Request::Undo),
            Key::KillDraining => self.request(Request::KillDraining),
        }
    }

    /// For the newest program: the one that the user has just started, or waits for.
    fn typed(&mut self, bytes: &[u8]) {
        let newest = self.generations.values().next_back();
        if let Some(typing) = newest.and_then(|running| running.typing.as_ref()) {
            // It ends with the program, and then nobody wants it.
            let _ = typing.send(bytes.to_vec());
        }
    }

    fn resized(&mut self, size: Size) {
        self.size = size;
        for running in self.generations.values() {
            if let Some(terminal) = &running.terminal {
                terminal.resize(size);
            }
        }
        self.feed.command(UiCommand::Resized(size));
    }

    /// Ctrl-Z: as with `cargo run`, everything stops until the shell lets it go on.
    pub(super) async fn suspend(&mut self, console: &mut Console) {
        if !self.feed.leave().await {
            // The thread that draws is stuck in a terminal that takes nothing.
            ui::restore_terminal();
        }
        self.signal_all(Signal::SIGSTOP);
        let began = Instant::now();
        // Where it can't be stopped there is nobody who could let it go on.
        let _ = terminal::suspend();
        // Before anybody sees that it goes on: a Ctrl-Z from then on counts.
        self.told("hearing Ctrl-Z", console.returned().await);
        self.signal_all(Signal::SIGCONT);
        // Nothing was late because of it.
        let away = began.elapsed();
        self.clock.leave_out(away);
        self.continued(away);
    }

    /// The terminal was somebody else's. While hotrun was stopped alone, by what cannot be caught, programs and builds
    /// went on, and got older.
    fn continued(&mut self, away: Duration) {
        self.feed.command(UiCommand::Resume { away });
        self.resized(terminal::size());
    }

    /// To each process of every tree. Not by their guardians: those would spare whoever handles it.
    fn signal_all(&self, signal: Signal) {
        let mut told = HashSet::new();
        // Again, for one of them may have forked between our look and its signal.
        for _ in 0..LOOKS {
            let before = told.len();
            for pid in self.pids() {
                if told.insert(pid) {
                    // One that has ended meanwhile needs nothing.
                    let _ = kill(Pid::from_raw(pid), signal);
                }
            }
            if told.len() == before {
                return;
            }
        }
    }

    fn pids(&self) -> impl Iterator<Item = i32> {
        let build = self.build.iter().map(|build| &build.control);
        let running = self.generations.values().map(|running| &running.control);
        let all = running.chain(build).chain(self.commands.controls());
        all.flat_map(Control::pids)
    }

    /// When connections are to be counted next: while somebody may look at it, and there is something to count.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let shown = self.config.ui.mode == Mode::Live;
        (shown && !self.generations.is_empty()).then_some(self.look_at)
    }

    /// Somebody new may have connections.
    pub(super) fn look_soon(&mut self) {
        self.look_at = Instant::now() + LOOK / 2;
    }

    /// Counts the connections of each generation, and tells what has changed.
    pub(super) fn look(&mut self) {
        self.look_at = Instant::now() + LOOK_AT_REST;
        if !terminal::in_foreground(io::stdout()).unwrap_or(false) {
            return;
        }
        for (id, running) in &mut self.generations {
            // Anew each time: a program may open sockets whenever it likes.
            let monitor = self.sockets.drain_monitor(*id);
            let Ok(count) = monitor.connection_count(&running.control.pids()) else {
                continue;
            };
            if running.connections.replace(count) != Some(count) {
                self.look_at = Instant::now() + LOOK;
                self.feed.tell(Report::Connections { id: *id, count });
            }
        }
    }
}

/// hotrun is to be suspended.
#[must_use]
#[derive(Debug)]
pub(super) struct Suspend;

/// Sleeps until this moment, for ever without one.
pub(super) async fn sleep_to(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
