//! Hosts: names of RFC 1123, literal addresses, international names; `host`, `email`, and what addresses of the web
//! need.
//!
//! One spelling of each host: an IPv4 address is four decimal numbers without leading zeros, whatever else a resolver
//! would take for one (`0x7f.1`, `2130706433`, `127.1`, `0177.0.0.1`) is no host here. An international name must be
//! spelt as a reader of its `xn--` form would spell it: full-width letters and digits, ideographic dots and enclosed
//! characters, which mapping turns into other hosts, do not fit.

use super::Fit;
use super::plain::word;
use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Bytes of a host's name (RFC 1035, section 2.3.4).
const NAME_BYTES: usize = 253;

/// A host as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::field) enum Host<'a> {
    /// Four decimal numbers.
    V4(Ipv4Addr),
    /// In brackets.
    V6(Ipv6Addr),
    /// ASCII, an international name in its `xn--` form; in the case it was written.
    Name(Cow<'a, str>),
}

/// A host with or without a port.
pub(super) fn fits(value: &[u8]) -> Fit {
    if value.is_ascii() { authority(value).map(drop) } else { Err("not ASCII") }
}

/// A host and the port behind it: `[1, 65535]` without leading zeros.
pub(in crate::field) fn authority(value: &[u8]) -> Result<(Host<'_>, Option<u16>), &'static str> {
    if value.contains(&b'@') {
        return Err("user information before the host");
    }
    let end = match value.first() {
        Some(b'[') => value.iter().position(|b| *b == b']').map_or(value.len(), |end| end + 1),
        _ => value.iter().position(|b| *b == b':').unwrap_or(value.len()),
    };
    let (host, rest) = value.split_at_checked(end).ok_or("no host")?;
    let port = match rest.split_first() {
        None => None,
        Some((b':', digits)) => Some(port(digits).ok_or("not a port")?),
        Some(_) => return Err("something between host and port"),
    };
    Ok((parse(host)?, port))
}

fn port(digits: &[u8]) -> Option<u16> {
    if digits.len() > 5 || digits.first() == Some(&b'0') || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A host alone.
pub(in crate::field) fn parse(value: &[u8]) -> Result<Host<'_>, &'static str> {
    if let Some(inside) = value.strip_prefix(b"[") {
        let inside = inside.strip_suffix(b"]").and_then(|inside| std::str::from_utf8(inside).ok());
        // The parser takes no zone.
        return inside.and_then(|text| text.parse().ok()).map(Host::V6).ok_or("not an IPv6 address in brackets");
    }
    let text = std::str::from_utf8(value).map_err(|_| "a host that is not UTF-8")?;
    if !text.is_ascii() {
        return international(text).map(|name| Host::Name(Cow::Owned(name)));
    }
    name(text)?;
    if numeric(text) {
        return text.parse().map(Host::V4).map_err(|_| "an address that is not four decimal numbers");
    }
    Ok(Host::Name(Cow::Borrowed(text)))
}

/// Whether a client of the web would read a host as an IPv4 address, for it ends in a number (WHATWG URL, section 3.5).
fn numeric(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let digits = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    last.bytes().all(|b| b.is_ascii_digit())
        || digits.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// RFC 1123, section 2.1: labels of letters, digits and inner hyphens.
fn name(text: &str) -> Fit {
    if text.is_empty() {
        return Err("no host");
    }
    if text.len() > NAME_BYTES {
        return Err("a host longer than 253 bytes");
    }
    let mut punycode = false;
    for label in text.as_bytes().split(|b| *b == b'.') {
        let sound = (1..=63).contains(&label.len())
            && label.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
            && label.first() != Some(&b'-')
            && label.last() != Some(&b'-');
        if !sound {
            return Err("a host that is no name and no address");
        }
        punycode |= label.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"xn--"));
    }
    if punycode && idna::domain_to_unicode(text).1.is_err() {
        return Err("a host with an unsound `xn--` label");
    }
    Ok(())
}

/// The ASCII form of an international name that is spelt as it would be read back.
fn international(text: &str) -> Result<String, &'static str> {
    if text.len() > NAME_BYTES {
        return Err("a host longer than 253 bytes");
    }
    let ascii = idna::domain_to_ascii_strict(text).map_err(|_| "not an international name")?;
    let (read, outcome) = idna::domain_to_unicode(&ascii);
    if outcome.is_err() || read != text.to_lowercase() || !ascii.contains("xn--") {
        return Err("a host in characters that stand for others");
    }
    name(&ascii)?;
    if numeric(&ascii) {
        return Err("an address that is not four decimal numbers");
    }
    Ok(ascii)
}

/// A mailbox as people have them: of RFC 5321 a dot-atom of letters, digits, `.`, `_`, `+` and `-`, and a domain with a
/// dot in it, international or not. An apostrophe only as in `o'brien`.
pub(super) fn email(value: &[u8]) -> Fit {
    let at = value.iter().position(|b| *b == b'@').ok_or("no `@`")?;
    let (local, domain) = value.split_at_checked(at).ok_or("no `@`")?;
    let domain = domain.get(1..).unwrap_or_default();
    let local = match local {
        [b'o' | b'O' | b'd' | b'D', b'\'', name @ ..]
            if name.iter().take_while(|b| b.is_ascii_alphabetic()).count() >= 3 =>
        {
            name
        }
        local => local,
    };
    let sound = (1..=64).contains(&local.len())
        && local.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'-'))
        && !local.windows(2).any(|pair| pair == b".." || pair == b"--")
        && ![local.first(), local.last()].into_iter().flatten().any(|b| matches!(b, b'.' | b'-' | b'+'));
    if !sound {
        return Err("not a mailbox's name");
    }
    word(local)?;
    match parse(domain)? {
        Host::Name(name) if name.contains('.') => Ok(()),
        _ => Err("not a domain"),
    }
}
