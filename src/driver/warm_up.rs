//! Warms up a new generation (`--warm-up`): the step between its readiness check and the switch.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use tokio::net::TcpListener;

use crate::process::{Spawner, Spec};
use crate::ready::{self, WarmUp};
use crate::reload::{GenEvent, GenId};
use crate::socket::{Address, Route};
use crate::ui::Feed;

use super::commands::monitor;
use super::preview::forward;
use super::start::connect;
use super::state::{Driver, Running};

impl Driver {
    /// Returns the task that warms up a generation once it is `ready`, if `--warm-up` is given, and reports
    /// [`GenEvent::Ready`] or `WarmUpFailed`. Dropping it kills the command. There is no timeout: the machine keeps the
    /// deadline.
    pub(super) fn warm_up<R: Future>(
        &self,
        id: GenId,
        running: &Running,
        ready: R,
        env: Vec<(OsString, OsString)>,
        workdir: PathBuf,
    ) -> impl Future<Output = ()> + use<R> {
        let (sender, feed) = (self.sender.clone(), self.feed.clone());
        let last_reason = running.unready_reason.clone();
        let (routes, spec) = (self.sockets.routes(id), self.config.cli.warm_up.clone());
        async move {
            ready.await;
            let Some(spec) = spec else {
                return sender.event(id, GenEvent::Ready);
            };
            let reason = format!("`--warm-up {spec}` has not ended");
            last_reason.send_replace(Some(reason.into()));
            let done = match &spec {
                WarmUp::Http(probe) => {
                    let listeners = routes().len();
                    let got = ready::request(probe, &mut connect(routes), listeners).await;
                    got.map(drop).map_err(|reason| reason.to_string())
                }
                WarmUp::Exec(line) => {
                    let spec = Spec::shell(line, env, workdir);
                    exec(line, spec, routes, &feed).await
                }
            };
            let event = match done {
                Ok(()) => GenEvent::Ready,
                Err(reason) => {
                    let reason = format!("`--warm-up {spec}` failed: {reason}");
                    last_reason.send_replace(Some(reason.into()));
                    GenEvent::WarmUpFailed
                }
            };
            sender.event(id, event);
        }
    }
}

/// Runs a command. `HOTRUN_ADDRESS` leads only to the generation, and only while the command runs. If the generation
/// listens on no TCP address, the variable is not set: a port would open a unix socket to every user of the machine.
async fn exec(
    line: &str,
    mut spec: Spec,
    routes: impl Fn() -> Vec<Route>,
    feed: &Feed,
) -> Result<(), String> {
    let is_tcp = |route: &Route| matches!(route.address, Address::Tcp(_));
    let first = || routes().into_iter().find(is_tcp);
    spec.env.retain(|(name, _)| name != "HOTRUN_ADDRESS");
    let mut listener = None;
    if first().is_some() {
        let (opened, address) = listen().await.map_err(|error| error.to_string())?;
        spec.env.push(("HOTRUN_ADDRESS".into(), address));
        listener = Some(opened);
    }
    let process = Spawner::default().spawn(spec);
    let process = process.map_err(|error| format!("{error:#}"))?;
    let ended = monitor(line, "[warm-up] ", process, feed);
    tokio::select! {
        failure = ended => failure.map_or(Ok(()), Err),
        Err(error) = forward(listener.as_ref(), first) => Err(error.to_string()),
    }
}

async fn listen() -> io::Result<(TcpListener, OsString)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?.to_string();
    Ok((listener, address.into()))
}
