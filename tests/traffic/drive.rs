//! Sends cases through the gate, a few at a time over connections that are kept.

use crate::dice::Half;
use crate::harness::{Answer, Gate, Replica, Reply};
use crate::request::Request;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One request and what is known of it.
pub(crate) struct Case<T> {
    pub(crate) half: Half,
    pub(crate) about: T,
    pub(crate) make: Box<dyn Fn() -> Request + Send + Sync>,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The replica got it.
    Passed,
    /// The gate answered itself with this status; the request's id is for the audit file.
    Refused(u16, String),
    /// The replica got another body than was sent.
    Changed,
    /// Neither: cut off, or failed in between (status).
    Lost(u16),
}

/// The gate as shipped, in front of a replica.
pub(crate) struct Stand {
    replica: Replica,
    gate: Gate,
    /// Requests the replica got from us, not from probes.
    got: Arc<AtomicUsize>,
}

/// What our replica's answers carry and nobody else's: the print of the body it got.
const MARK: &str = "x-replica";

/// Tells bodies apart (FNV-1a).
fn print(body: &[u8]) -> String {
    let hash = body.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
    format!("{}-{hash:x}", body.len())
}

impl Stand {
    /// Starts both; `rules` is the folder of a Core Rule Set.
    pub(crate) async fn start(rules: Option<&str>) -> Self {
        let got = Arc::new(AtomicUsize::new(0));
        let count = got.clone();
        let replica = Replica::start(move |seen| {
            if seen.header("user-agent").is_none()
                || seen.header("host").is_some_and(|host| !host.starts_with("archon."))
            {
                return Answer::with(&[("content-type", "application/json")], "{\"ready\":true}");
            }
            count.fetch_add(1, Ordering::Relaxed);
            let print = print(&seen.body);
            let fields = [("content-type", "application/json"), ("cache-control", "no-store"), (MARK, print.as_str())];
            Answer::with(&fields, "{\"ok\":true}")
        })
        .await;
        let more =
            [("GATEHOUSE_LIMITS", "off"), ("GATEHOUSE_BANS", "off"), ("GATEHOUSE_CRS_DIR", rules.unwrap_or_default())];
        let gate = Gate::shipped("archon.toml", &[replica.address], &more).await;
        Self { replica, gate, got }
    }

    /// Sends all and tells what became of each, in order.
    pub(crate) async fn run<T: Send + Sync + 'static>(&self, cases: &Arc<Vec<Case<T>>>) -> Vec<Fate> {
        let next = Arc::new(AtomicUsize::new(0));
        let before = self.got.load(Ordering::Relaxed);
        let lanes: Vec<_> = (0..4)
            .map(|_| {
                let (cases, next, address) = (cases.clone(), next.clone(), self.gate.plain);
                tokio::spawn(async move {
                    let (mut lane, mut fates) = (Lane { address, stream: None }, Vec::new());
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(case) = cases.get(at) else { return fates };
                        fates.push((at, lane.send(&(case.make)()).await));
                    }
                })
            })
            .collect();
        let mut fates = Vec::new();
        for lane in lanes {
            fates.extend(lane.await.unwrap());
        }
        fates.sort_unstable_by_key(|(at, _)| *at);
        let fates: Vec<Fate> = fates.into_iter().map(|(_, fate)| fate).collect();
        let passed = fates.iter().filter(|fate| matches!(fate, Fate::Passed | Fate::Changed)).count();
        // Lost ones may have arrived; of the refused none has.
        let lost = fates.iter().filter(|fate| matches!(fate, Fate::Lost(_))).count();
        let got = self.got.load(Ordering::Relaxed) - before;
        assert!(got >= passed && got <= passed + lost, "the replica saw {got} requests, {passed} passed, {lost} lost");
        fates
    }

    /// What the audit events of refused requests say, by the request's id: reason and rules.
    pub(crate) async fn reasons(&self, fates: &[Fate]) -> HashMap<String, String> {
        // Events are written a moment after the answer; under load some may be lost.
        let wanted = fates.iter().filter(|fate| matches!(fate, Fate::Refused(..))).count();
        let mut events = self.gate.events();
        for _ in 0..20 {
            if events.len() >= wanted {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            events = self.gate.events();
        }
        let tell = |event: &serde_json::Value| {
            let rules = event["rules"].as_array().cloned().unwrap_or_default();
            let rules: Vec<_> = rules
                .iter()
                .map(|rule| {
                    let value: String = rule["data"].as_str().unwrap_or_default().chars().take(80).collect();
                    format!("{} {} {value:?}", rule["id"], rule["matched"]["variable"].as_str().unwrap_or_default())
                })
                .collect();
            format!("{}; {}", event["event"]["reason"].as_str().unwrap_or("no reason"), rules.join(", "))
        };
        let id = |event: &serde_json::Value| event["request"]["id"].as_str().unwrap_or_default().to_owned();
        events.iter().map(|event| (id(event), tell(event))).collect()
    }

    /// Whether the replica is still there: else all refusals mean nothing.
    pub(crate) async fn is_sound(&self) -> bool {
        let mut lane = Lane { address: self.gate.plain, stream: None };
        let request = Request::new("GET", "/api/health").field("user-agent", "curl/8.5.0").field("accept", "*/*");
        let touched = self.replica.touched().0 > 0;
        touched && lane.send(&request).await == Fate::Passed
    }
}

/// One connection, opened anew when the gate has ended it.
struct Lane {
    address: SocketAddr,
    stream: Option<TcpStream>,
}

impl Lane {
    async fn send(&mut self, request: &Request) -> Fate {
        let bytes = request.bytes();
        // A kept connection may have been ended meanwhile.
        for _ in 0..2 {
            let fresh = self.stream.is_none();
            let reply = tokio::time::timeout(Duration::from_secs(60), self.exchange(&bytes)).await.ok().flatten();
            let Some(reply) = reply else {
                self.stream = None;
                if fresh {
                    return Fate::Lost(0);
                }
                continue;
            };
            if reply.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
                self.stream = None;
            }
            if let Some(mark) = reply.header(MARK) {
                let is_same = mark == print(request.body.as_deref().unwrap_or_default());
                return if is_same { Fate::Passed } else { Fate::Changed };
            }
            return match reply.status {
                400..500 => Fate::Refused(reply.status, reply.header("x-request-id").unwrap_or_default().to_owned()),
                status => Fate::Lost(status),
            };
        }
        Fate::Lost(0)
    }

    async fn exchange(&mut self, bytes: &[u8]) -> Option<Reply> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.address).await.ok()?;
            stream.set_nodelay(true).ok()?;
            self.stream = Some(stream);
        }
        let (mut from, mut to) = self.stream.as_mut()?.split();
        // The gate may refuse, and close, before it has read everything.
        let write = async {
            let _ = to.write_all(bytes).await;
            std::future::pending::<()>().await
        };
        tokio::select! {
            reply = read(&mut from) => reply,
            () = write => None,
        }
    }
}

async fn read(from: &mut (impl AsyncReadExt + Unpin)) -> Option<Reply> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        from.read_buf(&mut bytes).await.ok().filter(|n| *n > 0)?;
    };
    let head = String::from_utf8_lossy(bytes.get(..end)?).into_owned();
    let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
    let mut reply = Reply { status, head, body: bytes.split_off(end) };
    let length = reply.header("content-length").and_then(|length| length.parse::<usize>().ok());
    let is_chunked = reply.header("transfer-encoding").is_some();
    while length.is_some_and(|length| reply.body.len() < length) || is_chunked && !reply.body.ends_with(b"0\r\n\r\n") {
        from.read_buf(&mut reply.body).await.ok().filter(|n| *n > 0)?;
    }
    Some(reply)
}
