//! The one place where a [`Refusal`] becomes a response.
//!
//! API clients get `application/problem+json` (RFC 9457), browsers a short page; both carry the request id and nothing
//! that says which rule, limit or replica decided.

use crate::facts::{RequestId, Scheme};
use crate::gate::Exchange;
use crate::request::grpc;
use crate::verdict::{Hint, Reason, Refusal};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use pingora_core::protocols::http::{HttpTask, ServerSession};
use pingora_error::Result;
use pingora_http::ResponseHeader;
use std::fmt::Write as _;
use std::time::Duration;

/// A whole small response of our own.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: u16,
    /// Fields besides framing, date and connection.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The body; not sent to HEAD, but counted.
    pub(crate) body: Bytes,
    /// Close the connection after it.
    pub(crate) close: bool,
    /// The end of a gRPC call, sent as such.
    pub(crate) call: bool,
    /// What all responses say.
    pub(crate) said: Vec<(HeaderName, HeaderValue)>,
}

/// Makes the response for `refusal` of an exchange: in gRPC's terms for a call.
pub(crate) fn refusal_of(x: &Exchange, refusal: &Refusal) -> Answer {
    let answer = if x.version() == http::Version::HTTP_2 && grpc::is_grpc(&x.headers) {
        call_refused(refusal, &x.id)
    } else {
        self::refusal(refusal, &x.id, Some(&x.headers))
    };
    let said = x.snapshot.said.set(x.connection.scheme == Scheme::Https);
    Answer { said: said.map(|(name, value)| (name.clone(), value.clone())).collect(), ..answer }
}

/// A call's end without a message: status 200, and the call's own status in a head that is all there is (gRPC over HTTP2,
/// "Trailers-Only"). [`Answer::status`] stays what it would be in HTTP, for the record.
fn call_refused(refusal: &Refusal, id: &RequestId) -> Answer {
    let mut headers = vec![("content-type", "application/grpc".to_owned()), ("x-request-id", id.to_string())];
    for (name, value) in &grpc_trailers(refusal) {
        let name = GRPC_FIELDS.into_iter().find(|known| name == *known);
        headers.extend(name.map(|name| (name, String::from_utf8_lossy(value.as_bytes()).into_owned())));
    }
    Answer { status: refusal.reason.status(), headers, body: Bytes::new(), close: false, call: true, said: Vec::new() }
}

const GRPC_FIELDS: [&str; 3] = ["grpc-status", "grpc-message", "grpc-retry-pushback-ms"];

/// What ends a call that cannot be answered (further).
pub(crate) fn grpc_trailers(refusal: &Refusal) -> HeaderMap {
    let [status, message, pushback] = GRPC_FIELDS.map(HeaderName::from_static);
    let mut trailers = HeaderMap::with_capacity(3);
    trailers.insert(status, grpc_status(refusal.reason).into());
    // Ours, in plain ASCII: nothing to be percent-encoded.
    trailers.insert(message, HeaderValue::from_static(refusal.reason.public_text()));
    if let Some(after) = refusal.retry_after {
        trailers.insert(pushback, seconds_up(after).saturating_mul(1000).into());
    }
    trailers
}

/// A refusal as a gRPC status code.
fn grpc_status(reason: Reason) -> u16 {
    match reason.status() {
        400 | 414 | 415 | 422 => 3, // INVALID_ARGUMENT
        401 => 16,                  // UNAUTHENTICATED
        403 => 7,                   // PERMISSION_DENIED
        404 | 405 | 501 => 12,      // UNIMPLEMENTED
        408 | 504 => 4,             // DEADLINE_EXCEEDED: it may have been done all the same
        413 | 429 | 431 => 8,       // RESOURCE_EXHAUSTED
        421 | 502 | 503 => 14,      // UNAVAILABLE
        500 => 13,                  // INTERNAL
        _ => 2,                     // UNKNOWN
    }
}

/// Makes the response for `refusal`; `head` is the request's, where there was a readable one.
pub(crate) fn refusal(refusal: &Refusal, id: &RequestId, head: Option<&HeaderMap>) -> Answer {
    let reason = refusal.reason;
    let status = reason.status();
    let title = StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Refused");
    let text = reason.public_text();
    let mut headers = vec![("x-request-id", id.to_string()), ("cache-control", "no-store".to_owned())];
    let body = if head.is_some_and(prefers_html) {
        headers.push(("content-type", "text/html; charset=utf-8".to_owned()));
        headers.push(("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'".to_owned()));
        page(status, title, text, id)
    } else {
        headers.push(("content-type", "application/problem+json".to_owned()));
        let mut problem = serde_json::json!({
            "type": "about:blank", "title": title, "status": status, "detail": text, "request_id": id.as_str(),
        });
        if let (Some(Hint::Field(field)), Some(problem)) = (refusal.hint.as_deref(), problem.as_object_mut()) {
            problem.insert("field".into(), field.as_str().into());
        }
        problem.to_string()
    };
    if let Some(after) = refusal.retry_after {
        headers.push(("retry-after", seconds_up(after).to_string()));
    }
    if let Some(quota) = &refusal.quota {
        headers.extend(quota_fields(quota));
    }
    match reason {
        Reason::Unauthorized => headers.push(("www-authenticate", "Bearer".to_owned())),
        Reason::MethodNotAllowed => {
            let names = refusal.methods().map(|methods| methods.iter().map(http::Method::as_str).collect::<Vec<_>>());
            let all = || "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS".to_owned();
            headers.push(("allow", names.map_or_else(all, |names| names.join(", "))));
        }
        _ => {}
    }
    Answer { status, headers, body: body.into(), close: reason.closes(), call: false, said: Vec::new() }
}

impl Answer {
    /// Says in a 405 which methods the route takes, instead of all that any route does (RFC 9110 section 15.5.6).
    pub(crate) fn allowing(mut self, methods: &str) -> Self {
        if let Some((_, value)) = self.headers.iter_mut().find(|(name, _)| *name == "allow") {
            methods.clone_into(value);
        }
        self
    }
}

/// `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10: items named by their policy).
pub(crate) fn quota_fields(quota: &crate::verdict::Quota) -> [(&'static str, String); 2] {
    let name: String = quota.policy.chars().filter(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\')).collect();
    [
        ("ratelimit-policy", format!("\"{name}\";q={};w={}", quota.limit, seconds_up(quota.window))),
        ("ratelimit", format!("\"{name}\";r={};t={}", quota.remaining, seconds_up(quota.reset))),
    ]
}

/// Sends a plain-text client to the same place over TLS (308 keeps method and body, RFC 9110 section 15.4.9).
pub(crate) fn redirect(host: &str, port: u16, target: &str, id: &RequestId) -> Answer {
    let port = if port == Scheme::Https.default_port() { String::new() } else { format!(":{port}") };
    Answer {
        status: 308,
        headers: vec![("location", format!("https://{host}{port}{target}")), ("x-request-id", id.to_string())],
        body: Bytes::new(),
        close: true,
        call: false,
        said: Vec::new(),
    }
}

/// What an authority is shown for its token (RFC 8555 section 8.3), or that there is no such token.
pub(crate) fn challenge(key_authorization: Option<String>, id: &RequestId) -> Answer {
    let (status, kind, body) = match key_authorization {
        Some(key_authorization) => (200, "application/octet-stream", key_authorization),
        None => (404, "text/plain; charset=utf-8", "no such challenge\n".to_owned()),
    };
    let headers = vec![
        ("content-type", kind.to_owned()),
        ("x-request-id", id.to_string()),
        ("cache-control", "no-store".to_owned()),
    ];
    Answer { status, headers, body: body.into(), close: false, call: false, said: Vec::new() }
}

fn seconds_up(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// Whether the client names HTML before JSON, as browsers do when they navigate; API clients rarely name it at all.
fn prefers_html(head: &HeaderMap) -> bool {
    let accept = head.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let position = |kind: &str| accept.find(kind).unwrap_or(usize::MAX);
    let html = position("text/html");
    html != usize::MAX && html < position("application/json") && html < position("application/problem+json")
}

fn page(status: u16, title: &str, text: &str, id: &RequestId) -> String {
    // Everything put in is ours or checked (`RequestId`), so nothing needs escaping.
    let mut out = String::with_capacity(600);
    let _ = writeln!(
        out,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{status} {title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem;\
         color-scheme:light dark}}code{{font-size:.9em}}</style>\
         <h1>{title}</h1><p>{text}</p><p>If you think this is wrong, report this id: <code>{id}</code></p></html>"
    );
    out
}

/// The answer as HTTP/1 bytes, for a connection whose request could not be read; always closes.
pub(crate) fn to_h1(answer: &Answer) -> Vec<u8> {
    let reason = StatusCode::from_u16(answer.status).ok().and_then(|s| s.canonical_reason()).unwrap_or("");
    let mut out = format!("HTTP/1.1 {} {reason}\r\n", answer.status);
    let own = { answer.headers.iter() }.filter(|(name, _)| !answer.said.iter().any(|(said, _)| said == name));
    for (name, value) in own {
        let _ = write!(out, "{name}: {value}\r\n");
    }
    for (name, value) in &answer.said {
        let _ = write!(out, "{name}: {}\r\n", value.to_str().unwrap_or_default());
    }
    let date = httpdate::fmt_http_date(std::time::SystemTime::now());
    let _ = write!(out, "content-length: {}\r\ndate: {date}\r\nconnection: close\r\n\r\n", answer.body.len());
    let mut out = out.into_bytes();
    out.extend_from_slice(&answer.body);
    out
}

impl Answer {
    /// Its head.
    ///
    /// # Errors
    /// None that fields of ours can cause.
    pub(super) fn head(&self) -> Result<ResponseHeader> {
        let status = if self.call { 200 } else { self.status };
        let mut head = ResponseHeader::build(status, Some(self.headers.len() + 3))?;
        for (name, value) in &self.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                head.insert_header(*name, value)?;
            }
        }
        for (name, value) in &self.said {
            head.insert_header(name.clone(), value.clone())?;
        }
        if !self.call {
            head.insert_header(header::CONTENT_LENGTH, self.body.len())?;
        }
        Ok(head)
    }

    /// Its body, as a request of this method gets it.
    pub(super) fn body_for(&self, method: &http::Method) -> Bytes {
        if *method == http::Method::HEAD { Bytes::new() } else { self.body.clone() }
    }
}

/// Writes the answer on one of the base's sessions whose request was read, HTTP/1 or HTTP/2.
///
/// # Errors
/// The client went away.
pub(crate) async fn send(session: &mut ServerSession, answer: &Answer) -> Result<()> {
    if answer.call {
        return session.response_duplex_vec(vec![HttpTask::Header(Box::new(answer.head()?), true)]).await.map(drop);
    }
    if answer.close {
        session.set_keepalive(None);
    }
    let body = answer.body_for(&session.req_header().method);
    session.write_response_header(Box::new(answer.head()?)).await?;
    session.write_response_body(body, true).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Quota;

    fn id() -> RequestId {
        RequestId::from_random(7)
    }

    fn accepting(accept: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))])
    }

    fn field<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
        answer.headers.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str())
    }

    #[test]
    fn browsers_get_a_page_and_everybody_else_a_problem() {
        let refused = Refusal::new(Reason::RequestRules(403), "rule 942100 on ARGS:q");
        for (accept, kind) in [
            ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
            ("application/json, text/html", "application/problem+json"),
            ("*/*", "application/problem+json"),
        ] {
            let answer = refusal(&refused, &id(), Some(&accepting(accept)));
            assert_eq!(field(&answer, "content-type"), Some(kind), "{accept}");
            let body = std::str::from_utf8(&answer.body).unwrap();
            assert!(body.contains(id().as_str()) && !body.contains("942100"), "the id and no hint: {body}");
        }
        let problem = refusal(&refused, &id(), None);
        let body: serde_json::Value = serde_json::from_slice(&problem.body).unwrap();
        assert_eq!((body["status"].as_u64(), body["title"].as_str()), (Some(403), Some("Forbidden")));
    }

    #[test]
    fn a_limit_says_when_to_come_back() {
        let mut refused = Refusal::new(Reason::RateLimited, "").retry_after(Duration::from_millis(599));
        refused.quota = Some(Quota {
            policy: "default".into(),
            limit: 100,
            window: Duration::from_secs(60),
            remaining: 0,
            reset: Duration::from_millis(59_400),
        });
        let answer = refusal(&refused, &id(), None);
        assert_eq!(answer.status, 429);
        assert_eq!(field(&answer, "retry-after"), Some("1"), "never earlier than it can succeed");
        assert_eq!(field(&answer, "ratelimit-policy"), Some("\"default\";q=100;w=60"));
        assert_eq!(field(&answer, "ratelimit"), Some("\"default\";r=0;t=60"));
    }

    #[test]
    fn a_405_says_what_the_route_takes() {
        let refused = Refusal::new(Reason::MethodNotAllowed, "");
        assert!(field(&refusal(&refused, &id(), None), "allow").is_some_and(|all| all.contains("PATCH")));
        assert_eq!(field(&refusal(&refused, &id(), None).allowing("POST"), "allow"), Some("POST"));
        let other = refusal(&Refusal::new(Reason::Malformed, ""), &id(), None).allowing("POST");
        assert_eq!(field(&other, "allow"), None);
    }

    #[test]
    fn framing_faults_close_the_connection() {
        let answer = refusal(&Refusal::new(Reason::Malformed, ""), &id(), None);
        assert!(answer.close);
        let bytes = to_h1(&answer);
        let text = std::str::from_utf8(&bytes).unwrap();
        assert!(text.starts_with("HTTP/1.1 400 Bad Request\r\n") && text.contains("connection: close\r\n"));
    }

    #[test]
    fn refusals_have_their_grpc_status() {
        for (reason, code) in [
            (Reason::RateLimited, 8),
            (Reason::RequestRules(403), 7),
            (Reason::Reputation, 7),
            (Reason::Unauthorized, 16),
            (Reason::NoReplica, 14),
            (Reason::Overloaded, 14),
            (Reason::UpstreamFailed, 14),
            (Reason::UpstreamTimeout, 4),
            (Reason::BodyTooLarge, 8),
            (Reason::Malformed, 3),
            (Reason::MethodNotAllowed, 12),
            (Reason::Internal, 13),
            (Reason::RequestRules(418), 2),
        ] {
            assert_eq!(grpc_status(reason), code, "{reason:?}");
        }
        let refused = Refusal::new(Reason::RateLimited, "secret").retry_after(Duration::from_millis(1500));
        let answer = call_refused(&refused, &id());
        assert_eq!((answer.status, answer.call, answer.body.len()), (429, true, 0));
        for (name, value) in [
            ("content-type", "application/grpc"),
            ("grpc-status", "8"),
            ("grpc-message", "Too many requests. Try again later."),
            ("grpc-retry-pushback-ms", "2000"),
        ] {
            assert_eq!(field(&answer, name), Some(value), "{name}");
        }
    }
}
