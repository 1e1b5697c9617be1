//! The authority: which host and port a request is for (RFC 9110 sections 4.2 and 7.2, RFC 3986 section 3.2).
//!
//! Narrower than RFC 3986: a host is a DNS-like name of ASCII letters, digits, `-`, `_` and `.` (at most 253 bytes), or
//! an IPv6 address in brackets. Percent-encoding, sub-delimiters, IPvFuture, zone identifiers, userinfo and an empty
//! port are refused: each has software that reads it in another way, and no honest client sends it.

use crate::facts::Scheme;
use std::fmt;
use std::net::Ipv6Addr;

/// Longest host name in bytes (RFC 1035 section 2.3.4, as text).
const MAX_HOST: usize = 253;

/// Host and port as found, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts<'a> {
    /// The name, or the IPv6 address with its brackets, in the case it came in.
    pub host: &'a str,
    /// The port, where one is written.
    pub port: Option<u16>,
}

impl Parts<'_> {
    /// Whether two authorities name the same place for `scheme`: hosts without regard to case, ports with the scheme's
    /// default filled in (RFC 9110 section 4.2.3).
    pub fn same(&self, other: &Parts<'_>, scheme: Scheme) -> bool {
        let port = |p: Option<u16>| p.unwrap_or(scheme.default_port());
        name(self.host).eq_ignore_ascii_case(name(other.host)) && port(self.port) == port(other.port)
    }
}

/// A name without the dot that stands for the DNS root: `example.com.` is `example.com`.
fn name(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

/// Reads `host [ ":" port ]`.
///
/// # Errors
/// The text says what is wrong, for the audit event.
pub fn parse(text: &[u8]) -> Result<Parts<'_>, &'static str> {
    // What is not ASCII cannot be a host here; the rest is text.
    let text = std::str::from_utf8(text).ok().filter(|t| t.is_ascii()).ok_or("host is not ASCII")?;
    if text.is_empty() {
        // RFC 9112 section 3.3: an empty authority may be refused where none is configured to stand for it.
        return Err("host is empty");
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']').ok_or("host has an unclosed bracket")?;
            address.parse::<Ipv6Addr>().map_err(|_| "host in brackets is no IPv6 address")?;
            let port = match after.strip_prefix(':') {
                Some(port) => Some(port),
                None if after.is_empty() => None,
                None => return Err("host has text after its bracket"),
            };
            (text.strip_suffix(after).unwrap_or(text), port)
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if !host.starts_with('[') {
        check_name(host)?;
    }
    let port = match port {
        None => None,
        Some(digits) if (1..=5).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse().map_err(|_| "port is above 65535")?)
        }
        Some(_) => return Err("port is no number"),
    };
    Ok(Parts { host, port })
}

fn check_name(host: &str) -> Result<(), &'static str> {
    let bytes = host.as_bytes();
    let wrong = bytes.iter().find(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')));
    match wrong {
        Some(b',') => Err("host is a list"),
        Some(b' ' | b'\t') => Err("host has white space"),
        Some(b'@') => Err("host has userinfo"),
        Some(b'/' | b'\\' | b'?' | b'#') => Err("host has a path"),
        Some(_) => Err("host has a character no name has"),
        None if bytes.len() > MAX_HOST => Err("host is too long"),
        // No label is empty but the root's.
        None if name(host).split('.').any(str::is_empty) => Err("host has an empty label"),
        None => Ok(()),
    }
}

/// The canonical authority: lower-case, without the root's dot and without the scheme's default port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Authority {
    host: Box<str>,
    port: Option<u16>,
}

impl Authority {
    /// The canonical form of what was found, for a request that came over `scheme`.
    pub fn new(parts: Parts<'_>, scheme: Scheme) -> Self {
        let host = name(parts.host).to_ascii_lowercase().into();
        Self { host, port: parts.port.filter(|port| *port != scheme.default_port()) }
    }

    /// The host: lower-case name or address; IPv6 keeps its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, if it is not the scheme's default.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_have_one_form() {
        for (text, scheme, canonical) in [
            ("Example.COM", Scheme::Https, "example.com"),
            ("example.com.", Scheme::Https, "example.com"),
            ("example.com:443", Scheme::Https, "example.com"),
            ("example.com:443", Scheme::Http, "example.com:443"),
            ("example.com:080", Scheme::Http, "example.com"),
            ("[2001:DB8::1]:8443", Scheme::Https, "[2001:db8::1]:8443"),
            ("[::1]", Scheme::Http, "[::1]"),
            ("my_host-1", Scheme::Http, "my_host-1"),
            ("127.0.0.1:8080", Scheme::Http, "127.0.0.1:8080"),
        ] {
            let parts = parse(text.as_bytes()).unwrap();
            assert_eq!(Authority::new(parts, scheme).to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn authorities_with_two_readings_are_refused() {
        let long = format!("{}.example", "a".repeat(260));
        for bad in [
            "",
            ":80",
            "a:",
            "a:x",
            "a:80:x",
            "a:65536",
            "a:-1",
            "a:000080",
            "a b",
            "a\t",
            "a,b",
            "a, b",
            "u@a",
            "u:p@a",
            "a/",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "a%2e",
            "caf\u{e9}",
            "[::1",
            "[::1]x",
            "[::1%25eth0]",
            "[v1.x]",
            "[1.2.3.4]",
            "a..b",
            ".a",
            ".",
            "a\0",
            "a\r",
            &long,
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sameness_ignores_case_default_port_and_root() {
        let read = |t: &'static str| parse(t.as_bytes()).unwrap();
        assert!(read("A.test:80").same(&read("a.TEST."), Scheme::Http));
        assert!(!read("a.test:80").same(&read("a.test"), Scheme::Https));
        assert!(!read("a.test").same(&read("b.test"), Scheme::Http));
    }
}
