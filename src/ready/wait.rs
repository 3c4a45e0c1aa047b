use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::listening::Look;
use super::{Heard, How, Inputs, Pattern, ReadySpec, Trouble, Why, probe};

/// How long a program that says that it is ready may take to wait on its sockets. Then it is believed.
const HONESTY: Duration = Duration::from_secs(5);

/// How long a program that opens no socket has to live.
const LIFE: Duration = Duration::from_millis(500);

/// Waits until the generation is ready, from its start on. For ever if it never is: the time-out is the
/// core's. Dropping the future ends all that it began. Runs within a tokio runtime with time and I/O.
///
/// # Errors
///
/// [`Why`]: it can never be told, however long one waits.
pub async fn wait(spec: &ReadySpec, inputs: Inputs) -> Result<How, Why> {
    let mut inputs = inputs;
    if spec.needs_sockets() && !inputs.adopts && (inputs.listens)().nothing() {
        return Err(Why::NoSockets);
    }
    let Inputs {
        mut pids,
        mut listens,
        adopts,
        heard,
        lines,
        mut dial,
        mut exec,
        mut trouble,
    } = inputs;
    match spec {
        ReadySpec::Auto => {
            let look = Look {
                pids: &mut *pids,
                listens: &mut *listens,
                trouble: &mut *trouble,
            };
            Ok(auto(look, adopts, heard).await)
        }
        ReadySpec::Listen => {
            let look = Look {
                pids: &mut *pids,
                listens: &mut *listens,
                trouble: &mut *trouble,
            };
            Ok(look.somebody_waits(None).await)
        }
        ReadySpec::Notify => notified(heard, &mut *trouble).await,
        ReadySpec::Http(probe) => Ok(probe::http(probe, &mut dial, &mut *trouble).await),
        ReadySpec::Tcp => {
            let mut unsaid = |_| {};
            let look = Look {
                pids: &mut *pids,
                listens: &mut *listens,
                trouble: &mut unsaid,
            };
            Ok(probe::tcp(&mut dial, look.somebody_waits(None), &mut *trouble).await)
        }
        ReadySpec::Log(pattern) => printed(pattern, lines).await,
        ReadySpec::Exec(command) => Ok(probe::exec(command, &mut exec, &mut *trouble).await),
        ReadySpec::Delay(delay) => {
            sleep(*delay).await;
            Ok(How::Delayed)
        }
    }
}

/// What the program says of itself goes before what is seen of it, also where both come at once.
async fn auto(mut look: Look<'_>, adopts: bool, mut heard: watch::Receiver<Heard>) -> How {
    // Without a socket it has to live for a while. What opens none, and never could, has none to wait for.
    let passed = !(look.listens)().nothing();
    let alone = (adopts || !passed).then_some(LIFE);
    tokio::select! {
        biased;
        () = speaks(&mut heard) => {}
        how = look.reborrow().somebody_waits(alone) => return how,
    }
    match notified(heard, look.trouble).await {
        Ok(how) => {
            // gunicorn's master says `READY=1` before a worker has so much as read the program.
            if !(look.listens)().nothing() {
                let _ = timeout(HONESTY, look.somebody_waits(None)).await;
            }
            how
        }
        // It spoke, and nobody listens any more: that happens only while all of it is being ended.
        Err(_) => std::future::pending().await,
    }
}

/// Waits for the first word of the program, for ever if it is none that speaks.
async fn speaks(heard: &mut watch::Receiver<Heard>) {
    if heard
        .wait_for(|&heard| heard != Heard::Nothing)
        .await
        .is_err()
    {
        std::future::pending::<()>().await;
    }
}

async fn notified(
    mut heard: watch::Receiver<Heard>,
    trouble: &mut (dyn FnMut(Trouble) + Send),
) -> Result<How, Why> {
    loop {
        match *heard.borrow_and_update() {
            Heard::Nothing => {}
            Heard::Something => trouble(Trouble::NotYetReady),
            Heard::Ready => return Ok(How::Notified),
        }
        heard.changed().await.map_err(|_| Why::NoNotifySocket)?;
    }
}

async fn printed(
    pattern: &Pattern,
    mut lines: mpsc::UnboundedReceiver<Vec<u8>>,
) -> Result<How, Why> {
    while let Some(line) = lines.recv().await {
        if pattern.matches(&line) {
            return Ok(How::Printed);
        }
    }
    Err(Why::OutputEnded)
}
