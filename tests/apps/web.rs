//! An ordinary web server to reload: `hotrun -- cargo run --example web`.
//!
//! Edit [`GREETING`], save, and reload <http://127.0.0.1:3000/>.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

const GREETING: &str = "Hello, world!";

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let router = Router::new()
        .route("/", get(async || GREETING))
        .route("/slow", get(slow));
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    let mut terminate = signal(SignalKind::terminate())?;
    axum::serve(listener, router)
        .with_graceful_shutdown(async move {
            terminate.recv().await;
        })
        .await
}

/// Responds after two seconds. A reload does not cut this short.
async fn slow() -> String {
    tokio::time::sleep(Duration::from_secs(2)).await;
    format!("two seconds later: {GREETING}")
}
