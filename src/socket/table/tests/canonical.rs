//! Makes equivalent states equal: times become relative to now, and listeners and groups are numbered by position.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::kernel::Model;
use super::rules::RULES;
use super::setting::LONG;
use super::setting::Step;
use super::world::World;
use crate::reload::Time;
use crate::socket::table::closing::{LONGEST_HANDSHAKE, REST};
use crate::socket::table::group::Backend;
use crate::socket::table::{Group, GroupId, ListenerId};

/// The time that stands for now in every canonical state.
const NOW: Time = Time(LONG);

struct Rename {
    now: Time,
    groups: BTreeMap<GroupId, GroupId>,
    listeners: BTreeMap<ListenerId, ListenerId>,
}

impl Rename {
    /// Rounds the time that has passed since `time` down to a threshold, because only the thresholds affect decisions.
    fn time(&self, time: Time) -> Time {
        let ago = self.now.since(time);
        let classes = [LONG, LONGEST_HANDSHAKE, REST];
        let class = classes.into_iter().find(|class| ago >= *class);
        Time(LONG - class.unwrap_or_default())
    }

    fn group(&self, id: GroupId) -> GroupId {
        self.groups.get(&id).copied().unwrap_or(GroupId(u64::MAX))
    }

    fn listener(&self, id: ListenerId) -> ListenerId {
        let unknown = ListenerId(u64::MAX);
        self.listeners.get(&id).copied().unwrap_or(unknown)
    }
}

impl World {
    pub(super) fn canonical(&self) -> Self {
        let groups = self.table.groups();
        let numbered = (0..).zip(groups);
        let rename = Rename {
            now: self.model.now,
            groups: numbered
                .map(|(number, group)| (group.id, GroupId(number)))
                .collect(),
            listeners: {
                let all = groups.iter().flat_map(Group::listeners);
                (0..)
                    .zip(all)
                    .map(|(number, one)| (one.id, ListenerId(number)))
                    .collect()
            },
        };
        let mut canonical = self.clone();
        let table = &mut canonical.table;
        table
            .groups
            .iter_mut()
            .for_each(|group| rename.in_group(group));
        table.common.next = 0;
        table.deadline = table.deadline.map(|_| NOW);
        rename.in_model(&mut canonical.model);
        canonical
    }

    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.canonical().hash(&mut hasher);
        hasher.finish()
    }
}

impl Rename {
    fn in_group(&self, group: &mut Group) {
        group.id = self.group(group.id);
        for listener in &mut group.listeners {
            listener.id = self.listener(listener.id);
            let until = listener.targeted_until;
            listener.targeted_until = until.map(|at| self.time(at));
            if listener.quiescent {
                listener.targeted_until = None;
            }
        }
        if let Backend::Path { linked } = &mut group.backend {
            *linked = linked.map(|id| self.listener(id));
        }
        if let Some(adopted) = &mut group.adopted {
            adopted.abandoned_since = adopted.abandoned_since.map(|at| self.time(at));
        }
        if let Some(sweep) = &mut group.sweep {
            sweep.at = NOW;
            sweep.pause = REST;
        }
    }

    fn in_model(&self, model: &mut Model) {
        model.now = NOW;
        let arrays = std::mem::take(&mut model.arrays);
        model.arrays = arrays
            .into_iter()
            .map(|(id, mut array)| {
                for member in &mut array.members {
                    *member = member.map(|id| self.listener(id));
                }
                array.linked = array.linked.map(|id| self.listener(id));
                (self.group(id), array)
            })
            .collect();
        let socks = std::mem::take(&mut model.socks);
        model.socks = socks
            .into_iter()
            .map(|(id, mut sock)| {
                sock.group = self.group(sock.group);
                (self.listener(id), sock)
            })
            .collect();
        if let Some(client) = &mut model.client {
            client.at = self.listener(client.at);
            client.step = match client.step {
                Step::Chosen { since } => Step::Chosen {
                    since: self.time(since),
                },
                Step::HalfOpen { since } => Step::HalfOpen {
                    since: self.time(since),
                },
                Step::Queued => Step::Queued,
            };
        }
        model.sharing.rename(|id| self.listener(id));
        for scan in &mut model.scans {
            scan.group = self.group(scan.group);
            scan.since = self.time(scan.since);
            if let Some(found) = &mut scan.found {
                found.since = self.time(found.since);
            }
        }
        model.probe = model.probe.map(|(group, id)| (self.group(group), id));
        model.promises.rename(|group| self.group(group));
        model.fallible = 0;
        model.astray.clear();
        model.checked = [0; RULES];
    }
}
