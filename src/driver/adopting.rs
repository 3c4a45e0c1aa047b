//! Adopts the sockets that programs open themselves.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result};

use crate::config::Config;
use crate::os::seccomp::{self, Unavailable};
use crate::process::Control;
use crate::reload::GenId;
use crate::socket::Adopter;
use crate::socket::intercept::Interceptor;
use crate::ui::{Feed, Level};

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
        match seccomp::probe() {
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
