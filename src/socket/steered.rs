use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use socket2::Socket;

use super::bind::{listen, stream};
use super::drain::MonitoredListener;
use super::endpoint::{Endpoint, Transport};
use super::face::Face;
use super::roster::{Key, Owner, Roster};
use super::scan::stranger;
use super::scan::{Scan, Scanned};
use super::slot::Slot;
use super::{Address, Occupant};
use crate::os::{self, Queue};
use crate::reload::GenId;

/// The face of a TCP address: one reuse-port group.
pub(super) struct Steered {
    endpoint: Endpoint,
    address: SocketAddr,
    roster: Roster,
    /// The inodes of the members.
    inodes: Vec<(Key, u64)>,
}

impl Steered {
    /// The group of which `first`, that listens already, is the first member.
    pub(super) fn new(first: &Socket, key: Key, owner: Owner) -> io::Result<Self> {
        let endpoint = Endpoint::of(first)?;
        let mut roster = Roster::default();
        roster.join(key, owner);
        let inodes = vec![(key, os::inode(first)?)];
        Ok(Self {
            endpoint,
            address: endpoint.address,
            roster,
            inodes,
        })
    }

    /// A socket that shares the address and does not listen yet.
    pub(super) fn bound(endpoint: Endpoint) -> io::Result<Socket> {
        let socket = stream(endpoint.address)?;
        if endpoint.address.is_ipv6() {
            socket.set_only_v6(endpoint.only_v6)?;
        }
        socket.set_reuse_port(true)?;
        socket.bind(&endpoint.address.into())?;
        Ok(socket)
    }

    /// One who joined the group by itself: a process of the same user may. It gets no connection, but it has an index,
    /// and takes another's when that one leaves; so as long as it is there none of ours may join or leave.
    fn stranger(&self) -> Option<Occupant> {
        if self.endpoint.transport == Transport::Udp {
            return None;
        }
        let ours: Vec<u64> = self.inodes.iter().map(|(_, inode)| *inode).collect();
        stranger(self.endpoint, &ours)
    }

    /// Gives the kernel the program that it lacks, if it lacks one.
    fn steer(&mut self, slots: &[Slot]) -> io::Result<()> {
        let Some(steering) = self.roster.lacking() else {
            return Ok(());
        };
        let members = self.roster.keys();
        let mut able = slots.iter().filter(|slot| members.contains(&slot.key));
        let member = able.find(|slot| slot.takes_program());
        let member = member.ok_or(io::ErrorKind::NotConnected)?;
        os::reuseport::steer(&*member.socket, &steering.program())?;
        self.roster.attached(steering);
        Ok(())
    }
}

impl Face for Steered {
    fn address(&self) -> Address {
        Address::Tcp(self.address)
    }

    fn endpoint(&self) -> Option<Endpoint> {
        Some(self.endpoint)
    }

    fn open(&mut self, key: Key, owner: Owner) -> io::Result<Socket> {
        let socket = Self::bound(self.endpoint)?;
        self.join(key, owner, &socket, 0)?;
        Ok(socket)
    }

    fn join(&mut self, key: Key, owner: Owner, socket: &Socket, backlog: i32) -> io::Result<()> {
        if let Some(stranger) = self.stranger() {
            let message = format!("`{}` is also listened on by {stranger}", self.address);
            return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
        }
        let inode = os::inode(socket)?;
        match self.endpoint.transport {
            Transport::Tcp => listen(socket, backlog)?,
            // It has joined by being bound.
            Transport::Udp => {}
        }
        self.inodes.push((key, inode));
        self.roster.join(key, owner);
        Ok(())
    }

    fn give(&mut self, key: Key, owner: Owner) {
        self.roster.give(key, owner);
    }

    fn aim(&mut self, slots: &[Slot], owner: Owner) -> io::Result<()> {
        let before = self.roster.aim(owner);
        let result = self.steer(slots);
        if result.is_err() {
            self.roster.aim(before);
        }
        result
    }

    fn tend(&mut self, slots: &[Slot]) -> io::Result<()> {
        self.steer(slots)
    }

    fn may_leave(&self, slot: &Slot, carried: &[Key]) -> bool {
        self.roster.may_leave(slot.key, carried)
    }

    fn look(&self) -> Scan {
        // Datagrams have no handshake, and who shares the address is not told apart there.
        if self.endpoint.transport == Transport::Udp {
            return Scan::default();
        }
        Scan {
            endpoint: Some(self.endpoint),
            ours: self.inodes.iter().map(|(_, inode)| *inode).collect(),
            handshakes: false,
        }
    }

    fn may_close(&self, sight: &Scanned) -> bool {
        let ours = |inode| self.inodes.iter().any(|(_, this)| *this == inode);
        !sight.has_stranger(ours)
    }

    fn closed(&mut self, slots: &[Slot], key: Key) -> io::Result<()> {
        self.roster.leave(key);
        self.inodes.retain(|(this, _)| *this != key);
        self.steer(slots)
    }

    fn close(&mut self) {}

    fn queue(&self, slot: &Slot) -> io::Result<Queue> {
        os::tcp_info::queue(&*slot.socket)
    }

    fn tend_every(&self) -> Option<Duration> {
        None
    }

    fn monitored(&self, slot: &Slot) -> MonitoredListener {
        MonitoredListener::Tcp {
            socket: Some(slot.socket.clone()),
            address: self.address,
        }
    }

    fn own_path(&self, _slot: &Slot) -> Option<PathBuf> {
        None
    }

    fn divert(&mut self, slots: &[Slot], port: u16, id: GenId) -> io::Result<()> {
        self.roster.divert(port, id);
        self.steer(slots)
    }

    fn restore(&mut self, slots: &[Slot], port: u16) -> io::Result<()> {
        self.roster.restore(port);
        self.steer(slots)
    }
}
