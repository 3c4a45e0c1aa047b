//! Probes: connections and commands.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::status::{self, Status};
use super::{Dial, Exec, How, HttpProbe, Stream, Trouble};

/// From the beginning of one probe to that of the next, unless the first takes longer.
const PERIOD: Duration = Duration::from_millis(100);

/// For connecting and answering together.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A command may be a slow one; it is run again only when the one before has ended.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// No server has so many headers before its status.
const MOST_ANSWER: usize = 64 * 1024;

/// Asks until the answer is 2xx or 3xx.
///
/// A probe that comes too early waits in the accept queue of the new generation: the first that the program
/// takes is answered at once, so the period costs nothing after a quick start.
pub(super) async fn http(
    probe: &HttpProbe,
    dial: &mut Dial,
    trouble: &mut (dyn FnMut(Trouble) + Send),
) -> How {
    let request = status::request(probe);
    loop {
        let next = Instant::now() + PERIOD;
        match timeout(TIMEOUT, ask(&request, dial(probe.port()))).await {
            Ok(Ok(status)) if (200..400).contains(&status) => return How::Answered(status),
            Ok(Ok(status)) => trouble(Trouble::Status(status)),
            Ok(Err(why)) => trouble(why),
            Err(_) => trouble(Trouble::Silent),
        }
        sleep_until(next).await;
    }
}

async fn ask(request: &str, dialed: super::Dialed) -> Result<u16, Trouble> {
    let mut stream = dialed.await.map_err(Trouble::Unreachable)?;
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(|_| Trouble::HungUp)?;
    let mut answer = Vec::new();
    loop {
        if stream
            .read_buf(&mut answer)
            .await
            .map_err(|_| Trouble::HungUp)?
            == 0
        {
            return Err(Trouble::HungUp);
        }
        match status::read(&answer) {
            Status::Is(status) => {
                tokio::spawn(take_rest(stream));
                return Ok(status);
            }
            Status::More if answer.len() < MOST_ANSWER => {}
            Status::More | Status::Foreign => return Err(Trouble::Foreign),
        }
    }
}

/// A server whose answer nobody reads to the end may log a broken pipe at each reload. Not waited for.
async fn take_rest(stream: Box<dyn Stream>) {
    let mut rest = stream.take(16 * 1024 * 1024);
    let _ = timeout(TIMEOUT, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
}

/// Connects until the program takes a connection.
///
/// That a connection is made says nothing: the kernel makes it as soon as there is a listening socket, and
/// hotrun holds that open. So our half of it is closed at once; a server that took it answers something or
/// closes its own. One that does neither is seen by `waits`: it waits for connections, and one could be made.
pub(super) async fn tcp(
    dial: &mut Dial,
    waits: impl Future<Output = How>,
    reports: &mut (dyn FnMut(Trouble) + Send),
) -> How {
    let mut waits = std::pin::pin!(waits);
    let mut waited = false;
    loop {
        let next = Instant::now() + PERIOD;
        let taken = async {
            let mut stream = dial(None).await.map_err(Trouble::Unreachable)?;
            if !waited {
                tokio::select! {
                    () = taken(&mut stream) => {}
                    _ = &mut waits => waited = true,
                }
            }
            Ok(())
        };
        match timeout(TIMEOUT, taken).await {
            Ok(Ok(())) => return How::Connected,
            Ok(Err(why)) => reports(why),
            Err(_) => reports(Trouble::Silent),
        }
        sleep_until(next).await;
    }
}

/// A reset counts too: somebody made it. The connection was there, so it is not one that was refused.
async fn taken(stream: &mut Box<dyn Stream>) {
    let _ = stream.shutdown().await;
    let _: io::Result<usize> = stream.read(&mut [0; 1]).await;
}

/// Runs the command until it succeeds, with a pause after each run.
pub(super) async fn exec(
    command: &str,
    run: &mut Exec,
    trouble: &mut (dyn FnMut(Trouble) + Send),
) -> How {
    loop {
        match timeout(COMMAND_TIMEOUT, run(command)).await {
            Ok(Ok(true)) => return How::Succeeded,
            Ok(Ok(false)) => trouble(Trouble::CommandFailed),
            Ok(Err(error)) => trouble(Trouble::CommandRefused(error)),
            Err(_) => trouble(Trouble::CommandSlow),
        }
        sleep(PERIOD).await;
    }
}
