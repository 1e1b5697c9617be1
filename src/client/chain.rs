//! The chain of addresses that hops leave in a header, read from its near end.
//!
//! Each hop appends on the right, so the right end is the nearest hop's word and the left end the client's. Reading from
//! the right means that what a client wrote is never looked at before what the hops wrote, and cannot change how that is
//! read: an open quote or a stray comma on the left stays on the left.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

/// Most addresses that are looked at, empty list members included.
pub(super) const MAX_HOPS: usize = 64;

/// How a header writes the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Addresses with commas between them.
    List,
    /// RFC 7239.
    Forwarded,
}

/// The hops of all header lines, the last line first; `None` for one that is not an address. Empty list members are no
/// hops (RFC 9110 section 5.6.1.2), but more than [`MAX_HOPS`] of them in a row end the chain.
pub(super) fn nearest_first<'a>(
    form: Form,
    lines: impl Iterator<Item = &'a [u8]>,
) -> impl Iterator<Item = Option<IpAddr>> {
    let members = lines.flat_map(move |line| Members { rest: Some(line), quotes: form == Form::Forwarded });
    members.take(MAX_HOPS).filter(|member| !member.is_empty()).map(move |member| {
        let text = std::str::from_utf8(member).ok()?;
        match form {
            Form::List => node(text),
            Form::Forwarded => forwarded_for(text),
        }
    })
}

/// The members of one comma-separated line, from the right, without the white space around them.
struct Members<'a> {
    rest: Option<&'a [u8]>,
    quotes: bool,
}

impl<'a> Iterator for Members<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let line = self.rest?;
        let mut quoted = false;
        let comma = line.iter().rposition(|byte| {
            quoted ^= self.quotes && *byte == b'"';
            *byte == b',' && !quoted
        });
        let (rest, member) = match comma {
            Some(at) => (line.get(..at), line.get(at + 1..).unwrap_or_default()),
            None => (None, line),
        };
        self.rest = rest;
        Some(member.trim_ascii())
    }
}

/// The `for` parameter of one `forwarded-element` (RFC 7239 section 4). Exactly one is expected; an address never needs
/// an escape, so an element with a backslash is not read.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    if element.contains('\\') {
        return None;
    }
    let (mut found, mut quoted) = (None, false);
    let pairs = element.split(|c| {
        quoted ^= c == '"';
        c == ';' && !quoted
    });
    for pair in pairs {
        let Some((name, value)) = pair.trim().split_once('=') else {
            if pair.trim().is_empty() {
                continue;
            }
            return None;
        };
        if name.eq_ignore_ascii_case("for") {
            let unquoted = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
            // "unknown" and obfuscated identifiers (section 6.3) are no addresses and end the walk.
            let address = node(unquoted.unwrap_or(value))?;
            if found.replace(address).is_some() {
                return None;
            }
        }
    }
    found
}

/// An address, alone or with a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
/// Zone identifiers mean nothing on another host and are refused.
fn node(text: &str) -> Option<IpAddr> {
    if let Ok(v4) = text.parse::<Ipv4Addr>() {
        return Some(v4.into());
    }
    if let Ok(v6) = text.parse::<Ipv6Addr>() {
        return Some(v6.into());
    }
    if let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().ok().map(IpAddr::from);
    }
    if let Ok(v4) = text.parse::<SocketAddrV4>() {
        return Some((*v4.ip()).into());
    }
    text.parse::<SocketAddrV6>().ok().filter(|v6| v6.scope_id() == 0 && !text.contains('%')).map(|v6| (*v6.ip()).into())
}
