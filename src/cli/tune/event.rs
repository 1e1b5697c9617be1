//! Audit events as a tuner reads them: JSON lines written by the gate, of texts that clients chose.
//!
//! Memory: lines of at most [`MAX_LINE`] bytes, together at most [`MAX_BYTES`]; what is longer or more is left out and
//! counted. A line that is no event is counted too, and ends nothing.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{self, BufRead, Read as _};

/// The longest line that is read, in bytes.
const MAX_LINE: usize = 1 << 20;
/// Most bytes of lines that are kept.
const MAX_BYTES: usize = 64 << 20;
/// Most hits of one event.
const MAX_HITS: usize = 256;

/// A refused request, or one that would have been.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Record {
    pub(super) client: String,
    pub(super) route: String,
    pub(super) method: String,
    /// As it came, secrets masked.
    pub(super) target: Vec<u8>,
    pub(super) host: String,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body_bytes: usize,
    pub(super) rules: Vec<RuleHit>,
    pub(super) fields: Vec<FieldHit>,
}

/// A rule that matched.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct RuleHit {
    pub(super) id: u64,
    /// As `ARGS:name`.
    pub(super) variable: Vec<u8>,
    /// After the rule's transformations.
    pub(super) value: Vec<u8>,
}

/// A field that is not what it should be.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct FieldHit {
    pub(super) place: String,
    pub(super) name: String,
    pub(super) verdict: String,
}

/// What was read.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Reading {
    pub(super) records: Vec<Record>,
    /// Lines that are no audit events, or too long.
    pub(super) unreadable: usize,
    /// Events of requests that no rule or field refused.
    pub(super) other: usize,
    /// Whether there was more than is kept.
    pub(super) full: bool,
    bytes: usize,
}

impl Reading {
    /// Reads the lines of one file.
    ///
    /// # Errors
    /// What reading gave.
    pub(super) fn add(&mut self, mut from: impl BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
            if from.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            if line.last() != Some(&b'\n') && line.len() >= MAX_LINE {
                from.skip_until(b'\n')?;
                self.unreadable += 1;
                continue;
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            if self.bytes + line.len() > MAX_BYTES {
                self.full = true;
                return Ok(());
            }
            match record(&line) {
                Ok(Some(record)) => {
                    self.bytes += line.len();
                    self.records.push(record);
                }
                Ok(None) => self.other += 1,
                Err(_) => self.unreadable += 1,
            }
        }
    }
}

#[derive(Deserialize)]
struct Line {
    action: String,
    #[serde(default)]
    rules: Vec<Rule>,
    request: Request,
    client: Client,
    http: Http,
    url: Url,
    gatehouse: Own,
}

#[derive(Deserialize)]
struct Rule {
    id: u64,
    matched: Option<Matched>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Matched {
    variable: String,
    value: String,
}

#[derive(Deserialize)]
struct Request {
    #[serde(default)]
    headers: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Client {
    ip: String,
}

#[derive(Deserialize)]
struct Http {
    request: HttpRequest,
}

#[derive(Deserialize)]
struct HttpRequest {
    #[serde(default)]
    method: String,
    body: Option<Body>,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    bytes: usize,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Url {
    domain: String,
    original: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Own {
    route: String,
    findings: Vec<Finding>,
    fields: Vec<Field>,
}

#[derive(Deserialize)]
struct Finding {
    reason: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Field {
    place: String,
    name: String,
    verdict: String,
}

/// The record of a line; none where neither rules nor fields would refuse the request.
fn record(line: &[u8]) -> serde_json::Result<Option<Record>> {
    let line: Line = serde_json::from_slice(line)?;
    let judged = |finding: &Finding| matches!(finding.reason.as_str(), "request_rules" | "field");
    if !matches!(line.action.as_str(), "block" | "pass" | "error") || !line.gatehouse.findings.iter().any(judged) {
        return Ok(None);
    }
    let mut headers = Vec::new();
    for (name, value) in line.request.headers {
        match value {
            Value::String(text) => headers.push((name, unescape(&text))),
            Value::Array(texts) => {
                headers.extend(texts.iter().filter_map(Value::as_str).map(|text| (name.clone(), unescape(text))));
            }
            _ => {}
        }
    }
    let hit = |rule: Rule| {
        let Matched { variable, value } = rule.matched.unwrap_or_default();
        RuleHit { id: rule.id, variable: unescape(&variable), value: unescape(&value) }
    };
    let refuses = |field: &Field| matches!(field.verdict.as_str(), "attack" | "misfit");
    Ok(Some(Record {
        client: line.client.ip,
        route: line.gatehouse.route,
        method: line.http.request.method,
        target: unescape(&line.url.original),
        host: line.url.domain,
        headers,
        body_bytes: line.http.request.body.map_or(0, |body| body.bytes),
        rules: line.rules.into_iter().take(MAX_HITS).map(hit).collect(),
        fields: line
            .gatehouse
            .fields
            .into_iter()
            .filter(refuses)
            .take(MAX_HITS)
            .map(|field| FieldHit { place: field.place, name: field.name, verdict: field.verdict })
            .collect(),
    }))
}

/// The bytes of a text in an event: `\xHH` is one byte (docs/audit.md, "Bytes that are no text").
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let byte = (first == b'\\' && behind.first() == Some(&b'x'))
            .then(|| behind.get(1..3))
            .flatten()
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(byte.unwrap_or(first));
        rest = if byte.is_some() { behind.get(3..).unwrap_or_default() } else { behind };
    }
    out
}

/// Whether a text is not what was sent: masked, or cut.
pub(super) fn altered(text: &[u8]) -> bool {
    let has = |part: &[u8]| memchr::memmem::find(text, part).is_some();
    has(b"***") || text.ends_with("…".as_bytes()) || has("…[+".as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"action":"block","rules":[{"id":7,"matched":{"variable":"ARGS:q","value":"a\\xFFb"}}],
        "request":{"headers":{"host":"h","accept":["a","b"]}},"client":{"ip":"192.0.2.1"},
        "http":{"request":{"method":"POST","body":{"bytes":9}}},"url":{"domain":"h","original":"/a?q=1"},
        "gatehouse":{"route":"api","findings":[{"reason":"request_rules"}],
        "fields":[{"place":"query","name":"q","verdict":"misfit"},{"place":"query","name":"r","verdict":"fits"}]}}"#;

    fn read(text: &str) -> Reading {
        let mut reading = Reading::default();
        reading.add(text.as_bytes()).unwrap();
        reading
    }

    #[test]
    fn events_are_read_and_what_is_none_is_counted() {
        let event = EVENT.replace('\n', "");
        let limited = event.replace("request_rules", "rate_limited");
        let long = "x".repeat(2 * MAX_LINE);
        let reading = read(&format!("{event}\nnonsense\n\n{long}\n{limited}\n[1]\n{event}"));
        assert_eq!((reading.records.len(), reading.unreadable, reading.other), (2, 3, 1));
        let record = &reading.records[0];
        assert_eq!(record.rules[0].value, b"a\xffb");
        assert_eq!(
            record.headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["accept", "accept", "host"]
        );
        assert_eq!(record.fields.len(), 1);
        assert_eq!((record.client.as_str(), record.route.as_str(), record.body_bytes), ("192.0.2.1", "api", 9));
    }

    #[test]
    fn bytes_come_back_and_altered_texts_are_known() {
        for (text, bytes) in [("a", &b"a"[..]), (r"\xF0", b"\xf0"), (r"\x5Cx41", br"\x41"), (r"\xG0\x", br"\xG0\x")] {
            assert_eq!(unescape(text), bytes, "{text}");
        }
        for (text, expected) in
            [("a * b ** c", false), ("sid=***", true), ("abc…[+3 bytes]", true), ("wait… what", false)]
        {
            assert_eq!(altered(text.as_bytes()), expected, "{text}");
        }
    }
}
