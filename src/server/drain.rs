//! The end of a gate: health turns, accepting stops, what is in flight ends, the audit trail is written.
//!
//! ```text
//! SIGTERM → /readyz 503 ── drain_delay ─┐
//! hand-over ────────────────────────────┴→ stop: no new connections; HTTP/1 closes with the next answer, HTTP/2 says GOAWAY
//!                                           nothing open ──────────────┐
//!                                           drain passed: 1001, cut ───┴→ audit written → end
//! ```

use super::Server;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long the audit writer may take at the end.
const LAST_WRITES: Duration = Duration::from_secs(10);
/// How often what is open is counted.
const LOOK: Duration = Duration::from_millis(20);

impl Server {
    /// Stops accepting, lets what is in flight end within the drain time or until `forced`, and writes every audit event.
    pub async fn drain(&self, forced: impl Future<Output = ()>) {
        tokio::select! {
            () = self.let_end() => {}
            () = forced => tracing::warn!(left = self.edge.open(), "the drain is cut short"),
        }
        self.leave();
        self.admin_stop.send_replace(true);
        let (audit, gate) = (self.gate.kept().audit.clone(), self.gate.clone());
        // What a candidate still judges has its event to write.
        let closed = tokio::task::spawn_blocking(move || gate.shadow().flush(LAST_WRITES) & audit.close(LAST_WRITES));
        if !closed.await.unwrap_or(false) {
            tracing::error!("audit events were lost at the end: see the counters");
        }
        self.remove_pid();
    }

    /// No longer accepts. May be called again.
    pub(super) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        // While a copy is open the kernel would go on taking connections for it.
        self.sockets.lock().clear();
        self.stop.send_replace(true);
    }

    async fn let_end(&self) {
        let snapshot = self.gate.current();
        let server = &snapshot.config.document.server;
        let (delay, limit) = (server.drain_delay.0, server.drain.0);
        drop(snapshot);
        if self.successor.borrow().is_none() {
            self.leaving.store(true, Ordering::Relaxed);
            crate::handover::service::stopping();
            tokio::time::sleep(delay).await;
        }
        tracing::info!(open = self.edge.open(), "draining");
        self.leave();
        if !self.ended(limit).await {
            tracing::warn!(left = self.edge.open(), "connections cut at the end of the drain time");
        }
    }

    /// Whether everything ended within `limit`.
    async fn ended(&self, limit: Duration) -> bool {
        let all = async {
            // Two references to the answers would mean that one is still being given.
            while self.edge.open() > 0 || Arc::strong_count(&self.answers) > 1 {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(limit, all).await.is_ok()
    }
}
