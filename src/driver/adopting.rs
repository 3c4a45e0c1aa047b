//! What comes of the sockets that programs open by themselves.

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

/// Whether sockets that a program opens by itself are taken over.
pub(super) enum Adopting {
    /// They are.
    Yes,
    /// The user does not want it, or could not have it on this system.
    No,
    /// They cannot be.
    Refused(Unavailable),
}

impl Adopting {
    /// Finds it out by doing it once.
    pub(super) fn probe(config: &Config, adopter: Option<&Adopter>) -> Self {
        match (config.adopt, adopter) {
            (false, _) | (true, None) => Self::No,
            (true, Some(_)) => match seccomp::probe(TestRefusal::asked()) {
                Ok(()) => Self::Yes,
                Err(why) => Self::Refused(why),
            },
        }
    }

    pub(super) fn works(&self) -> bool {
        match self {
            Self::Yes => true,
            Self::No | Self::Refused(_) => false,
        }
    }

    /// Says why not, once. With `--listen` there is another way, and it matters less.
    pub(super) fn tell(&self, config: &Config, feed: &Feed) {
        let Self::Refused(why) = self else { return };
        let level = match config.listen.is_empty() {
            true => Level::Warning,
            false => Level::Detail,
        };
        let text = format!("the program is stopped before the next one starts: {why}");
        feed.message(level, text, Some(why.hint().into()));
    }
}

/// hotrun's end of what a generation's trap sends, until its program is there.
pub(super) struct Trapped {
    channel: OwnedFd,
    adopter: Adopter,
}

/// Both ends of the way for a generation that is about to start.
pub(super) fn trap(adopter: Adopter) -> Result<(Trapped, OwnedFd)> {
    let (channel, there) = seccomp::channel().context("opening a channel to the program")?;
    Ok((Trapped { channel, adopter }, there))
}

impl Trapped {
    /// Answers the calls of the program that was started.
    pub(super) fn begin(self, id: GenId, control: Control, inbox: &Inbox) -> Result<()> {
        let inbox = inbox.clone();
        let interceptor = Interceptor {
            id,
            adopter: self.adopter,
            pids: Box::new(move || control.pids()),
            tell: Box::new(move |event| inbox.input(Input::Intercepted { id, event })),
        };
        interceptor
            .begin(self.channel)
            .context("starting a thread that answers it")
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
            InterceptEvent::Taken => {
                self.explained.insert(id);
            }
            InterceptEvent::InUse(error) => {
                self.feed.error(format!("gen {id}: {error}"), error.hint());
            }
            InterceptEvent::Listed { address, listed } => {
                self.explained.insert(id);
                self.feed.error(
                    format!("gen {id} opens `{address}`, where `--listen {listed}` is in the way"),
                    Some(format!("leave `--listen` out, or use `--listen {address}`")),
                );
            }
            InterceptEvent::Untrapped(why) => self.feed.message(
                Level::Warning,
                format!("gen {id} opens its sockets unseen: {why}"),
                Some(why.hint().into()),
            ),
            InterceptEvent::Missed { address, error } => {
                let at = address.map_or_else(String::new, |address| format!(" on `{address}`"));
                self.feed.message(
                    Level::Warning,
                    format!("gen {id}: its socket{at} can't be taken over: {error}"),
                    Some("`--listen` gives it one that hotrun holds".into()),
                );
            }
        }
    }
}
