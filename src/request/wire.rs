//! The strict check of an HTTP/1 head, over the raw bytes, before any other parser sees them.
//!
//! [`check`] admits a head only if every reader of RFC 9112 splits the stream at the same places: one request line,
//! field lines that end in CRLF, one statement of the body's length. It is narrower than the RFC wherever the RFC lets a
//! recipient repair what it got (bare LF, obs-fold, white space, identical duplicates), because the next parser may
//! repair it otherwise. [`lenient`] reads the same bytes as far as they can be read, for the rules and the audit event of
//! what was refused. [`find_end`] says where a head ends, and [`too_large`] what is wrong with one that does not.
//!
//! **Whatever the reason, a connection whose head was refused here is closed after the answer**: where the next request
//! begins is not known.
//!
//! Cost: one pass with SIMD searches, about a microsecond a kilobyte, and no allocation while nothing is wrong.

use super::authority::{self, Parts};
use super::bytes::{field_line, is_token, list, same_for_cgi, trim_ows};
use super::hop;
use crate::facts::Scheme;
use crate::units::ByteSize;
use crate::verdict::{Reason, Refusal};
use memchr::{memchr, memrchr};
use serde::{Deserialize, Serialize};

/// How many empty lines before a request line are skipped (RFC 9112 section 2.2 asks for at least one).
const MAX_LEADING_CRLF: usize = 4;
/// Longest method in bytes; the registered ones have at most 17.
const MAX_METHOD: usize = 32;
/// Most fields that [`lenient`] lists.
const MAX_LENIENT_FIELDS: usize = 256;

/// How large a head may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeadLimits {
    /// Longest request target; above: 414 (RFC 9110 section 15.5.15).
    pub target: ByteSize,
    /// Largest head, request line and all fields; above: 431 (RFC 6585 section 5).
    pub head: ByteSize,
    /// Most fields; above: 431.
    pub fields: u16,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { target: ByteSize::kib(8), head: ByteSize::kib(32), fields: 128 }
    }
}

/// How the body after a head is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Neither Content-Length nor Transfer-Encoding: no body (RFC 9112 section 6.3 rule 7).
    None,
    /// So many bytes; zero is possible.
    Length(u64),
    /// Chunked, and nothing else.
    Chunked,
}

/// A protocol the client asks to change to and the gate knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrade {
    /// A complete opening handshake of RFC 6455 section 4.1.
    WebSocket,
}

/// What a head says of its message and connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
    /// Where the request line starts: after the empty lines that were skipped.
    pub start: usize,
    /// How the body is delimited.
    pub body: Body,
    /// Whether the client waits for 100 (Continue) before it sends its body (RFC 9110 section 10.1.1).
    pub expects_continue: bool,
    /// Whether the client lets the connection go on afterwards (RFC 9112 section 9.3).
    pub keep_alive: bool,
    /// The change of protocol to be tried. Any other `Upgrade` is ignored, as RFC 9110 section 7.8 allows, and must not
    /// be forwarded; h2c is one of them (RFC 9113 section 3.1 retired it).
    pub upgrade: Option<Upgrade>,
}

/// Why a head or body was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct Malformed {
    /// The reason, and with it the status.
    pub reason: Reason,
    /// What is wrong, for the audit event.
    pub what: &'static str,
    /// Where, in bytes from the start of what was given.
    pub at: usize,
}

impl Malformed {
    pub(super) const fn new(reason: Reason, what: &'static str, at: usize) -> Self {
        Self { reason, what, at }
    }

    pub(super) const fn syntax(what: &'static str, at: usize) -> Self {
        Self::new(Reason::Malformed, what, at)
    }
}

impl From<Malformed> for Refusal {
    fn from(fault: Malformed) -> Self {
        Self::new(fault.reason, fault.to_string())
    }
}

/// Where a head ends in what has arrived: the offset after its empty line, or `None` while it goes on.
///
/// An empty line made with bare LFs counts too, so that [`check`] refuses such a head at once instead of the connection
/// waiting for a CRLF that will not come. `from` is what an earlier call on a shorter `buf` had seen (0 at first): bytes
/// are looked at once.
pub fn find_end(buf: &[u8], from: usize) -> Option<usize> {
    let start = leading(buf);
    let mut at = from.max(start);
    while let Some(offset) = memchr(b'\n', buf.get(at..)?) {
        let lf = at + offset;
        let line = buf.get(..lf)?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // The line is empty if it begins right after another LF: of the line before, or of the last one skipped.
        if line.last() == Some(&b'\n') {
            return Some(lf + 1);
        }
        at = lf + 1;
    }
    None
}

/// The length of the empty lines to skip at the start.
fn leading(buf: &[u8]) -> usize {
    2 * buf.chunks_exact(2).take(MAX_LEADING_CRLF).take_while(|pair| *pair == b"\r\n").count()
}

/// What to say of a head that has not ended within the limit: its target is too long (414), or the whole (431).
pub fn too_large(partial: &[u8], limits: &HeadLimits) -> Malformed {
    let line = partial.get(leading(partial)..).unwrap_or_default();
    if memchr(b'\n', line.get(..limits.target.bytes()).unwrap_or(line)).is_none() {
        return Malformed::new(Reason::TargetTooLong, "request line goes on past the limit", partial.len());
    }
    Malformed::new(Reason::HeadTooLarge, "head goes on past the limit", partial.len())
}

/// The next line without its CRLF, and where the one after it begins (RFC 9112 section 2.2: a bare LF is refused here;
/// a bare CR is left in the line, and is refused by whoever reads the line, for none allows it).
fn line(head: &[u8], at: usize) -> Result<(&[u8], usize), Malformed> {
    let rest = head.get(at..).unwrap_or_default();
    let lf = memchr(b'\n', rest).ok_or(Malformed::syntax("head has no end", head.len()))?;
    match rest.get(..lf).and_then(<[u8]>::split_last) {
        Some((b'\r', line)) => Ok((line, at + lf + 1)),
        _ => Err(Malformed::syntax("bare LF", at + lf)),
    }
}

/// Reads the head that [`find_end`] delimited, request line through empty line.
///
/// # Errors
/// The first fault found, with its status: 400, 405 for CONNECT and TRACE, 414, 431, or 501 for a transfer coding that
/// is not chunked.
pub fn check(head: &[u8], limits: &HeadLimits) -> Result<Framing, Malformed> {
    let start = leading(head);
    let (text, mut at) = line(head, start)?;
    let request = request_line(text, start, limits)?;
    if head.len() > limits.head.bytes() {
        return Err(Malformed::new(Reason::HeadTooLarge, "head is larger than the limit", limits.head.bytes()));
    }
    let mut fields = Fields::default();
    let mut count = 0;
    loop {
        let (text, next) = line(head, at)?;
        if text.is_empty() {
            at = next;
            break;
        }
        count += 1;
        if count > limits.fields {
            return Err(Malformed::new(Reason::HeadTooLarge, "more fields than the limit", at));
        }
        let (name, value) = field_line(text, at)?;
        fields.take(name, value, at)?;
        at = next;
    }
    if at != head.len() {
        return Err(Malformed::syntax("bytes after the head's end", at));
    }
    fields.settle(&request, start)
}

/// The parts of a request line that matter for framing.
struct RequestLine<'a> {
    is_get: bool,
    is_1_1: bool,
    /// Scheme and authority of a target in absolute form.
    absolute: Option<(Scheme, Parts<'a>)>,
}

/// `method SP request-target SP HTTP-version` (RFC 9112 section 3).
fn request_line<'a>(line: &'a [u8], start: usize, limits: &HeadLimits) -> Result<RequestLine<'a>, Malformed> {
    let bad = |what, at: usize| Err(Malformed::syntax(what, start + at));
    if line.is_empty() {
        return bad("no request line", 0);
    }
    // Exactly one SP on either side of the target; any other white space falls foul of the parts' own syntax
    // (RFC 9112 section 3 lets a server be lenient here and warns of it).
    let Some((first, last)) = memchr(b' ', line).zip(memrchr(b' ', line)) else {
        return bad("request line without spaces", line.len());
    };
    let method = line.get(..first).unwrap_or_default();
    let version = line.get(last + 1..).unwrap_or_default();
    if !is_token(method) {
        return bad("method is no token", 0); // RFC 9110 section 9.1
    }
    if method.len() > MAX_METHOD {
        return bad("method is too long", 0);
    }
    let Some(target) = line.get(first + 1..last).filter(|target| !target.is_empty()) else {
        // Two parts are HTTP/0.9 (RFC 9112 section 3 knows it no more); an empty target is two spaces.
        return bad("no request target", first);
    };
    if target.len() > limits.target.bytes() {
        return Err(Malformed::new(
            Reason::TargetTooLong,
            "request target is longer than the limit",
            start + first + 1,
        ));
    }
    // RFC 3986 section 2: a URI is visible ASCII; RFC 9112 section 3.2: white space in a target is invalid. The
    // characters that RFC 3986 leaves out but browsers send (`|`, `"`, `<`, …) have one reading and pass.
    if let Some(offset) = target.iter().position(|b| !b.is_ascii_graphic()) {
        let what = match target.get(offset) {
            Some(b' ' | b'\t') => "white space in the request target",
            Some(b'\r') => "bare CR",
            Some(0x80..) => "request target is not ASCII",
            _ => "control character in the request target",
        };
        return bad(what, first + 1 + offset);
    }
    let is_1_1 = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return bad("HTTP version is neither 1.0 nor 1.1", last + 1), // RFC 9112 section 2.3, case-sensitive
    };
    // RFC 9110 section 9.3.6: CONNECT makes a tunnel, and this is no forward proxy. Section 9.3.8: TRACE reflects
    // credentials to the client.
    if method == b"CONNECT" && !authority::parse(target).is_ok_and(|parts| parts.port.is_some()) {
        return bad("CONNECT to no host and port", first + 1);
    }
    if matches!(method, b"CONNECT" | b"TRACE") {
        return Err(Malformed::new(Reason::MethodNotAllowed, "method is not forwarded", start));
    }
    let absolute = target_form(target, method).map_err(|what| Malformed::syntax(what, start + first + 1))?;
    Ok(RequestLine { is_get: method == b"GET", is_1_1, absolute })
}

/// Origin form, `*` for OPTIONS, or absolute form of http and https (RFC 9112 section 3.2), the latter's scheme and
/// authority being returned.
fn target_form<'a>(target: &'a [u8], method: &[u8]) -> Result<Option<(Scheme, Parts<'a>)>, &'static str> {
    if memchr(b'#', target).is_some() {
        return Err("fragment in the request target"); // RFC 9110 section 7.1: excluded from a target
    }
    match target {
        [b'/', ..] => Ok(None),
        b"*" if method == b"OPTIONS" => Ok(None), // RFC 9112 section 3.2.4
        b"*" => Err("asterisk target without OPTIONS"),
        _ => {
            let (scheme, authority, _) = split_absolute(target).ok_or("request target is no path and no http URI")?;
            Ok(Some((scheme, authority::parse(authority)?)))
        }
    }
}

/// Splits `http[s]://authority rest`; `None` for anything else. `rest` is empty or begins with `/` or `?`.
pub(super) fn split_absolute(target: &[u8]) -> Option<(Scheme, &[u8], &[u8])> {
    let prefixed = |scheme: &[u8]| {
        let (head, rest) = target.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(rest) // RFC 3986 section 3.1: schemes ignore case
    };
    let (scheme, rest) = match (prefixed(b"http://"), prefixed(b"https://")) {
        (Some(rest), _) => (Scheme::Http, rest),
        (_, Some(rest)) => (Scheme::Https, rest),
        _ => return None,
    };
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end)?;
    Some((scheme, authority, rest))
}

/// What the fields that decide framing said so far.
#[derive(Default)]
struct Fields<'a> {
    host: Option<Parts<'a>>,
    length: Option<(u64, usize)>,
    chunked: Option<usize>,
    close: bool,
    keep_alive: bool,
    /// `Connection: upgrade`.
    upgrade: bool,
    /// The `Upgrade` value is exactly `websocket`.
    websocket: Option<usize>,
    expect: Option<usize>,
    ws_key: bool,
    ws_version: bool,
}

impl<'a> Fields<'a> {
    fn take(&mut self, name: &[u8], value: &'a [u8], at: usize) -> Result<(), Malformed> {
        let bad = |what| Err(Malformed::syntax(what, at));
        let is = |want: &[u8]| name.eq_ignore_ascii_case(want);
        match name.len() {
            4 if is(b"host") => {
                if self.host.is_some() {
                    return bad("more than one Host"); // RFC 9112 section 3.2, identical ones too
                }
                self.host = Some(authority::parse(value).map_err(|what| Malformed::syntax(what, at))?);
            }
            14 if same_for_cgi(name, b"content-length") => {
                if !is(b"content-length") {
                    return bad("Content-Length in disguise");
                }
                if self.length.is_some() {
                    // RFC 9110 section 8.6 lets identical ones be merged; a list or repetition has two readings.
                    return bad("more than one Content-Length");
                }
                self.length = Some((content_length(value).map_err(|what| Malformed::syntax(what, at))?, at));
            }
            17 if same_for_cgi(name, b"transfer-encoding") => {
                if !is(b"transfer-encoding") {
                    return bad("Transfer-Encoding in disguise");
                }
                if self.chunked.is_some() {
                    return bad("more than one Transfer-Encoding"); // RFC 9112 section 6.1: chunked at most once
                }
                transfer_encoding(value, at)?;
                self.chunked = Some(at);
            }
            10 if is(b"connection") => self.connection(value, at)?,
            7 if is(b"upgrade") => {
                if self.websocket.is_none() && value.eq_ignore_ascii_case(b"websocket") {
                    self.websocket = Some(at);
                } else if list(value).any(|protocol| protocol.eq_ignore_ascii_case(b"websocket")) {
                    return bad("websocket among other protocols");
                }
            }
            6 if is(b"expect") => {
                // RFC 9110 section 10.1.1: 100-continue is the only expectation there is.
                if self.expect.is_some() || !value.eq_ignore_ascii_case(b"100-continue") {
                    return bad("Expect is not 100-continue");
                }
                self.expect = Some(at);
            }
            17 if is(b"sec-websocket-key") => {
                if self.ws_key || !is_websocket_key(value) {
                    return bad("Sec-WebSocket-Key is not 16 bytes in base64"); // RFC 6455 section 4.2.1 item 5
                }
                self.ws_key = true;
            }
            21 if is(b"sec-websocket-version") => {
                self.ws_version = value == b"13"; // RFC 6455 section 4.2.1 item 6
            }
            _ => {}
        }
        Ok(())
    }

    /// Connection options (RFC 9110 section 7.6.1).
    fn connection(&mut self, value: &[u8], at: usize) -> Result<(), Malformed> {
        for option in list(value) {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else if !is_token(option) {
                return Err(Malformed::syntax("connection option is no token", at));
            } else if hop::is_end_to_end(option) {
                return Err(Malformed::syntax("Connection names an end-to-end field", at));
            }
        }
        Ok(())
    }

    /// What can only be decided once all fields are known.
    fn settle(self, request: &RequestLine<'_>, start: usize) -> Result<Framing, Malformed> {
        let bad = |what, at| Err(Malformed::syntax(what, at));
        let Some(host) = self.host else {
            // RFC 9112 section 3.2 demands this answer for HTTP/1.1. HTTP/1.0 may omit Host, but then the authority is
            // empty and section 3.3 lets a server refuse where no default is configured: here none is.
            return bad("no Host", start);
        };
        if let Some((scheme, authority)) = request.absolute
            && !authority.same(&host, scheme)
        {
            // RFC 9112 section 3.2.2 would have Host ignored; section 11.2 tells what comes of two readers disagreeing.
            return bad("Host differs from the target's authority", start);
        }
        let body = match (self.chunked, self.length) {
            // RFC 9112 section 6.1: a server may reject both, for it is how smuggling is tried.
            (Some(at), Some(_)) => return bad("both Transfer-Encoding and Content-Length", at),
            // RFC 9112 section 6.1: the framing of an HTTP/1.0 message with Transfer-Encoding is faulty.
            (Some(at), None) if !request.is_1_1 => return bad("Transfer-Encoding in HTTP/1.0", at),
            (Some(_), None) => Body::Chunked,
            (None, Some((length, _))) => Body::Length(length),
            (None, None) => Body::None,
        };
        let empty = matches!(body, Body::None | Body::Length(0));
        let upgrade = match self.websocket {
            // RFC 9110 section 7.8: ignored in HTTP/1.0, and nothing without the connection option.
            Some(at) if request.is_1_1 && self.upgrade => {
                if !(request.is_get && self.ws_key && self.ws_version) {
                    return bad("websocket handshake is incomplete or not version 13", at); // RFC 6455 section 4.2.1
                }
                if !empty {
                    return bad("websocket handshake with a body", at); // its bytes would be taken for frames
                }
                Some(Upgrade::WebSocket)
            }
            _ => None,
        };
        Ok(Framing {
            start,
            body,
            // RFC 9110 section 10.1.1: ignored in HTTP/1.0, and of no use without a body.
            expects_continue: self.expect.is_some() && request.is_1_1 && !empty,
            keep_alive: !self.close && (request.is_1_1 || self.keep_alive),
            upgrade,
        })
    }
}

/// `1*DIGIT` (RFC 9110 section 8.6), within 64 bits, and without the leading zeros that some readers take for octal.
fn content_length(value: &[u8]) -> Result<u64, &'static str> {
    match value {
        [] => Err("Content-Length is empty"),
        [b'0', _, ..] => Err("Content-Length has a leading zero"),
        digits => digits.iter().try_fold(0_u64, |sum, b| {
            let digit = b.is_ascii_digit().then(|| u64::from(b - b'0')).ok_or("Content-Length is no number")?;
            let sum = sum.checked_mul(10).and_then(|sum| sum.checked_add(digit));
            sum.ok_or("Content-Length is above 64 bits")
        }),
    }
}

/// Exactly `chunked` (RFC 9112 sections 6.1 and 7).
fn transfer_encoding(value: &[u8], at: usize) -> Result<(), Malformed> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    // RFC 9112 section 6.1: 501 for a coding that is not understood; but 400 where the list itself is faulty, chunked is
    // repeated or is not last (section 6.3 rule 4), or carries parameters.
    let codings: usize = value.split(|b| *b == b',').count();
    let known_form = value.split(|b| *b == b',').map(trim_ows).enumerate().all(|(i, coding)| {
        let last = i + 1 == codings;
        is_token(coding) && (last || !coding.eq_ignore_ascii_case(b"chunked"))
    });
    Err(if known_form {
        Malformed::new(Reason::UnknownTransferCoding, "transfer coding other than chunked", at)
    } else {
        Malformed::syntax("Transfer-Encoding is not one chunked", at)
    })
}

/// 16 bytes in base64: 22 characters and `==`.
fn is_websocket_key(value: &[u8]) -> bool {
    let symbol = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    value.len() == 24 && value.strip_suffix(b"==").is_some_and(|key| key.iter().all(symbol))
}

/// A head as far as it could be read: what a refused client sent, for the rules and the audit event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RawHead<'a> {
    /// Up to the first blank of the request line.
    pub method: &'a [u8],
    /// Between the first and the last blank.
    pub target: &'a [u8],
    /// After the last blank; empty if there are fewer than two.
    pub version: &'a [u8],
    /// Names and values, blanks trimmed, at most 256; a line without a colon has an empty name, and a folded line stands
    /// for itself with an empty name.
    pub headers: Vec<(&'a [u8], &'a [u8])>,
}

/// Reads whatever was sent, splitting at any LF and bare CR. Never fails; what it returns is data about an attacker, not a request.
pub fn lenient(head: &[u8]) -> RawHead<'_> {
    let lines = head.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    // A bare CR ends a line for some readers: what follows it is shown as they would see it.
    let mut lines = lines.flat_map(|line| line.split(|b| *b == b'\r'));
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let first = lines.find(|line| !line.is_empty()).unwrap_or_default();
    let method_end = first.iter().position(blank).unwrap_or(first.len());
    let (method, rest) = first.split_at_checked(method_end).unwrap_or_default();
    let rest = trim_ows(rest);
    let (target, version) = match rest.iter().rposition(blank) {
        Some(end) => rest.split_at_checked(end).unwrap_or_default(),
        None => (rest, &[] as &[u8]),
    };
    let headers = lines
        .take_while(|line| !line.is_empty())
        .take(MAX_LENIENT_FIELDS)
        .map(|line| match memchr(b':', line).and_then(|i| Some((line.get(..i)?, line.get(i + 1..)?))) {
            Some((name, value)) if !line.first().is_some_and(blank) => (trim_ows(name), trim_ows(value)),
            _ => (&[] as &[u8], trim_ows(line)),
        })
        .collect();
    RawHead { method, target: trim_ows(target), version: trim_ows(version), headers }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
