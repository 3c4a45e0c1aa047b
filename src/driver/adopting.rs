//! Adopts the sockets that programs open themselves.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result};

use crate::config::Config;
use crate::os::seccomp::{self, TestRefusal, Unavailable};
use crate::process::Control;
use crate::reload::{Event, GenEvent, GenId};
use crate::socket::Adopter;
use crate::socket::intercept::{InterceptEvent, Interceptor};
use crate::ui::{Level, Report};

use super::Driver;
use super::feed::Feed;
use super::inbox::{Inbox, Input};

/// Whether hotrun adopts the sockets that a program opens.
pub(super) enum Adopting {
    Yes,
    /// The user turned it off, or this system cannot steer connections.
    No,
    /// System calls cannot be intercepted here.
    Unavailable(Unavailable),
}

impl Adopting {
    /// Tries to intercept a call.
    pub(super) fn probe(config: &Config, adopter: Option<&Adopter>) -> Self {
        if !config.adopt || adopter.is_none() {
            return Self::No;
        }
        match seccomp::probe(TestRefusal::from_hook()) {
            Ok(()) => Self::Yes,
            Err(why) => Self::Unavailable(why),
        }
    }

    pub(super) fn works(&self) -> bool {
        match self {
            Self::Yes => true,
            Self::No | Self::Unavailable(_) => false,
        }
    }

    /// Reports why it is unavailable. This matters less with `--listen`.
    pub(super) fn report(&self, config: &Config, feed: &Feed) {
        let Self::Unavailable(why) = self else { return };
        let level = match config.listen.is_empty() {
            true => Level::Warning,
            false => Level::Detail,
        };
        let text = format!("the program is stopped before the next one starts: {why}");
        feed.message(level, text, Some(why.hint().into()));
    }
}

/// An interceptor that waits for its program to start.
pub(super) struct Prepared {
    channel: OwnedFd,
    adopter: Adopter,
}

/// Returns the interceptor of a generation, and the end of its channel that goes to the program's filter.
pub(super) fn prepare(adopter: Adopter) -> Result<(Prepared, OwnedFd)> {
    let (channel, filter) = seccomp::channel().context("opening a channel to the program")?;
    Ok((Prepared { channel, adopter }, filter))
}

impl Prepared {
    /// Replies to the calls of the program that was started.
    pub(super) fn start(self, id: GenId, control: Control, inbox: &Inbox) -> Result<()> {
        let inbox = inbox.clone();
        let interceptor = Interceptor {
            id,
            adopter: self.adopter,
            pids: Box::new(move || control.pids()),
            notify: Box::new(move |event| inbox.input(Input::Intercepted { id, event })),
        };
        interceptor
            .start(self.channel)
            .context("starting the thread that replies to `bind` and `listen`")
    }
}

impl Driver {
    /// A program has opened a socket, or could not.
    pub(super) fn intercepted(&mut self, id: GenId, event: InterceptEvent) {
        match event {
            InterceptEvent::Listens { address, first } => {
                self.feed.tell(Report::Listening {
                    name: String::new(),
                    address: address.to_string(),
                    by: Some(id),
                    first,
                });
                self.handle(Event::Generation(id, GenEvent::Listening));
            }
            InterceptEvent::Refused => {
                self.explained.insert(id);
            }
            InterceptEvent::InUse(error) => {
                self.feed.error(format!("gen {id}: {error}"), error.hint());
            }
            InterceptEvent::Listed { address, listed } => {
                self.explained.insert(id);
                self.feed.error(
                    format!("gen {id} opens `{address}`, which conflicts with `--listen {listed}`"),
                    Some(format!("remove `--listen`, or use `--listen {address}`")),
                );
            }
            InterceptEvent::NotIntercepted(why) => self.feed.message(
                Level::Warning,
                format!("gen {id}: its sockets can't be adopted: {why}"),
                Some(why.hint().into()),
            ),
            InterceptEvent::NotAdopted { address, error } => {
                let at = address.map_or_else(String::new, |address| format!(" on `{address}`"));
                self.feed.message(
                    Level::Warning,
                    format!("gen {id}: its socket{at} can't be adopted: {error}"),
                    Some("use `--listen`, so that hotrun opens the socket".into()),
                );
            }
        }
    }
}
