//! Decides when a new generation is ready for connections.
//!
//! [`wait`] waits until the rule in [`ReadySpec`] is met. It observes the generation only through the closures and
//! channels in [`ReadyInputs`]. There is no timeout: [`reload`](crate::reload) keeps the deadline, and the driver drops
//! the future.

mod alive;
mod http;
mod inputs;
mod listening;
mod probe;
mod reason;
mod spec;
mod warm_up;

#[cfg(test)]
mod tests;

use std::future::pending;
use std::time::Duration;

use regex::Regex;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use listening::{SOCKETS_TIMEOUT, has_no_socket};

pub use alive::{AliveInputs, AliveSpec, watch_alive};
pub use http::HttpProbe;
pub use inputs::{
    Connect, Connecting, Exec, GenerationSockets, NotifyState, OnUnready, ReadyInputs,
};
pub use probe::request;
pub use reason::{ReadyReason, UnreadyReason, list};
pub use spec::ReadySpec;
pub use warm_up::WarmUp;

/// How long a program that opens no socket must run to be ready.
const RUN_TIME: Duration = Duration::from_millis(500);

/// Waits until the generation is ready. Call it when the generation starts, within a tokio runtime with time and I/O.
///
/// Whatever the rule, the generation must also listen on every address of the previous one, unless it has sent
/// `READY=1`: after the switch, clients could not connect to an address that nothing listens on.
///
/// There is no timeout. Dropping the future stops all probes.
pub async fn wait(spec: &ReadySpec, mut inputs: ReadyInputs) -> ReadyReason {
    let on_unready = &mut inputs.on_unready;
    let reason = match spec {
        ReadySpec::Auto => auto(&mut inputs).await,
        ReadySpec::Listen => inputs.sockets.accepting(None, on_unready).await,
        ReadySpec::Notify => notified(&mut inputs.notify_state, on_unready).await,
        ReadySpec::Http(probe) => probe::http(probe, &mut inputs.connect, on_unready).await,
        ReadySpec::Tcp => {
            let mut ignore: OnUnready = Box::new(|_| {});
            let accepting = inputs.sockets.accepting(None, &mut ignore);
            probe::tcp(&mut inputs.connect, accepting, on_unready).await
        }
        ReadySpec::Log(pattern) => printed(pattern, &mut inputs.lines, on_unready).await,
        ReadySpec::Exec(command) => probe::exec(command, &inputs.exec, on_unready).await,
        ReadySpec::Delay(delay) => {
            sleep(*delay).await;
            ReadyReason::Delayed
        }
    };
    // A program that counts as ready without a socket is not expected to open one.
    if !matches!(reason, ReadyReason::Notified | ReadyReason::Running) {
        inputs.sockets.complete(&mut inputs.on_unready).await;
    }
    reason
}

/// The program's notification takes precedence over what its sockets show, even if both are available at once.
async fn auto(inputs: &mut ReadyInputs) -> ReadyReason {
    let (sockets, on_unready) = (&mut inputs.sockets, &mut inputs.on_unready);
    let notify_state = &mut inputs.notify_state;
    // If hotrun does not see the sockets that the program opens, a program that has inherited sockets must use those.
    let may_need_none = inputs.adopts || has_no_socket(&(sockets.state)());
    let run_time = may_need_none.then_some(RUN_TIME);
    tokio::select! {
        biased;
        Ok(_) = notify_state.wait_for(|state| *state != NotifyState::Silent) => {}
        reason = sockets.accepting(run_time, on_unready) => return reason,
    }
    let reason = notified(notify_state, on_unready).await;
    // gunicorn's master process sends `READY=1` before its workers have loaded the program.
    if !has_no_socket(&(sockets.state)()) {
        let _ = timeout(SOCKETS_TIMEOUT, sockets.accepting(None, on_unready)).await;
    }
    reason
}

/// Waits forever if the notify socket closes, which happens when the generation is stopped.
async fn notified(
    state: &mut watch::Receiver<NotifyState>,
    on_unready: &mut OnUnready,
) -> ReadyReason {
    loop {
        match *state.borrow_and_update() {
            NotifyState::Silent => {}
            NotifyState::NotReady => on_unready("it sent notifications, but not `READY=1`".into()),
            NotifyState::Ready => return ReadyReason::Notified,
        }
        if state.changed().await.is_err() {
            return pending().await;
        }
    }
}

async fn printed(
    pattern: &Regex,
    lines: &mut mpsc::UnboundedReceiver<Vec<u8>>,
    on_unready: &mut OnUnready,
) -> ReadyReason {
    while let Some(line) = lines.recv().await {
        if spec::matches(pattern, &line) {
            return ReadyReason::Printed;
        }
    }
    on_unready("it closed its output before it printed a matching line".into());
    pending().await
}
