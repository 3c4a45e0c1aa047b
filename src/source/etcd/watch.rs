use std::convert::Infallible;

use tokio::time::{Instant, sleep, timeout};

use super::client::{Client, TIMEOUT, late, message, number};
use super::keys::{KeyValue, Keys};
use super::{Credentials, Dial, EtcdUrl};
use crate::source::continuity::{STEADY, pause};

/// What has happened to the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EtcdEvent {
    /// Some have changed.
    Changed,
    /// They cannot be watched, for this reason. Repeated after each failed attempt.
    Down(String),
    /// They are watched.
    Up,
}

/// Watches the keys for ever, and reports what happens.
///
/// After each connection, all keys are read and compared with what is known, and then watched from the next revision
/// on. So no change is lost or reported twice, even if etcd has been restored or has compacted its history. If the first
/// attempt to read them fails, the first values count as a change, because the program may have started without them.
pub async fn watch(
    url: EtcdUrl,
    user: Option<Credentials>,
    dial: Dial,
    report: impl FnMut(EtcdEvent) + Send,
) {
    let mut watcher = Watcher {
        client: Client::new(url, user, dial),
        keys: Keys::default(),
        missed: false,
        up_since: None,
        report,
    };
    let mut failures = 0;
    loop {
        let Err(why) = watcher.run().await;
        watcher.missed |= !watcher.keys.are_known();
        let lasted = watcher.up_since.take().map(|since| since.elapsed());
        let was_steady = lasted.is_some_and(|lasted| lasted >= STEADY);
        failures = if was_steady { 0 } else { failures + 1 };
        (watcher.report)(EtcdEvent::Down(why));
        sleep(pause(failures)).await;
    }
}

struct Watcher<R> {
    client: Client,
    keys: Keys,
    /// Whether the first values count as a change.
    missed: bool,
    /// Since when the keys are watched.
    up_since: Option<Instant>,
    report: R,
}

impl<R: FnMut(EtcdEvent) + Send> Watcher<R> {
    /// Watches the keys until the connection fails. Returns the reason.
    async fn run(&mut self) -> Result<Infallible, String> {
        self.client.authenticate().await?;
        let snapshot = self.client.read().await?;
        let changed = self.keys.replace(snapshot.pairs);
        if changed || std::mem::take(&mut self.missed) {
            (self.report)(EtcdEvent::Changed);
        }
        let mut lines = self.client.watch(snapshot.revision + 1).await?;
        loop {
            let line = match self.up_since {
                Some(_) => lines.next().await?,
                None => timeout(TIMEOUT, lines.next()).await.map_err(|_| late())??,
            };
            if let Some(error) = line.get("error") {
                return Err(message(error));
            }
            let result = &line["result"];
            if self.up_since.is_none() {
                self.up_since = Some(Instant::now());
                (self.report)(EtcdEvent::Up);
            }
            let mut changed = false;
            for event in result["events"].as_array().into_iter().flatten() {
                let pair = serde_json::from_value::<KeyValue>(event["kv"].clone());
                let (key, value) = pair.map_err(|error| error.to_string())?.decode()?;
                let is_set = event["type"] != "DELETE";
                changed |= self.keys.set(key, is_set.then_some(value.as_slice()));
            }
            if changed {
                (self.report)(EtcdEvent::Changed);
            }
            if result["canceled"] == true {
                return Err(match number(&result["compact_revision"]) {
                    0 => format!("it ended the watch: {}", message(&result["cancel_reason"])),
                    _ => "it has compacted its history".to_owned(),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests;
