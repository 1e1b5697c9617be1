//! RFC 9111 as pure functions: may the cache take part in this request, may this response be stored and for how long,
//! may what is stored be used for this request.
//!
//! Stricter than the RFC where a shared cache before an application of unknown care needs it: a request with cookies
//! or credentials shares only what is explicitly `public`, a response that sets a cookie is never stored, a request
//! with a body or with a method override has no part in the cache, and no lifetime is guessed.

use super::directives::{MANY_SECONDS, MaxStale, RequestDirectives, ResponseDirectives, delta_seconds};
use super::key::{Audience, Target};
use super::vary::{self, Vary};
use http::header::{self, HeaderName};
use http::{HeaderMap, Method, StatusCode};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Why the cache has no part in a request. A closed set: it labels metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Bypass {
    /// Turned off.
    Disabled,
    /// Neither GET nor HEAD.
    Method,
    /// `Authorization` (RFC 9111 section 3.5).
    Authorization,
    /// The gate knows the user by other means.
    Identified,
    /// `Cache-Control: no-store` in the request.
    NoStore,
    /// The connection is to change its protocol.
    Upgrade,
    /// The request has a body, which no key covers.
    Body,
    /// The request asks the application to read it as another method.
    MethodOverride,
    /// `If-Match` or `If-Unmodified-Since`, which only the origin can judge (RFC 9111 section 4.3.2).
    Precondition,
}

impl Bypass {
    /// The name used in `Cache-Status` and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Method => "method",
            Self::Authorization => "authorization",
            Self::Identified => "identified",
            Self::NoStore => "no-store",
            Self::Upgrade => "upgrade",
            Self::Body => "body",
            Self::MethodOverride => "method-override",
            Self::Precondition => "precondition",
        }
    }
}

/// What a response must say before a request of this kind may share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// Nothing: the request carries no credentials.
    None,
    /// `public`, `s-maxage` or `must-revalidate` (RFC 9111 section 3.5), for authenticated requests.
    Authorized,
    /// `public`, for requests with cookies.
    Public,
}

impl Consent {
    fn given(self, d: &ResponseDirectives) -> bool {
        match self {
            Self::None => true,
            Self::Authorized => d.public || d.s_maxage.is_some() || d.must_revalidate,
            Self::Public => d.public,
        }
    }
}

/// How a request takes part in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// Whose entries it may see; part of the key.
    pub audience: Audience,
    /// What a response must say to be shared.
    pub consent: Consent,
    /// Whether a miss may be turned into a request for the whole representation and stored. False for HEAD and Range:
    /// a byte asked for must not make the origin send gigabytes. Such a request is answered from what is stored, else
    /// passed on as it is.
    pub fill: bool,
    /// Whether it may wait for an equal request in flight. False for requests with credentials, whose responses
    /// mostly are not shared and would only queue.
    pub collapse: bool,
    /// What the request says.
    pub directives: RequestDirectives,
}

/// Whether the cache takes part in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// No.
    Bypass(Bypass),
    /// No, and the request allows nothing else: answer 504 (RFC 9111 section 5.2.1.7).
    Unsatisfiable(Bypass),
    /// Yes.
    Use(Use),
}

/// What the cache needs to know of a request.
#[derive(Debug, Clone, Copy)]
pub struct RequestFacts<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its header fields, as the client sent them.
    pub headers: &'a HeaderMap,
    /// Whether the gate verified who sends it, by whatever means.
    pub identified: bool,
}

const METHOD_OVERRIDES: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

/// Whether the cache may take part in a request. `authorized`: share responses to authenticated requests where
/// RFC 9111 section 3.5 allows it; `client_directives`: heed the request's own `Cache-Control` and `Pragma`
/// (`only-if-cached` and `no-store` are heeded always).
pub fn request_cacheability(request: &RequestFacts<'_>, authorized: bool, client_directives: bool) -> Lookup {
    let headers = request.headers;
    if *request.method != Method::GET && *request.method != Method::HEAD {
        return Lookup::Bypass(Bypass::Method);
    }
    let mut directives = RequestDirectives::read(headers);
    let has = |name: HeaderName| headers.contains_key(name);
    let has_body = has(header::TRANSFER_ENCODING)
        || headers.get_all(header::CONTENT_LENGTH).into_iter().any(|length| length.as_bytes() != b"0");
    let has_login = has(header::AUTHORIZATION) || has(header::PROXY_AUTHORIZATION);
    let bypass = if has(header::UPGRADE) {
        Some(Bypass::Upgrade)
    } else if has_body {
        Some(Bypass::Body)
    } else if METHOD_OVERRIDES.iter().any(|name| headers.contains_key(*name)) {
        Some(Bypass::MethodOverride)
    } else if has_login && !authorized {
        Some(Bypass::Authorization)
    } else if request.identified && !authorized {
        Some(Bypass::Identified)
    } else if directives.no_store {
        Some(Bypass::NoStore)
    } else if has(header::IF_MATCH) || has(header::IF_UNMODIFIED_SINCE) {
        Some(Bypass::Precondition)
    } else {
        None
    };
    if let Some(reason) = bypass {
        return if directives.only_if_cached { Lookup::Unsatisfiable(reason) } else { Lookup::Bypass(reason) };
    }
    let consent = match (has(header::COOKIE), has_login || request.identified) {
        (true, _) => Consent::Public,
        (false, true) => Consent::Authorized,
        (false, false) => Consent::None,
    };
    if !client_directives {
        directives = RequestDirectives { only_if_cached: directives.only_if_cached, ..Default::default() };
    }
    Lookup::Use(Use {
        audience: if consent == Consent::None { Audience::Anonymous } else { Audience::Credentialed },
        consent,
        fill: *request.method == Method::GET && !has(header::RANGE),
        collapse: consent == Consent::None,
        directives,
    })
}

/// Why a response is not stored. A closed set: it labels metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unstorable {
    /// A status this cache does not store (206 among them).
    Status,
    /// `no-store`.
    NoStore,
    /// `private`.
    Private,
    /// `Cache-Control` cannot be trusted to have been read whole.
    Malformed,
    /// `Set-Cookie`.
    SetCookie,
    /// The request carried credentials and the response does not say that others may have it.
    Credentials,
    /// `Vary` is `*`, unreadable, too long, or names a field the gate sets.
    Vary,
    /// Nothing says how long it lasts.
    NoLifetime,
    /// Already stale, and without a validator to refresh it by.
    Stale,
    /// An event stream, which has no end.
    Stream,
}

impl Unstorable {
    /// The name used in `Cache-Status` and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::Malformed => "malformed",
            Self::SetCookie => "set-cookie",
            Self::Credentials => "credentials",
            Self::Vary => "vary",
            Self::NoLifetime => "no-lifetime",
            Self::Stale => "stale",
            Self::Stream => "stream",
        }
    }
}

/// How long a response may be used, counted from when it was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// Its age when it was received (section 4.2.3).
    pub age: Duration,
    /// Its freshness lifetime (section 4.2.1), of which `age` is already used up.
    pub fresh_for: Duration,
    /// How long past that it may be served while it is being refreshed (RFC 5861 section 3).
    pub stale_while_revalidate: Duration,
    /// How long past that it may be served when refreshing fails (RFC 5861 section 4).
    pub stale_if_error: Duration,
    /// Whether it must never be served stale (section 4.2.4).
    pub must_revalidate: bool,
}

impl Lifetime {
    /// Freshness left when it was received.
    pub fn remaining(&self) -> Duration {
        self.fresh_for.saturating_sub(self.age)
    }
}

/// Whether a response may be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storable {
    /// No.
    No(Unstorable),
    /// Yes.
    Yes(Lifetime),
}

/// What the cache needs to know of a response.
#[derive(Debug, Clone, Copy)]
pub struct ResponseFacts<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields, as the replica sent them (or, after a 304, as updated by it).
    pub headers: &'a HeaderMap,
    /// When the replica was asked.
    pub asked: SystemTime,
    /// When its header arrived.
    pub received: SystemTime,
}

/// Settings that bear on storing.
#[derive(Debug, Clone, Copy)]
pub struct StorePolicy<'a> {
    /// A lifetime for responses that name none, where their status allows a guess (RFC 9110 section 15.1).
    pub default_lifetime: Option<Duration>,
    /// Store statuses too that are not understood, where the response names a lifetime.
    pub error_statuses: bool,
    /// Fields the gate sets for the replica, in lower case: what varies by them is not stored.
    pub set_by_gate: &'a [HeaderName],
}

/// Statuses whose meaning this cache knows and which it stores. Errors that a strange request can provoke (400, 403,
/// 413, 431, 5xx) are left out: storing them would hand one client's error to all.
fn is_understood(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 302 | 303 | 307 | 308 | 404 | 405 | 410 | 414 | 451 | 501)
}

/// Whether a response with this status may be stored. Of those not understood, only where the configuration says so, and
/// never a part (206), an update (304) or an interim response.
fn is_storable(status: StatusCode, error_statuses: bool, must_understand: bool) -> bool {
    is_understood(status)
        || (error_statuses && !must_understand && !status.is_informational() && ![206, 304].contains(&status.as_u16()))
}

/// Of those, the ones a lifetime may be supplied for.
fn takes_default(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 300 | 301 | 308 | 404 | 410)
}

/// Whether the response to a request may be stored, and for how long it is fresh (RFC 9111 sections 3 and 4.2).
pub fn response_storable(using: &Use, response: &ResponseFacts<'_>, policy: &StorePolicy<'_>) -> Storable {
    let headers = response.headers;
    let d = ResponseDirectives::read(headers);
    let forwards_fields =
        |names: &[HeaderName]| names.iter().any(|n| is_forwarding(n) || policy.set_by_gate.contains(n));
    // A known status lifts no-store where must-understand asks for it (section 5.2.2.3): unknown ones end here.
    if !is_storable(response.status, policy.error_statuses, d.must_understand) {
        return Storable::No(Unstorable::Status);
    }
    if d.no_store && !d.must_understand {
        return Storable::No(Unstorable::NoStore);
    }
    if d.private {
        return Storable::No(Unstorable::Private);
    }
    if d.broken {
        return Storable::No(Unstorable::Malformed);
    }
    if headers.contains_key(header::SET_COOKIE) || headers.contains_key("set-cookie2") {
        return Storable::No(Unstorable::SetCookie);
    }
    if !using.consent.given(&d) {
        return Storable::No(Unstorable::Credentials);
    }
    match vary::read(headers) {
        Vary::Fields(names) if !forwards_fields(&names) => {}
        _ => return Storable::No(Unstorable::Vary),
    }
    let is_stream = headers.get(header::CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.as_bytes().split(|b| *b == b';').next().unwrap_or_default();
        kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
    });
    if is_stream {
        return Storable::No(Unstorable::Stream);
    }
    let supplied = policy.default_lifetime.filter(|_| takes_default(response.status));
    let fresh_for = match freshness_lifetime(&d, response).or(supplied) {
        _ if d.no_cache => Duration::ZERO,
        Some(lifetime) => lifetime,
        None => return Storable::No(Unstorable::NoLifetime),
    };
    let stale_for = |seconds: Option<u32>| match seconds {
        Some(seconds) if !d.forbids_stale() => Duration::from_secs(seconds.into()),
        _ => Duration::ZERO,
    };
    let lifetime = Lifetime {
        age: initial_age(response),
        fresh_for,
        stale_while_revalidate: stale_for(d.stale_while_revalidate),
        stale_if_error: stale_for(d.stale_if_error),
        must_revalidate: d.forbids_stale(),
    };
    let has_validator = headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED);
    let of_use = !lifetime.remaining().is_zero()
        || has_validator
        || !lifetime.stale_if_error.is_zero()
        || !lifetime.stale_while_revalidate.is_zero();
    if of_use { Storable::Yes(lifetime) } else { Storable::No(Unstorable::Stale) }
}

/// Fields that say who asks, which a proxy writes: the client's own are not what the replica saw.
fn is_forwarding(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-forwarded-") || matches!(name, "forwarded" | "via" | "x-real-ip")
}

/// The explicit freshness lifetime: `s-maxage`, else `max-age`, else `Expires` less `Date` (section 4.2.1).
fn freshness_lifetime(d: &ResponseDirectives, response: &ResponseFacts<'_>) -> Option<Duration> {
    if let Some(seconds) = d.s_maxage.or(d.max_age) {
        return Some(Duration::from_secs(seconds.into()));
    }
    let mut lines = response.headers.get_all(header::EXPIRES).into_iter().peekable();
    lines.peek()?;
    // An invalid date is in the past (section 5.3); of several, the earliest.
    let expires = lines.map(|line| http_date(line.as_bytes()).unwrap_or(0)).min().unwrap_or(0);
    let date = date_of(response.headers).unwrap_or_else(|| unix(response.received));
    Some(Duration::from_secs(expires.saturating_sub(date)))
}

/// The age at which a response was received: the older of what `Date` and what `Age` say, plus the time the question
/// took (section 4.2.3).
fn initial_age(response: &ResponseFacts<'_>) -> Duration {
    let received = unix(response.received);
    let apparent = date_of(response.headers).map_or(0, |date| received.saturating_sub(date));
    // One line with one whole number, or else as old as can be: section 5.1 would ignore the rest, but invalid freshness
    // information is better taken for staleness (section 4.2.1).
    let mut lines = response.headers.get_all(header::AGE).into_iter();
    let stated = match (lines.next(), lines.next()) {
        (None, _) => 0,
        (Some(line), None) => delta_seconds(line.as_bytes().trim_ascii()).unwrap_or(MANY_SECONDS),
        (Some(_), Some(_)) => MANY_SECONDS,
    };
    let delay = response.received.duration_since(response.asked).unwrap_or_default();
    let corrected = Duration::from_secs(stated.into()).saturating_add(delay);
    // A whole number of seconds, rounded down: the fields have no finer grain.
    Duration::from_secs(apparent.max(corrected.as_secs()))
}

fn date_of(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::DATE).and_then(|line| http_date(line.as_bytes()))
}

/// Seconds since 1970 of an HTTP date in any of its three forms (RFC 9110 section 5.6.7).
fn http_date(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    httpdate::parse_http_date(text.trim_matches([' ', '\t'])).ok().map(unix)
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// What the cache knows of a stored response when a request comes for it.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    /// Its header fields.
    pub headers: &'a HeaderMap,
    /// Its current age (section 4.2.3).
    pub age: Duration,
    /// When it turns stale, or did.
    pub fresh_until: SystemTime,
}

/// Whether a stored response may answer a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// As its freshness says: fresh as it is, stale after revalidation or within its own allowances.
    ByFreshness,
    /// Although it is stale, because the request allows it.
    Stale,
    /// Only after the origin confirmed it, because the request asks for it.
    Revalidate,
    /// Not for this request.
    Never,
}

/// Whether a stored response may answer a request without asking the origin (section 4).
pub fn reuse(using: &Use, stored: &Stored<'_>, now: SystemTime) -> Reuse {
    let asked = &using.directives;
    // The key keeps audiences apart already; this holds even if a key were ever made wrongly.
    let d = ResponseDirectives::read(stored.headers);
    if !using.consent.given(&d) || stored.headers.contains_key(header::SET_COOKIE) {
        return Reuse::Never;
    }
    if asked.no_cache || asked.max_age.is_some_and(|limit| stored.age.as_secs() > u64::from(limit)) {
        return Reuse::Revalidate;
    }
    let left = stored.fresh_until.duration_since(now).unwrap_or_default();
    if asked.min_fresh.is_some_and(|wanted| left < Duration::from_secs(wanted.into())) {
        return Reuse::Revalidate;
    }
    let stale_by = now.duration_since(stored.fresh_until).unwrap_or_default();
    let allowed = match asked.max_stale {
        Some(MaxStale::Any) => true,
        Some(MaxStale::Seconds(limit)) => stale_by <= Duration::from_secs(limit.into()),
        None => false,
    };
    if !stale_by.is_zero() && allowed && !d.forbids_stale() {
        return Reuse::Stale;
    }
    Reuse::ByFreshness
}

/// Whether a failed refresh allows what is stored to be served stale: RFC 5861 section 4 names these statuses.
pub fn is_failure(status: u16) -> bool {
    matches!(status, 500 | 502 | 503 | 504)
}

/// Whether a response means that what is stored for its target is out of date: a non-error answer to a method that is
/// not known to be safe (section 4.4).
pub fn invalidates(method: &Method, status: StatusCode) -> bool {
    let is_safe = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(method);
    !is_safe && (status.is_success() || status.is_redirection())
}

/// Further targets that such a response names in `Location` and `Content-Location`, as (path, query); only those of
/// the same origin, or anyone could empty another host's entries (section 4.4).
pub fn also_invalidated(target: &Target<'_>, response: &HeaderMap) -> Vec<(String, Option<String>)> {
    let origin = format!("{}://{}", target.scheme.as_str(), target.authority).to_ascii_lowercase();
    let named = [header::LOCATION, header::CONTENT_LOCATION];
    let values = named.iter().filter_map(|name| response.get(name)).filter_map(|value| value.to_str().ok());
    values
        .filter_map(|value| {
            let local = match value.get(..origin.len()) {
                Some(start) if start.eq_ignore_ascii_case(&origin) => value.get(origin.len()..)?,
                _ => value,
            };
            let local = local.split('#').next().unwrap_or_default();
            if !local.starts_with('/') || local.starts_with("//") {
                return None;
            }
            Some(match local.split_once('?') {
                Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
                None => (local.to_owned(), None),
            })
        })
        .collect()
}

const NOT_STORED: [HeaderName; 9] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    // Computed anew for every hit.
    header::AGE,
    // A response that has it is not stored; after a 304 it belongs to the one client that asked.
    header::SET_COOKIE,
];

/// The fields of a response that must not be stored: those about one connection, and those `Connection` names
/// (section 3.1).
pub fn unstorable_fields(headers: &HeaderMap) -> Vec<HeaderName> {
    let listed = headers.get_all(header::CONNECTION).into_iter().flat_map(|line| line.as_bytes().split(|b| *b == b','));
    let listed = listed.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok());
    // The response's own framing and dates stay whatever `Connection` says of them.
    let listed =
        listed.filter(|n| ![header::CACHE_CONTROL, header::VARY, header::DATE, header::CONTENT_LENGTH].contains(n));
    let more = ["keep-alive", "proxy-connection", "proxy-authentication-info"].map(HeaderName::from_static);
    listed.chain(NOT_STORED).chain(more).filter(|name| headers.contains_key(name)).collect()
}

/// The fields of a 304 that replace those of the stored response: all but what section 3.1 keeps out of the cache and
/// what describes the stored body itself (section 3.2). The validator by which the stored response was confirmed stays
/// as well: a 304 with another one confirms another response.
pub fn updated_fields(stored: &HeaderMap, not_modified: &HeaderMap) -> Vec<HeaderName> {
    let kept_out = unstorable_fields(not_modified);
    let of_body = ["content-length", "content-encoding", "content-range", "content-md5", "content-digest"];
    let replaces = |name: &HeaderName| {
        let is_known_tag = *name == header::ETAG && stored.contains_key(header::ETAG);
        !is_known_tag && !kept_out.contains(name) && !of_body.contains(&name.as_str())
    };
    not_modified.keys().filter(|name| replaces(name)).cloned().collect()
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
