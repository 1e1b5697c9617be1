//! Heads as the types of `http`, without a copy: what [`super::wire::check`] admitted, and what replicas answer.
//!
//! Values share the buffer they came in. Memory: that buffer, for as long as one of them lives, and the map.

use super::bytes::{field_line, list};
use super::wire::{Body, find_end};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use memchr::{memchr, memchr_iter};

/// Most fields of a response's head.
const MAX_FIELDS: usize = 256;

/// A request's head, as it was sent.
#[derive(Debug, Clone)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The request target.
    pub target: Bytes,
    /// 1.0 or 1.1.
    pub version: Version,
    /// The fields, repeated ones in their order.
    pub headers: HeaderMap,
}

/// Reads a head that [`super::wire::check`] admitted, from its request line on; `None` for one that it would not have.
pub fn request(head: &Bytes) -> Option<RequestHead> {
    let end = memchr(b'\n', head)?;
    let line = head.get(..end)?.strip_suffix(b"\r")?;
    let first = memchr(b' ', line)?;
    let last = first + 1 + memchr(b' ', line.get(first + 1..)?)?;
    let version = match line.get(last + 1..)? {
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/1.0" => Version::HTTP_10,
        _ => return None,
    };
    let method = Method::from_bytes(line.get(..first)?).ok()?;
    Some(RequestHead {
        method,
        target: head.slice(first + 1..last),
        version,
        headers: fields(head, end + 1, usize::MAX).ok()?,
    })
}

/// A response's head, as a replica sent it.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    /// 100 to 999.
    pub status: StatusCode,
    /// The fields, repeated ones in their order.
    pub headers: HeaderMap,
    /// Whether its sender lets the connection go on after the body (RFC 9112 section 9.3).
    pub keep_alive: bool,
    /// How the body is delimited if the request and the status allow one; `None`: by the end of the connection.
    pub body: Option<Body>,
}

/// Where a response's head ends in what has arrived; as [`find_end`].
pub fn response_end(read: &[u8], from: usize) -> Option<usize> {
    find_end(read, from)
}

/// Reads a response's head, from its status line to its empty line. More lenient than the reading of requests where all
/// recipients agree: lines may end in a bare LF, and the length may be said more than once.
///
/// # Errors
/// What is wrong with it.
pub fn response(head: &Bytes) -> Result<ResponseHead, &'static str> {
    let end = memchr(b'\n', head).ok_or("no status line")?;
    let line = head.get(..end).unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    // RFC 9112 section 4: the reason may be empty, and often its space is missing too.
    let (is_1_1, rest) = match line.split_at_checked(9) {
        Some((b"HTTP/1.1 ", rest)) => (true, rest),
        Some((b"HTTP/1.0 ", rest)) => (false, rest),
        _ => return Err("no status line of HTTP/1"),
    };
    let (code, reason) = rest.split_at_checked(3).ok_or("no status")?;
    if !matches!(reason.first(), None | Some(b' ')) {
        return Err("status is not three digits");
    }
    let status = StatusCode::from_bytes(code).map_err(|_| "status is not three digits")?;
    let headers = fields(head, end + 1, MAX_FIELDS)?;
    let (mut close, mut keep) = (false, false);
    for option in headers.get_all(header::CONNECTION).iter().flat_map(|value| list(value.as_bytes())) {
        close |= option.eq_ignore_ascii_case(b"close");
        keep |= option.eq_ignore_ascii_case(b"keep-alive");
    }
    let mut keep_alive = !close && (is_1_1 || keep);
    // RFC 9112 section 6.3: a coding decides, whatever a length says, and only chunked delimits; but both may be an
    // attempt to have two readers disagree about where the next response begins.
    let coding = headers.get_all(header::TRANSFER_ENCODING).iter().next_back();
    let length = length(&headers)?;
    keep_alive &= coding.is_none() || length.is_none();
    let body = match coding.map(|coding| list(coding.as_bytes()).last().unwrap_or_default()) {
        Some(last) if is_1_1 && last.eq_ignore_ascii_case(b"chunked") => Some(Body::Chunked),
        Some(_) => None,
        None => length.map(Body::Length),
    };
    Ok(ResponseHead { status, headers, keep_alive, body })
}

/// Reads a trailer section (RFC 9112 section 7.1.2), to its empty line.
///
/// # Errors
/// What is wrong with it.
pub fn trailers(section: &Bytes) -> Result<HeaderMap, &'static str> {
    fields(section, 0, MAX_FIELDS)
}

/// The length of a body, which may be said more than once, but not in two ways (RFC 9110 section 8.6).
fn length(headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let mut said = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        for digits in value.as_bytes().split(|b| *b == b',').map(super::bytes::trim_ows) {
            if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                return Err("Content-Length is no number");
            }
            let text = std::str::from_utf8(digits).unwrap_or_default();
            let length = text.parse::<u64>().map_err(|_| "Content-Length is above 64 bits")?;
            if said.is_some_and(|said| said != length) {
                return Err("Content-Length has two values");
            }
            said = Some(length);
        }
    }
    Ok(said)
}

/// The field lines from `at` to the empty line.
fn fields(head: &Bytes, mut at: usize, most: usize) -> Result<HeaderMap, &'static str> {
    let count = memchr_iter(b'\n', head.get(at..).unwrap_or_default()).count().saturating_sub(1);
    if count > most {
        return Err("too many fields");
    }
    let mut out = HeaderMap::try_with_capacity(count).map_err(|_| "too many fields")?;
    loop {
        let rest = head.get(at..).unwrap_or_default();
        let lf = memchr(b'\n', rest).ok_or("head has no end")?;
        let line = rest.get(..lf).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Ok(out);
        }
        let (name, value) = field_line(line, at).map_err(|fault| fault.what)?;
        let name = HeaderName::from_bytes(name).map_err(|_| "field name is no token")?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(value)).map_err(|_| "control in a field value")?;
        out.try_append(name, value).map_err(|_| "too many fields")?;
        at += lf + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_checked() {
        let head = Bytes::from_static(b"GET /a?b=1 HTTP/1.1\r\nHost: a.test\r\nX-A:  1 \r\nx-a: \xe9\r\nX-E:\r\n\r\n");
        let read = request(&head).unwrap();
        assert_eq!((read.method, read.version), (Method::GET, Version::HTTP_11));
        assert_eq!(&read.target[..], b"/a?b=1");
        let all: Vec<_> = read.headers.get_all("x-a").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(all, [&b"1"[..], b"\xe9"]);
        assert_eq!((read.headers["host"].as_bytes(), read.headers["x-e"].as_bytes()), (&b"a.test"[..], &b""[..]));
        let odd = request(&Bytes::from_static(b"M-SEARCH * HTTP/1.0\r\n\r\n")).unwrap();
        assert_eq!((odd.method.as_str(), odd.version, odd.headers.len()), ("M-SEARCH", Version::HTTP_10, 0));
    }

    #[test]
    fn rfc9112_6_3_a_response_says_how_its_body_is_delimited() {
        let read = |text: &str| response(&Bytes::copy_from_slice(text.as_bytes()));
        for (head, status, keep, body) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, true, Some(Body::Length(5))),
            ("HTTP/1.1 200\nContent-Length: 5\n\n", 200, true, Some(Body::Length(5))),
            ("HTTP/1.1 404 \r\n\r\n", 404, true, None),
            ("HTTP/1.0 200 OK\r\ncontent-length: 5, 5\r\n\r\n", 200, false, Some(Body::Length(5))),
            ("HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\n\r\n", 200, true, None),
            ("HTTP/1.1 200 OK\r\nconnection: x, Close\r\n\r\n", 200, false, None),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\ntransfer-encoding: Chunked\r\n\r\n",
                200,
                true,
                Some(Body::Chunked),
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n",
                200,
                false,
                Some(Body::Chunked),
            ),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, gzip\r\n\r\n", 200, true, None),
            ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", 200, false, None),
        ] {
            let read = read(head).unwrap();
            assert_eq!((read.status.as_u16(), read.keep_alive, read.body), (status, keep, body), "{head:?}");
        }
        for bad in [
            "SMTP ready\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 20\r\n\r\n",
            "HTTP/1.1 2000\r\n\r\n",
            "HTTP/1.1 099 x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\r\n folded\r\n\r\n",
            "HTTP/1.1 200 OK\r\na : b\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\rc\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
