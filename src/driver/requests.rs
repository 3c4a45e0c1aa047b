//! Handles signals, keys and other terminal events.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::drain::DrainMonitor;
use crate::os::terminal::{self, Size};
use crate::process::signals::HotrunSignal;
use crate::process::{Control, Signal};
use crate::reload::{Event, Request};
use crate::ui::keys::Key;
use crate::ui::{self, Level, Report, TerminalEvent, TerminalInput, UiCommand, UiMode};

use super::state::Driver;

/// How often to count connections. Counting takes a few milliseconds, because it reads `/proc` for each process.
const COUNT_INTERVAL: Duration = Duration::from_secs(2);
/// How many times to scan for new processes, at most, in order to signal every process.
const MAX_SCANS: usize = 16;

impl Driver {
    pub(super) fn signalled(&mut self, signal: HotrunSignal) {
        let signal = match signal {
            HotrunSignal::Own(signal) => signal,
            HotrunSignal::FromDescendant { signal, pid, name } => {
                return self.ignore_signal(signal, pid, name.as_deref());
            }
        };
        let is_hangup = signal == Signal::SIGHUP;
        // Whether hotrun has a controlling terminal that is still open (`tty(4)`).
        let has_terminal = || File::open("/dev/tty").is_ok();
        if signal == Signal::SIGUSR1 || is_hangup && has_terminal() {
            return self.request(Request::Reload);
        }
        // Ctrl-C is the usual way to quit, so the exit status does not report a signal.
        self.ending.signal = Some(signal as i32).filter(|_| signal != Signal::SIGINT);
        // Ctrl-\ quits at once, and so does a second Ctrl-C or `SIGTERM`. A second `SIGHUP` does not: a closed terminal
        // may send several.
        let at_once = signal == Signal::SIGQUIT || !is_hangup && self.quits_again();
        self.handle(Event::Requested(match at_once {
            true => Request::QuitNow,
            false => Request::Quit,
        }));
    }

    /// Ignores a signal that a program under hotrun has sent, probably by mistake, for example with `pkill`.
    fn ignore_signal(&self, signal: Signal, pid: i32, name: Option<&str>) {
        let name = name.unwrap_or("a process");
        let text = format!("ignored a {signal} from `{name}` (pid {pid}), which runs under hotrun");
        let hint = "to quit hotrun, press Ctrl-C, or send the signal from another terminal";
        self.feed.message(Level::Warning, text, Some(hint.into()));
    }

    /// Whether the user has already asked hotrun to quit. Signals that arrive almost together count as one request:
    /// `timeout` signals hotrun and then its process group, and a shell may forward a signal that the terminal has sent to
    /// both.
    fn quits_again(&mut self) -> bool {
        const SAME_REQUEST: Duration = Duration::from_millis(50);
        let first = *self.ending.requested.get_or_insert_with(Instant::now);
        first.elapsed() >= SAME_REQUEST
    }

    fn request(&mut self, request: Request) {
        if matches!(request, Request::Reload | Request::Resume) {
            // Commands that were held back during a pause come first, because they may generate sources.
            self.run_pending_commands();
        }
        self.handle(Event::Requested(request));
    }

    pub(super) async fn terminal_event(
        &mut self,
        event: TerminalEvent,
        terminal: &mut TerminalInput,
    ) {
        match event {
            TerminalEvent::Keys(keys) => keys.into_iter().for_each(|key| self.pressed(key)),
            // The newest generation's program gets the input.
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
            // Like Ctrl-C: the second time, hotrun quits at once.
            Key::Quit => self.signalled(HotrunSignal::Own(Signal::SIGINT)),
            Key::Ui(command) => self.feed.command(command),
            Key::Pause if self.machine.is_paused() => self.request(Request::Resume),
            Key::Pause => self.request(Request::Pause),
            Key::Undo => self.request(Request::Undo),
            Key::ShareMore => self.request(Request::ShareMore),
            Key::ShareLess => self.request(Request::ShareLess),
            Key::ShareAll => self.request(Request::ShareAll),
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
        self.feed.command(UiCommand::Resized);
    }

    /// Handles Ctrl-Z: stops everything until the shell continues hotrun, as with `cargo run`.
    async fn suspend(&mut self, terminal: &mut TerminalInput) {
        if !self.feed.release_terminal(None).await {
            // The user interface's thread is blocked, because the terminal accepts no output.
            ui::restore_terminal();
        }
        self.signal_all(Signal::SIGSTOP);
        let began = Instant::now();
        // Returns at once if no shell could continue hotrun. If it fails, hotrun keeps running.
        let _ = terminal::suspend();
        // Done first, so that another Ctrl-Z works as soon as the user sees that hotrun is running again.
        self.report_failure("handling Ctrl-Z", terminal.resumed().await);
        self.signal_all(Signal::SIGCONT);
        // All deadlines are postponed by the length of the suspension.
        let away = began.elapsed();
        self.clock.leave_out(away);
        self.continued(away);
    }

    /// Redraws the screen, because another process may have used the terminal. `away`: how long everything was stopped, or
    /// zero if only hotrun was stopped (`SIGSTOP`).
    fn continued(&mut self, away: Duration) {
        self.feed.command(UiCommand::Resume { away });
        self.resized(terminal::size());
    }

    /// Signals every process of every tree. A guardian would not signal the children of processes that catch the
    /// signal.
    fn signal_all(&self, signal: Signal) {
        let mut signalled = HashSet::new();
        // Repeated, because a process may fork before the signal reaches it.
        for _ in 0..MAX_SCANS {
            let before = signalled.len();
            for pid in self.pids() {
                if signalled.insert(pid) {
                    // Fails if the process has exited.
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

    /// When to count connections next. `None` if the numbers are not shown or no program is running.
    pub(super) fn next_count(&self) -> Option<Instant> {
        let shown = self.config.ui.mode == UiMode::Live;
        (shown && !self.generations.is_empty()).then_some(self.count_at)
    }

    /// Counts the connections of each generation, and reports the numbers that have changed.
    pub(super) fn count_connections(&mut self) {
        self.count_at = Instant::now() + COUNT_INTERVAL;
        if !terminal::in_foreground(io::stdout()).unwrap_or(false) {
            return;
        }
        for (id, running) in &mut self.generations {
            // A new monitor each time, because the program may have opened more sockets.
            let listeners = self.sockets.monitored(*id);
            let monitor =
                DrainMonitor::new(listeners, Duration::MAX, &Arc::default(), &Arc::default());
            let Ok(count) = monitor.connection_count(&running.control.pids()) else {
                continue;
            };
            if running.connections.replace(count) != Some(count) {
                self.feed.report(Report::Connections(*id, count));
            }
        }
    }
}

/// Sleeps until the given time, or forever if there is none.
pub(super) async fn sleep_to(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
