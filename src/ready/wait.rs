use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::listening::Observer;
use super::{
    NotifyState, OnUnready, Pattern, ReadyError, ReadyInputs, ReadyReason, ReadySpec,
    UnreadyReason, probe,
};

/// How long to wait, after `READY=1`, until the program waits for connections. Then its message is believed.
const SOCKETS_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a program that opens no socket has to run.
const RUN_TIME: Duration = Duration::from_millis(500);

/// Waits until the generation is ready. Call it when the generation starts, within a tokio runtime with time and I/O.
///
/// There is no timeout. Dropping the future stops all probes.
///
/// # Errors
///
/// The generation can never become ready.
pub async fn wait(spec: &ReadySpec, inputs: ReadyInputs) -> Result<ReadyReason, ReadyError> {
    let ReadyInputs {
        pids,
        mut listen_state,
        adopts,
        notify_state,
        lines,
        mut connect,
        mut exec,
        mut on_unready,
    } = inputs;
    if spec.needs_sockets() && !adopts && listen_state().has_no_socket() {
        return Err(ReadyError::NoSocket);
    }
    let observer = |on_unready| Observer {
        pids,
        listen_state,
        on_unready,
    };
    match spec {
        ReadySpec::Auto => Ok(auto(observer(on_unready), adopts, notify_state).await),
        ReadySpec::Listen => Ok(observer(on_unready).accepting(None).await),
        ReadySpec::Notify => notified(notify_state, &mut on_unready).await,
        ReadySpec::Http(probe) => Ok(probe::http(probe, &mut connect, &mut on_unready).await),
        ReadySpec::Tcp => {
            let mut observer = observer(Box::new(|_| {}));
            Ok(probe::tcp(&mut connect, observer.accepting(None), &mut on_unready).await)
        }
        ReadySpec::Log(pattern) => printed(pattern, lines).await,
        ReadySpec::Exec(command) => Ok(probe::exec(command, &mut exec, &mut on_unready).await),
        ReadySpec::Delay(delay) => {
            sleep(*delay).await;
            Ok(ReadyReason::Delayed)
        }
    }
}

/// A message of the program takes precedence over what its sockets show, also if both are there at once.
async fn auto(
    mut observer: Observer,
    adopts: bool,
    mut notify_state: watch::Receiver<NotifyState>,
) -> ReadyReason {
    // A program that has inherited sockets, and whose own sockets are not seen, must use those that it has.
    let may_need_none = adopts || (observer.listen_state)().has_no_socket();
    tokio::select! {
        biased;
        () = first_message(&mut notify_state) => {}
        reason = observer.accepting(may_need_none.then_some(RUN_TIME)) => return reason,
    }
    match notified(notify_state, &mut observer.on_unready).await {
        Ok(reason) => {
            // The master process of gunicorn sends `READY=1` before its workers have loaded the program.
            if !(observer.listen_state)().has_no_socket() {
                let _ = timeout(SOCKETS_TIMEOUT, observer.accepting(None)).await;
            }
            reason
        }
        // The notify socket closes only when the generation is being stopped.
        Err(_) => std::future::pending().await,
    }
}

/// Waits for the first message of the program, and forever if it never sends one.
async fn first_message(state: &mut watch::Receiver<NotifyState>) {
    let message = state.wait_for(|&state| state != NotifyState::Silent);
    if message.await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn notified(
    mut state: watch::Receiver<NotifyState>,
    on_unready: &mut OnUnready,
) -> Result<ReadyReason, ReadyError> {
    loop {
        match *state.borrow_and_update() {
            NotifyState::Silent => {}
            NotifyState::NotReady => on_unready(UnreadyReason::NotReady),
            NotifyState::Ready => return Ok(ReadyReason::Notified),
        }
        let changed = state.changed().await;
        changed.map_err(|_| ReadyError::NotifyClosed)?;
    }
}

async fn printed(
    pattern: &Pattern,
    mut lines: mpsc::UnboundedReceiver<Vec<u8>>,
) -> Result<ReadyReason, ReadyError> {
    while let Some(line) = lines.recv().await {
        if pattern.matches(&line) {
            return Ok(ReadyReason::Printed);
        }
    }
    Err(ReadyError::OutputEnded)
}
