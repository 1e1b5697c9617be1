//! One request through the gate's check of its head and the rules, as a listener would take it.

use crate::facts::Scheme;
use crate::request::chunk::BodyScan;
use crate::request::wire::{self, Body, HeadLimits};
use crate::request::{Head, RequestModel};
use gatehouse_waf::{Connection, Costs, Mode, Outcome, Ruleset, Step, Trace, Transaction};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::SystemTime;

/// What a replica answers.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct Response {
    pub(in crate::cli) status: u16,
    pub(in crate::cli) headers: Vec<(String, String)>,
    pub(in crate::cli) body: Vec<u8>,
}

/// What became of a request.
pub(super) struct Passage {
    /// The status the client gets.
    pub(super) status: u16,
    /// Why the head or the body's framing was refused, if it was.
    pub(super) malformed: Option<String>,
    /// What the rules found.
    pub(super) outcome: Outcome,
    /// What they did, if that was asked for.
    pub(super) steps: Vec<Step>,
    /// What it cost, if that was counted.
    pub(super) costs: Costs,
    /// The anomaly scores that the Core Rule Set keeps, each with its threshold, if it is loaded.
    pub(super) scores: Vec<(&'static str, i64, i64)>,
}

impl Passage {
    /// Whether the rules, not the form of the request, ended it.
    pub(super) fn refused(&self) -> bool {
        self.outcome.enforced
    }
}

/// The connection of a request that came by none.
pub(in crate::cli) fn local() -> Connection {
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Connection {
        client: local,
        client_port: 40_000,
        server: local,
        server_port: 443,
        unique_id: "00000000-0000-0000-0000-000000000000".to_owned(),
        now: SystemTime::now(),
    }
}

/// What is kept of a passage beside its outcome.
#[derive(Debug, Clone, Copy)]
pub(super) enum Watch {
    Nothing,
    Trace(Trace),
    Costs,
}

/// Sends `raw` through; `replica` answers what is let in.
pub(super) fn pass(
    rules: &Arc<Ruleset>,
    mode: Option<Mode>,
    raw: &[u8],
    watch: Watch,
    replica: impl FnOnce(&[u8], &[u8], &[u8]) -> Response,
) -> Passage {
    let end = wire::find_end(raw, 0).unwrap_or(raw.len());
    let (head, rest) = raw.split_at_checked(end).unwrap_or((raw, &[]));
    let read = wire::lenient(head);
    let mut transaction = Transaction::new(rules.clone(), mode, local());
    match watch {
        Watch::Nothing => {}
        Watch::Trace(trace) => transaction.trace(trace),
        Watch::Costs => transaction.count_costs(),
    }
    let answer = through(&mut transaction, head, &read, rest, replica);
    transaction.finish();
    let score = |value: &str, threshold: &str| {
        let number = |name: &str| std::str::from_utf8(transaction.tx_var(name)?).ok()?.parse::<i64>().ok();
        Some((number(value)?, number(threshold)?))
    };
    let known = [
        ("inbound", "blocking_inbound_anomaly_score", "inbound_anomaly_score_threshold"),
        ("outbound", "blocking_outbound_anomaly_score", "outbound_anomaly_score_threshold"),
    ];
    let scores = known.iter().filter_map(|(name, v, t)| score(v, t).map(|(v, t)| (*name, v, t))).collect();
    let (status, malformed) = match answer {
        Ok(status) => (status, None),
        Err((status, what)) => (status, Some(what)),
    };
    let (outcome, costs) = (transaction.outcome().clone(), transaction.costs());
    Passage { status, malformed, outcome, steps: transaction.take_trace(), costs, scores }
}

/// The status, or that of a refusal for the message's form.
fn through(
    transaction: &mut Transaction,
    head: &[u8],
    read: &wire::RawHead<'_>,
    rest: &[u8],
    replica: impl FnOnce(&[u8], &[u8], &[u8]) -> Response,
) -> Result<u16, (u16, String)> {
    transaction.request_line(read.method, read.target, read.version);
    for (name, value) in &read.headers {
        transaction.request_header(name, value);
    }
    let interruption = transaction.request_headers_done();
    let body = match sound(head, read, rest) {
        Ok(body) => body,
        // Both request phases see what is refused for its form, and the refusal stands whatever they say.
        Err(refusal) => {
            transaction.request_body(b"");
            return Err(refusal);
        }
    };
    if let Some(interruption) = interruption.or_else(|| transaction.request_body(&body)) {
        return Ok(interruption.status);
    }
    let response = replica(read.method, read.target, &body);
    transaction.response_line(response.status, b"HTTP/1.1");
    for (name, value) in &response.headers {
        transaction.response_header(name.as_bytes(), value.as_bytes());
    }
    let interruption = transaction.response_headers_done().or_else(|| transaction.response_body(&response.body));
    Ok(interruption.map_or(response.status, |interruption| interruption.status))
}

/// The body, decoded, of a message in good form.
pub(in crate::cli) fn sound(head: &[u8], read: &wire::RawHead<'_>, rest: &[u8]) -> Result<Vec<u8>, (u16, String)> {
    let malformed = |fault: wire::Malformed| (fault.reason.status(), fault.to_string());
    let framing = wire::check(head, &HeadLimits::default()).map_err(malformed)?;
    let bad = |what: &str| (400, what.to_owned());
    let method = Method::from_bytes(read.method).map_err(|_| bad("method is no token"))?;
    let mut headers = HeaderMap::new();
    for (name, value) in &read.headers {
        let name = HeaderName::from_bytes(name).map_err(|_| bad("field name is no token"))?;
        headers.append(name, HeaderValue::from_bytes(value).map_err(|_| bad("field value"))?);
    }
    let version = if read.version == b"HTTP/1.0" { Version::HTTP_10 } else { Version::HTTP_11 };
    let head = Head::h1(&method, version, read.target, &headers, Scheme::Https);
    RequestModel.read(&head).map_err(|refusal| (refusal.reason.status(), refusal.detail.to_string()))?;
    match framing.body {
        Body::None => Ok(Vec::new()),
        Body::Length(length) => {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            Ok(rest.get(..length).unwrap_or(rest).to_vec())
        }
        Body::Chunked => {
            BodyScan::new(framing.body).feed(rest).map_err(malformed)?;
            Ok(chunks(rest))
        }
    }
}

/// The data of chunks whose framing has been checked.
fn chunks(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.iter().position(|b| *b == b'\n') {
        let (line, data) = rest.split_at_checked(end + 1).unwrap_or((rest, &[]));
        let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let text = line.get(..digits).and_then(|digits| std::str::from_utf8(digits).ok()).unwrap_or_default();
        let size = usize::from_str_radix(text, 16).unwrap_or(0).min(data.len());
        if size == 0 {
            break;
        }
        body.extend(data.iter().take(size));
        rest = data.get(size + 2..).unwrap_or_default();
    }
    body
}
