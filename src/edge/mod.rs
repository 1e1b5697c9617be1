//! The edge: sockets, TLS, HTTP/1 and HTTP/2, and the base's proxy behind them. The only code that names the base.
//!
//! ```text
//! listen → h1 (head read and checked) ─┐
//!        → h2 ────────────────────────┴→ serve → gate::admit → refused: respond
//!                                                            → WebSocket: tunnel
//!                                                            → hooks (cache, balance, upstream, gate::release)
//!                                                → gate::record
//! ```

mod cache_hooks;
mod cache_storage;
mod conn;
mod forward;
mod h1;
mod h2;
mod hooks;
mod listen;
mod respond;
mod serve;
mod session;
mod socket;
mod tunnel;

pub(crate) use listen::bind;

use crate::config::ListenerSettings;
use crate::gate::Gate;
use cache_storage::CacheStorage;
use listen::Connections;
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::{HttpProxy, http_proxy};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Kept-alive connections to all replicas together.
const UPSTREAM_POOL: usize = 1024;
/// The base's own bound on attempts; the pool's setting decides below it.
const MAX_ATTEMPTS: usize = 16;

/// What every connection needs.
pub(crate) struct Edge {
    gate: Arc<Gate>,
    proxy: Arc<HttpProxy<hooks::Hooks>>,
    tls: Arc<rustls::ServerConfig>,
    connections: Arc<Connections>,
    drain: Duration,
    stop: watch::Receiver<bool>,
}

impl Edge {
    /// Makes the edge; `stop` turning true begins the drain.
    pub(crate) fn new(
        gate: Arc<Gate>,
        tls: Arc<rustls::ServerConfig>,
        drain: Duration,
        stop: watch::Receiver<bool>,
    ) -> Arc<Self> {
        let conf = ServerConf {
            upstream_keepalive_pool_size: UPSTREAM_POOL,
            max_retries: MAX_ATTEMPTS,
            ..ServerConf::default()
        };
        let storage = CacheStorage::leak(gate.kept().store.clone(), gate.current().cache.lock_timeout());
        let proxy = Arc::new(http_proxy(&Arc::new(conf), hooks::Hooks { storage }));
        Arc::new(Self { gate, proxy, tls, connections: Arc::default(), drain, stop })
    }

    /// Serves one listener until the drain begins.
    pub(crate) async fn listen(self: Arc<Self>, socket: TcpListener, settings: ListenerSettings) {
        listen::run(self, socket, settings).await;
    }

    /// Connections open now.
    pub(crate) fn open(&self) -> usize {
        self.connections.open()
    }
}
