//! Probing: asking each replica whether it is alive and whether it is ready.
//!
//! A replica is ready if `path` answers with an expected status and type, and not with an HTML page unless one is
//! expected. Where `path` is not there (404, or a page: single-page applications answer any path so), `fallback` is asked
//! instead, and remembered: the first path is tried again when the fall-back fails, and every 30th probe. Any other
//! answer, 503 above all, means not ready. Where JSON is expected, the body is read, up to 64 KiB.
//!
//! It is alive if any of this was answered with HTTP; where `live_path` is set, if that answers with an expected status.
//! All replicas are probed at once, each within its own time.

use super::pool::Pool;
use super::replica::{Probed, Replica};
use super::settings::HealthSettings;
use super::transport::{Connected, Transport, Wire};
use http::{HeaderMap, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Largest body read of an answer.
const MAX_BODY: usize = 64 * 1024;
/// Largest answer head that hyper may buffer.
const MAX_HEAD: usize = 16 * 1024;
/// The same over HTTP/2, and the window of its body.
const MAX_HEADER_LIST: u32 = 16 * 1024;
const MAX_WINDOW: u32 = 64 * 1024;
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
    /// No connection, no HTTP, or too late.
    Silent,
}

impl Pool {
    /// Probes replicas and finds them anew; ends when dropped.
    pub(super) async fn run(&self) {
        tokio::join!(self.probe_all(), self.discover());
    }

    async fn probe_all(&self) {
        let health = &self.settings.health;
        let mut round = 0_u32;
        loop {
            let members = self.members.load_full();
            let replicas = members.list.iter().map(|member| &member.replica);
            let probes = replicas.filter(|replica| health.enabled || !replica.bars().ready());
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
            }
        }
    }

    async fn probe(&self, replica: &Replica, round: u32) {
        let health = &self.settings.health;
        let found = if health.enabled {
            look(replica, &self.transport, health, round).await
        } else {
            let good = dial(replica, &self.transport, health).await.is_some();
            Probed { alive: good, ready: good }
        };
        if !replica.judge(found, health, Instant::now()) {
            return;
        }
        if !found.alive {
            // What is left of its connections leads nowhere.
            replica.distrust();
        }
        let state = replica.state(Instant::now());
        if replica.bars().ready() {
            tracing::info!(pool = %self.name, replica = %replica.address(), state, "replica is ready");
            self.queue.wake_all();
        } else {
            tracing::warn!(pool = %self.name, replica = %replica.address(), state, "replica is out of turn");
        }
    }
}

/// A connection as a request would have it.
async fn dial(replica: &Replica, transport: &Transport, health: &HealthSettings) -> Option<Connected> {
    let connected = transport.connect(replica, false, health.timeout.0).await;
    replica.believed(connected.as_ref().err());
    connected.ok()
}

/// One probe, of as many questions as it takes.
async fn look(replica: &Replica, transport: &Transport, health: &HealthSettings, round: u32) -> Probed {
    let answer = readiness(replica, transport, health, round).await;
    let alive = if health.live_path.is_empty() {
        answer != Answer::Silent
    } else {
        // A replica that says it is ready is not asked whether it lives.
        answer == Answer::Ready || lives(replica, transport, health).await
    };
    Probed { alive, ready: alive && answer == Answer::Ready }
}

async fn lives(replica: &Replica, transport: &Transport, health: &HealthSettings) -> bool {
    let asked =
        ask(replica, transport, health, &health.live_path, |status, _| match health.status.has(status.as_u16()) {
            true => Answer::Ready,
            false => Answer::NotReady,
        });
    timeout(health.timeout.0, asked).await.ok().flatten().is_some_and(|(answer, _)| answer == Answer::Ready)
}

async fn readiness(replica: &Replica, transport: &Transport, health: &HealthSettings, round: u32) -> Answer {
    let first = || ask_in_time(replica, transport, health, &health.path);
    let fallback = || ask_in_time(replica, transport, health, &health.fallback);
    // Nothing there is an answer, though no good one.
    let settled = |answer: Answer| if answer == Answer::NotThere { Answer::NotReady } else { answer };
    if health.fallback.is_empty() {
        return settled(first().await);
    }
    let mut known = None;
    if replica.uses_fallback() && !round.is_multiple_of(RETRY_FIRST) {
        let answer = fallback().await;
        if answer == Answer::Ready {
            return answer;
        }
        known = Some(answer);
    }
    let answer = first().await;
    replica.set_fallback(answer == Answer::NotThere);
    match (answer, known) {
        (Answer::NotThere, Some(known)) => settled(known),
        (Answer::NotThere, None) => settled(fallback().await),
        (answer, _) => answer,
    }
}

async fn ask_in_time(replica: &Replica, transport: &Transport, health: &HealthSettings, path: &str) -> Answer {
    let asked = async {
        let (answer, body) = ask(replica, transport, health, path, |status, kind| judge(status, kind, health)).await?;
        Some(if answer == Answer::Ready && !body { Answer::NotReady } else { answer })
    };
    // No connection, no answer in time and no HTTP are all the same here.
    timeout(health.timeout.0, asked).await.ok().flatten().unwrap_or(Answer::Silent)
}

/// Asks for a path; what `judge` makes of status and type, and whether the body holds what is expected.
async fn ask(
    replica: &Replica,
    transport: &Transport,
    health: &HealthSettings,
    path: &str,
    judge: impl Fn(StatusCode, Option<&[u8]>) -> Answer,
) -> Option<(Answer, bool)> {
    let connected = dial(replica, transport, health).await?;
    let judge = |head: &HeaderMap, status| judge(status, head.get(header::CONTENT_TYPE).map(|value| value.as_bytes()));
    let request =
        Request::get(path).header(header::USER_AGENT, "gatehouse-probe").header(header::ACCEPT, "application/json");
    if connected.http2 {
        return ask_h2(replica, transport, health, path, request, connected.wire, judge).await;
    }
    let io = TokioIo::new(connected.wire);
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(MAX_HEAD).handshake::<_, Empty<Bytes>>(io).await.ok()?;
    let request =
        request.header(header::HOST, &**replica.name()).header(header::CONNECTION, "close").body(Empty::new()).ok()?;
    let exchange = async {
        let answer = sender.send_request(request).await.ok()?;
        let (head, body) = answer.into_parts();
        let answer = judge(&head.headers, head.status);
        let holds = answer != Answer::Ready || health.expect_json.is_none() || expected(read(body).await, health);
        Some((answer, holds))
    };
    // The connection is driven here and dropped with the exchange: nothing outlives a probe.
    tokio::select! {
        answer = exchange => answer,
        _ = async { drop(connection.await); std::future::pending::<()>().await } => None,
    }
}

/// The same over HTTP/2.
async fn ask_h2(
    replica: &Replica,
    transport: &Transport,
    health: &HealthSettings,
    path: &str,
    request: http::request::Builder,
    wire: Wire,
    judge: impl Fn(&HeaderMap, StatusCode) -> Answer,
) -> Option<(Answer, bool)> {
    let uri =
        Uri::builder().scheme(transport.scheme()).authority(&**replica.name()).path_and_query(path).build().ok()?;
    let mut builder = h2::client::Builder::new();
    builder.enable_push(false).max_header_list_size(MAX_HEADER_LIST).initial_window_size(MAX_WINDOW);
    let (sender, connection) = builder.handshake::<_, Bytes>(wire).await.ok()?;
    let exchange = async {
        let mut sender = sender.ready().await.ok()?;
        let (answer, _) = sender.send_request(request.uri(uri).body(()).ok()?, true).ok()?;
        let (head, mut body) = answer.await.ok()?.into_parts();
        let answer = judge(&head.headers, head.status);
        let reads = answer == Answer::Ready && health.expect_json.is_some();
        let mut bytes = Some(Vec::new());
        while let (true, Some(read)) = (reads, &mut bytes) {
            // What is more than the window is not asked for.
            match body.data().await {
                Some(Ok(piece)) if read.len() + piece.len() <= MAX_BODY => read.extend_from_slice(&piece),
                Some(_) => bytes = None,
                None => break,
            }
        }
        Some((answer, !reads || expected(bytes, health)))
    };
    tokio::select! {
        answer = exchange => answer,
        _ = async { drop(connection.await); std::future::pending::<()>().await } => None,
    }
}

/// What status and type say.
fn judge(status: StatusCode, content_type: Option<&[u8]>, health: &HealthSettings) -> Answer {
    let essence = content_type.map(|value| value.split(|b| *b == b';').next().unwrap_or_default().trim_ascii());
    let is = |kind: &str| essence.is_some_and(|essence| essence.eq_ignore_ascii_case(kind.as_bytes()));
    let html = is("text/html") || is("application/xhtml+xml");
    match (status.as_u16(), health.content_type.as_str()) {
        (404, _) if !health.status.has(404) => Answer::NotThere,
        (status, _) if !health.status.has(status) => Answer::NotReady,
        (_, "") => {
            if html {
                Answer::NotThere
            } else {
                Answer::Ready
            }
        }
        (_, kind) if is(kind) => Answer::Ready,
        _ if html => Answer::NotThere,
        _ => Answer::NotReady,
    }
}

/// A body whole; `None` if it is too large or breaks off.
async fn read(body: Incoming) -> Option<Vec<u8>> {
    let mut body = Limited::new(body, MAX_BODY);
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(data)) => bytes.extend_from_slice(&data),
            Ok(Err(_)) => {} // trailers
            Err(_) => return None,
        }
    }
    Some(bytes)
}

/// Whether a body holds what is expected of it.
fn expected(body: Option<Vec<u8>>, health: &HealthSettings) -> bool {
    let Some(expected) = &health.expect_json else { return true };
    let found = body.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let Some(serde_json::Value::Object(found)) = found else { return false };
    expected.iter().all(|(key, value)| found.get(key) == Some(value))
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
