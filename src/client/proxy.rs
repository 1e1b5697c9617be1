//! The PROXY protocol, versions 1 and 2: how a load balancer that passes connections through says who opened them.
//!
//! A pure reader over the first bytes of a connection (haproxy.org, proxy-protocol.txt, sections 2.1 and 2.2). What it
//! says is believed of trusted peers only; who is one is decided before the first byte is read. Strict: whatever the text
//! does not allow is an error, since behind a wrong header every address would be wrong.
//!
//! *Bounds.* A version 1 header has at most 107 bytes, a version 2 header at most [`MAX_HEADER`]; nothing is allocated.

use super::{Settings, canonical};
use crate::units::Cidr;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Largest header taken, in bytes: addresses, and room for additions such as a client's certificate.
pub const MAX_HEADER: usize = 4096;

const V1: &[u8] = b"PROXY ";
/// A version 1 line with its end.
const MAX_LINE: usize = 107;
const V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length.
const V2_HEAD: usize = 16;
/// The addition that holds a CRC-32C of the whole header.
const CRC32C: u8 = 0x03;

/// Whether a listener's peers speak the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyMode {
    /// Nobody does; a header is garbage.
    #[default]
    Off,
    /// Trusted peers may; whoever else connects is a client itself.
    Optional,
    /// Only trusted peers connect here, and each begins with a header.
    Required,
}

/// What a listener takes from whom.
#[derive(Debug, Clone)]
pub struct ProxyTerms {
    mode: ProxyMode,
    trusted: Vec<IpNet>,
}

/// How a listener begins with a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// The peer is the client.
    Direct,
    /// A header may come first.
    MayBegin,
    /// A header must come first.
    MustBegin,
    /// The peer has no business here.
    Refuse,
}

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Nothing of a client: the peer's own probe (`LOCAL`), or one whose address has no form here (`UNKNOWN`, UNIX sockets).
    Peer,
    /// Who opened the connection at the peer, and to which address.
    Client {
        /// The client's address and port.
        source: SocketAddr,
        /// The address and port it connected to.
        destination: SocketAddr,
    },
}

/// What the first bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// The beginning of a header; at least this many bytes more are needed, never zero.
    More(usize),
    /// A whole header of this many bytes.
    Header(usize, Origin),
    /// No header begins so.
    Other,
}

/// A header that breaks the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("PROXY header: {0}")]
pub struct BadHeader(pub &'static str);

impl ProxyTerms {
    /// A listener's terms; without networks of its own those of `[client] trusted` count.
    pub fn new(mode: ProxyMode, own: &[Cidr], client: &Settings) -> Self {
        let networks = if own.is_empty() { &client.trusted } else { own };
        Self { mode, trusted: networks.iter().map(|network| canonical(network.0)).collect() }
    }

    /// How to begin with a peer.
    pub fn opening(&self, peer: IpAddr) -> Opening {
        let peer = peer.to_canonical();
        let trusted = || self.trusted.iter().any(|network| network.contains(&peer));
        match self.mode {
            ProxyMode::Off => Opening::Direct,
            ProxyMode::Optional if trusted() => Opening::MayBegin,
            ProxyMode::Optional => Opening::Direct,
            ProxyMode::Required if trusted() => Opening::MustBegin,
            ProxyMode::Required => Opening::Refuse,
        }
    }

    /// Whether headers are expected from peers that nobody is: a listener that serves no one.
    pub fn nobody_is_trusted(&self) -> bool {
        self.mode != ProxyMode::Off && self.trusted.is_empty()
    }
}

/// Reads the first bytes of a connection.
///
/// # Errors
/// They begin a header, but are none.
pub fn read(bytes: &[u8]) -> Result<Read, BadHeader> {
    if bytes.starts_with(V2) {
        return version2(bytes);
    }
    if bytes.starts_with(V1) {
        return version1(bytes);
    }
    let begins = |signature: &[u8]| bytes.len() < signature.len() && signature.starts_with(bytes);
    if begins(V2) {
        return Ok(Read::More(V2_HEAD - bytes.len()));
    }
    Ok(if begins(V1) { Read::More(1) } else { Read::Other })
}

/// Section 2.1: one line of text.
fn version1(bytes: &[u8]) -> Result<Read, BadHeader> {
    let window = bytes.get(..MAX_LINE).unwrap_or(bytes);
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        if bytes.len() >= MAX_LINE {
            return Err(BadHeader("the line has no end"));
        }
        return Ok(Read::More(1));
    };
    let line = window.get(V1.len()..end).and_then(|line| std::str::from_utf8(line).ok());
    let line = line.ok_or(BadHeader("the line is no text"))?;
    let whole = |origin| Ok(Read::Header(end + 2, origin));
    let mut words = line.split(' ');
    let family = words.next().unwrap_or_default();
    if family == "UNKNOWN" {
        // What follows is to be ignored.
        return whole(Origin::Peer);
    }
    let mut word = || words.next().ok_or(BadHeader("the line is short of a word"));
    let (source, destination) = (word()?, word()?);
    let ports = (port(word()?)?, port(word()?)?);
    if words.next().is_some() {
        return Err(BadHeader("the line has a word too many"));
    }
    let bad = |_| BadHeader("an address is none of its family");
    let (source, destination): (IpAddr, IpAddr) = match family {
        "TCP4" => {
            (source.parse::<Ipv4Addr>().map_err(bad)?.into(), destination.parse::<Ipv4Addr>().map_err(bad)?.into())
        }
        "TCP6" => {
            (source.parse::<Ipv6Addr>().map_err(bad)?.into(), destination.parse::<Ipv6Addr>().map_err(bad)?.into())
        }
        _ => return Err(BadHeader("an unknown family")),
    };
    whole(Origin::Client {
        source: SocketAddr::new(source, ports.0),
        destination: SocketAddr::new(destination, ports.1),
    })
}

/// A port in digits alone, without zeros before it.
fn port(word: &str) -> Result<u16, BadHeader> {
    let plain = word.bytes().all(|b| b.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    plain.then(|| word.parse().ok()).flatten().ok_or(BadHeader("a port is no number from 0 to 65535"))
}

/// Section 2.2: binary.
fn version2(bytes: &[u8]) -> Result<Read, BadHeader> {
    let Some((head, rest)) = bytes.split_first_chunk::<V2_HEAD>() else {
        return Ok(Read::More(V2_HEAD - bytes.len()));
    };
    let [.., version, family, high, low] = *head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if version >> 4 != 2 {
        return Err(BadHeader("an unknown version"));
    }
    if V2_HEAD + length > MAX_HEADER {
        return Err(BadHeader("longer than the limit"));
    }
    let local = match version & 0xF {
        0 => true,
        1 => false,
        _ => return Err(BadHeader("an unknown command")),
    };
    if family >> 4 > 3 || family & 0xF > 2 {
        return Err(BadHeader("an unknown family or transport"));
    }
    let Some(body) = rest.get(..length) else {
        return Ok(Read::More(length - rest.len()));
    };
    // By the family: unspecified, IPv4, IPv6, UNIX sockets.
    let size = [0, 12, 36, 216].get(usize::from(family >> 4)).copied().unwrap_or_default();
    let short = BadHeader("too short for its addresses");
    let (addresses, mut additions) = match body.split_at_checked(size) {
        Some(parts) => parts,
        // The peer's own probe may say what it likes of addresses.
        None if local => (body, &[][..]),
        None => return Err(short),
    };
    while let [kind, high, low, rest @ ..] = additions {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, next) = rest.split_at_checked(length).ok_or(BadHeader("an addition is cut off"))?;
        if *kind == CRC32C {
            let sent = <[u8; 4]>::try_from(value).map_err(|_| BadHeader("a checksum has four bytes"))?;
            let end = V2_HEAD + length_before(body, next);
            let header = bytes.get(..V2_HEAD + body.len()).unwrap_or_default();
            if u32::from_be_bytes(sent) != crc32c(header, end - 4..end) {
                return Err(BadHeader("the checksum is not that of the header"));
            }
        }
        additions = next;
    }
    if !additions.is_empty() {
        return Err(BadHeader("an addition is cut off"));
    }
    let origin = match (local, family) {
        (false, 0x11) => pair::<4>(addresses).ok_or(short)?,
        (false, 0x21) => pair::<16>(addresses).ok_or(short)?,
        _ => Origin::Peer,
    };
    Ok(Read::Header(V2_HEAD + length, origin))
}

/// How much of `body` stands before its end `rest`.
fn length_before(body: &[u8], rest: &[u8]) -> usize {
    body.len() - rest.len()
}

/// Source and destination, then their ports.
fn pair<const N: usize>(bytes: &[u8]) -> Option<Origin>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = bytes.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (ports, _) = rest.split_first_chunk::<4>()?;
    let [a, b, c, d] = *ports;
    Some(Origin::Client {
        source: SocketAddr::new(IpAddr::from(*source), u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(IpAddr::from(*destination), u16::from_be_bytes([c, d])),
    })
}

/// CRC-32C (RFC 3720 section 12.1) of `bytes`, those of `blank` taken as zero: section 2.2.3.
fn crc32c(bytes: &[u8], blank: std::ops::Range<usize>) -> u32 {
    let mut crc = u32::MAX;
    for (at, byte) in bytes.iter().enumerate() {
        crc ^= u32::from(if blank.contains(&at) { 0 } else { *byte });
        for _ in 0..8 {
            let odd = crc & 1 == 1;
            crc >>= 1;
            if odd {
                crc ^= 0x82F6_3B78;
            }
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(source: &str, destination: &str) -> Origin {
        Origin::Client { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    /// A version 2 header.
    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut header = V2.to_vec();
        header.extend([0x20 | command, family]);
        header.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        header.extend(body);
        header
    }

    const IPV4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0xC3, 0x50, 0x01, 0xBB];

    #[test]
    fn version_1_is_one_line() {
        let longest = "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n";
        for (text, origin) in [
            ("PROXY TCP4 192.0.2.1 198.51.100.2 50000 443\r\n", client("192.0.2.1:50000", "198.51.100.2:443")),
            ("PROXY TCP6 2001:db8::1 ::1 1 0\r\n", client("[2001:db8::1]:1", "[::1]:0")),
            ("PROXY UNKNOWN\r\n", Origin::Peer),
            (longest, Origin::Peer),
        ] {
            let with_more = format!("{text}\x16\x03");
            assert_eq!(read(with_more.as_bytes()), Ok(Read::Header(text.len(), origin)), "{text}");
            for end in 0..text.len() {
                assert!(matches!(read(&text.as_bytes()[..end]), Ok(Read::More(1..))), "{end} of {text}");
            }
        }
    }

    #[test]
    fn what_version_1_does_not_allow_is_refused() {
        for text in [
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n",
            "PROXY TCP4 192.0.2.1  198.51.100.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n",
            "PROXY TCP4 192.0.2.01 198.51.100.2 1 2\r\n",
            "PROXY TCP4 192.0.2 198.51.100.2 1 2\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 65536 2\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 +1 2\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.2 1 2\r\n",
            "PROXY tcp4 192.0.2.1 198.51.100.2 1 2\r\n",
        ] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
        assert!(read(b"PROXY TCP4 \xFF\r\n").is_err());
        let endless = format!("PROXY UNKNOWN {}", "x".repeat(MAX_LINE));
        assert_eq!(read(endless.as_bytes()), Err(BadHeader("the line has no end")));
    }

    #[test]
    fn version_2_is_binary() {
        let mut ipv6 = [0; 36];
        ipv6[15] = 1;
        ipv6[31] = 2;
        ipv6[33] = 9;
        let additions = [&IPV4[..], &[0x01, 0, 2, b'h', b'2', 0x04, 0, 0]].concat();
        for (header, origin) in [
            (v2(1, 0x11, &IPV4), client("192.0.2.1:50000", "198.51.100.2:443")),
            (v2(1, 0x21, &ipv6), client("[::1]:9", "[::2]:0")),
            (v2(1, 0x11, &additions), client("192.0.2.1:50000", "198.51.100.2:443")),
            (v2(0, 0x00, &[]), Origin::Peer),
            (v2(0, 0x11, &[]), Origin::Peer),
            (v2(0, 0x11, &IPV4), Origin::Peer),
            (v2(1, 0x00, &[]), Origin::Peer),
            (v2(1, 0x31, &[0; 216]), Origin::Peer),
            (v2(1, 0x12, &IPV4), Origin::Peer),
        ] {
            let with_more = [&header[..], b"\x16\x03"].concat();
            assert_eq!(read(&with_more), Ok(Read::Header(header.len(), origin)), "{header:x?}");
            for end in 0..header.len() {
                let Ok(Read::More(more @ 1..)) = read(&header[..end]) else { panic!("{end} of {header:x?}") };
                assert!(end + more <= header.len(), "{end} asks for {more}, past the header's end");
            }
        }
    }

    #[test]
    fn what_version_2_does_not_allow_is_refused() {
        let mut other_version = v2(1, 0x11, &IPV4);
        other_version[12] = 0x11;
        for header in [
            other_version,
            v2(2, 0x11, &IPV4),
            v2(1, 0x41, &IPV4),
            v2(1, 0x13, &IPV4),
            v2(1, 0x11, &IPV4[..11]),
            v2(1, 0x21, &IPV4),
            v2(1, 0x31, &[0; 215]),
            v2(1, 0x11, &[&IPV4[..], &[1]].concat()),
            v2(1, 0x11, &[&IPV4[..], &[1, 0, 2, b'h']].concat()),
            v2(1, 0x11, &[&IPV4[..], &[CRC32C, 0, 3, 0, 0, 0]].concat()),
            v2(1, 0x11, &[0; MAX_HEADER]),
        ] {
            assert!(read(&header).is_err(), "{header:x?}");
        }
    }

    #[test]
    fn a_checksum_is_checked() {
        // The check value of CRC-32C.
        assert_eq!(crc32c(b"123456789", 0..0), 0xE306_9283);
        let body = [&IPV4[..], &[0x04, 0, 1, 0], &[CRC32C, 0, 4, 0, 0, 0, 0], &[0x04, 0, 0]].concat();
        let mut header = v2(1, 0x11, &body);
        let at = V2_HEAD + IPV4.len() + 4 + 3;
        assert!(read(&header).is_err());
        let sum = crc32c(&header, 0..0);
        header[at..at + 4].copy_from_slice(&sum.to_be_bytes());
        assert!(matches!(read(&header), Ok(Read::Header(_, Origin::Client { .. }))));
        header[V2_HEAD] ^= 1;
        assert_eq!(read(&header), Err(BadHeader("the checksum is not that of the header")));
    }

    #[test]
    fn what_is_no_header_is_told_at_once() {
        for bytes in [&b"\x16\x03\x01\x02\x00\x01"[..], b"GET / HTTP/1.1\r\n", b"POST /", b"PR\0", b"\r\n\r\nG"] {
            assert_eq!(read(bytes), Ok(Read::Other), "{bytes:x?}");
        }
        assert_eq!(read(b""), Ok(Read::More(16)));
    }

    #[test]
    fn headers_are_taken_of_trusted_peers_only() {
        let client: Settings = toml::from_str("trusted = \"10.0.0.0/8\"").unwrap();
        let own: Vec<Cidr> = vec!["::ffff:192.0.2.0/120".parse().unwrap()];
        let (near, far): (IpAddr, IpAddr) = ("::ffff:10.1.1.1".parse().unwrap(), "192.0.2.9".parse().unwrap());
        let opening = |mode, own: &[Cidr], peer| ProxyTerms::new(mode, own, &client).opening(peer);
        assert_eq!(opening(ProxyMode::Off, &[], near), Opening::Direct);
        assert_eq!(opening(ProxyMode::Optional, &[], near), Opening::MayBegin);
        assert_eq!(opening(ProxyMode::Optional, &[], far), Opening::Direct);
        assert_eq!(opening(ProxyMode::Required, &[], near), Opening::MustBegin);
        assert_eq!(opening(ProxyMode::Required, &[], far), Opening::Refuse);
        assert_eq!(opening(ProxyMode::Required, &own, far), Opening::MustBegin);
        assert_eq!(opening(ProxyMode::Required, &own, near), Opening::Refuse, "its own list stands alone");
        assert!(ProxyTerms::new(ProxyMode::Required, &[], &Settings::default()).nobody_is_trusted());
    }
}
