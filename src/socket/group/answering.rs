//! What is done with connections that no program takes.

use std::io;
use std::sync::Arc;

use super::{Group, SharedGroup};
use crate::socket::answerer::Answerer;
use crate::socket::duty::Duty;
use crate::socket::relay::Helper;
use crate::socket::roster::Key;

impl Group {
    /// Tells the relays what to do.
    pub(in crate::socket) fn set_duty(&self) {
        let duty = match (self.live, &self.answerer) {
            (Some(_), _) if self.hidden => Duty::Carry,
            (Some(id), _) if self.slots_of(id).any(|slot| !slot.leaving) => Duty::Carry,
            (None, Some(answerer)) => Duty::Answer(answerer.clone()),
            (Some(_) | None, _) => Duty::Wait,
        };
        self.duty.send_replace(duty);
        self.wake_relays();
    }

    /// Nobody serves, and nobody will soon: connections are answered by this.
    pub(in crate::socket) fn set_answerer(&mut self, answerer: Arc<dyn Answerer>) {
        self.answerer = Some(answerer);
        self.set_duty();
    }

    /// Takes what waits for the next generation, to answer it.
    pub(in crate::socket) fn attend(group: &SharedGroup, helper: &Helper) -> io::Result<()> {
        Self::start_relays(group, helper, |slot| slot.owner.is_none())
    }

    /// Connections wait again. The next generation must not share a slot with a relay: where that is taking a connection
    /// at this moment it gets another one, and what is in this one is carried to it.
    pub(in crate::socket) fn answer_no_more(&mut self) -> io::Result<()> {
        self.answerer = None;
        self.set_duty();
        let waits = self.slots.iter_mut().filter(|slot| slot.owner.is_none());
        let busy = waits.filter_map(|slot| (!slot.end_relay()).then_some(slot.key));
        let busy: Vec<Key> = busy.collect();
        if busy.is_empty() {
            return Ok(());
        }
        self.open(None)?;
        self.close_deferred();
        busy.into_iter().try_for_each(|key| self.disown(key))
    }
}
