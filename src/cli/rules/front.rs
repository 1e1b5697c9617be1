//! One request through the gate's check of its head, the policy of fields and the rules, as a listener would take it.

use crate::facts::Scheme;
use crate::policy::field::{FieldPolicy, Known};
use crate::request::chunk::BodyScan;
use crate::request::wire::{self, Body, HeadLimits};
use crate::request::{Head, Request, RequestModel};
use crate::verdict::Refusal;
use gatehouse_waf::{Connection, Costs, FieldNote, FieldVerdict, Mode, Outcome, Ruleset, Step, Trace, Transaction};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
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
    /// Why the head, the body's framing or the policy refused it, if one did before the rules could.
    pub(super) malformed: Option<String>,
    /// What the policy says of it.
    pub(super) known: Option<Policed>,
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

/// What a policy said of a request.
pub(super) struct Policed {
    /// The operation that takes it.
    pub(super) operation: Option<String>,
    /// The verdicts on its fields.
    pub(super) fields: Vec<FieldNote>,
    /// Texts around fields of which the rules were shown nothing, or nothing of the query.
    pub(super) emptied: Vec<&'static str>,
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
    policy: Option<&FieldPolicy>,
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
    let sound = read_whole(head, &read, rest);
    let known = match (policy, &sound) {
        (Some(policy), Ok(sound)) => Some(policy.known(sound.request.method(), sound.request.path())),
        _ => None,
    };
    let answer = through(&mut transaction, &read, sound, known.as_ref(), replica);
    transaction.finish();
    let score = |value: &str, threshold: &str| {
        let number = |name: &str| std::str::from_utf8(transaction.tx_var(name)?).ok()?.parse::<i64>().ok();
        Some((number(value)?, number(threshold)?))
    };
    let known_scores = [
        ("inbound", "blocking_inbound_anomaly_score", "inbound_anomaly_score_threshold"),
        ("outbound", "blocking_outbound_anomaly_score", "outbound_anomaly_score_threshold"),
    ];
    let scores = known_scores.iter().filter_map(|(name, v, t)| score(v, t).map(|(v, t)| (*name, v, t))).collect();
    let (status, malformed) = match answer {
        Ok(status) => (status, None),
        Err((status, what)) => (status, Some(what)),
    };
    let known = known.map(|known| Policed {
        operation: known.ok().and_then(|known| Some(known.operation()?.name().to_owned())),
        fields: transaction.field_notes().to_vec(),
        emptied: transaction.emptied().iter().map(|variable| variable.name()).collect(),
    });
    let (outcome, costs) = (transaction.outcome().clone(), transaction.costs());
    Passage { status, malformed, known, outcome, steps: transaction.take_trace(), costs, scores }
}

/// The status, or that of a refusal for the message's form, or by the policy.
fn through(
    transaction: &mut Transaction,
    read: &wire::RawHead<'_>,
    sound: Result<Sound, (u16, String)>,
    known: Option<&Result<Known<'_>, Refusal>>,
    replica: impl FnOnce(&[u8], &[u8], &[u8]) -> Response,
) -> Result<u16, (u16, String)> {
    transaction.request_line(read.method, read.target, read.version);
    for (name, value) in &read.headers {
        transaction.request_header(name, value);
    }
    let known = known.map(Result::as_ref).transpose().map_err(refused);
    if let Ok(Some(known)) = &known {
        transaction.hold_against(Arc::clone(known.fields()));
        for (name, value, purpose) in known.path() {
            transaction.path_parameter(name, value, purpose);
        }
    }
    let interruption = transaction.request_headers_done();
    // Both request phases see what is refused for its form, and the refusal stands whatever they say.
    let (Sound { body, headers, .. }, known) = match sound.and_then(|sound| Ok((sound, known?))) {
        Ok(both) => both,
        Err(refusal) => {
            transaction.request_body(b"");
            return Err(refusal);
        }
    };
    if let Some(interruption) = interruption {
        return Ok(interruption.status);
    }
    if let Some(known) = known.filter(|_| !body.is_empty()) {
        let size = u64::try_from(body.len()).unwrap_or(u64::MAX);
        if let Some(most) = known.max_body().filter(|most| size > *most) {
            return Err((413, format!("the operation takes bodies of at most {most} bytes")));
        }
        let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        known.takes_body(kind).map_err(|refusal| refused(&refusal))?;
    }
    if let Some(interruption) = transaction.request_body(&body) {
        return Ok(interruption.status);
    }
    if let Some(note) = transaction.field_refusal() {
        let status = if matches!(note.verdict, FieldVerdict::Attack(_)) { 403 } else { 422 };
        return Err((status, note.to_string()));
    }
    let response = replica(read.method, read.target, &body);
    transaction.response_line(response.status, b"HTTP/1.1");
    for (name, value) in &response.headers {
        transaction.response_header(name.as_bytes(), value.as_bytes());
    }
    let interruption = transaction.response_headers_done().or_else(|| transaction.response_body(&response.body));
    Ok(interruption.map_or(response.status, |interruption| interruption.status))
}

fn refused(refusal: &Refusal) -> (u16, String) {
    let allowed = refusal.methods().map(|methods| {
        let methods: Vec<&str> = methods.iter().map(Method::as_str).collect();
        format!(", only {}", methods.join(", "))
    });
    (refusal.reason.status(), format!("{}{}", refusal.detail, allowed.unwrap_or_default()))
}

/// A message in good form.
struct Sound {
    request: Request,
    headers: HeaderMap,
    /// Decoded.
    body: Vec<u8>,
}

/// The body, decoded, of a message in good form.
pub(in crate::cli) fn sound(head: &[u8], read: &wire::RawHead<'_>, rest: &[u8]) -> Result<Vec<u8>, (u16, String)> {
    read_whole(head, read, rest).map(|sound| sound.body)
}

fn read_whole(head: &[u8], read: &wire::RawHead<'_>, rest: &[u8]) -> Result<Sound, (u16, String)> {
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
    let request = RequestModel.read(&head).map_err(|refusal| refused(&refusal))?;
    let body = match framing.body {
        Body::None => Vec::new(),
        Body::Length(length) => {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            rest.get(..length).unwrap_or(rest).to_vec()
        }
        Body::Chunked => {
            BodyScan::new(framing.body).feed(rest).map_err(malformed)?;
            chunks(rest)
        }
    };
    Ok(Sound { request, headers, body })
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
