//! A model of what the kernel does with listening sockets, and of the processes that have them.
//!
//! Long because every check looks at the private parts of the model.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::os::Queue;
use crate::reload::{GenId, Time};
use crate::socket::Transport;
use crate::socket::table::Steering;
use crate::socket::table::closing::{LONGEST_HANDSHAKE, REST};
use crate::socket::table::{GroupId, Kernel, ListenerId, Op, Place, Sight, UnclaimedPolicy};

/// A promise that every op must keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Rule {
    /// No connection is lost because hotrun closes a listener.
    NothingLost,
    /// A new connection reaches the live generation, or a listener from which it is forwarded; while none is live, it
    /// waits where the next generation finds it.
    LandsWhereItIsServed,
    /// Somebody listens on every address, from the first listen to the end.
    NeverRefused,
    /// A probe reaches the generation that it is meant for, and nobody else.
    ProbesReachTheirOwn,
    /// A switch changes every address or none.
    AllOrNothing,
    /// Nothing is forwarded to where it was taken from.
    NoLoop,
    /// No program shares its listener with a forwarder before it drains.
    NotShared,
    /// Whatever can be closed is closed, what waits is served, and then nothing wakes up any more.
    ComesToRest,
}

/// A member of the kernel's array; `None` is a socket of another process.
pub(super) type Member = Option<ListenerId>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Array {
    pub(super) place: Place,
    pub(super) members: Vec<Member>,
    /// What the attached program does.
    program: Option<Steering>,
    /// Where the path of a unix socket leads.
    placed: Option<ListenerId>,
    pub(super) policy: UnclaimedPolicy,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sock {
    pub(super) group: GroupId,
    /// The living generation that accepts from it.
    pub(super) held: Option<GenId>,
    /// The program opened it.
    pub(super) own: bool,
    pub(super) forwards: bool,
    pub(super) hidden: bool,
    pub(super) listening: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// Its listener was chosen, and no look sees it yet.
    Chosen { since: Time },
    /// Its handshake has begun.
    HalfOpen { since: Time },
    /// It waits to be accepted.
    Queued,
}

/// A client that connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Client {
    pub(super) at: ListenerId,
    pub(super) step: Step,
}

/// A look at all sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Look {
    pub(super) group: GroupId,
    pub(super) since: Time,
    handshakes: bool,
    /// What was found, once it was looked.
    pub(super) found: Option<Sight>,
}

/// Who is served, as far as clients may rely on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Serving {
    /// This generation, from its switch until it is asked to stop.
    Live(GenId),
    /// During a switch from the first to the second.
    Either(Option<GenId>, GenId),
    /// Connections are held.
    Held,
    /// A generation has crashed or drains, and nothing has been decided yet.
    Undecided,
}

/// Which fallible ops of a move fail, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Failing {
    Only(usize),
    /// This one and all after it, as where no descriptor is left.
    From(usize),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Model {
    pub(super) now: Time,
    pub(super) arrays: BTreeMap<GroupId, Array>,
    pub(super) socks: BTreeMap<ListenerId, Sock>,
    pub(super) client: Option<Client>,
    pub(super) looks: Vec<Look>,
    pub(super) serving: Serving,
    /// The probe under way.
    pub(super) probe: Option<(GroupId, GenId)>,
    /// Whose socket waits to listen.
    pub(super) joins: Option<GenId>,
    /// A program shut a listener down, which nobody has noticed: until then indices are not what they should be.
    pub(super) disturbed: bool,
    /// A forwarder could not be stopped, and no other listener opened. Connections wait there, and are forwarded later.
    pub(super) stuck: bool,
    /// Steering has failed and was not tried again since.
    pub(super) unsteered: bool,
    /// Which of the next fallible ops fail.
    pub(super) fails: Option<Failing>,
    pub(super) fallible: usize,
    /// The groups in which a connection could land in a stranger before the current input.
    pub(super) astray: BTreeSet<GroupId>,
    /// A connection was closed in this group, which is fine if the whole group goes.
    lost_in: Option<GroupId>,
    emptied: Option<GroupId>,
    pub(super) broken: Vec<(Rule, String)>,
    pub(super) checked: [u64; 8],
}

pub(super) const PROBE_PORT: u16 = 4000;
const ORDINARY_PORT: u16 = 1;

impl Array {
    fn is_udp(&self) -> bool {
        matches!(self.place, Place::Ip(endpoint) if endpoint.transport == Transport::Udp)
    }

    pub(super) fn rename_placed(&mut self, rename: impl Fn(ListenerId) -> ListenerId) {
        self.placed = self.placed.map(rename);
    }
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            now: Time::START.plus(LONGEST_HANDSHAKE * 10),
            arrays: BTreeMap::new(),
            socks: BTreeMap::new(),
            client: None,
            looks: Vec::new(),
            serving: Serving::Undecided,
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
            broken: Vec::new(),
            checked: [0; 8],
        }
    }

    pub(super) fn check(&mut self, rule: Rule, holds: bool, what: impl FnOnce(&Self) -> String) {
        self.checked[rule as usize] += 1;
        if !holds {
            let text = what(self);
            self.broken.push((rule, text));
        }
    }

    /// Where a new connection may land, whatever the hash.
    pub(super) fn landings(&self, group: GroupId) -> Vec<Member> {
        self.landings_from(group, ORDINARY_PORT)
    }

    fn landings_from(&self, group: GroupId, port: u16) -> Vec<Member> {
        let array = &self.arrays[&group];
        if array.place == Place::Unix {
            return array.placed.into_iter().map(Some).collect();
        }
        let Some(program) = &array.program else {
            return array.members.clone();
        };
        let mut diverted = program.diverted.iter();
        let own = diverted.find(|(this, _)| *this == port);
        let indices = own.map_or(&program.targets, |(_, indices)| indices);
        let mut landings: Vec<Member> = Vec::new();
        for index in indices {
            match array.members.get(*index as usize) {
                Some(member) => landings.push(*member),
                None => return array.members.clone(),
            }
        }
        landings
    }

    pub(super) fn is_hidden(&self, group: GroupId) -> bool {
        let mut socks = self.socks.values().filter(|sock| sock.group == group);
        socks.any(|sock| sock.hidden)
    }

    fn held_by(&self, member: Member, id: GenId) -> bool {
        member.is_some_and(|listener| {
            let sock = self.socks.get(&listener);
            sock.is_some_and(|sock| sock.held == Some(id))
        })
    }

    fn is_forwarded(&self, group: GroupId, member: Member) -> bool {
        let sock = member.and_then(|listener| self.socks.get(&listener));
        self.arrays[&group].policy == UnclaimedPolicy::Forward
            && sock.is_some_and(|sock| sock.forwards)
    }

    pub(super) fn listens(&self, group: GroupId, id: GenId) -> bool {
        let mut socks = self.socks.values();
        socks.any(|sock| {
            sock.group == group && sock.held == Some(id) && !sock.forwards && sock.listening
        })
    }

    /// The groups in which a connection may land in a stranger.
    pub(super) fn groups_astray(&self) -> BTreeSet<GroupId> {
        let groups = self.arrays.keys().copied();
        groups
            .filter(|group| self.landings(*group).contains(&None))
            .collect()
    }

    /// What must hold at every instant.
    fn check_instant(&mut self, when: &Op) {
        let astray = self.groups_astray();
        let kept = astray.is_subset(&self.astray);
        self.check(Rule::LandsWhereItIsServed, kept, |_| {
            format!("after {when:?}: a stranger gets connections of {astray:?}")
        });
        if self.disturbed || self.unsteered {
            return;
        }
        let groups: Vec<GroupId> = self.arrays.keys().copied().collect();
        for group in groups {
            if self.is_hidden(group) || self.arrays[&group].members.is_empty() {
                continue;
            }
            let landings = self.landings(group);
            let fine = landings.iter().all(|member| self.may_land(group, *member));
            self.check(Rule::LandsWhereItIsServed, fine, |this| {
                format!("after {when:?}: {landings:?}, {:?}", this.serving)
            });
            let Some((_, id)) = self.probe.filter(|(at, _)| *at == group) else {
                continue;
            };
            if self.listens(group, id) {
                let landings = self.landings_from(group, PROBE_PORT);
                let own = landings.iter().all(|member| self.held_by(*member, id));
                self.check(Rule::ProbesReachTheirOwn, own, |_| {
                    format!("after {when:?}: {landings:?} for {id}")
                });
            }
        }
    }

    fn may_land(&self, group: GroupId, member: Member) -> bool {
        let by = |id: GenId| {
            !self.listens(group, id) || self.held_by(member, id) || self.is_forwarded(group, member)
        };
        match self.serving {
            Serving::Live(id) => by(id),
            Serving::Either(None, _) => true,
            Serving::Either(Some(one), other) => by(one) || by(other),
            Serving::Held | Serving::Undecided => true,
        }
    }

    /// What must hold once an input has been dealt with.
    pub(super) fn check_after(&mut self) {
        let lost = self.lost_in.take();
        self.check(Rule::NothingLost, lost.is_none(), |_| {
            format!("a connection in {lost:?}")
        });
        let emptied = self.emptied.take();
        self.check(Rule::NeverRefused, emptied.is_none(), |_| {
            format!("nobody listens in {emptied:?}")
        });
        let groups: Vec<GroupId> = self.arrays.keys().copied().collect();
        for group in groups {
            if self.is_hidden(group) {
                continue;
            }
            let landings = self.landings(group);
            if self.serving == Serving::Held && !self.arrays[&group].is_udp() {
                let waits = landings.iter().all(|member| self.may_wait(group, *member));
                let waits = waits || self.disturbed || self.unsteered || self.stuck;
                self.check(Rule::LandsWhereItIsServed, waits, |_| {
                    format!("held: {landings:?}")
                });
            }
            let loops = landings
                .iter()
                .any(|member| self.is_forwarded(group, *member));
            let calm = self.disturbed || self.unsteered || !loops;
            self.check(Rule::NoLoop, calm, |_| format!("{landings:?} in {group:?}"));
        }
    }

    /// Whether the next generation finds a connection in this member without a forwarder. What programs opened is theirs
    /// alone.
    fn may_wait(&self, group: GroupId, member: Member) -> bool {
        let sock = member.and_then(|listener| self.socks.get(&listener));
        let mut all = self.socks.values().filter(|sock| sock.group == group);
        let responds = self.arrays[&group].policy == UnclaimedPolicy::Respond;
        responds || sock.is_some_and(|sock| !sock.forwards) || all.any(|sock| sock.own)
    }

    pub(super) fn shared(&self, id: GenId) -> bool {
        let mut socks = self.socks.values();
        socks.any(|sock| sock.held == Some(id) && sock.forwards)
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

    /// A program shuts a listener down. What was in it is lost by its own fault.
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
            self.lost_in = Some(group);
            self.client = None;
        }
        self.remove_member(listener);
        self.socks.remove(&listener);
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

    /// Time passes. What was about to be seen or to arrive has been or has.
    pub(super) fn pass(&mut self, to: Time) {
        self.now = to;
        if let Some(client) = &mut self.client {
            if let Step::Chosen { since } = client.step
                && to.since(since) >= REST
            {
                client.step = appeared(&self.arrays, &self.socks[&client.at], since);
            }
            if let Step::HalfOpen { since } = client.step
                && to.since(since) >= LONGEST_HANDSHAKE
            {
                client.step = Step::Queued;
            }
        }
    }

    /// What a client began can be seen.
    pub(super) fn appear(&mut self) {
        if let Some(client) = &mut self.client
            && let Step::Chosen { since } = client.step
        {
            client.step = appeared(&self.arrays, &self.socks[&client.at], since);
        }
    }

    /// The thread that looks does so.
    pub(super) fn look(&mut self, index: usize) {
        let look = self.looks[index];
        let half_open = self.client.is_some_and(|client| {
            self.socks[&client.at].group == look.group
                && matches!(client.step, Step::HalfOpen { .. })
        });
        let stranger = self.arrays.contains_key(&look.group) && self.has_stranger(look.group);
        self.looks[index].found = Some(Sight {
            since: look.since,
            stranger,
            half_open: half_open || !look.handshakes,
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
            Op::Add { group, place } => {
                let array = Array {
                    place,
                    members: Vec::new(),
                    program: None,
                    placed: None,
                    policy: UnclaimedPolicy::Wait,
                };
                self.arrays.insert(group, array);
            }
            Op::Take { group, listener } => self.add(group, listener, None),
            Op::Open { group, listener } => {
                self.may_fail()?;
                if self.has_stranger(group) {
                    return Err(io::ErrorKind::AddrInUse.into());
                }
                self.add(group, listener, None);
            }
            Op::Listen {
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
                assert!(!steering.targets.is_empty(), "a program without a target");
                if let Some(array) = self.arrays.get_mut(&group) {
                    array.program = Some(steering);
                }
            }
            Op::Place { listener } => {
                self.may_fail()?;
                let group = self.socks[&listener].group;
                if let Some(array) = self.arrays.get_mut(&group) {
                    array.placed = Some(listener);
                }
            }
            Op::Restore { .. } | Op::SetNonblocking { .. } | Op::Watch { .. } => {}
            Op::Close { listener } => self.close(listener),
            Op::Hide { listener } => {
                self.may_fail()?;
                if let Some(sock) = self.socks.get_mut(&listener) {
                    sock.hidden = true;
                }
            }
            Op::Forward { listener } => {
                self.may_fail()?;
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
            Op::Scan { group, handshakes } => self.looks.push(Look {
                group,
                since: self.now,
                handshakes,
                found: None,
            }),
            Op::Remove { group } => self.remove(group),
        }
        Ok(())
    }

    fn remove(&mut self, group: GroupId) {
        let left = self.socks.values().any(|sock| sock.group == group);
        assert!(!left, "its listeners are closed before");
        self.arrays.remove(&group);
        self.lost_in = self.lost_in.filter(|lost| *lost != group);
        self.emptied = self.emptied.filter(|emptied| *emptied != group);
        self.probe = self.probe.filter(|(at, _)| *at != group);
    }
}

/// A unix socket has no handshake.
fn appeared(arrays: &BTreeMap<GroupId, Array>, sock: &Sock, since: Time) -> Step {
    match arrays[&sock.group].place {
        Place::Unix => Step::Queued,
        Place::Ip(_) => Step::HalfOpen { since },
    }
}

impl Kernel for Model {
    fn perform(&mut self, op: Op) -> io::Result<()> {
        let result = self.act(&op);
        self.unsteered |= result.is_err() && matches!(op, Op::Attach { .. } | Op::Place { .. });
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
