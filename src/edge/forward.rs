//! Heads written anew: the request a replica gets, the response a client gets.
//!
//! Nothing is passed on by default framing or identity wise: hop-by-hop fields end here both ways (RFC 9110 section
//! 7.6.1), the client's claims about who it is are replaced by ours, and the target and authority are those that were
//! judged.

use super::session::ReplayBody;
use crate::facts::{Scheme, UserKey};
use crate::gate::Exchange;
use crate::request::hop;
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, Method, Version};
use http_body_util::Empty;
use pingora_error::{Error, ErrorType, OrErr, Result};
use pingora_http::{RequestHeader, ResponseHeader};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

fn unread() -> Box<Error> {
    Error::explain(ErrorType::InternalError, "an exchange without a request model")
}

/// The request for a replica, HTTP/1.1, as the base's proxy takes it.
///
/// # Errors
/// A part that cannot be written, which the request model would have refused.
pub(super) fn request(x: &Exchange, body: &ReplayBody) -> Result<RequestHeader> {
    let request = x.request.as_ref().ok_or_else(unread)?;
    let fields = framed(x, body)?;
    let mut head =
        RequestHeader::build_no_case(request.method().clone(), request.forward_target(), Some(fields.len()))?;
    head.set_version(Version::HTTP_11);
    for (name, value) in &fields {
        head.append_header(name.clone(), value.clone())?;
    }
    Ok(head)
}

/// The same for the straight way; `None` if that cannot write the target exactly as it was judged.
///
/// # Errors
/// As [`request`].
pub(super) fn straight(x: &Exchange, body: &ReplayBody) -> Result<Option<http::Request<()>>> {
    let request = x.request.as_ref().ok_or_else(unread)?;
    let target = request.forward_target();
    let Some(path) = PathAndQuery::try_from(target).ok().filter(|path| path.as_str().as_bytes() == target) else {
        return Ok(None);
    };
    let mut out = http::Request::new(());
    *out.method_mut() = request.method().clone();
    *out.uri_mut() = Uri::from(path);
    *out.headers_mut() = framed(x, body)?;
    if passes_trailers(x) {
        out.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
    }
    Ok(Some(out))
}

/// Whether the client takes trailers, and the base has a way to give them to it: over HTTP/2, where `TE` can say nothing
/// else (RFC 9113 section 8.2.2).
pub(super) fn passes_trailers(x: &Exchange) -> bool {
    x.version() == Version::HTTP_2 && x.headers.contains_key(header::TE)
}

/// The trailer section as it goes on to a client: without what a recipient would need before the body, and without what
/// ends here (RFC 9110 sections 6.5.1 and 7.6.1).
pub(super) fn trailers(trailers: &HeaderMap) -> HeaderMap {
    const NEVER: [HeaderName; 12] = [
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::CONTENT_RANGE,
        header::HOST,
        header::AUTHORIZATION,
        header::SET_COOKIE,
        header::CACHE_CONTROL,
        header::EXPECT,
        header::RANGE,
        header::LOCATION,
        header::RETRY_AFTER,
    ];
    let gone = hop::fields(trailers);
    let stays = |name: &HeaderName| !NEVER.contains(name) && !gone.contains(name) && *name != header::TRAILER;
    trailers.iter().filter(|(name, _)| stays(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The fields a replica gets, those of the framing with them.
fn framed(x: &Exchange, body: &ReplayBody) -> Result<HeaderMap> {
    let request = x.request.as_ref().ok_or_else(unread)?;
    let mut out = fields(x)?;
    let may_have_none = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    match body {
        ReplayBody::Held(bytes) => {
            let announced = out.remove(header::CONTENT_LENGTH).is_some();
            if !bytes.is_empty() || (!may_have_none && announced) {
                out.insert(header::CONTENT_LENGTH, bytes.len().into());
            }
        }
        ReplayBody::Streaming if out.contains_key(header::CONTENT_LENGTH) => {}
        ReplayBody::Streaming
            if x.headers.contains_key(header::TRANSFER_ENCODING) || x.version() == Version::HTTP_2 =>
        {
            // HTTP/2 need not say how long its body is; whether there is one shows when it is read.
            if !may_have_none {
                out.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
        }
        ReplayBody::Streaming => {}
    }
    Ok(out)
}

/// A WebSocket handshake for a replica.
///
/// # Errors
/// As [`request`].
pub(super) fn handshake(x: &Exchange) -> Result<http::Request<Empty<Bytes>>> {
    let request = x.request.as_ref().ok_or_else(unread)?;
    let target = std::str::from_utf8(request.forward_target()).or_err(ErrorType::InternalError, "target is no text")?;
    let mut out = http::Request::builder()
        .method(Method::GET)
        .uri(target)
        .body(Empty::new())
        .or_err(ErrorType::InternalError, "building the handshake")?;
    *out.headers_mut() = fields(x)?;
    out.headers_mut().remove(header::CONTENT_LENGTH);
    out.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    out.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    Ok(out)
}

/// The fields a replica gets, framing aside.
fn fields(x: &Exchange) -> Result<HeaderMap> {
    let request = x.request.as_ref().ok_or_else(unread)?;
    let s = &x.snapshot;
    let gone = hop::fields(&x.headers);
    let spent = match x.user {
        UserKey::ApiKey(_) | UserKey::Certificate(_) => s.users.spent(&x.headers),
        UserKey::Address(_) => Vec::new(),
    };
    let authority = request.authority().to_string();
    let mut out = HeaderMap::with_capacity(x.headers.len() + 8);
    let host = HeaderValue::from_str(&authority).or_err(ErrorType::InternalError, "authority is no field value")?;
    out.append(header::HOST, host);
    let plain_responses = x.inspection.is_some() && s.inspect.reads_response_bodies();
    for (name, value) in &x.headers {
        let ends_here = *name == header::HOST
            || *name == header::EXPECT
            || *name == header::TRAILER
            || *name == X_REQUEST_ID
            || *name == TRACEPARENT
            || (*name == header::ACCEPT_ENCODING && plain_responses)
            || (*name == header::COOKIE && request.joined_cookie().is_some())
            || gone.contains(name)
            || spent.contains(name)
            || s.forwarding.strips(name.as_str());
        if ends_here {
            continue;
        }
        let value = match *name {
            header::IF_NONE_MATCH => strong(value),
            header::COOKIE => match theirs(value, s.pools.cookies()) {
                Some(value) => value,
                None => continue,
            },
            _ => value.clone(),
        };
        out.append(name.clone(), value);
    }
    if let Some(cookie) = request.joined_cookie().and_then(|cookie| theirs(cookie, s.pools.cookies())) {
        out.append(header::COOKIE, cookie);
    }
    for (name, value) in s.forwarding.headers(x.client, request.scheme(), &authority, &x.user) {
        out.append(name, value);
    }
    if let Ok(id) = HeaderValue::from_str(x.id.as_str()) {
        out.append(X_REQUEST_ID, id);
    }
    out.append(TRACEPARENT, traceparent(x));
    if !x.headers.contains_key(TRACEPARENT) {
        // A state without its parent belongs to no trace (W3C Trace Context section 3.3).
        out.remove(TRACESTATE);
    }
    Ok(out)
}

/// A `Cookie` field without the gate's own cookies, `ours`, which say to which replica a client goes back (RFC 6265 section
/// 4.2.1); `None` if nothing is left.
fn theirs(value: &HeaderValue, ours: &[Box<str>]) -> Option<HeaderValue> {
    let name = |pair: &[u8]| pair.split(|b| *b == b'=').next().unwrap_or_default().trim_ascii().to_vec();
    let is_ours = |pair: &&[u8]| ours.iter().any(|own| own.as_bytes() == name(pair));
    let pairs = || value.as_bytes().split(|b| *b == b';');
    if ours.is_empty() || !pairs().any(|pair| is_ours(&pair)) {
        return Some(value.clone());
    }
    let left: Vec<&[u8]> = pairs().filter(|pair| !is_ours(pair)).map(<[u8]>::trim_ascii).collect();
    let left = left.join(&b"; "[..]);
    HeaderValue::from_bytes(&left).ok().filter(|left| !left.is_empty())
}

/// A single weakened validator without its mark: replicas compare entity tags as plain strings, and what they sent had
/// none. Lists and `*` stay as they are.
fn strong(value: &HeaderValue) -> HeaderValue {
    let bytes = value.as_bytes();
    match bytes.strip_prefix(b"W/\"") {
        Some(rest) if rest.iter().filter(|b| **b == b'"').count() == 1 && rest.ends_with(b"\"") => {
            bytes.get(2..).and_then(|tag| HeaderValue::from_bytes(tag).ok()).unwrap_or_else(|| value.clone())
        }
        _ => value.clone(),
    }
}

/// The trace context (W3C Trace Context section 3.2): the client's trace goes on under a span of ours, or one begins.
fn traceparent(x: &Exchange) -> HeaderValue {
    let given = x.headers.get(TRACEPARENT).and_then(|v| v.to_str().ok()).and_then(trace_of);
    let span: u64 = rand::random::<u64>() | 1;
    let text = match given {
        Some((trace, flags)) => format!("00-{trace}-{span:016x}-{flags}"),
        None => format!("00-{:032x}-{span:016x}-01", rand::random::<u128>() | 1),
    };
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Trace id and flags of a valid `traceparent`.
fn trace_of(text: &str) -> Option<(&str, &str)> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let zero = |part: &str| part.bytes().all(|b| b == b'0');
    let valid = hex(version, 2)
        && version != "ff"
        && hex(trace, 32)
        && !zero(trace)
        && hex(span, 16)
        && !zero(span)
        && hex(flags, 2)
        && (version != "00" || parts.next().is_none());
    valid.then_some((trace, flags))
}

/// Takes out of a replica's response what ends at the gate.
pub(super) fn response(head: &mut ResponseHeader) {
    let framed = head.headers.contains_key(header::TRANSFER_ENCODING);
    for name in hop::fields(&head.headers) {
        // The base still needs to know how the body comes.
        if name != header::TRANSFER_ENCODING {
            head.remove_header(&name);
        }
    }
    if framed {
        // Both: the coding decides (RFC 9112 section 6.3 rule 3), and the other must not be forwarded.
        head.remove_header(&header::CONTENT_LENGTH);
    }
    head.remove_header(&header::TRAILER);
}

/// Puts our own fields on a response, stored or fresh.
///
/// # Errors
/// None that a valid exchange can cause.
pub(super) fn decorate(head: &mut ResponseHeader, x: &Exchange, cookie: Option<&str>) -> Result<()> {
    head.insert_header(X_REQUEST_ID, x.id.as_str())?;
    if let Some(cookie) = cookie {
        head.append_header(header::SET_COOKIE, cookie)?;
    }
    if let Some(quota) = &x.quota {
        for (name, value) in super::respond::quota_fields(quota) {
            head.insert_header(name, value)?;
        }
    }
    let said = &x.snapshot.said;
    if !said.is_empty() {
        for name in said.removed() {
            head.remove_header(name);
        }
        for (name, value) in said.set(x.connection.scheme == Scheme::Https) {
            head.insert_header(name.clone(), value.clone())?;
        }
    }
    if x.version() == Version::HTTP_10 && head.headers.contains_key(header::TRANSFER_ENCODING) {
        // RFC 9112 section 6.1: no transfer coding to an HTTP/1.0 client; the end of the connection ends the body.
        head.remove_header(&header::TRANSFER_ENCODING);
    }
    Ok(())
}

/// The same for a 101.
pub(super) fn decorate_tunnel(headers: &mut HeaderMap, x: &Exchange) {
    if let Ok(id) = HeaderValue::from_str(x.id.as_str()) {
        headers.insert(X_REQUEST_ID, id);
    }
}

/// A replica's ordinary answer to a handshake, as head for the client.
///
/// # Errors
/// A head that cannot be written.
pub(super) fn relayed(parts: &http::response::Parts, x: &Exchange) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build(parts.status, Some(parts.headers.len() + 2))?;
    for (name, value) in &parts.headers {
        head.append_header(name.clone(), value.clone())?;
    }
    response(&mut head);
    frame(&mut head, x, false, None)?;
    Ok(head)
}

/// Says in a response's head how its body, taken out of the replica's framing, comes to this client; puts our own fields
/// on it.
///
/// # Errors
/// None that a valid exchange can cause.
pub(super) fn frame(head: &mut ResponseHeader, x: &Exchange, bodiless: bool, cookie: Option<&str>) -> Result<()> {
    head.remove_header(&header::TRANSFER_ENCODING);
    if !bodiless && x.version() != Version::HTTP_2 && !head.headers.contains_key(header::CONTENT_LENGTH) {
        head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    decorate(head, x, cookie)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weakened_validator_is_made_plain_again() {
        for (given, sent) in [
            ("W/\"abc\"", "\"abc\""),
            ("\"abc\"", "\"abc\""),
            ("W/\"a\", W/\"b\"", "W/\"a\", W/\"b\""),
            ("*", "*"),
            ("W/\"", "W/\""),
        ] {
            assert_eq!(strong(&HeaderValue::from_static(given)), sent, "{given}");
        }
    }

    #[test]
    fn the_gates_own_cookie_stays_with_it() {
        let ours: Vec<Box<str>> = vec!["stay".into()];
        for (given, sent) in [
            ("a=1; stay=x; b=2", Some("a=1; b=2")),
            ("stay=x", None),
            ("stay=x;stay=y", None),
            ("a=1;b=2", Some("a=1;b=2")),
            ("stayx=1; xstay=2", Some("stayx=1; xstay=2")),
            ("stay=x; a=\"stay=y\"", Some("a=\"stay=y\"")),
            (" stay =x; a=1", Some("a=1")),
        ] {
            let left = theirs(&HeaderValue::from_str(given).unwrap(), &ours);
            assert_eq!(left.as_ref().map(|value| value.to_str().unwrap()), sent, "{given}");
        }
        let all = HeaderValue::from_static("stay=x");
        assert_eq!(theirs(&all, &[]), Some(all));
    }

    #[test]
    fn trailers_go_on_without_what_belongs_before_a_body() {
        let mut given = HeaderMap::new();
        for (name, value) in [
            ("grpc-status", "0"),
            ("content-length", "5"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("set-cookie", "a=b"),
        ] {
            given.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        assert_eq!(trailers(&given).keys().collect::<Vec<_>>(), ["grpc-status"]);
    }

    #[test]
    fn only_valid_trace_contexts_go_on() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let good = format!("00-{trace}-b7ad6b7169203331-01");
        assert_eq!(trace_of(&good), Some((trace, "01")));
        assert_eq!(trace_of(&format!("cc-{trace}-b7ad6b7169203331-01-what")), Some((trace, "01")));
        for bad in [
            "",
            "00-0-0-0",
            &format!("00-{trace}-b7ad6b7169203331-01-more"),
            &format!("ff-{trace}-b7ad6b7169203331-01"),
            &format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
            &format!("00-{trace}-{}-01", "0".repeat(16)),
            &format!("00-{}-b7ad6b7169203331-01", trace.to_uppercase()),
        ] {
            assert_eq!(trace_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_response_keeps_one_framing_and_no_hop() {
        let mut head = ResponseHeader::build(200, None).unwrap();
        for (name, value) in [
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("connection", "close, x-secret"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("x-stays", "1"),
        ] {
            head.append_header(name, value).unwrap();
        }
        response(&mut head);
        let mut names: Vec<_> = head.headers.keys().map(|n| n.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["transfer-encoding", "x-stays"]);
    }
}
