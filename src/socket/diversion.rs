//! Diverts the connections from one source port to one generation.

use std::io;

use super::table::{GroupId, TableInput};
use super::thread::SocketInbox;
use crate::reload::GenId;

/// A source port that is diverted to one generation until the `Diversion` is dropped.
pub(super) struct Diversion {
    inbox: SocketInbox,
    group: GroupId,
    port: u16,
}

impl Diversion {
    pub(super) fn start(
        inbox: SocketInbox,
        group: GroupId,
        port: u16,
        to: GenId,
    ) -> io::Result<Self> {
        let diversion = Self { inbox, group, port };
        diversion.inbox.handle(diversion.input(Some(to)))?;
        Ok(diversion)
    }

    fn input(&self, to: Option<GenId>) -> TableInput {
        TableInput::Divert {
            group: self.group,
            port: self.port,
            to,
        }
    }
}

impl Drop for Diversion {
    fn drop(&mut self) {
        self.inbox.send(self.input(None));
    }
}
