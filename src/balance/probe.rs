//! Probing: asking each replica whether it is ready, and resolving names again.
//!
//! A replica is ready if `path` answers with the expected status and something that is not an HTML page. Where `path` is
//! not there (404, or a page: single-page applications answer any path so), `fallback` is asked instead, and remembered:
//! the first path is tried again when the fall-back fails, and every 30th probe. Any other answer, 503 above all, means
//! not ready. Where JSON is expected, the body is read, up to 64 KiB.
//!
//! All replicas are probed at once, each within its own time; names are resolved again every 30 seconds, or every
//! interval while one has no address. A failed resolution keeps the last addresses.

use super::{HealthSettings, Pool, Replica, assemble};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// Largest body read of an answer.
const MAX_BODY: usize = 64 * 1024;
/// Largest answer head that hyper may buffer.
const MAX_HEAD: usize = 16 * 1024;
/// Time between resolutions of names that have addresses.
const RESOLVE: Duration = Duration::from_secs(30);
/// Shortest time between a failure and the probe it asks for, so that many failures are one probe.
const DOUBT: Duration = Duration::from_millis(100);
/// How many probes of the fall-back there are to one of the first path.
const RETRY_FIRST: u32 = 30;

/// What one answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Ready,
    NotReady,
    /// The path is not one that tells anything.
    NotThere,
}

impl Pool {
    /// Probes the replicas and resolves their names until `shutdown` says true or its sender is gone. One runs for each
    /// pool; after a reload the old pool's is ended and the new one's started.
    pub async fn run(self: Arc<Self>, mut shutdown: watch::Receiver<bool>) {
        let health = &self.settings.health;
        let mut resolved = Instant::now();
        let mut round = 0_u32;
        loop {
            if self.resolution_due(resolved) {
                resolved = Instant::now();
                self.resolve().await;
            }
            let replicas = self.replicas.load_full();
            let probes = replicas.iter().filter(|replica| health.enabled || !replica.is_healthy());
            futures_util::future::join_all(probes.map(|replica| self.probe(replica, round))).await;
            round = round.wrapping_add(1);

            // A tenth more or less, so that several gates do not ask in step.
            let pause = health.interval.0.mul_f64(rand::random_range(0.9..=1.1));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = async {
                    self.doubt.notified().await;
                    tokio::time::sleep(DOUBT).await;
                } => {}
                gone = shutdown.wait_for(|stop| *stop) => {
                    drop(gone);
                    return;
                }
            }
        }
    }

    /// Whether names are to be resolved: some time has passed, or one has no address yet.
    fn resolution_due(&self, last: Instant) -> bool {
        let replicas = self.replicas.load();
        let mut names = self.endpoints.iter().filter(|endpoint| endpoint.literal().is_none()).peekable();
        let due = names.peek().is_some() && last.elapsed() >= RESOLVE;
        due || names.any(|endpoint| !replicas.iter().any(|replica| replica.name() == endpoint.name()))
    }

    async fn resolve(&self) {
        let known = &self.replicas.load_full();
        let lookups = self.endpoints.iter().map(|endpoint| async move {
            if let Some(address) = endpoint.literal() {
                return (endpoint, vec![address]);
            }
            let lookup = tokio::net::lookup_host((endpoint.host(), endpoint.port()));
            match timeout(Duration::from_secs(5), lookup).await {
                Ok(Ok(addresses)) => (endpoint, addresses.collect()),
                _ => {
                    let last = known.iter().filter(|replica| replica.name() == endpoint.name());
                    (endpoint, last.map(|replica| replica.address()).collect())
                }
            }
        });
        let found = futures_util::future::join_all(lookups).await;
        self.replicas.store(Arc::new(assemble(found.into_iter(), known)));
    }

    async fn probe(&self, replica: &Replica, round: u32) {
        let health = &self.settings.health;
        let good =
            if health.enabled { is_ready(replica, health, round).await } else { connects(replica, health).await };
        if let Some(healthy) = replica.judge(good, health.rise, health.fall) {
            self.changed(replica, healthy);
        }
    }
}

async fn connects(replica: &Replica, health: &HealthSettings) -> bool {
    matches!(timeout(health.timeout.0, TcpStream::connect(replica.address())).await, Ok(Ok(_)))
}

async fn is_ready(replica: &Replica, health: &HealthSettings, round: u32) -> bool {
    let first = || ask_in_time(replica, health, &health.path);
    let fallback = || ask_in_time(replica, health, &health.fallback);
    if health.fallback.is_empty() {
        return first().await == Answer::Ready;
    }
    let mut known = None;
    if replica.uses_fallback() && !round.is_multiple_of(RETRY_FIRST) {
        let answer = fallback().await;
        if answer == Answer::Ready {
            return true;
        }
        known = Some(answer);
    }
    let answer = first().await;
    replica.set_fallback(answer == Answer::NotThere);
    match (answer, known) {
        (Answer::NotThere, Some(known)) => known == Answer::Ready,
        (Answer::NotThere, None) => fallback().await == Answer::Ready,
        (answer, _) => answer == Answer::Ready,
    }
}

async fn ask_in_time(replica: &Replica, health: &HealthSettings, path: &str) -> Answer {
    // No connection, no answer in time and no HTTP are all the same here: not ready.
    timeout(health.timeout.0, ask(replica, health, path)).await.ok().flatten().unwrap_or(Answer::NotReady)
}

async fn ask(replica: &Replica, health: &HealthSettings, path: &str) -> Option<Answer> {
    let stream = TcpStream::connect(replica.address()).await.ok()?;
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(MAX_HEAD).handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.ok()?;
    let request = Request::get(path)
        .header(header::HOST, &**replica.name())
        .header(header::USER_AGENT, "gatehouse-probe")
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close")
        .body(Empty::new())
        .ok()?;
    let exchange = async {
        let answer = sender.send_request(request).await.ok()?;
        let (head, body) = answer.into_parts();
        Some(match judge(head.status, head.headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes()), health) {
            Answer::Ready if !expected(body, health).await => Answer::NotReady,
            answer => answer,
        })
    };
    // The connection is driven here and dropped with the exchange: nothing outlives a probe.
    tokio::select! {
        answer = exchange => answer,
        _ = async { drop(connection.await); std::future::pending::<()>().await } => None,
    }
}

/// What status and type say.
fn judge(status: StatusCode, content_type: Option<&[u8]>, health: &HealthSettings) -> Answer {
    let html = content_type.is_some_and(|value| {
        let essence = value.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        essence.eq_ignore_ascii_case(b"text/html") || essence.eq_ignore_ascii_case(b"application/xhtml+xml")
    });
    match status.as_u16() {
        404 if health.status != 404 => Answer::NotThere,
        status if status != health.status => Answer::NotReady,
        _ if html => Answer::NotThere,
        _ => Answer::Ready,
    }
}

/// Whether the body holds what is expected of it.
async fn expected(body: Incoming, health: &HealthSettings) -> bool {
    let Some(expected) = &health.expect_json else { return true };
    let mut body = Limited::new(body, MAX_BODY);
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(data)) => bytes.extend_from_slice(&data),
            Ok(Err(_)) => {} // trailers
            Err(_) => return false,
        }
    }
    let Ok(serde_json::Value::Object(found)) = serde_json::from_slice(&bytes) else { return false };
    expected.iter().all(|(key, value)| found.get(key) == Some(value))
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
