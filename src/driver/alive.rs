//! Checks that the live generation still works (`--alive`).

use crate::os::process_tree;
use crate::ready::{AliveInputs, watch_alive};
use crate::reload::{GenEvent, GenId};
use crate::ui::Level;

use super::start::connect;
use super::state::Driver;

impl Driver {
    /// Ends the liveness checks of a generation that is kept.
    pub(super) fn end_liveness_checks(&mut self, id: GenId) {
        if let Some(running) = self.generations.get_mut(&id) {
            running.waiting.abort_all();
        }
    }

    /// Starts the liveness checks of a generation that has gone live. They end when it is kept or begins to drain.
    pub(super) fn check_liveness(&mut self, id: GenId) {
        let Some(spec) = self.config.cli.alive.clone() else {
            return;
        };
        let (connect, routes) = (connect(self.sockets.routes(id)), self.sockets.routes(id));
        let Some(running) = self.generations.get_mut(&id) else {
            return;
        };
        let tree = running.control.clone();
        let halted = |pid: &i32| {
            process_tree::status(*pid).is_some_and(|status| status.stopped || status.traced)
        };
        let inputs = AliveInputs {
            connect,
            listeners: Box::new(move || routes().len()),
            exec: running.exec.clone(),
            is_halted: Box::new(move || tree.pids().iter().any(halted)),
        };
        let (sender, feed) = (self.sender.clone(), self.feed.clone());
        running.waiting.spawn(async move {
            let report = |result| {
                let alive = match result {
                    Ok(()) => {
                        let text = format!("gen {id} passes its liveness check again");
                        feed.message(Level::Info, text, None);
                        true
                    }
                    Err(why) => {
                        let text = format!("gen {id} fails its liveness check: {why}");
                        feed.message(Level::Warning, text, None);
                        false
                    }
                };
                sender.event(id, GenEvent::Liveness { alive });
            };
            watch_alive(&spec, inputs, report).await;
        });
    }
}
