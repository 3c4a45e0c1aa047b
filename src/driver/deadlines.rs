//! What happens when a deadline of the machine passes.

use tokio::task::JoinSet;

use crate::reload::{Event, Time};

use super::inbox::Input;
use super::notify::drain;
use super::state::Driver;

impl Driver {
    /// A deadline has passed. First reads the notifications that programs have sent: they may wait in the sockets only
    /// because hotrun had no time to read them.
    pub(super) fn deadline_passed(&mut self, deadline: Option<Time>) {
        if self.clock.skip_suspension(deadline) {
            return;
        }
        self.clock.drains = true;
        let listeners = self
            .generations
            .values()
            .map(|running| running.listener.clone());
        // All at once: a listener that does not respond takes its second, and the others do not wait for it.
        let drained = listeners.map(|listener| async move { drain(&listener).await });
        let (mut drained, inbox) = (drained.collect::<JoinSet<()>>(), self.inbox.clone());
        tokio::spawn(async move {
            while drained.join_next().await.is_some() {}
            inbox.input(Input::Drained);
        });
    }

    pub(super) fn drained(&mut self) {
        self.handle(Event::Tick);
        self.clock.drains = false;
    }
}
