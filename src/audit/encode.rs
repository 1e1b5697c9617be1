//! One event as one line: masked, escaped, cut, with the keys of `docs/audit.md`.
//!
//! Identifiers of rules, the action, the status and who asked are never cut away. Texts are cut each to its own limit,
//! and all together to the event's: the rules' texts come first, then the request's, then its headers.

use super::event::{Event, FieldFound, Finding, RuleMatch, Shadowed, Tls};
use super::redact::{Known, Redactor};
use super::text;
use crate::verdict::{Action, Mode};
use jiff::Timestamp;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// The version of the Elastic Common Schema the keys follow.
const ECS_VERSION: &str = "8.17.0";

/// How much of a text is read at all, in bytes: what lies beyond is cut before masking.
const MAX_READ: usize = 16 * 1024;
const MAX_TARGET: usize = 8 * 1024;
const MAX_FIELD: usize = 4 * 1024;
const MAX_VALUE: usize = 2 * 1024;
const MAX_MESSAGE: usize = 1024;
const MAX_NAME: usize = 256;
const MAX_HEADERS: usize = 256;
const MAX_RULES: usize = 1024;
const MAX_TAGS: usize = 64;
const MAX_FINDINGS: usize = 32;
/// Most fields.
const MAX_FIELDS: usize = 128;
const MAX_SCORES: usize = 64;

/// Writes `event` to `out` as one line of JSON with its line end, about `max_event` bytes or less.
///
/// # Errors
///
/// None that its own values can cause; `out` is as before then.
pub(super) fn line(event: &Event, redactor: &Redactor, max_event: usize, out: &mut Vec<u8>) -> serde_json::Result<()> {
    let before = out.len();
    let written = serde_json::to_writer(&mut *out, &Line::new(event, redactor, max_event));
    match written {
        Ok(()) => out.push(b'\n'),
        Err(_) => out.truncate(before),
    }
    written
}

/// Writes a line that says how many events were lost since the last such line, with the keys that tools rely on.
///
/// # Errors
///
/// None that its own values can cause.
pub(super) fn loss(events: u64, at: SystemTime, out: &mut Vec<u8>) -> serde_json::Result<()> {
    let line = serde_json::json!({
        "@timestamp": timestamp(at),
        "ecs": { "version": ECS_VERSION },
        "event": {
            "kind": "event",
            "category": ["process"],
            "type": ["error"],
            "action": Action::Error.as_str(),
            "outcome": "failure",
            "module": "gatehouse",
            "dataset": "gatehouse.audit",
            "reason": "audit events were lost: the queue was full, or the file could not be written",
        },
        "action": Action::Error.as_str(),
        "status": 0,
        "rules": [],
        "request": { "id": "", "headers": {} },
        "observer": OBSERVER,
        "gatehouse": { "lost": events },
    });
    serde_json::to_writer(&mut *out, &line)?;
    out.push(b'\n');
    Ok(())
}

/// Turns bytes into text that may be written, within the event's budget.
struct Pen<'a> {
    redactor: &'a Redactor,
    known: Known,
    /// How much more may be written, in bytes of JSON.
    left: usize,
    /// How much more may be read: what is masked away costs work and no room.
    unread: usize,
}

impl Pen<'_> {
    fn text(&mut self, bytes: &[u8], limit: usize) -> String {
        self.write(bytes, limit, |redactor, bytes, known| redactor.text(bytes, known).into_owned())
    }

    /// A rule's tag, while there is room for any.
    fn tag(&mut self, tag: &str) -> Option<String> {
        (self.left > 0).then(|| self.text(tag.as_bytes(), MAX_NAME))
    }

    fn write(
        &mut self,
        bytes: &[u8],
        limit: usize,
        mask: impl FnOnce(&Redactor, &[u8], &mut Known) -> Vec<u8>,
    ) -> String {
        if bytes.is_empty() {
            return String::new();
        }
        if self.left == 0 || self.unread == 0 {
            return "…".into();
        }
        let read = text::head(bytes, MAX_READ.min(self.unread));
        self.unread -= read.len();
        let mut masked = mask(self.redactor, read, &mut self.known);
        let unread = bytes.len() - read.len();
        let whole = masked.len() + unread;
        if unread > 0 {
            // The last word may be the beginning of a secret that is not seen whole.
            let last = masked.iter().rposition(|b| !b.is_ascii_alphanumeric() && !b"-._~+/=%".contains(b));
            masked.truncate(last.map_or(0, |at| at + 1));
        }
        let mut kept = text::head(&masked, limit.min(self.left));
        let mut out = text::escape(kept);
        if text::json_len(&out) > self.left {
            // In JSON a byte takes at most six.
            kept = text::head(&masked, self.left / 6);
            out = text::escape(kept);
        }
        if kept.len() < whole {
            out.push_str(&text::cut_mark(whole - kept.len()));
        }
        self.left = self.left.saturating_sub(text::json_len(&out));
        out
    }
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(rename = "@timestamp")]
    timestamp: String,
    ecs: Version,
    event: Ecs<'a>,
    action: &'static str,
    status: u16,
    rules: Vec<Rule>,
    request: Request<'a>,
    source: Source,
    client: Client,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Named<'a>>,
    http: Http,
    url: Url,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<Original>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<TlsLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<Destination<'a>>,
    observer: Observer,
    gatehouse: Own<'a>,
}

#[derive(Serialize)]
struct Version {
    version: &'static str,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct Original {
    original: String,
}

#[derive(Serialize)]
struct Destination<'a> {
    address: &'a str,
}

#[derive(Serialize)]
struct Observer {
    vendor: &'static str,
    product: &'static str,
    version: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
}

const OBSERVER: Observer =
    Observer { vendor: "Gatehouse", product: "gatehouse", version: env!("CARGO_PKG_VERSION"), kind: "waf" };

#[derive(Serialize)]
struct Ecs<'a> {
    kind: &'static str,
    category: &'static [&'static str],
    #[serde(rename = "type")]
    types: &'static [&'static str],
    action: &'static str,
    outcome: &'static str,
    module: &'static str,
    dataset: &'static str,
    id: &'a str,
    duration: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Serialize)]
struct Request<'a> {
    id: &'a str,
    headers: Headers,
}

#[derive(Serialize)]
struct Source {
    ip: String,
    port: u16,
}

#[derive(Serialize)]
struct Client {
    ip: String,
}

#[derive(Serialize)]
struct Http {
    version: &'static str,
    request: HttpRequest,
    response: HttpResponse,
}

#[derive(Serialize)]
struct HttpRequest {
    method: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    referrer: Option<String>,
    body: Body,
}

#[derive(Serialize)]
struct HttpResponse {
    status_code: u16,
    body: Body,
}

#[derive(Serialize)]
struct Body {
    bytes: u64,
}

#[derive(Serialize)]
struct Url {
    original: String,
    scheme: &'static str,
    domain: String,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<String>,
}

#[derive(Serialize)]
struct TlsLine<'a> {
    version: &'a str,
    version_protocol: &'static str,
    cipher: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    curve: Option<&'a str>,
    established: bool,
    resumed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_protocol: Option<String>,
    client: TlsClient<'a>,
}

#[derive(Serialize)]
struct TlsClient<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    server_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ja4: Option<&'a str>,
    #[serde(flatten)]
    certificate: Option<TlsCertificate<'a>>,
}

/// ECS's fields of a client's certificate.
#[derive(Serialize)]
struct TlsCertificate<'a> {
    subject: String,
    issuer: String,
    not_after: String,
    hash: TlsHash<'a>,
    x509: TlsX509<'a>,
}

#[derive(Serialize)]
struct TlsHash<'a> {
    sha256: &'a str,
}

#[derive(Serialize)]
struct TlsX509<'a> {
    serial_number: &'a str,
}

#[derive(Serialize)]
struct Rule {
    id: u64,
    msg: String,
    data: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    phase: u8,
    matched: Matched,
}

#[derive(Serialize)]
struct Matched {
    variable: String,
    value: String,
}

#[derive(Serialize)]
struct Own<'a> {
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listener: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<FindingLine>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<FieldLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow: Option<ShadowLine>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    scores: BTreeMap<&'a str, i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replica: Option<&'a str>,
    duration: OwnDurations,
    #[serde(skip_serializing_if = "Omitted::is_nothing")]
    omitted: Omitted,
}

#[derive(Serialize)]
struct FindingLine {
    stage: &'static str,
    reason: &'static str,
    detail: String,
    enforced: bool,
}

#[derive(Serialize)]
struct FieldLine {
    place: &'static str,
    name: String,
    class: String,
    verdict: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
}

#[derive(Serialize)]
struct ShadowLine {
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rules: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<String>,
}

/// In nanoseconds, as `event.duration`.
#[derive(Serialize)]
struct OwnDurations {
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waf: Option<u64>,
}

/// What had no room in the event at all.
#[derive(Serialize, Default)]
struct Omitted {
    rules: usize,
    headers: usize,
}

impl Omitted {
    fn is_nothing(&self) -> bool {
        self.rules == 0 && self.headers == 0
    }
}

/// Header fields by lower-case name, in order of first appearance; one value as text, several as an array.
struct Headers(Vec<(String, Vec<String>)>);

impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        let mut map = output.serialize_map(Some(self.0.len()))?;
        for (name, values) in &self.0 {
            match values.as_slice() {
                [value] => map.serialize_entry(name, value)?,
                values => map.serialize_entry(name, values)?,
            }
        }
        map.end()
    }
}

impl<'a> Line<'a> {
    fn new(event: &'a Event, redactor: &Redactor, max_event: usize) -> Self {
        let mut pen = Pen { redactor, known: Known::default(), left: max_event, unread: max_event.saturating_mul(4) };
        // Credentials first, so that they are known when other texts repeat them. The head's size is bounded.
        for (name, value) in event.headers.iter().take(MAX_HEADERS) {
            redactor.header(name, text::head(value, MAX_READ), &mut pen.known);
        }
        redactor.text(text::head(&event.target, MAX_READ), &mut pen.known);
        if !event.target.starts_with(b"/") {
            redactor.authority(text::head(&event.target, MAX_READ), &mut pen.known);
        }
        for rule in event.rules.iter().take(MAX_RULES) {
            redactor.learn(&rule.variable, text::head(&rule.value, MAX_VALUE), &mut pen.known);
        }

        let enforced = event.findings.iter().rev().find(|finding| finding.enforced);
        let reason = enforced.map(|finding| pen.text(finding.detail.as_bytes(), MAX_MESSAGE));
        let findings = event.findings.iter().take(MAX_FINDINGS).map(|finding| found(finding, &mut pen)).collect();
        let rules = event.rules.iter().take(MAX_RULES).map(|rule| matched(rule, &mut pen)).collect();
        let fields = event.fields.iter().take(MAX_FIELDS).map(|field| held(field, &mut pen)).collect();
        let shadow = event.shadow.as_ref().map(|shadow| shadowed(shadow, &mut pen));
        let url = url(event, &mut pen);
        let method = pen.text(&event.method, MAX_NAME);
        let referrer = field(event, "referer", &mut pen);
        let user_agent = field(event, "user-agent", &mut pen).map(|original| Original { original });
        let tls = event.tls.as_ref().map(|tls| secured(tls, &mut pen));
        let headers = headers(event, &mut pen);
        let shown: usize = headers.0.iter().map(|(_, values)| values.len()).sum();
        let (category, types) = classes(event);

        Self {
            timestamp: timestamp(event.at),
            ecs: Version { version: ECS_VERSION },
            event: Ecs {
                kind: if event.relevant() && event.action != Action::Error { "alert" } else { "event" },
                category,
                types,
                action: event.action.as_str(),
                outcome: if event.action == Action::Pass && event.status < 400 { "success" } else { "failure" },
                module: "gatehouse",
                dataset: "gatehouse.audit",
                id: event.id.as_str(),
                duration: nanos(event.durations.total),
                reason,
            },
            action: event.action.as_str(),
            status: event.status,
            rules,
            request: Request { id: event.id.as_str(), headers },
            source: Source { ip: event.peer.0.ip().to_canonical().to_string(), port: event.peer.0.port() },
            client: Client { ip: event.client.to_string() },
            user: event.user.as_ref().and_then(|user| user.verified()).map(|name| Named { name }),
            http: Http {
                version: event.protocol,
                request: HttpRequest { method, referrer, body: Body { bytes: event.bytes_in } },
                response: HttpResponse { status_code: event.status, body: Body { bytes: event.bytes_out } },
            },
            url,
            user_agent,
            tls,
            destination: event.replica.as_deref().map(|address| Destination { address }),
            observer: OBSERVER,
            gatehouse: Own {
                mode: match event.mode {
                    Mode::Enforce => "enforce",
                    Mode::Detect => "detect",
                },
                route: event.route.as_ref().map(|route| &*route.0),
                listener: event.listener.as_deref(),
                user: event.user.as_ref().map(ToString::to_string),
                stage: enforced.map(|finding| finding.stage.as_str()),
                reason: enforced.map(|finding| finding.reason.as_str()),
                findings,
                fields,
                shadow,
                scores: event.scores.iter().take(MAX_SCORES).map(|(name, score)| (&**name, *score)).collect(),
                cache: event.cache.map(|cache| cache.as_str()),
                replica: event.replica.as_deref(),
                duration: OwnDurations {
                    upstream: event.durations.upstream.map(nanos),
                    waf: event.durations.waf.map(nanos),
                },
                omitted: Omitted {
                    rules: event.rules.len().saturating_sub(MAX_RULES),
                    headers: event.headers.len().saturating_sub(shown),
                },
            },
        }
    }
}

fn timestamp(at: SystemTime) -> String {
    // Dates outside the calendar's years cannot come from a clock; they are written as 1970.
    let at = Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{at:.6}")
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// ECS's category and types, from what became of the request.
fn classes(event: &Event) -> (&'static [&'static str], &'static [&'static str]) {
    match event.action {
        Action::Pass if event.relevant() => (&["intrusion_detection", "web"], &["access", "allowed"]),
        Action::Pass => (&["web"], &["access"]),
        Action::Block => (&["intrusion_detection", "web"], &["access", "denied"]),
        Action::Limit | Action::Deny => (&["network", "web"], &["access", "denied"]),
        Action::Error => (&["web"], &["access", "error"]),
    }
}

fn found(finding: &Finding, pen: &mut Pen<'_>) -> FindingLine {
    FindingLine {
        stage: finding.stage.as_str(),
        reason: finding.reason.as_str(),
        detail: pen.text(finding.detail.as_bytes(), MAX_MESSAGE),
        enforced: finding.enforced,
    }
}

fn held(field: &FieldFound, pen: &mut Pen<'_>) -> FieldLine {
    FieldLine {
        place: field.place,
        name: pen.text(&field.name, MAX_NAME),
        class: pen.text(&field.class, MAX_NAME),
        verdict: field.verdict,
        detail: pen.text(&field.detail, MAX_MESSAGE),
    }
}

fn shadowed(shadow: &Shadowed, pen: &mut Pen<'_>) -> ShadowLine {
    ShadowLine {
        outcome: shadow.outcome,
        reason: shadow.reason,
        rules: shadow.rules.iter().copied().take(MAX_RULES).collect(),
        fields: shadow.fields.iter().take(MAX_FIELDS).map(|field| pen.text(field, MAX_NAME)).collect(),
    }
}

fn matched(rule: &RuleMatch, pen: &mut Pen<'_>) -> Rule {
    let variable = &rule.variable;
    Rule {
        id: rule.id,
        msg: pen
            .write(&rule.msg, MAX_MESSAGE, |r, msg, known| r.message(variable, &rule.value, msg, known).into_owned()),
        data: pen.write(&rule.data, MAX_VALUE, |r, data, known| r.data(variable, data, known).into_owned()),
        severity: rule.severity.map(|severity| severity.as_str()),
        tags: rule.tags.iter().take(MAX_TAGS).map_while(|tag| pen.tag(tag)).collect(),
        phase: rule.phase,
        matched: Matched {
            value: pen.write(&rule.value, MAX_VALUE, |r, value, known| r.value(variable, value, known).into_owned()),
            variable: pen.text(variable, MAX_NAME),
        },
    }
}

fn url(event: &Event, pen: &mut Pen<'_>) -> Url {
    let authority = |r: &Redactor, text: &[u8], known: &mut Known| r.authority(text, known).into_owned();
    let original = pen.write(&event.target, MAX_TARGET, authority);
    let target = event.target.as_ref();
    let target = target.split(|b| *b == b'#').next().unwrap_or_default();
    let mut parts = target.splitn(2, |b| *b == b'?');
    let path = pen.write(parts.next().unwrap_or_default(), MAX_TARGET, authority);
    let query = parts.next().map(|query| pen.text(query, MAX_TARGET));
    let domain = pen.write(&event.host, MAX_NAME, authority);
    Url { original, scheme: event.scheme.as_str(), domain, path, query }
}

/// The first field of that name.
fn field(event: &Event, name: &str, pen: &mut Pen<'_>) -> Option<String> {
    let (_, value) = event.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))?;
    Some(pen.write(value, MAX_FIELD, |r, value, known| r.header(name.as_bytes(), value, known).into_owned()))
}

fn secured<'a>(tls: &'a Tls, pen: &mut Pen<'_>) -> TlsLine<'a> {
    TlsLine {
        version: &tls.version,
        version_protocol: "tls",
        cipher: &tls.cipher,
        curve: tls.group.as_deref(),
        established: true,
        resumed: tls.resumed,
        next_protocol: tls.alpn.as_ref().map(|alpn| pen.text(alpn, MAX_NAME)),
        client: TlsClient {
            server_name: tls.sni.as_ref().map(|sni| pen.text(sni, MAX_NAME)),
            ja4: tls.ja4.as_deref(),
            certificate: tls.client.as_ref().map(|client| TlsCertificate {
                subject: pen.text(client.subject.as_bytes(), MAX_NAME),
                issuer: pen.text(client.issuer.as_bytes(), MAX_NAME),
                not_after: date(client.not_after),
                hash: TlsHash { sha256: &client.sha256 },
                x509: TlsX509 { serial_number: &client.serial },
            }),
        },
    }
}

/// A moment in seconds.
fn date(at: SystemTime) -> String {
    format!("{:.0}", Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH))
}

fn headers(event: &Event, pen: &mut Pen<'_>) -> Headers {
    let mut by_name: Vec<(String, Vec<String>)> = Vec::new();
    for (name, value) in event.headers.iter().take(MAX_HEADERS) {
        if pen.left == 0 || pen.unread == 0 {
            break;
        }
        // A name is a token (RFC 9110 section 5.1) where the head was well-formed; what was refused may hold anything.
        let lower = text::escape(text::head(&name.to_ascii_lowercase(), MAX_NAME));
        pen.left = pen.left.saturating_sub(text::json_len(&lower) + 6);
        let value =
            pen.write(value, MAX_FIELD, |redactor, value, known| redactor.header(name, value, known).into_owned());
        match by_name.iter_mut().find(|(known, _)| *known == lower) {
            Some((_, values)) => values.push(value),
            None => by_name.push((lower, vec![value])),
        }
    }
    Headers(by_name)
}

#[cfg(test)]
mod tests {
    use super::super::event::tests::full;
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const DOC: &str = include_str!("../../docs/audit.md");

    fn encode(event: &Event, max: usize) -> (String, Value) {
        let mut out = Vec::new();
        line(event, &Redactor::default(), max, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let value = serde_json::from_str(&text).unwrap();
        (text, value)
    }

    /// Every key with a value below it, dotted; an array's items count as one.
    fn keys(prefix: &str, value: &Value, into: &mut std::collections::BTreeSet<String>) {
        match value {
            Value::Object(map) if prefix != "request.headers" && prefix != "gatehouse.scores" => {
                for (key, value) in map {
                    let dotted = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                    keys(&dotted, value, into);
                }
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                items.iter().for_each(|item| keys(&format!("{prefix}[]"), item, into));
            }
            _ => {
                into.insert(prefix.to_owned());
            }
        }
    }

    #[test]
    fn the_document_lists_every_key_and_shows_what_is_written() {
        let mut event = full();
        let (_, value) = encode(&event, 1 << 20);
        let example = DOC.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
        let example: Value = serde_json::from_str(example).unwrap();
        assert!(example == value, "docs/audit.md should show:\n{}", serde_json::to_string_pretty(&value).unwrap());

        event.rules = vec![event.rules[0].clone(); MAX_RULES + 1];
        let (_, value) = encode(&event, 1 << 20);
        let mut written = std::collections::BTreeSet::new();
        keys("", &value, &mut written);
        let section = DOC.split("## Keys\n").nth(1).unwrap().split("\n## ").next().unwrap();
        let documented = section.lines().filter_map(|l| l.strip_prefix("| `")?.split("` | ").next());
        let documented: std::collections::BTreeSet<String> = documented.map(str::to_owned).collect();
        assert_eq!(documented, written);
    }

    #[test]
    fn the_keys_tools_rely_on_are_at_the_top() {
        let (_, value) = encode(&full(), 1 << 20);
        assert_eq!(value["action"], "block");
        assert_eq!(value["status"], 403);
        assert_eq!(value["request"]["id"], "0191f3c2a5d47e0b");
        assert_eq!(value["request"]["headers"]["user-agent"], "curl/8.5.0");
        assert_eq!(value["request"]["headers"]["accept"], json!(["text/html", "application/json"]));
        let rule = &value["rules"][0];
        assert_eq!(rule["id"], 942_100);
        assert_eq!((&rule["severity"], &rule["phase"]), (&"CRITICAL".into(), &2.into()));
        assert_eq!(rule["matched"], json!({"variable": "ARGS:q", "value": "1' or 1=1"}));
    }

    #[test]
    fn no_secret_is_written() {
        let mut event = full();
        let body = "user=ann&password=hunter-22&q=<script>\r\nINJECTED-LINE tok-8841 ABC.DEF.GHI".to_owned();
        event.rules[0].value = body.clone().into();
        event.rules[0].variable = "REQUEST_BODY".into();
        event.rules[0].data = format!("Matched Data: {body} found within REQUEST_BODY: {body}").into();
        event.rules[0].msg = "saw s3cr3t-77".into();
        event.findings[1].detail = "token=tok-8841".into();
        event.headers.push(("x-copy".into(), "abc.def.ghi".into()));
        let (text, _) = encode(&event, 1 << 20);
        for secret in ["tok-8841", "abc.def.ghi", "ABC.DEF.GHI", "s3cr3t-77", "hunter-22", "s1234567"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        for kept in ["<script>", "Bearer ***", "sid=***; theme=***", "user=ann&password=***"] {
            assert!(text.contains(kept), "{kept} not in {text}");
        }
    }

    #[test]
    fn long_texts_are_cut_with_a_mark() {
        let mut event = full();
        event.rules[0].value = "é".repeat(5_000).into();
        event.headers.push(("x-long".into(), vec![b'a'; 100_000].into()));
        let (_, value) = encode(&event, 1 << 20);
        let matched = value["rules"][0]["matched"]["value"].as_str().unwrap();
        assert!(matched.ends_with("é…[+7952 bytes]"), "{matched}");
        // One long word could be the beginning of a secret: nothing of it is kept.
        assert_eq!(value["request"]["headers"]["x-long"], "…[+100000 bytes]");
    }

    #[test]
    fn an_event_is_bounded_and_keeps_its_identifiers() {
        let mut event = full();
        event.target = vec![0x01; 60_000].into();
        event.rules = vec![event.rules[0].clone(); 2_000];
        for rule in &mut event.rules {
            rule.value = vec![0x02; 10_000].into();
        }
        let wide = Bytes::from(vec![0xFF; 9_000]);
        event.headers = (0..300).map(|n| (Bytes::from(format!("h{n}")), wide.clone())).collect();
        let (text, value) = encode(&event, 64 * 1024);
        assert!(text.len() < 64 * 1024 + MAX_RULES * 160, "{}", text.len());
        assert_eq!(value["rules"].as_array().unwrap().len(), MAX_RULES);
        assert!(value["rules"].as_array().unwrap().iter().all(|rule| rule["id"] == 942_100));
        assert_eq!(value["gatehouse"]["omitted"]["rules"], 2_000 - MAX_RULES);
        assert!(value["gatehouse"]["omitted"]["headers"].as_u64().unwrap() > 0);
    }

    #[test]
    fn what_is_masked_away_is_not_read_without_end() {
        let mut event = full();
        let secret = Bytes::from("name=token\r\n".repeat(2_000));
        event.rules = vec![RuleMatch { value: secret, ..event.rules[0].clone() }; 500];
        let (_, value) = encode(&event, 64 * 1024);
        let rules = value["rules"].as_array().unwrap();
        assert_eq!((rules.len(), &rules[499]["matched"]["value"]), (500, &"…".into()));
    }

    proptest! {
        #[test]
        fn any_bytes_make_one_line_of_json(
            bytes in prop::collection::vec(any::<u8>(), 0..300), max in 0usize..3_000
        ) {
            let mut event = full();
            let bytes = Bytes::from(bytes);
            event.target = bytes.clone();
            event.method = bytes.clone();
            event.host = bytes.clone();
            event.headers.push((bytes.clone(), bytes.clone()));
            event.headers.push((Bytes::from_static(b"cookie"), bytes.clone()));
            event.rules[0].value = bytes.clone();
            event.rules[0].data = bytes.clone();
            event.rules[0].variable = bytes;
            encode(&event, max);
        }
    }
}
