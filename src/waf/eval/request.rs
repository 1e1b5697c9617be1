//! The head of a request as variables.

use super::message::{Field, Message};
use super::texts::Texts;
use crate::action::Processor;
use crate::body::urlencoded;
use crate::variable::Variable;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;

/// Single values that are "0" until a body says otherwise.
pub(super) const FLAGS: [Variable; 20] = [
    Variable::ReqbodyError,
    Variable::ReqbodyProcessorError,
    Variable::UrlencodedError,
    Variable::InboundDataError,
    Variable::OutboundDataError,
    Variable::FilesCombinedSize,
    Variable::MultipartStrictError,
    Variable::MultipartUnmatchedBoundary,
    Variable::MultipartBoundaryQuoted,
    Variable::MultipartBoundaryWhitespace,
    Variable::MultipartDataBefore,
    Variable::MultipartDataAfter,
    Variable::MultipartHeaderFolding,
    Variable::MultipartLfLine,
    Variable::MultipartCrlfLfLines,
    Variable::MultipartMissingSemicolon,
    Variable::MultipartInvalidQuoting,
    Variable::MultipartInvalidPart,
    Variable::MultipartInvalidHeaderFolding,
    Variable::MultipartFileLimitExceeded,
];

/// The request line, as it came.
pub(super) fn line(message: &mut Message, texts: &mut Texts, method: &[u8], uri: &[u8], protocol: &[u8]) {
    let mut whole = Vec::with_capacity(method.len() + uri.len() + protocol.len() + 2);
    whole.extend_from_slice(method);
    whole.push(b' ');
    whole.extend_from_slice(uri);
    if !protocol.is_empty() {
        whole.push(b' ');
        whole.extend_from_slice(protocol);
    }
    let mut set = |variable, bytes: &[u8]| message.set(variable, Some(texts.add(bytes)));
    set(Variable::RequestLine, &whole);
    set(Variable::RequestMethod, method);
    set(Variable::RequestProtocol, protocol);
    set(Variable::RequestUriRaw, uri);
    let local = without_authority(uri);
    // A fragment is no part of a request (RFC 9112 section 3.2); who sends one all the same finds it in
    // REQUEST_URI_RAW and REQUEST_LINE only.
    let local = local.split(|b| *b == b'#').next().unwrap_or_default();
    set(Variable::RequestUri, local);
    let (path, query) = match local.iter().position(|b| *b == b'?') {
        Some(at) => (local.get(..at).unwrap_or_default(), local.get(at + 1..).unwrap_or_default()),
        None => (local, &[][..]),
    };
    set(Variable::QueryString, query);
    // Decoded once, as in both ModSecurities; the split at `?` comes first, so an encoded one stays part of the path.
    let path = decoded(path);
    set(Variable::RequestFilename, &path);
    set(Variable::PathInfo, &path);
    let name = path.iter().rposition(|b| matches!(b, b'/' | b'\\')).and_then(|at| path.get(at + 1..)).unwrap_or(&path);
    set(Variable::RequestBasename, name);
}

/// Percent signs with two hex digits as their bytes, everything else as it is.
fn decoded(path: &[u8]) -> Cow<'_, [u8]> {
    if !path.contains(&b'%') {
        return Cow::Borrowed(path);
    }
    let digit = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    let mut out = Vec::with_capacity(path.len());
    let mut at = 0;
    while let Some(byte) = path.get(at) {
        match (byte, digit(path.get(at + 1)), digit(path.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    Cow::Owned(out)
}

/// An absolute target without its scheme and authority.
fn without_authority(uri: &[u8]) -> &[u8] {
    let scheme = uri.iter().take_while(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b)).count();
    let Some(rest) = uri.get(scheme..).and_then(|rest| rest.strip_prefix(b"://")).filter(|_| scheme > 0) else {
        return uri;
    };
    match rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')) {
        Some(at) => rest.get(at..).unwrap_or_default(),
        None => b"/",
    }
}

/// One header field, and what follows from it.
pub(super) fn header(message: &mut Message, texts: &mut Texts, name: &[u8], value: &[u8]) {
    let field = Field::shown(texts.add(name), texts.add(value));
    message.request_headers.push(field);
    if name.eq_ignore_ascii_case(b"cookie") {
        cookies(message, texts, value);
    } else if name.eq_ignore_ascii_case(b"host") {
        let host = texts.add(host_name(value));
        message.set(Variable::ServerName, Some(host));
    } else if name.eq_ignore_ascii_case(b"authorization") {
        let scheme = value.split(|b| *b == b' ').next().unwrap_or_default();
        let scheme = texts.add(scheme);
        message.set(Variable::AuthType, Some(scheme));
        if let Some(user) = basic_user(value) {
            let user = texts.add(&user);
            message.set(Variable::RemoteUser, Some(user));
        }
    }
}

/// Who the client says it is by HTTP Basic (RFC 7617 section 2); nobody has verified it here.
fn basic_user(value: &[u8]) -> Option<Vec<u8>> {
    let (scheme, encoded) = value.split_at_checked(b"basic ".len())?;
    let pair = scheme.eq_ignore_ascii_case(b"basic ").then(|| STANDARD.decode(encoded.trim_ascii()).ok())??;
    pair.split(|b| *b == b':').next().map(<[u8]>::to_vec)
}

/// `Host` without its port; an IPv6 address keeps its brackets.
fn host_name(host: &[u8]) -> &[u8] {
    let inside = host.iter().position(|b| *b == b']').unwrap_or(0);
    match host.iter().skip(inside).position(|b| *b == b':') {
        Some(at) => host.get(..inside + at).unwrap_or(host),
        None => host,
    }
}

/// Split at `;`, trimmed, cut at the first `=`; not percent-decoded (RFC 6265 section 5.4 has no escapes).
fn cookies(message: &mut Message, texts: &mut Texts, header: &[u8]) {
    for pair in header.split(|b| *b == b';').map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty()) {
        let (name, value) = match pair.iter().position(|b| *b == b'=') {
            Some(at) => (pair.get(..at).unwrap_or_default(), pair.get(at + 1..).unwrap_or_default()),
            None => (pair, &[][..]),
        };
        let field = Field::shown(texts.add(name.trim_ascii()), texts.add(value.trim_ascii()));
        message.cookies.push(field);
    }
}

/// The arguments of the query, once the line is known. Returns the fault of a query over the limit.
pub(super) fn query(message: &mut Message, texts: &mut Texts, separator: u8, most: usize) -> Option<String> {
    let query = message.single(Variable::QueryString)?;
    let form = urlencoded::parse(texts.get(query), separator, &urlencoded::Limits { args: most });
    for (name, value) in form.args {
        let field = Field::shown(texts.add_owned(name), texts.add_owned(value));
        message.args_get.push(field);
    }
    form.error
}

/// ARGS_COMBINED_SIZE from the arguments known so far.
pub(super) fn combined_size(message: &mut Message, texts: &mut Texts) {
    let fields = message.args_get.iter().chain(&message.args_post);
    let fields = fields.filter(|f| !f.hidden.again);
    let size: usize = fields.map(|f| texts.get(f.name).len() + texts.get(f.value).len()).sum();
    let size = size.saturating_add(message.unlisted_bytes);
    let text = texts.add(size.to_string().as_bytes());
    message.set(Variable::ArgsCombinedSize, Some(text));
}

/// The processor that a Content-Type chooses without a rule.
pub(super) fn processor(content_type: &[u8]) -> Option<Processor> {
    let media = content_type.split(|b| matches!(b, b';' | b',')).next().unwrap_or_default().trim_ascii();
    if media.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
        Some(Processor::UrlEncoded)
    } else if media.eq_ignore_ascii_case(b"multipart/form-data") {
        Some(Processor::Multipart)
    } else {
        None
    }
}

/// FULL_REQUEST: the request line, the header fields, an empty line, the body; lines end in LF.
pub(super) fn full(message: &mut Message, texts: &mut Texts, body: &[u8]) {
    let mut whole = Vec::new();
    if let Some(line) = message.single(Variable::RequestLine) {
        whole.extend_from_slice(texts.get(line));
        whole.push(b'\n');
    }
    for field in &message.request_headers {
        whole.extend_from_slice(texts.get(field.name));
        whole.extend_from_slice(b": ");
        whole.extend_from_slice(texts.get(field.value));
        whole.push(b'\n');
    }
    whole.push(b'\n');
    whole.extend_from_slice(body);
    let length = texts.add(whole.len().to_string().as_bytes());
    let whole = texts.add_owned(whole);
    message.set(Variable::FullRequest, Some(whole));
    message.set(Variable::FullRequestLength, Some(length));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_taken_apart() {
        // (target, REQUEST_URI, REQUEST_FILENAME, REQUEST_BASENAME, QUERY_STRING)
        for (target, uri, filename, basename, query) in [
            ("/a/b.php?x=1?y", "/a/b.php?x=1?y", "/a/b.php", Some("b.php"), "x=1?y"),
            ("/", "/", "/", Some(""), ""),
            ("/a/", "/a/", "/a/", Some(""), ""),
            ("/a\\b", "/a\\b", "/a\\b", Some("b"), ""),
            ("http://localhost", "/", "/", Some(""), ""),
            ("http://h/x?http://y/z", "/x?http://y/z", "/x", Some("x"), "http://y/z"),
            ("HTTP://h?q", "?q", "", Some(""), "q"),
            ("*", "*", "*", Some("*"), ""),
            ("/a%20b%zz/c%2Fd%3Fe?f", "/a%20b%zz/c%2Fd%3Fe?f", "/a b%zz/c/d?e", Some("d?e"), "f"),
            ("/x?u=http://y", "/x?u=http://y", "/x", Some("x"), "u=http://y"),
            ("/x?a=b#c?d", "/x?a=b", "/x", Some("x"), "a=b"),
        ] {
            let (mut message, mut texts) = (Message::new(), Texts::default());
            line(&mut message, &mut texts, b"GET", target.as_bytes(), b"HTTP/1.1");
            let get = |v| message.single(v).map(|id| String::from_utf8(texts.get(id).to_vec()).unwrap());
            assert_eq!(get(Variable::RequestUri).as_deref(), Some(uri), "{target}");
            assert_eq!(get(Variable::RequestFilename).as_deref(), Some(filename), "{target}");
            assert_eq!(get(Variable::RequestBasename).as_deref(), basename, "{target}");
            assert_eq!(get(Variable::QueryString).as_deref(), Some(query), "{target}");
            assert_eq!(get(Variable::RequestUriRaw).as_deref(), Some(target));
            assert_eq!(get(Variable::RequestLine), Some(format!("GET {target} HTTP/1.1")));
        }
    }

    #[test]
    fn cookies_hosts_and_processors() {
        let (mut message, mut texts) = (Message::new(), Texts::default());
        header(&mut message, &mut texts, b"Cookie", b" a=1; b = x=y ;; c;$Version=1");
        let pairs: Vec<_> = message.cookies.iter().map(|f| (texts.get(f.name), texts.get(f.value))).collect();
        let want: [(&[u8], &[u8]); 4] = [(b"a", b"1"), (b"b", b"x=y"), (b"c", b""), (b"$Version", b"1")];
        assert_eq!(pairs, want);
        for (host, name) in [("a.b:80", "a.b"), ("a.b", "a.b"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("", "")] {
            assert_eq!(host_name(host.as_bytes()), name.as_bytes(), "{host}");
        }
        for (content_type, want) in [
            ("application/x-www-form-urlencoded; charset=utf-8", Some(Processor::UrlEncoded)),
            ("Multipart/Form-Data; boundary=x", Some(Processor::Multipart)),
            ("application/json", None),
            ("", None),
        ] {
            assert_eq!(processor(content_type.as_bytes()), want, "{content_type}");
        }
    }
}
