//! Compares the memory that is available with what a new generation may need: what the live one uses.

use std::time::Instant;

use nix::sys::stat::fstat;
use tokio::task::spawn_blocking;

use crate::os::memory;
use crate::reload::{Event, GenId};
use crate::ui::{Bytes, Level};

use super::state::Driver;

/// Sizes in bytes.
#[derive(Clone, Copy, Debug)]
struct Measured {
    available: u64,
    needed: u64,
}

impl Driver {
    /// Measures for the machine. Reports [`Event::MemoryMeasured`].
    pub(super) fn measure_memory(&mut self) {
        let sender = self.sender.clone();
        let measure = self.measure();
        tokio::spawn(async move {
            // If something is unknown, there is nothing to compare.
            let unknown = Measured {
                available: u64::MAX,
                needed: 0,
            };
            let measured = spawn_blocking(measure).await.ok().flatten();
            let Measured { available, needed } = measured.unwrap_or(unknown);
            let event = Event::MemoryMeasured { available, needed };
            sender.send(move |driver| driver.handle(event));
        });
    }

    /// Says so if there is too little memory for this generation, which is being started, beside the live one. The start
    /// does not wait for this.
    pub(super) fn check_memory(&mut self, id: GenId) {
        let Some(live) = self.machine.live().next() else {
            return;
        };
        let (sender, measure) = (self.sender.clone(), self.measure());
        tokio::spawn(async move {
            let measured = spawn_blocking(measure).await.ok().flatten();
            if let Some(Measured { available, needed }) = measured
                && needed > available
            {
                let (needed, available) = (Bytes(needed), Bytes(available));
                let text = format!(
                    "gen {id} may need {needed} of memory, as gen {live} does, but only {available} are available"
                );
                sender.send(move |driver| driver.report_memory(text));
            }
        });
    }

    fn report_memory(&mut self, text: String) {
        if self.reported.once.insert("memory") {
            let hint = match self.config.cli.instances.count {
                1 => "`--stop-first` stops the old generation before the new one starts",
                _ => "fewer `--instances` need less",
            };
            self.feed.message(Level::Warning, text, Some(hint.into()));
        }
    }

    /// Returns a function that measures. It may take long, so it must not run on the main thread.
    fn measure(&self) -> impl FnOnce() -> Option<Measured> + Send + 'static + use<> {
        let live = self
            .machine
            .live()
            .next()
            .and_then(|id| self.generations.get(&id));
        let live = live.map(|running| running.control.clone());
        let stored = self.fd_store.all();
        move || {
            let began = Instant::now();
            let pids = live?.pids();
            let available = memory::available()?;
            let all = |of: fn(i32) -> Option<u64>| pids.iter().filter_map(|pid| of(*pid)).sum();
            let mut needed: u64 = all(memory::resident);
            // In most cases, this upper bound is enough to know.
            if needed > available {
                needed = all(memory::unshared);
                // A new generation gets these, so it shares their memory.
                let sizes = stored.iter().filter_map(|(_, fd)| fstat(fd).ok());
                let shared: u64 = sizes
                    .map(|file| u64::try_from(file.st_size).unwrap_or(0))
                    .sum();
                needed = needed.saturating_sub(shared);
            }
            let measured = Measured { available, needed };
            tracing::debug!("{measured:?} in {:?}", began.elapsed());
            Some(measured)
        }
    }
}
