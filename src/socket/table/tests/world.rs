//! A table with the model of the kernel below it, and the driver, programs and clients around it.

use std::time::Duration;

use super::kernel::{Model, PROBE_PORT};
use super::rules::{Rule, Serving};
use super::setting::{Budget, Generation, LONG, Life, Move, Setting};
use crate::reload::GenId;
use crate::socket::table::closing::REST;
use crate::socket::table::{GroupId, Joining, ListenerId, Table, TableInput};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) table: Table,
    pub(super) model: Model,
    pub(super) generations: Vec<Generation>,
    pub(super) responds: bool,
    pub(super) instances: bool,
    pub(super) budget: Budget,
}

impl World {
    pub(super) fn new(setting: &Setting) -> Self {
        let mut this = Self {
            table: Table::new(),
            model: Model::new(),
            generations: Vec::new(),
            responds: false,
            instances: setting.instances,
            budget: setting.budget,
        };
        for endpoint in &setting.listed {
            this.tell(TableInput::Add(*endpoint));
        }
        this.model.serving = Serving::Held;
        this
    }

    pub(super) fn id(index: usize) -> GenId {
        GenId(u32::try_from(index + 1).expect("the number fits into 32 bits"))
    }

    fn generation(&mut self, id: GenId) -> &mut Generation {
        &mut self.generations[id.0 as usize - 1]
    }

    pub(super) fn get(&self, id: GenId) -> Generation {
        self.generations[id.0 as usize - 1]
    }

    /// Sends the table an input. Returns whether it succeeded.
    pub(super) fn tell(&mut self, input: TableInput) -> bool {
        let worked = self.handle(input);
        self.tidy();
        worked
    }

    pub(super) fn handle(&mut self, input: TableInput) -> bool {
        self.model.unsteered = false;
        self.model.astray = self.model.groups_astray();
        let handled = self.table.handle(self.model.now, input, &mut self.model);
        handled.is_ok()
    }

    pub(super) fn tidy(&mut self) {
        let _ = self.table.tidy(self.model.now, &mut self.model);
        let deadline = self.table.deadline();
        let rests = deadline.is_none_or(|at| at > self.model.now);
        self.model.check(Rule::ComesToRest, rests, |_| {
            format!("overdue: {deadline:?}")
        });
        self.model.check_after();
        self.check_narrower();
    }

    /// Keeps `disturbed` set until the table knows of every shutdown, and no group contains another process's socket.
    fn settle_disturbance(&mut self) {
        let mut socks = self.model.socks.values();
        self.model.disturbed = socks.any(|sock| !sock.listening) || self.has_strangers();
    }

    pub(super) fn step(&mut self, setting: &Setting, action: Move) {
        self.act(setting, action);
        self.share_has_ended();
        self.settle_disturbance();
        self.model.fails = None;
    }

    fn act(&mut self, setting: &Setting, action: Move) {
        match action {
            Move::Prepare => self.prepare(),
            Move::Join(id) => self.join(setting, id),
            Move::Switch(id) => self.switch(id),
            Move::Share(id) => self.share(id),
            Move::StopSharing(id) => self.stop_sharing(id),
            Move::Hold => {
                self.model.serving = Serving::Undecided;
                if self.tell(TableInput::Hold) {
                    self.model.serving = Serving::Held;
                }
                self.leaves(None);
            }
            Move::Drain(id) => {
                self.stops_serving(id);
                self.reload_ends(id);
                self.generation(id).draining = true;
                self.tell(TableInput::Drain(id));
                self.leaves(Some(id));
                self.others_serve();
            }
            Move::Die(id) => self.die(id),
            Move::Release(id) => {
                self.stops_serving(id);
                self.reload_ends(id);
                self.generation(id).life = Life::Gone;
                self.tell(TableInput::Release(id));
                self.leaves(Some(id));
                self.others_serve();
            }
            Move::Respond => {
                self.responds = true;
                self.budget.responses -= 1;
                self.tell(TableInput::Respond);
            }
            Move::StopResponding => {
                self.responds = false;
                let before = std::mem::replace(&mut self.model.serving, Serving::Undecided);
                self.model.stuck |= !self.tell(TableInput::StopResponding);
                self.model.serving = before;
                self.model.check_after();
            }
            Move::HoldNew => self.hold_new(),
            Move::StopHolding => {
                self.tell(TableInput::HoldNew(false));
                self.model.holds_new = false;
                self.model.check_after();
            }
            Move::Divert(group, id) => self.divert(group, id),
            Move::StopDiverting => {
                let probe = self.model.probe.take();
                probe.map(|(group, _)| self.tell(diverts(group, None)));
            }
            Move::ShutDown(listener) => {
                self.budget.closes -= 1;
                self.model.shut_down(listener);
            }
            Move::Notice(listener) => {
                self.tell(TableInput::ShutDown(listener));
            }
            Move::Unhold(listener) => self.unhold(listener),
            Move::StrangerComes(_)
            | Move::StrangerGoes(_)
            | Move::Connect(..)
            | Move::Appear
            | Move::Complete
            | Move::Accept
            | Move::Respond503
            | Move::Forward(_)
            | Move::Scan(_) => self.outside(action),
            Move::Report(index) => self.report(index),
            Move::Pass => self.pass(REST),
            Move::PassLong => self.pass(LONG),
        }
    }

    fn hold_new(&mut self) {
        self.budget.holds -= 1;
        self.model.holds_new = true;
        self.tell(TableInput::HoldNew(true));
        let works = self.model.fails.is_none() && !self.model.disturbed;
        if let (Serving::Live(id), true) = (self.model.serving, works) {
            self.model.new_connections_wait(id);
        }
    }

    fn die(&mut self, id: GenId) {
        self.stops_serving(id);
        self.generation(id).life = Life::Dead;
        self.model.sharing_dies(id);
        for sock in self.model.socks.values_mut() {
            sock.held = sock.held.filter(|held| *held != id);
        }
        self.model.probe = self.model.probe.filter(|(_, own)| *own != id);
    }

    fn divert(&mut self, group: GroupId, id: GenId) {
        self.budget.probes -= 1;
        if self.tell(diverts(group, Some(id))) {
            self.model.probe = Some((group, id));
        } else {
            self.tell(diverts(group, None));
        }
    }

    fn report(&mut self, index: usize) {
        let scan = self.model.scans.remove(index);
        if let Some(sight) = scan.found {
            let group = scan.group;
            self.tell(TableInput::Scanned { group, sight });
        }
    }

    fn pass(&mut self, time: Duration) {
        self.model.pass(self.model.now.plus(time));
        if self.table.deadline().is_some_and(|at| at <= self.model.now) {
            self.tell(TableInput::Tick);
        }
    }

    fn stops_serving(&mut self, id: GenId) {
        self.one_less(id);
        let held = self.model.serving == Serving::Held;
        if self.model.serving == Serving::Live(id) || held && !self.get(id).draining {
            self.model.serving = Serving::Undecided;
        }
    }

    fn prepare(&mut self) {
        self.reload_begins();
        let id = Self::id(self.generations.len());
        self.generations.push(Generation {
            life: Life::Running,
            draining: false,
            served: false,
            opened: 0,
        });
        self.budget.generations -= 1;
        if !self.tell(TableInput::Prepare(id)) {
            // The driver releases a generation that could not be started.
            self.generation(id).life = Life::Gone;
            return;
        }
        let passed = self
            .table
            .groups()
            .iter()
            .filter(|group| !group.is_adopted());
        let passed: Vec<ListenerId> = passed
            .flat_map(|group| group.of(id))
            .map(|one| one.id)
            .collect();
        let mut shared = false;
        for listener in passed {
            if let Some(sock) = self.model.socks.get_mut(&listener) {
                shared |= sock.held.replace(id).is_some();
            }
        }
        shared |= self.model.shared(id);
        self.model
            .check(Rule::NotShared, !shared, |_| format!("{id}"));
    }

    fn join(&mut self, setting: &Setting, id: GenId) {
        let opened = usize::from(self.get(id).opened);
        self.generation(id).opened += 1;
        let endpoint = setting.opened[id.0 as usize - 1][opened];
        let joining = Joining {
            id,
            multipath: setting.multipath,
            backlog: 5,
            late: false,
        };
        let leaves = self.model.serving == Serving::Held && !self.get(id).draining;
        if leaves {
            self.model.serving = Serving::Undecided;
        }
        self.model.joins = Some(id);
        let before: Vec<ListenerId> = self.model.socks.keys().copied().collect();
        self.tell(TableInput::Join(endpoint, joining));
        self.model.joins = None;
        let mut socks = self.model.socks.iter();
        let own = socks.find(|(id, sock)| sock.own && !before.contains(id));
        if let Some((own, group)) = own.map(|(own, sock)| (*own, sock.group)) {
            self.opened(id, group);
            // The program does not accept from the listener that it was passed for this address.
            for (listener, sock) in &mut self.model.socks {
                if sock.group == group && *listener != own && !sock.own {
                    sock.held = sock.held.filter(|held| *held != id);
                }
            }
        }
        if leaves {
            self.model.serving = Serving::Held;
        }
    }

    fn switch(&mut self, id: GenId) {
        if self.get(id).served {
            self.budget.returns -= 1;
        }
        let before = self.model.serving;
        let arrays = self.model.arrays.clone();
        let groups: Vec<GroupId> = arrays.keys().copied().collect();
        let landings = |this: &Self| -> Vec<_> {
            let there = groups
                .iter()
                .filter(|group| this.model.arrays.contains_key(group));
            there.map(|group| this.model.landings(*group)).collect()
        };
        let landed = landings(self);
        let disturbed = self.model.disturbed || self.model.unsteered;
        let old = match before {
            Serving::Live(live) => Some(live),
            Serving::Either(..) | Serving::Held | Serving::Undecided => None,
        };
        self.model.serving = Serving::Either(old, id);
        if self.handle(TableInput::Switch {
            id,
            beside: self.beside(id),
        }) {
            self.model.serving = Serving::Live(id);
            self.model.beside = self.beside(id).into_iter().collect();
            self.others_serve();
            self.serves(id);
            self.generation(id).served = true;
            // The caller gets its reply before the table is tidied up.
            self.switched(id);
            self.tidy();
            self.switched(id);
            self.leaves(None);
            self.others_serve();
            return;
        }
        self.tidy();
        self.model.serving = before;
        let lands = landings(self);
        let same = disturbed || landed == lands;
        self.model.check(Rule::AllOrNothing, same, |_| {
            format!("the switch failed, but {landed:?} became {lands:?}")
        });
    }

    /// Checks that the generation gets the connections to every address that it listens on.
    fn switched(&mut self, id: GenId) {
        let groups: Vec<GroupId> = self.model.arrays.keys().copied().collect();
        let strangers = self.has_strangers() || self.an_end_is_unknown();
        for group in groups {
            if !self.model.listens(group, id) || self.model.is_hidden(group) || strangers {
                continue;
            }
            let landings = self.model.landings(group);
            let holds = self.model.holds_new;
            let own = holds
                || landings.iter().all(|member| {
                    self.model.held_by(*member, id) || self.model.held_beside(*member)
                });
            self.model.check(Rule::AllOrNothing, own, |_| {
                format!("switched to {id}, but connections land in {landings:?} of {group:?}")
            });
        }
    }

    pub(super) fn has_strangers(&self) -> bool {
        let mut arrays = self.model.arrays.values();
        arrays.any(|array| array.members.contains(&None))
    }

    pub(super) fn is_running(&self, id: GenId) -> bool {
        self.get(id).life == Life::Running
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = (GenId, Generation)> {
        let numbered = self.generations.iter().enumerate();
        numbered.map(|(index, generation)| (Self::id(index), *generation))
    }
}

fn diverts(group: GroupId, to: Option<GenId>) -> TableInput {
    TableInput::Divert {
        group,
        port: PROBE_PORT,
        to,
    }
}
