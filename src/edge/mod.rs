//! The edge: sockets, TLS, HTTP/1 and HTTP/2, and the base's proxy behind them. The only code that names the base.
//!
//! ```text
//! listen → h1 (head read and checked) ─┐
//!        → h2 ────────────────────────┴→ serve → gate::admit → refused: respond
//!                                                            → WebSocket: tunnel
//!                                                            → nothing to store: relay (balance, kept, gate::release)
//!                                                            → hooks (cache, balance, upstream, gate::release)
//!                                                → gate::record
//! ```

mod attempt;
mod bodiless;
mod cache_hooks;
mod cache_storage;
mod choose;
mod conn;
mod deadline;
mod downstream;
mod forward;
mod frames;
mod h1;
mod h2;
mod hooks;
mod kept;
mod limit;
mod link;
mod listen;
mod mirror;
mod opening;
mod outgoing;
mod relay;
mod respond;
mod serve;
mod session;
mod socket;
mod trunk;
mod tunnel;
mod upload;
mod ws;

pub(crate) use listen::{adopt, bind};

use crate::config::ListenerSettings;
use crate::gate::Gate;
use cache_storage::CacheStorage;
use deadline::Alarms;
use kept::KeptLinks;
use listen::Connections;
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::{HttpProxy, http_proxy};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Kept-alive connections to all replicas together.
const UPSTREAM_POOL: usize = 1024;
/// How often kept connections are looked after.
const SWEEP: Duration = Duration::from_secs(1);
/// The base's own bound on attempts; the pool's setting decides below it.
const MAX_ATTEMPTS: usize = 16;

/// What every connection needs.
pub(crate) struct Edge {
    gate: Arc<Gate>,
    proxy: Arc<HttpProxy<hooks::Hooks>>,
    links: Arc<KeptLinks>,
    storage: &'static CacheStorage,
    connections: Arc<Connections>,
    drain: Duration,
    stop: watch::Receiver<bool>,
}

impl Edge {
    /// Makes the edge; `stop` turning true begins the drain.
    pub(crate) fn new(gate: Arc<Gate>, drain: Duration, stop: watch::Receiver<bool>) -> Arc<Self> {
        let conf = ServerConf {
            upstream_keepalive_pool_size: UPSTREAM_POOL,
            max_retries: MAX_ATTEMPTS,
            ..ServerConf::default()
        };
        let storage = CacheStorage::leak(gate.kept().store.clone(), gate.current().cache.lock_timeout());
        let alarms: &'static Alarms = Box::leak(Box::default());
        tokio::spawn(alarms.run());
        let links = Arc::<KeptLinks>::default();
        let hooks = hooks::Hooks { storage, alarms, links: links.clone() };
        let proxy = Arc::new(http_proxy(&Arc::new(conf), hooks));
        tokio::spawn(sweep(Arc::downgrade(&links)));
        Arc::new(Self { gate, proxy, links, storage, connections: Arc::default(), drain, stop })
    }

    /// Serves one listener, the one at `index` of the configuration, until the drain begins.
    pub(crate) async fn listen(self: Arc<Self>, socket: TcpListener, index: usize, settings: ListenerSettings) {
        listen::run(self, socket, index, settings).await;
    }

    /// Connections open now.
    pub(crate) fn open(&self) -> usize {
        self.connections.open()
    }
}

/// Looks after kept connections for as long as somebody may use them.
async fn sweep(links: Weak<KeptLinks>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(links) = links.upgrade() else { return };
        links.sweep();
    }
}
