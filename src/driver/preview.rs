//! An address that leads to the newest ready generation (`--preview`).

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::error::Failure;
use crate::reload::GenId;
use crate::socket::{Address, Route, Sockets};
use crate::ui::{Feed, Level};

/// How long to wait after an error, such as too many open files.
const AGAIN: Duration = Duration::from_secs(1);

type Routes = Box<dyn Fn() -> Vec<Route> + Send>;

/// The preview of the newest ready generation. Dropping it closes its connections.
pub(super) struct Preview {
    newest: Option<GenId>,
    routes: Arc<Mutex<Option<Routes>>>,
    _task: JoinSet<()>,
}

impl Preview {
    /// Listens on the address.
    pub(super) fn open(address: SocketAddr, feed: &Feed) -> Result<Self, Failure> {
        let failure = |error| Failure::environment(format!("`--preview {address}`: {error}"));
        let listener = StdListener::bind(address).map_err(failure)?;
        let actual = listener.local_addr().map_err(failure)?;
        listener.set_nonblocking(true).map_err(failure)?;
        let listener = TcpListener::from_std(listener).map_err(failure)?;
        let text = format!("{actual} leads to the newest generation that is ready");
        feed.message(Level::Info, text, None);
        let routes = Arc::new(Mutex::new(None));
        let mut task = JoinSet::new();
        task.spawn(pass_on(listener, routes.clone()));
        Ok(Self {
            newest: None,
            routes,
            _task: task,
        })
    }

    /// Makes new connections lead to this generation, or ends them if there is none.
    pub(super) fn lead_to(&mut self, newest: Option<GenId>, sockets: &Sockets) {
        if std::mem::replace(&mut self.newest, newest) != newest {
            let routes = newest.map(|id| -> Routes { Box::new(sockets.routes(id)) });
            *self.routes.lock().unwrap_or_else(PoisonError::into_inner) = routes;
        }
    }
}

async fn pass_on(listener: TcpListener, routes: Arc<Mutex<Option<Routes>>>) {
    let is_tcp = |route: &Route| matches!(route.address, Address::Tcp(_));
    let first = || {
        let routes = routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.as_ref()?().into_iter().find(is_tcp)
    };
    loop {
        let _ = forward(Some(&listener), first).await;
        sleep(AGAIN).await;
    }
}

/// Passes each connection on to the listener with this route.
pub(super) async fn forward(
    listener: Option<&TcpListener>,
    route: impl Fn() -> Option<Route>,
) -> io::Result<()> {
    let mut forwarded = JoinSet::new();
    while let Some(listener) = listener {
        let (mut client, _) = listener.accept().await?;
        let route = route();
        forwarded.spawn(async move {
            if let Some(route) = route
                && let Ok(mut server) = route.dial().await
            {
                let _ = copy_bidirectional(&mut client, &mut server).await;
            }
        });
        while forwarded.try_join_next().is_some() {}
    }
    Ok(())
}
