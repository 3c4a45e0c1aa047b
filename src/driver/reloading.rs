//! A program that says that it reads its configuration again (`sd_notify(3)`: `RELOADING=1`, then `READY=1`).

use std::time::Instant;

use crate::process::notify::Assignments;
use crate::reload::GenId;
use crate::ui::{Human, Level};

use super::feed::Feed;

/// Since when it does, if it does.
#[derive(Debug, Default)]
pub(super) struct Reloading(Option<Instant>);

impl Reloading {
    /// Shows when it begins and when it is done.
    pub(super) fn follow(&mut self, id: GenId, said: &Assignments, feed: &Feed) {
        if said.reloading {
            self.0 = Some(Instant::now());
            feed.message(
                Level::Info,
                format!("gen {id} reloads its configuration"),
                None,
            );
        } else if let Some(since) = self.0.take_if(|_| said.ready) {
            let took = Human(since.elapsed());
            feed.message(
                Level::Info,
                format!("gen {id} has reloaded in {took}"),
                None,
            );
        }
    }
}
