//! From a parsed head, HTTP/1 or HTTP/2, to the one view of it.

use super::authority::{self, Authority};
use super::bytes::{is_value, trim_ows};
use super::path::Target;
use super::wire::split_absolute;
use crate::facts::Scheme;
use crate::verdict::{Reason, Refusal};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};

/// What the protocol layer parsed, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    version: Version,
    method: &'a Method,
    scheme: Scheme,
    /// HTTP/1: the request target. HTTP/2: `:path`.
    target: &'a [u8],
    /// HTTP/2: `:authority`.
    authority: Option<&'a str>,
    /// HTTP/2: `:scheme`.
    uri_scheme: Option<&'a str>,
    headers: &'a HeaderMap,
}

impl<'a> Head<'a> {
    /// An HTTP/1 head that [`wire::check`](super::wire::check) admitted: `target` is the request target's bytes as sent,
    /// `scheme` what the listener speaks.
    pub fn h1(method: &'a Method, version: Version, target: &'a [u8], headers: &'a HeaderMap, scheme: Scheme) -> Self {
        Self { version, method, scheme, target, authority: None, uri_scheme: None, headers }
    }

    /// An HTTP/2 head, its pseudo-fields in `uri` (RFC 9113 section 8.3.1).
    pub fn h2(method: &'a Method, uri: &'a Uri, headers: &'a HeaderMap, scheme: Scheme) -> Self {
        Self {
            version: Version::HTTP_2,
            method,
            scheme,
            target: uri.path_and_query().map_or(&[] as &[u8], |target| target.as_str().as_bytes()),
            authority: uri.authority().map(|authority| authority.as_str()),
            uri_scheme: uri.scheme_str(),
            headers,
        }
    }
}

/// The stage: heads in, requests or refusals out.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestModel;

impl RequestModel {
    /// Reads a head.
    ///
    /// # Errors
    /// [`Reason::Malformed`] for what RFC 9110, 9112 or 9113 forbids or what has two readings (see
    /// [`path`](super::path)), [`Reason::MethodNotAllowed`] for CONNECT and TRACE. The detail says which.
    pub fn read(&self, head: &Head<'_>) -> Result<Request, Refusal> {
        if matches!(*head.method, Method::CONNECT | Method::TRACE) {
            return Err(Refusal::new(Reason::MethodNotAllowed, "method is not forwarded"));
        }
        let malformed = |what: &'static str| Refusal::new(Reason::Malformed, what);
        if head.version == Version::HTTP_2 {
            http2_fields(head).map_err(malformed)?;
        }
        let target = Target::read(head.target, *head.method == Method::OPTIONS).map_err(malformed)?;
        let authority = authority_of(head).map_err(malformed)?;
        Ok(Request {
            version: head.version,
            method: head.method.clone(),
            scheme: head.scheme,
            authority,
            target,
            cookie: joined_cookie(head.headers),
        })
    }
}

/// The authority that `Host`, an absolute target and `:authority` agree on.
fn authority_of(head: &Head<'_>) -> Result<Authority, &'static str> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let host = hosts.next().map(|host| authority::parse(host.as_bytes())).transpose()?;
    if hosts.next().is_some() {
        return Err("more than one Host"); // RFC 9112 section 3.2
    }
    let named = match head.authority {
        Some(authority) => Some((head.scheme, authority::parse(authority.as_bytes())?)),
        None => match split_absolute(head.target) {
            Some((scheme, authority, _)) => Some((scheme, authority::parse(authority)?)),
            None => None,
        },
    };
    match (named, host) {
        // RFC 9113 section 8.3.1: a Host that identifies another entity than :authority makes the request malformed.
        (Some((scheme, named)), Some(host)) if !named.same(&host, scheme) => Err("Host differs from the authority"),
        (Some((_, authority)), _) | (None, Some(authority)) => Ok(Authority::new(authority, head.scheme)),
        (None, None) => Err("no authority"),
    }
}

/// What RFC 9113 sections 8.2 and 8.3 forbid and what would not survive being written as HTTP/1.
fn http2_fields(head: &Head<'_>) -> Result<(), &'static str> {
    if !matches!(head.uri_scheme, None | Some("http" | "https")) {
        return Err(":scheme is neither http nor https");
    }
    if split_absolute(head.target).is_some() {
        return Err(":path is in absolute form"); // section 8.3.1: path and query only
    }
    for (name, value) in head.headers {
        let value = value.as_bytes();
        if is_connection_specific(name) || (*name == header::TE && value != b"trailers") {
            return Err("connection-specific field in HTTP/2"); // section 8.2.2
        }
        if !is_value(value) || trim_ows(value).len() != value.len() {
            return Err("field value that HTTP/2 forbids"); // section 8.2.1
        }
    }
    let mut lengths = head.headers.get_all(header::CONTENT_LENGTH).iter();
    let digits = |value: &HeaderValue| !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    match (lengths.next(), lengths.next()) {
        (_, Some(_)) => Err("more than one Content-Length"),
        (Some(length), None) if !digits(length) => Err("Content-Length is no number"),
        _ => Ok(()),
    }
}

fn is_connection_specific(name: &HeaderName) -> bool {
    matches!(*name, header::CONNECTION | header::TRANSFER_ENCODING | header::UPGRADE)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "http2-settings")
}

/// Several Cookie fields as one: HTTP/2 may split them (RFC 9113 section 8.2.3), and in HTTP/1 only their joint reading
/// is one that no other reader can contradict. `None` where there is at most one.
fn joined_cookie(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut crumbs = headers.get_all(header::COOKIE).iter();
    let (first, second) = (crumbs.next()?, crumbs.next()?);
    let mut joined = first.as_bytes().to_vec();
    for crumb in std::iter::once(second).chain(crumbs) {
        joined.extend(b"; ");
        joined.extend(crumb.as_bytes());
    }
    // Parts that are field values make a field value.
    HeaderValue::from_bytes(&joined).ok()
}

/// One request, in the one form that all stages share. Its fields stay with the protocol layer; only what needs a
/// reading is here.
#[derive(Debug, Clone)]
pub struct Request {
    version: Version,
    method: Method,
    scheme: Scheme,
    authority: Authority,
    target: Target,
    cookie: Option<HeaderValue>,
}

impl Request {
    /// The protocol version it came in.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The scheme, as the listener speaks it; what a target or `:scheme` says of it is not believed.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Host and port, canonical.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The canonical path, for routing and policy: see [`path`](super::path).
    pub fn path(&self) -> &str {
        self.target.canonical()
    }

    /// The target as sent, for the rules and the audit event.
    pub fn raw_target(&self) -> &[u8] {
        self.target.raw()
    }

    /// The path as sent; empty for an absolute form without one.
    pub fn raw_path(&self) -> &[u8] {
        self.target.raw_path()
    }

    /// The query as sent, without `?`; `None` where there is no `?`.
    pub fn query(&self) -> Option<&[u8]> {
        self.target.query()
    }

    /// Path and query as they must be forwarded, in origin form (or `*`).
    pub fn forward_target(&self) -> &[u8] {
        self.target.forward()
    }

    /// The path for the cache key: that of [`forward_target`](Self::forward_target), for it names the resource.
    pub fn cache_path(&self) -> &[u8] {
        self.target.forward_path()
    }

    /// The segments of the canonical path.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.path().split('/').filter(|segment| !segment.is_empty())
    }

    /// The query's pairs, split at `&` and the first `=`, still encoded; a pair without `=` has an empty value.
    pub fn query_pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.query().unwrap_or_default().split(|b| *b == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
            let equals = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
            (pair.get(..equals).unwrap_or_default(), pair.get(equals + 1..).unwrap_or_default())
        })
    }

    /// The one Cookie value that has to replace several fields when the request goes on, in the order they came; `None`
    /// where the request has none or one.
    pub fn joined_cookie(&self) -> Option<&HeaderValue> {
        self.cookie.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn h1(target: &str, fields: &[(&'static str, &str)]) -> Result<Request, Refusal> {
        let headers = headers(fields);
        RequestModel.read(&Head::h1(&Method::GET, Version::HTTP_11, target.as_bytes(), &headers, Scheme::Https))
    }

    fn h2(uri: &str, fields: &[(&'static str, &str)]) -> Result<Request, Refusal> {
        let (uri, headers) = (uri.parse::<Uri>().unwrap(), headers(fields));
        RequestModel.read(&Head::h2(&Method::GET, &uri, &headers, Scheme::Https))
    }

    #[test]
    fn both_protocols_give_one_view() {
        let one = h1("/a/./b?x=1&y&=z&&", &[("host", "Example.com:443")]).unwrap();
        let two = h2("https://example.com/a/./b?x=1&y&=z&&", &[]).unwrap();
        for request in [one, two] {
            assert_eq!(request.authority().to_string(), "example.com");
            assert_eq!(request.path(), "/a/b");
            assert_eq!(request.forward_target(), b"/a/b?x=1&y&=z&&");
            assert_eq!(request.cache_path(), b"/a/b");
            assert_eq!(request.raw_path(), b"/a/./b");
            assert_eq!(request.segments().collect::<Vec<_>>(), ["a", "b"]);
            let pairs: [(&[u8], &[u8]); 3] = [(b"x", b"1"), (b"y", b""), (b"", b"z")];
            assert_eq!(request.query_pairs().collect::<Vec<_>>(), pairs);
            assert_eq!(request.scheme(), Scheme::Https);
        }
    }

    #[test]
    fn the_authority_is_what_all_its_names_agree_on() {
        assert!(h1("http://a.test/x", &[("host", "A.TEST")]).is_ok());
        assert!(h2("https://a.test/x", &[("host", "a.test:443")]).is_ok());
        let absolute = h1("http://a.test/x", &[("host", "a.test")]).unwrap();
        assert_eq!((absolute.path(), absolute.forward_target()), ("/x", b"/x".as_slice()));
        assert_eq!(absolute.raw_target(), b"http://a.test/x");
        for refused in [
            h1("/x", &[]),
            h1("/x", &[("host", "a"), ("host", "a")]),
            h1("/x", &[("host", "a, b")]),
            h1("http://a.test/x", &[("host", "b.test")]),
            h2("https://a.test/x", &[("host", "evil")]),
            h2("https://u@a.test/x", &[]),
            h2("/x", &[]),
        ] {
            assert_eq!(refused.unwrap_err().reason, Reason::Malformed);
        }
        // RFC 9113 section 8.3.1: without :authority, Host says it.
        assert_eq!(h2("/x", &[("host", "a.test")]).unwrap().authority().host(), "a.test");
    }

    #[test]
    fn rfc9113_8_fields_that_http2_forbids_are_refused() {
        for field in [
            ("connection", "keep-alive"),
            ("keep-alive", "1"),
            ("proxy-connection", "1"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("te", "gzip"),
            ("te", "trailers, gzip"),
            ("x-a", " a"),
            ("x-a", "a\t"),
            ("content-length", "+5"),
            ("content-length", ""),
        ] {
            assert!(h2("https://a.test/", &[field]).is_err(), "{field:?}");
        }
        assert!(h2("https://a.test/", &[("content-length", "5"), ("content-length", "5")]).is_err());
        assert!(h2("https://a.test/", &[("te", "trailers"), ("x-a", ""), ("content-length", "5")]).is_ok());
    }

    #[test]
    fn methods_that_are_not_forwarded_are_refused() {
        let headers = headers(&[("host", "a")]);
        for (method, target, status) in [
            (Method::CONNECT, "a:80", Some(405)),
            (Method::TRACE, "/", Some(405)),
            (Method::OPTIONS, "*", None),
            (Method::GET, "*", Some(400)),
        ] {
            let head = Head::h1(&method, Version::HTTP_11, target.as_bytes(), &headers, Scheme::Http);
            assert_eq!(RequestModel.read(&head).err().map(|r| r.reason.status()), status, "{method} {target}");
        }
    }

    #[test]
    fn rfc9113_8_2_3_cookie_crumbs_are_joined() {
        let cookie = |fields: &[_]| h2("https://a.test/", fields).unwrap().joined_cookie().cloned();
        assert_eq!(cookie(&[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]).unwrap(), "a=1; b=2; c=3");
        assert_eq!(cookie(&[("cookie", "a=1")]), None);
        assert_eq!(cookie(&[]), None);
    }
}
