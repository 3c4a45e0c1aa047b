//! Starts generations.

use std::io;
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::config::{EnvFileError, Stdin};
use crate::os::hint_for_error;
use crate::ready::{self, Connect};
use crate::reload::{ArtifactId, GenEvent, GenId};
use crate::socket::{Address, Route};
use crate::ui::Mode;

use super::generation::{self, Start};
use super::running::Stdio;
use super::state::Driver;

impl Driver {
    pub(super) fn start(&mut self, id: GenId, artifact: ArtifactId) -> Option<GenEvent> {
        let error = self.try_start(id, artifact).err()?;
        let hint = error.downcast_ref().map(EnvFileError::hint);
        let hint = hint.map(str::to_owned);
        let text = format!("cannot start gen {id}: {error:#}");
        self.feed
            .error(text, hint.or_else(|| hint_for_error(error.as_ref())));
        Some(GenEvent::StartFailed)
    }

    fn try_start(&mut self, id: GenId, artifact: ArtifactId) -> Result<()> {
        let (launch, fingerprint) = self.artifacts.launch(artifact)?;
        let env = self.config.environment(launch.env.iter().cloned())?;
        let passed = self.sockets.prepare(id).context("preparing its sockets")?;
        let dial = self.dial(id).context("preparing the probes")?;
        let start = Start {
            id,
            listen_pid: self.config.listen_pid.applies_to(&launch.argv),
            launch,
            env,
            passed,
            stored: self.fd_store.all(),
            watchdog: self.config.watchdog,
            ready: Arc::clone(&self.config.ready),
            dial,
            adopter: self.sockets.adopter(),
            intercepts: self.adopting.works(),
            cleanup: self.cleanup(),
            stdio: self.stdio(),
        };
        let mut running = generation::start(start, &self.inbox, &self.feed)?;
        running.fingerprint = fingerprint;
        self.generations.insert(id, running);
        self.count_soon();
        Ok(())
    }

    /// With the live user interface programs print on a terminal, so that they keep their colours.
    fn stdio(&self) -> Stdio {
        let (size, reads) = (self.size, self.config.stdin == Stdin::Program);
        match self.config.ui.mode {
            Mode::Live => Stdio::Pty { size, reads },
            Mode::Plain | Mode::Json | Mode::Off => Stdio::Pipes,
        }
    }

    /// Sockets that the program opens itself are known only later, so they are looked up for each connection.
    fn dial(&self, id: GenId) -> io::Result<Connect> {
        Ok(match self.sockets.adopter() {
            Some(adopter) => dial(move || adopter.routes(id)),
            None => {
                let routes = self.sockets.probe(id)?;
                dial(move || routes.clone())
            }
        })
    }
}

/// Connects to one generation only: to its listener with this port, or without a port to its first listener.
fn dial(routes: impl Fn() -> Vec<Route> + Send + 'static) -> Connect {
    Box::new(move |port| {
        let fits = |route: &Route| port.is_none() || address_port(route) == port;
        let route = routes().into_iter().find(fits);
        Box::pin(async move {
            let route = route.ok_or_else(|| match port {
                Some(port) => io::Error::other(format!("it does not listen on port {port}")),
                None => io::Error::other("it does not listen"),
            })?;
            let stream = route.dial().await?;
            Ok(Box::new(stream) as Box<dyn ready::Stream>)
        })
    })
}

fn address_port(route: &Route) -> Option<u16> {
    match &route.listening().address {
        Address::Tcp(address) => Some(address.port()),
        Address::Unix(_) => None,
    }
}
