//! An ordinary axum server. Only two things in it matter for a reload that no client notices:
//!
//! 1. it uses the socket that was passed to it, if there is one ([`listener`]);
//! 2. on `SIGTERM` it finishes the requests in flight, then exits ([`asked_to_stop`]).
//!
//! Edit [`GREETING`] or [`VERSION`], save, and send another request: `curl http://127.0.0.1:3000/`.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::get;
use futures_util::{Stream, StreamExt, stream};
use listenfd::ListenFd;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;

const GREETING: &str = "Hello, world";
const VERSION: u32 = 1;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let stopping = CancellationToken::new();
    let listener = listener().await?;
    println!("listening on http://{}", listener.local_addr()?);

    axum::serve(listener, router(stopping.clone()))
        .with_graceful_shutdown(async move {
            asked_to_stop().await;
            stopping.cancel();
        })
        .await
}

fn router(stopping: CancellationToken) -> Router {
    let no_store = HeaderValue::from_static("no-store");
    Router::new()
        .route("/", get(greeting))
        .route("/slow", get(slow))
        .route("/events", get(events))
        .route("/healthz", get("ok\n"))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            Duration::from_secs(30),
        ))
        .layer(SetResponseHeaderLayer::if_not_present(
            header::CACHE_CONTROL,
            no_store,
        ))
        .with_state(stopping)
}

/// Returns the socket that was passed to this process (`LISTEN_FDS`), or opens one.
async fn listener() -> std::io::Result<TcpListener> {
    match ListenFd::from_env().take_tcp_listener(0)? {
        Some(passed) => {
            passed.set_nonblocking(true)?;
            TcpListener::from_std(passed)
        }
        None => TcpListener::bind("127.0.0.1:3000").await,
    }
}

/// Waits for `SIGTERM`, or for Ctrl-C in a terminal.
async fn asked_to_stop() {
    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be handled");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

async fn greeting() -> String {
    format!("{GREETING}! This is version {VERSION}.\n")
}

#[derive(serde::Deserialize)]
struct Slow {
    ms: u64,
}

/// Responds after a delay, as in `/slow?ms=2000`. A reload must not cut this short.
async fn slow(Query(Slow { ms }): Query<Slow>) -> String {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    format!("{ms} ms later: {}", greeting().await)
}

/// Sends an endless stream, which has to be cancelled when the server stops.
async fn events(
    State(stopping): State<CancellationToken>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let every_second = tokio::time::interval(Duration::from_secs(1));
    let ticks = stream::unfold((every_second, 0), async |(mut interval, n): (_, u64)| {
        interval.tick().await;
        let event = Event::default().data(format!("tick {n} of version {VERSION}"));
        Some((Ok(event), (interval, n + 1)))
    });
    let ticks = ticks.take_until(stopping.cancelled_owned());
    Sse::new(ticks).keep_alive(KeepAlive::default())
}
