use super::adopted::Joining;
use super::closing::Sight;
use super::listener::{GroupId, ListenerId, Place};
use crate::reload::GenId;
use crate::socket::Endpoint;

/// What happened, as the table sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::socket) enum Input {
    /// `--listen` names this address. Its first listener is open.
    Listen(Place),
    /// A generation is about to start and needs its listeners.
    Prepare(GenId),
    /// A program has bound a socket to this address and wants to listen.
    Join(Endpoint, Joining),
    /// No process has these sockets any more.
    Orphan(Vec<ListenerId>),
    /// New connections are for this generation.
    Switch(GenId),
    /// Nobody serves. Connections wait.
    Hold,
    /// Nobody serves, and no generation is on its way: hotrun responds.
    Respond,
    /// Connections wait again.
    StopResponding,
    /// A generation is about to be asked to stop.
    Drain(GenId),
    /// All processes of a generation are gone.
    Release(GenId),
    /// Connections from this source port are for this generation.
    Divert {
        group: GroupId,
        port: u16,
        id: GenId,
    },
    /// Connections from this source port are like all others.
    Restore { group: GroupId, port: u16 },
    /// A program has shut a listener down.
    ShutDown(ListenerId),
    /// [`Op::Scan`] has ended.
    Scanned { group: GroupId, sight: Sight },
    /// [`Table::deadline`] is past.
    Tick,
    /// hotrun ends.
    Close,
}

impl Input {
    /// Whether the result includes that of [`Table::tidy`](super::Table::tidy), which starts forwarders.
    pub(in crate::socket) fn starts_forwarders(&self) -> bool {
        matches!(
            self,
            Self::Hold | Self::Respond | Self::Drain(_) | Self::Release(_)
        )
    }
}
