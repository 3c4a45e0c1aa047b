//! Reads the variables of `--env-from` before each start.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::source::etcd::{self, Credentials, EtcdUrl};
use crate::source::pause;
use crate::ui::Level;

use super::state::{Driver, TaskSender};

/// How long etcd may hold up a start.
const LIMIT: Duration = Duration::from_secs(1);

/// The name under which new values are reported as a change.
const CHANGE: &str = "env-from";

/// The keys and their values.
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;
/// The result of reading the keys, or why they cannot be read.
pub(super) type EnvRead = Result<Pairs, String>;

pub(super) async fn read_env(url: EtcdUrl) -> EnvRead {
    let dial = url.dialer();
    let read = etcd::read(url, Credentials::from_environment(), dial);
    let late = |_| Err(format!("no response within {LIMIT:?}"));
    timeout(LIMIT, read).await.unwrap_or_else(late)
}

/// Tries again and again until the keys can be read.
async fn read_again(url: EtcdUrl, sender: TaskSender) {
    for failures in 1.. {
        sleep(pause(failures)).await;
        if let Ok(pairs) = read_env(url.clone()).await {
            sender.send(move |driver| driver.env_read_again(pairs));
            return;
        }
    }
}

impl Driver {
    /// Uses these keys from now on or, if they cannot be read, the last ones.
    pub(super) fn use_env(&mut self, read: EnvRead) {
        let Some(url) = &self.config.cli.env_from else {
            return;
        };
        match read {
            Ok(pairs) => {
                self.reported.has_env = true;
                let unusable = self.config.set_env_from(pairs);
                if let Some(first) = unusable.first()
                    && self.reported.once.insert("unusable keys")
                {
                    let text =
                        format!("`--env-from {url}`: the key `{first}` cannot be a variable");
                    let hint = "a name consists of letters, digits, `_`, `.` and `-`, and a value of at most 128 KiB without a zero byte";
                    self.feed.message(Level::Warning, text, Some(hint.into()));
                }
            }
            Err(why) => {
                let instead = match self.reported.has_env {
                    true => "the program starts with the last values",
                    false => "the program starts without its variables",
                };
                let text = format!("cannot read `--env-from {url}`: {why}; {instead}");
                self.feed.message(Level::Warning, text, None);
                if !std::mem::replace(&mut self.reported.reads_env_again, true) {
                    self.sources
                        .spawn(read_again(url.clone(), self.sender.clone()));
                }
            }
        }
    }

    /// Restarts the program if it was started without these keys.
    fn env_read_again(&mut self, pairs: Pairs) {
        self.reported.reads_env_again = false;
        let before = self.config.env_from();
        self.use_env(Ok(pairs));
        if self.config.env_from() != before {
            self.watch.watch.source_changed(CHANGE);
        }
    }
}
