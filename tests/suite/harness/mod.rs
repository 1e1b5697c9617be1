//! What the tests stand on: the program itself, a replica that records, and clients for HTTP/1, HTTP/2 and WebSocket.

mod authority;
mod client;
pub(crate) mod frames;
mod gate;
mod load;
mod origin;
mod replica;

pub(crate) use authority::{Authority, Behaviour};
pub(crate) use client::{H1, Reply, h2_request, tls_config, tls_config_with, tls_stream};
pub(crate) use frames::{Fate, Frames};
pub(crate) use gate::{Gate, free_port};
pub(crate) use load::Load;
pub(crate) use origin::{Exchange, Issuer, Origin, shows};
pub(crate) use replica::{Answer, Replica, Seen};

use std::future::Future;
use std::time::Duration;

/// Fails rather than hang; long, for what waits with growing pauses takes its time on a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for something that has to come.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: nothing after {PATIENCE:?}"),
    }
}

/// Waits until `check` holds.
pub(crate) async fn until(what: &str, mut check: impl AsyncFnMut() -> bool) {
    within(what, async {
        while !check().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
