//! Who may use the admin listener.

use super::Settings;
use crate::fault::Fault;
use crate::units::Secret;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::path::Path;
use subtle::ConstantTimeEq;

const MIN_TOKEN: usize = 16;

/// The largest token file that is read, in bytes.
const MAX_TOKEN: usize = 4096;

/// Reads the token, if there is one.
pub(super) fn token(settings: &Settings, base: &Path) -> Result<Option<Secret>, Vec<Fault>> {
    let (key, token) = match (&settings.token, &settings.token_file) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(vec![Fault::key("token_file", "the token is given twice", "keep token or token_file")]);
        }
        (Some(token), None) => ("token", token.expose().to_owned()),
        (None, Some(file)) => {
            let path = base.join(file);
            let text = std::fs::read_to_string(&path).map_err(|error| {
                let what = format!("{} cannot be read: {error}", path.display());
                vec![Fault::key("token_file", what, "write the token to that file")]
            })?;
            ("token_file", text.trim().to_owned())
        }
    };
    if !(MIN_TOKEN..=MAX_TOKEN).contains(&token.len()) || !token.bytes().all(|b| b.is_ascii_graphic()) {
        let what = format!("the token is not {MIN_TOKEN} to {MAX_TOKEN} visible ASCII characters");
        return Err(vec![Fault::key(key, what, "make one with `openssl rand -hex 32`")]);
    }
    Ok(Some(Secret::new(token)))
}

/// The check of one request.
#[derive(Debug)]
pub(super) struct Access {
    /// The token's digest: digests have one length, so comparing them tells nothing of the token's.
    token: Option<[u8; 32]>,
}

impl Access {
    pub(super) fn new(token: Option<&Secret>) -> Self {
        Self { token: token.map(|token| digest(token.expose().as_bytes())) }
    }

    /// Whether the request may go on; else the status to refuse it with.
    pub(super) fn check(&self, request: &Request) -> Result<(), StatusCode> {
        match &self.token {
            Some(expected) => {
                let given = digest(bearer(request.headers()).unwrap_or_default());
                if bool::from(given.ct_eq(expected)) { Ok(()) } else { Err(StatusCode::UNAUTHORIZED) }
            }
            None if from_a_page(request) => Err(StatusCode::FORBIDDEN),
            None => Ok(()),
        }
    }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Whether a browser may have sent it for a page from elsewhere.
fn from_a_page(request: &Request) -> bool {
    let headers = request.headers();
    let cross_site =
        headers.get("sec-fetch-site").is_some_and(|site| !matches!(site.as_bytes(), b"none" | b"same-origin"));
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        // HTTP/1.0 has none, and no browser speaks it.
        (None, _) => return headers.contains_key(header::ORIGIN) || cross_site,
        _ => None,
    };
    headers.contains_key(header::ORIGIN) || cross_site || !host.is_some_and(is_loopback)
}

/// Whether a `Host` names this machine by its loopback address or `localhost`.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(access: &Access, headers: &[(&str, &str)]) -> u16 {
        let mut request = axum::http::Request::builder().uri("/metrics");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        access.check(&request.body(axum::body::Body::empty()).unwrap()).map_or_else(|s| s.as_u16(), |()| 200)
    }

    #[test]
    fn with_a_token_only_its_bearer_may() {
        let access = Access::new(Some(&Secret::new("0123456789abcdef".into())));
        for (headers, expected) in [
            (&[("authorization", "Bearer 0123456789abcdef")][..], 200),
            (&[("authorization", "bearer  0123456789abcdef ")], 200),
            (&[("host", "evil.test"), ("authorization", "Bearer 0123456789abcdef")], 200),
            (&[], 401),
            (&[("authorization", "Bearer ")], 401),
            (&[("authorization", "Bearer")], 401),
            (&[("authorization", "Bearer 0123456789abcde")], 401),
            (&[("authorization", "Bearer 0123456789abcdef0")], 401),
            (&[("authorization", "Basic 0123456789abcdef")], 401),
            (&[("authorization", "Bearer x"), ("authorization", "Bearer 0123456789abcdef")], 401),
        ] {
            assert_eq!(status(&access, headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn without_a_token_no_page_may() {
        let access = Access::new(None);
        for (headers, expected) in [
            (&[("host", "127.0.0.1:9180")][..], 200),
            (&[("host", "localhost")], 200),
            (&[("host", "[::1]:9180")], 200),
            (&[("host", "::1")], 200),
            (&[], 200),
            (&[("host", "evil.test:9180")], 403),
            (&[("host", "localhost.evil.test")], 403),
            (&[("host", "10.0.0.1")], 403),
            (&[("host", "localhost"), ("host", "localhost")], 403),
            (&[("host", "localhost"), ("origin", "http://evil.test")], 403),
            (&[("host", "localhost"), ("origin", "null")], 403),
            (&[("host", "localhost"), ("sec-fetch-site", "cross-site")], 403),
            (&[("host", "localhost"), ("sec-fetch-site", "none")], 200),
        ] {
            assert_eq!(status(&access, headers), expected, "{headers:?}");
        }
    }
}
