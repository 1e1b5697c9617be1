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
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Largest body read of an answer.
const MAX_BODY: usize = 64 * 1024;
/// Largest answer head that hyper may buffer.
const MAX_HEAD: usize = 16 * 1024;
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
            look(replica, health, round).await
        } else {
            let good = connects(replica, health).await;
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

async fn connects(replica: &Replica, health: &HealthSettings) -> bool {
    matches!(timeout(health.timeout.0, TcpStream::connect(replica.address())).await, Ok(Ok(_)))
}

/// One probe, of as many questions as it takes.
async fn look(replica: &Replica, health: &HealthSettings, round: u32) -> Probed {
    let answer = readiness(replica, health, round).await;
    let alive = if health.live_path.is_empty() {
        answer != Answer::Silent
    } else {
        // A replica that says it is ready is not asked whether it lives.
        answer == Answer::Ready || lives(replica, health).await
    };
    Probed { alive, ready: alive && answer == Answer::Ready }
}

async fn lives(replica: &Replica, health: &HealthSettings) -> bool {
    let asked = ask(replica, health, &health.live_path, |status, _| match health.status.has(status.as_u16()) {
        true => Answer::Ready,
        false => Answer::NotReady,
    });
    timeout(health.timeout.0, asked).await.ok().flatten().is_some_and(|(answer, _)| answer == Answer::Ready)
}

async fn readiness(replica: &Replica, health: &HealthSettings, round: u32) -> Answer {
    let first = || ask_in_time(replica, health, &health.path);
    let fallback = || ask_in_time(replica, health, &health.fallback);
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

async fn ask_in_time(replica: &Replica, health: &HealthSettings, path: &str) -> Answer {
    let asked = async {
        let (answer, body) = ask(replica, health, path, |status, kind| judge(status, kind, health)).await?;
        Some(if answer == Answer::Ready && !body { Answer::NotReady } else { answer })
    };
    // No connection, no answer in time and no HTTP are all the same here.
    timeout(health.timeout.0, asked).await.ok().flatten().unwrap_or(Answer::Silent)
}

/// Asks for a path; what `judge` makes of status and type, and whether the body holds what is expected.
async fn ask(
    replica: &Replica,
    health: &HealthSettings,
    path: &str,
    judge: impl Fn(StatusCode, Option<&[u8]>) -> Answer,
) -> Option<(Answer, bool)> {
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
        let answer = judge(head.status, head.headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes()));
        let holds = answer != Answer::Ready || expected(body, health).await;
        Some((answer, holds))
    };
    // The connection is driven here and dropped with the exchange: nothing outlives a probe.
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
