//! A model of the kernel's listening sockets, and of the processes that hold them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::promises::Promises;
use super::rules::{RULES, Rule, Serving};
use super::setting::{Client, Failing, Step};
use super::shares::Sharing;
use crate::os::Queue;
use crate::reload::{GenId, Time};
use crate::socket::table::Steering;
use crate::socket::table::closing::LONGEST_HANDSHAKE;
use crate::socket::table::{GroupId, Kernel, ListenerId, Op, Sight};
use crate::socket::{Endpoint, Transport};
use crate::unclaimed::UnclaimedPolicy;

/// A member of the kernel's array. `None` is another process's socket.
pub(super) type Member = Option<ListenerId>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Array {
    pub(super) endpoint: Option<Endpoint>,
    pub(super) members: Vec<Member>,
    /// The steering of the attached program.
    pub(super) program: Option<Steering>,
    /// The listener that a unix socket's path leads to.
    pub(super) linked: Option<ListenerId>,
    pub(super) policy: UnclaimedPolicy,
    /// Whether a program has opened sockets here.
    pub(super) opened: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sock {
    pub(super) group: GroupId,
    /// The running generation that accepts from the socket.
    pub(super) held: Option<GenId>,
    /// Whether the program opened the socket.
    pub(super) own: bool,
    pub(super) forwards: bool,
    pub(super) hidden: bool,
    pub(super) listening: bool,
}

/// A scan of all sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Scan {
    pub(super) group: GroupId,
    pub(super) since: Time,
    handshakes: bool,
    /// The result, once the scan has been done.
    pub(super) found: Option<Sight>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Model {
    pub(super) now: Time,
    pub(super) arrays: BTreeMap<GroupId, Array>,
    pub(super) socks: BTreeMap<ListenerId, Sock>,
    pub(super) client: Option<Client>,
    pub(super) scans: Vec<Scan>,
    pub(super) serving: Serving,
    /// The other instances that are live.
    pub(super) beside: BTreeSet<GenId>,
    pub(super) sharing: Sharing,
    /// Whether new connections may be held although a generation is live.
    pub(super) holds_new: bool,
    /// The probe that is in progress.
    pub(super) probe: Option<(GroupId, GenId)>,
    /// The generation whose socket is about to listen.
    pub(super) joins: Option<GenId>,
    /// Whether the indices may be wrong, because a program has shut a listener down and the table does not know yet, or
    /// because a group contains another process's socket.
    pub(super) disturbed: bool,
    /// Whether a forwarder could not be stopped, and no other listener could be opened. Connections then wait in the
    /// existing listener, and are forwarded later.
    pub(super) stuck: bool,
    /// Whether the last attempt to steer failed.
    pub(super) unsteered: bool,
    pub(super) fails: Option<Failing>,
    pub(super) fallible: usize,
    /// The groups where a connection could already land in a stranger's socket before the current input.
    pub(super) astray: BTreeSet<GroupId>,
    /// The group in which a waiting connection was lost, which is allowed only if the whole group is removed.
    pub(super) lost_in: Option<GroupId>,
    pub(super) emptied: Option<GroupId>,
    pub(super) promises: Promises,
    pub(super) broken: Vec<(Rule, String)>,
    pub(super) checked: [u64; RULES],
}

pub(super) const PROBE_PORT: u16 = 4000;

impl Array {
    pub(super) fn is_udp(&self) -> bool {
        self.endpoint
            .is_some_and(|at| at.transport == Transport::Udp)
    }
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            now: Time::START.plus(LONGEST_HANDSHAKE * 10),
            arrays: BTreeMap::new(),
            socks: BTreeMap::new(),
            client: None,
            scans: Vec::new(),
            serving: Serving::Undecided,
            beside: BTreeSet::new(),
            sharing: Sharing::default(),
            holds_new: false,
            probe: None,
            joins: None,
            disturbed: false,
            stuck: false,
            unsteered: false,
            fails: None,
            fallible: 0,
            astray: BTreeSet::new(),
            lost_in: None,
            emptied: None,
            promises: Promises::default(),
            broken: Vec::new(),
            checked: [0; RULES],
        }
    }

    pub(super) fn listens(&self, group: GroupId, id: GenId) -> bool {
        let mut socks = self.socks.values();
        socks.any(|sock| {
            sock.group == group && sock.held == Some(id) && !sock.forwards && sock.listening
        })
    }

    fn remove_member(&mut self, listener: ListenerId) {
        let Some(sock) = self.socks.get(&listener) else {
            return;
        };
        let group = sock.group;
        if let Some(array) = self.arrays.get_mut(&group) {
            let mut members = array.members.iter();
            if let Some(index) = members.position(|member| *member == Some(listener)) {
                array.members.swap_remove(index);
            }
            if array.members.is_empty() {
                array.program = None;
            }
        }
    }

    /// Simulates a program that shuts its listener down. The connections that wait there are lost through no fault of
    /// hotrun's.
    pub(super) fn shut_down(&mut self, listener: ListenerId) {
        self.remove_member(listener);
        self.disturbed = true;
        if let Some(sock) = self.socks.get_mut(&listener) {
            sock.listening = false;
        }
        self.client = self.client.filter(|client| client.at != listener);
    }

    fn close(&mut self, listener: ListenerId) {
        let Some(sock) = self.socks.get(&listener) else {
            return;
        };
        let (group, listened) = (sock.group, sock.listening);
        if self.client.is_some_and(|client| client.at == listener) {
            let array = &self.arrays[&group];
            let left_behind = array.endpoint.is_none() && array.linked != Some(listener);
            if !left_behind || sock.held.is_some() {
                self.lost_in = Some(group);
            }
            self.client = None;
        }
        self.remove_member(listener);
        self.socks.remove(&listener);
        if let Some(array) = self.arrays.get_mut(&group) {
            array.linked = array.linked.filter(|linked| *linked != listener);
        }
        let array = &self.arrays[&group];
        if listened && array.members.is_empty() && !array.is_udp() && !self.disturbed {
            self.emptied = Some(group);
        }
    }

    fn add(&mut self, group: GroupId, listener: ListenerId, held: Option<GenId>) {
        let sock = Sock {
            group,
            held,
            own: held.is_some(),
            forwards: false,
            hidden: false,
            listening: true,
        };
        self.socks.insert(listener, sock);
        if let Some(array) = self.arrays.get_mut(&group) {
            array.members.push(Some(listener));
            array.opened |= held.is_some();
        }
        self.emptied = self.emptied.filter(|emptied| *emptied != group);
    }

    pub(super) fn stranger_comes(&mut self, group: GroupId) {
        if let Some(array) = self.arrays.get_mut(&group) {
            array.members.push(None);
        }
    }

    pub(super) fn stranger_goes(&mut self, group: GroupId) {
        if let Some(array) = self.arrays.get_mut(&group) {
            let mut members = array.members.iter();
            if let Some(index) = members.position(Option::is_none) {
                array.members.swap_remove(index);
            }
        }
    }

    fn has_stranger(&self, group: GroupId) -> bool {
        self.arrays[&group].members.contains(&None)
    }

    /// Performs a scan, as the scanning thread does.
    pub(super) fn scan(&mut self, index: usize) {
        let scan = self.scans[index];
        let half_open = self.client.is_some_and(|client| {
            self.socks[&client.at].group == scan.group
                && matches!(client.step, Step::HalfOpen { .. })
        });
        let stranger = self.arrays.contains_key(&scan.group) && self.has_stranger(scan.group);
        self.scans[index].found = Some(Sight {
            since: scan.since,
            stranger,
            half_open: half_open || !scan.handshakes,
        });
    }

    fn may_fail(&mut self) -> io::Result<()> {
        self.fallible += 1;
        let number = self.fallible - 1;
        match self.fails {
            Some(Failing::Only(failing)) if failing == number => Err(io::ErrorKind::Other.into()),
            Some(Failing::From(first)) if first <= number => Err(io::ErrorKind::Other.into()),
            Some(Failing::Only(_) | Failing::From(_)) | None => Ok(()),
        }
    }

    fn act(&mut self, op: &Op) -> io::Result<()> {
        match op.clone() {
            Op::AddGroup { group, endpoint } => {
                let array = Array {
                    endpoint,
                    members: Vec::new(),
                    program: None,
                    linked: None,
                    policy: UnclaimedPolicy::Wait,
                    opened: false,
                };
                self.arrays.insert(group, array);
            }
            Op::Open { group, listener } => {
                self.may_fail()?;
                if self.has_stranger(group) {
                    return Err(io::ErrorKind::AddrInUse.into());
                }
                self.add(group, listener, None);
            }
            Op::Join {
                group, listener, ..
            } => {
                self.may_fail()?;
                if self.has_stranger(group) {
                    return Err(io::ErrorKind::AddrInUse.into());
                }
                let joins = self.joins.take();
                self.add(group, listener, joins);
            }
            Op::Attach { via, steering } => {
                self.may_fail()?;
                let group = self.socks[&via].group;
                assert!(
                    steering.pool.iter().all(|(_, targets)| !targets.is_empty())
                        && !steering.pool.is_empty(),
                    "a steering program has a target"
                );
                if let Some(array) = self.arrays.get_mut(&group) {
                    array.program = Some(steering);
                }
            }
            Op::LinkPath { listener } => {
                self.may_fail()?;
                let group = self.socks[&listener].group;
                if let Some(array) = self.arrays.get_mut(&group) {
                    array.linked = Some(listener);
                }
            }
            Op::RestorePath { .. } | Op::SetNonblocking { .. } | Op::Watch { .. } => {}
            Op::Close { listener } => self.close(listener),
            Op::Hide { listener } => {
                self.may_fail()?;
                if let Some(sock) = self.socks.get_mut(&listener) {
                    sock.hidden = true;
                    self.promises.hidden(sock.group);
                }
            }
            Op::Forward { listener } => {
                self.may_fail()?;
                let endpoint = self.arrays[&self.socks[&listener].group].endpoint;
                self.check(Rule::IdentityKept, endpoint.is_some(), |_| {
                    format!("hotrun accepts from the unix socket {listener:?}")
                });
                if let Some(sock) = self.socks.get_mut(&listener) {
                    sock.forwards = true;
                }
            }
            Op::StopForwarding { listener } => {
                self.may_fail()?;
                if let Some(sock) = self.socks.get_mut(&listener) {
                    sock.forwards = false;
                }
            }
            Op::SetPolicy { group, policy } => {
                if let Some(array) = self.arrays.get_mut(&group) {
                    array.policy = policy;
                }
            }
            Op::Scan { group, handshakes } => self.scans.push(Scan {
                group,
                since: self.now,
                handshakes,
                found: None,
            }),
            Op::Report { group, event } => self.promises.reported(group, event),
            Op::RemoveGroup { group } => self.remove(group),
        }
        Ok(())
    }

    fn remove(&mut self, group: GroupId) {
        let left = self.socks.values().any(|sock| sock.group == group);
        assert!(!left, "listeners are closed before their group");
        let endpoint = self.arrays.remove(&group).and_then(|array| array.endpoint);
        self.is_refused(group, endpoint);
        self.lost_in = self.lost_in.filter(|lost| *lost != group);
        self.emptied = self.emptied.filter(|emptied| *emptied != group);
        self.probe = self.probe.filter(|(at, _)| *at != group);
    }
}

impl Kernel for Model {
    fn perform(&mut self, op: Op) -> io::Result<()> {
        let result = self.act(&op);
        self.unsteered |= result.is_err() && matches!(op, Op::Attach { .. } | Op::LinkPath { .. });
        self.check_instant(&op);
        result
    }

    fn queue(&mut self, listener: ListenerId) -> Option<Queue> {
        let sock = self.socks.get(&listener)?;
        let waits = self
            .client
            .is_some_and(|client| client.at == listener && client.step == Step::Queued);
        Some(Queue {
            listening: sock.listening,
            waiting: u32::from(waits),
        })
    }
}
