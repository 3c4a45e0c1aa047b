use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::claim::stranger;
use super::face::Face;
use super::observer::Watched;
use super::roster::{Key, Owner, Roster};
use super::slot::{Slot, inode};
use super::{Address, Occupant};
use crate::os::{self, Queue};
use crate::reload::GenId;

/// How long a handshake may have begun before a switch and end after it, in another slot than the live one: a
/// client that lost our answer sends again after one second, then two (RFC 6298).
const LONGEST_HANDSHAKE: Duration = Duration::from_secs(3);

/// The length of the accept queue that is asked for; the kernel cuts it to `net.core.somaxconn`.
const QUEUE: i32 = 4096;

/// The face of a TCP address: one reuse-port group.
pub(super) struct Steered {
    address: SocketAddr,
    roster: Roster,
    /// The inodes of the members.
    inodes: Vec<(Key, u64)>,
}

impl Steered {
    /// The group of which `first`, that listens already, is the first member.
    pub(super) fn new(first: &Socket, key: Key) -> io::Result<Self> {
        let address = first
            .local_addr()?
            .as_socket()
            .ok_or(io::ErrorKind::InvalidInput)?;
        let mut roster = Roster::default();
        roster.join(key, None);
        let inodes = vec![(key, inode(first)?)];
        Ok(Self {
            address,
            roster,
            inodes,
        })
    }

    /// One who joined the group by itself: a process of the same user may. It gets no connection, but it has an index,
    /// and takes another's when that one leaves; so as long as it is there none of ours may join or leave.
    fn stranger(&self) -> Option<Occupant> {
        let ours: Vec<u64> = self.inodes.iter().map(|(_, inode)| *inode).collect();
        stranger(self.address, &ours)
    }

    /// Gives the kernel the program that it lacks, if it lacks one.
    fn steer(&mut self, slots: &[Slot]) -> io::Result<()> {
        let Some(steering) = self.roster.lacking() else {
            return Ok(());
        };
        let members = self.roster.keys();
        let member = slots.iter().find(|slot| members.contains(&slot.key));
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

    fn open(&mut self, key: Key, owner: Owner) -> io::Result<Socket> {
        if let Some(stranger) = self.stranger() {
            let message = format!("`{}` is also listened on by {stranger}", self.address);
            return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
        }
        let socket = stream(self.address)?;
        socket.set_reuse_port(true)?;
        socket.bind(&self.address.into())?;
        let inode = inode(&socket)?;
        listen(&socket)?;
        self.inodes.push((key, inode));
        self.roster.join(key, owner);
        Ok(socket)
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

    fn may_close(&self, slot: &Slot) -> bool {
        self.roster.may_leave(slot.key) && self.stranger().is_none()
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

    fn may_arrive(&self, passed: Duration) -> bool {
        passed < LONGEST_HANDSHAKE && os::sock_diag::tcp_half_open(self.address).unwrap_or(true)
    }

    fn tend_every(&self) -> Option<Duration> {
        None
    }

    fn watched(&self, slot: &Slot) -> Watched {
        Watched::Tcp {
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

/// A TCP socket for `address`, not bound. `SO_REUSEADDR` lets it be bound while old connections are in TIME_WAIT;
/// it does not let two sockets listen (`socket(7)`).
pub(super) fn stream(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// Makes it listen with the longest queue that there is: a queue that is full costs a client a second.
pub(super) fn listen(socket: &Socket) -> io::Result<()> {
    socket.listen(os::reuseport::longest_queue().unwrap_or(QUEUE).max(QUEUE))
}
