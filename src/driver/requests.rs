//! What the user requests, by signals and by the terminal.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::os::terminal::{self, Size};
use crate::process::signals::{Descendant, HotrunSignal};
use crate::process::{Control, Signal};
use crate::reload::{Event, Request};
use crate::ui::keys::Key;
use crate::ui::{self, Level, Mode, Report, TerminalEvent, TerminalInput, UiCommand};

use super::state::Driver;

/// How often to count connections. It takes some milliseconds, because it reads `/proc` for each process of a program.
const COUNT_INTERVAL: Duration = Duration::from_secs(2);
/// How often to look for processes that were forked since the last look.
const MAX_LOOKS: usize = 16;

impl Driver {
    pub(super) fn signalled(&mut self, signal: HotrunSignal) {
        let is_hangup = signal == HotrunSignal::Hangup;
        match signal {
            // Ctrl-C is the usual way to quit, so the exit code does not name it.
            HotrunSignal::Interrupt => self.ending.signal = None,
            HotrunSignal::Terminate => self.ending.signal = Some(Signal::SIGTERM as i32),
            HotrunSignal::Hangup if has_terminal() => return self.request(Request::Reload),
            HotrunSignal::Hangup => self.ending.signal = Some(Signal::SIGHUP as i32),
            HotrunSignal::Quit => {
                // Ctrl-\ is for an end at once.
                self.ending.signal = Some(Signal::SIGQUIT as i32);
                return self.handle(Event::Requested(Request::QuitNow));
            }
            HotrunSignal::User => return self.request(Request::Reload),
            HotrunSignal::FromDescendant(sender) => return self.ignore_signal(&sender),
        }
        // A closed terminal may send several `SIGHUP`s; only a second Ctrl-C or `SIGTERM` means "at once".
        let again = !is_hangup && self.quits_again();
        self.handle(Event::Requested(match again {
            true => Request::QuitNow,
            false => Request::Quit,
        }));
    }

    /// A program that signals the process which it takes for its parent does not end hotrun.
    fn ignore_signal(&self, sender: &Descendant) {
        let Descendant { signal, pid, name } = sender;
        let name = name.as_deref().unwrap_or("a process");
        let text = format!("ignored a {signal} from `{name}` (pid {pid}), which runs under hotrun");
        let hint = "to end hotrun, press Ctrl-C, or send the signal from another terminal";
        self.feed.message(Level::Warning, text, Some(hint.into()));
    }

    /// Whether the user has requested the end before. A wrapper that signals hotrun and then the whole process group, as
    /// `timeout` does, requests it once, and so does a shell that forwards what the terminal sent to both.
    fn quits_again(&mut self) -> bool {
        const SAME_REQUEST: Duration = Duration::from_millis(50);
        let first = *self.ending.requested.get_or_insert_with(Instant::now);
        first.elapsed() >= SAME_REQUEST
    }

    fn request(&mut self, request: Request) {
        self.handle(Event::Requested(request));
        // The request may have ended a pause.
        self.run_waiting_commands();
    }

    pub(super) async fn terminal_event(
        &mut self,
        event: TerminalEvent,
        terminal: &mut TerminalInput,
    ) {
        match event {
            TerminalEvent::Keys(keys) => keys.into_iter().for_each(|key| self.pressed(key)),
            // The user has just started the newest program, or waits for it.
            TerminalEvent::Typed(bytes) => {
                let newest = self.generations.values().next_back();
                if let Some(terminal) = newest.and_then(|running| running.terminal.as_ref()) {
                    terminal.type_in(bytes);
                }
            }
            TerminalEvent::Resized(size) => self.resized(size),
            TerminalEvent::Suspend => self.suspend(terminal).await,
            TerminalEvent::Continued => self.continued(Duration::ZERO),
        }
    }

    fn pressed(&mut self, key: Key) {
        match key {
            Key::Reload => {
                ui::panic_for_test();
                self.request(Request::Reload);
            }
            // As Ctrl-C, which ends hotrun at once the second time.
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

    fn resized(&mut self, size: Size) {
        self.size = size;
        for running in self.generations.values() {
            if let Some(terminal) = &running.terminal {
                terminal.pty.resize(size);
            }
        }
        self.feed.command(UiCommand::Resized(size));
    }

    /// Ctrl-Z: as with `cargo run`, everything stops until the shell continues it.
    async fn suspend(&mut self, terminal: &mut TerminalInput) {
        if !self.feed.release_terminal().await {
            // The user interface's thread is blocked by a terminal that accepts no output.
            ui::restore_terminal();
        }
        self.signal_all(Signal::SIGSTOP);
        let began = Instant::now();
        // This fails where no shell could continue hotrun.
        let _ = terminal::suspend();
        // Before anything shows that hotrun runs again: from then on a Ctrl-Z counts.
        self.report_failure("handling Ctrl-Z", terminal.resumed().await);
        self.signal_all(Signal::SIGCONT);
        // The suspension makes nothing late.
        let away = began.elapsed();
        self.clock.leave_out(away);
        self.continued(away);
    }

    /// Another process used the terminal. `away` is zero if hotrun alone was stopped, by what cannot be caught: the
    /// programs and builds have run on.
    fn continued(&mut self, away: Duration) {
        self.feed.command(UiCommand::Resume { away });
        self.resized(terminal::size());
    }

    /// Signals each process of every tree. The guardians could not do this: they spare processes that handle a signal.
    fn signal_all(&self, signal: Signal) {
        let mut signalled = HashSet::new();
        // A process may have forked between the look and its signal.
        for _ in 0..MAX_LOOKS {
            let before = signalled.len();
            for pid in self.pids() {
                if signalled.insert(pid) {
                    // It may have ended.
                    let _ = kill(Pid::from_raw(pid), signal);
                }
            }
            if signalled.len() == before {
                return;
            }
        }
    }

    fn pids(&self) -> impl Iterator<Item = i32> {
        let build = self.builds.active.iter().map(|build| &build.control);
        let running = self.generations.values().map(|running| &running.control);
        let commands = self.commands.values();
        let commands = commands.filter_map(|command| command.control.as_ref());
        let all = running.chain(build).chain(commands);
        all.flat_map(Control::pids)
    }

    /// When to count connections next: only if they are shown, and if a program runs.
    pub(super) fn next_count(&self) -> Option<Instant> {
        let shown = self.config.ui.mode == Mode::Live;
        (shown && !self.generations.is_empty()).then_some(self.count_at)
    }

    /// Counts the connections of each generation, and reports changed numbers.
    pub(super) fn count_connections(&mut self) {
        self.count_at = Instant::now() + COUNT_INTERVAL;
        if !terminal::in_foreground(io::stdout()).unwrap_or(false) {
            return;
        }
        for (id, running) in &mut self.generations {
            // A new monitor each time, because a program may open sockets at any time.
            let monitor = self.sockets.drain_monitor(*id);
            let Ok(count) = monitor.connection_count(&running.control.pids()) else {
                continue;
            };
            if running.connections.replace(count) != Some(count) {
                self.feed.report(Report::Connections { id: *id, count });
            }
        }
    }
}

/// Sleeps until this moment, forever without one.
pub(super) async fn sleep_to(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

/// Whether hotrun has a controlling terminal. Opening it fails without one, and after it was closed (`tty(4)`).
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}
