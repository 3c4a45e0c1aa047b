//! Reads the variables of `--env-from` before each start.

use std::time::Duration;

use tokio::time::timeout;

use crate::source::etcd::{self, Credentials, EtcdUrl};
use crate::ui::Level;

use super::state::Driver;

/// How long etcd may hold up a start.
const LIMIT: Duration = Duration::from_secs(1);

/// The keys and their values, or why they cannot be read.
pub(super) type EnvRead = Result<Vec<(Vec<u8>, Vec<u8>)>, String>;

pub(super) async fn read_env(url: EtcdUrl) -> EnvRead {
    let dial = url.dialer();
    let read = etcd::read(url, Credentials::from_environment(), dial);
    let late = |_| Err(format!("no response within {LIMIT:?}"));
    timeout(LIMIT, read).await.unwrap_or_else(late)
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
                    let hint =
                        "the name of a variable consists of letters, digits, `_`, `.` and `-`";
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
            }
        }
    }
}
