//! Gives a generation a share of the new connections (`--share`), and runs its check.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::reload::{GenEvent, GenId, GenNotice, Mode, Notice, Policy, ShareSteps};
use crate::socket::{Address, Sockets};
use crate::ui::{Feed, Human, Level};

use super::state::Driver;

/// How long the command of `--share-check` may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// Returns the policy, without shares if they are not possible.
pub(super) fn possible(policy: Policy, sockets: &Sockets, feed: &Feed) -> Policy {
    let why = if policy.share.is_empty() {
        return policy;
    } else if policy.mode == Mode::StopFirst {
        "the old generation stops before the new one starts"
    } else if sockets.adopter().is_none() {
        "this system cannot divide new connections between two generations"
    } else {
        return policy;
    };
    feed.message(
        Level::Warning,
        format!("`--share` has no effect: {why}"),
        None,
    );
    Policy {
        share: ShareSteps::default(),
        ..policy
    }
}

impl Driver {
    /// Gives the generation this percentage of new connections, or none any longer.
    pub(super) fn share(&mut self, id: GenId, percent: u8) -> Option<GenEvent> {
        let shared = self.sockets.share(id, percent);
        if percent == 0 {
            self.report_failure("ending a share", shared);
            return None;
        }
        self.builds.suspicion.settled(Instant::now());
        self.builds.start_ended(id, Instant::now());
        if let Err(error) = shared {
            let text = format!("cannot give gen {id} a share: {error}");
            self.feed.error(text, None);
            return Some(GenEvent::ShareFailed);
        }
        let mut listen = self.config.listen.iter();
        let path = listen.find(|spec| matches!(spec.address, Address::Unix(_)));
        if let Some(path) = path
            && self.reported.once.insert("share of a path")
        {
            let text = format!(
                "`{}` stays with the live generation until gen {id} gets everything: a unix socket switches as a whole",
                path.address
            );
            self.feed.message(Level::Info, text, None);
        }
        None
    }

    /// Starts the command of `--share-check`. It ends with the generation's share.
    pub(super) fn check_share(&mut self, id: GenId) {
        let (Some(line), Some(running)) = (
            self.config.cli.share.share_check.clone(),
            self.generations.get_mut(&id),
        ) else {
            return;
        };
        let (exec, sender, feed) = (running.exec.clone(), self.sender.clone(), self.feed.clone());
        running.waiting.spawn(async move {
            let why = match timeout(CHECK_TIMEOUT, exec(&line)).await {
                Ok(Ok(true)) => None,
                Ok(Ok(false)) => Some("the command failed".to_owned()),
                Ok(Err(error)) => Some(format!("cannot run the command: {error}")),
                Err(_) => Some(format!("it took longer than {}", Human(CHECK_TIMEOUT))),
            };
            if let Some(why) = &why {
                let text = format!("gen {id} fails `--share-check {line}`: {why}");
                feed.message(Level::Warning, text, None);
            }
            let passed = why.is_none();
            sender.event(id, GenEvent::ShareChecked { passed });
        });
    }

    /// Reports that there will be no more shares, because a program stores descriptors.
    pub(super) fn share_ends(&self, notice: Notice) {
        let stores = matches!(notice, Notice::Generation(_, GenNotice::StoredFds));
        if stores && !self.machine.policy().share.is_empty() {
            let text = "`--share` has no effect any longer: each generation stops before the next one starts";
            self.feed.message(Level::Warning, text.to_owned(), None);
        }
    }
}
