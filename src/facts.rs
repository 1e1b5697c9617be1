//! Facts about one request, each with its own type so that nobody mistakes whose value it is.
//!
//! A `PeerAddr` is who opened the connection, a `ClientAddr` is who we believe is behind it; a `UserKey` is what limits
//! and audit count by. All are plain values, cheap to clone, without behaviour that decides anything.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// The address and port at the other end of the TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerAddr(pub SocketAddr);

/// The address we hold responsible for the request: the peer, or what trusted hops say is behind it.
///
/// IPv4-mapped IPv6 addresses are stored as IPv4, so one client has one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddr(IpAddr);

impl ClientAddr {
    /// Takes any address; an IPv4-mapped one (RFC 4291 section 2.5.5.2) becomes the IPv4 address it means.
    pub fn new(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }

    /// The canonical address.
    pub fn ip(self) -> IpAddr {
        self.0
    }

    /// What one subscriber holds: the IPv4 address itself, or the /64 of an IPv6 address with its host part zero
    /// (RFC 6177: a site gets at least a /64, so its addresses are one client's to choose from).
    pub fn subscriber(self) -> IpAddr {
        match self.0 {
            IpAddr::V4(_) => self.0,
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !0xFFFF_FFFF_FFFF_FFFF)),
        }
    }
}

impl fmt::Display for ClientAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whom limits count and audit events name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum UserKey {
    /// A verified certificate, by the name in it that the listener's setting chooses.
    Certificate(Arc<str>),
    /// A verified API key, by its name in the configuration (never the secret).
    ApiKey(Arc<str>),
    /// Nobody verified: the client's address, IPv6 by /64.
    Address(IpAddr),
}

impl UserKey {
    /// The verified name, if there is one.
    pub fn verified(&self) -> Option<&str> {
        match self {
            Self::Certificate(name) | Self::ApiKey(name) => Some(name),
            Self::Address(_) => None,
        }
    }
}

impl fmt::Display for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(name) => write!(f, "cert:{name}"),
            Self::ApiKey(name) => write!(f, "key:{name}"),
            Self::Address(address) => write!(f, "addr:{address}"),
        }
    }
}

/// The name of the route a request takes: a closed set from the configuration, so it may label metrics.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RouteName(pub Arc<str>);

impl fmt::Display for RouteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The identifier every response and audit event carries: 1 to 64 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Longest accepted identifier, in bytes.
    pub const MAX_LEN: usize = 64;

    /// A fresh identifier: 128 random bits as 32 lower-case hex digits.
    pub fn from_random(bits: u128) -> Self {
        Self(format!("{bits:032x}").into())
    }

    /// Takes over an identifier a trusted peer sent; `None` if it is empty, too long, or holds anything but ASCII
    /// letters, digits, `-`, `_`, `.` and `:` (it ends up in logs and headers).
    pub fn from_peer(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= Self::MAX_LEN;
        let clean = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b));
        (fits && clean).then(|| Self(text.into()))
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `http` or `https`, as the listener received it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// `"http"` or `"https"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port implied when an authority names none (RFC 9110 section 4.2).
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Who is served when not everybody can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Refused first.
    Low,
    /// Refused when the gate is saturated.
    #[default]
    Normal,
    /// Never refused for load: health checks.
    High,
}

/// What is known about a connection from its first byte to its last.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Who opened it.
    pub peer: PeerAddr,
    /// The address it was opened to.
    pub local: SocketAddr,
    /// Plain or TLS.
    pub scheme: Scheme,
    /// What the handshake agreed on.
    pub tls: Option<TlsFacts>,
    /// A plain listener that only sends clients to the TLS listener on this port.
    pub redirect_to: Option<u16>,
}

/// What a TLS handshake agreed on.
#[derive(Debug, Clone)]
pub struct TlsFacts {
    /// `"1.3"` or `"1.2"`.
    pub version: &'static str,
    /// The cipher suite's name.
    pub cipher: &'static str,
    /// The key exchange group's name.
    pub group: &'static str,
    /// The server name the client asked for.
    pub sni: Option<Arc<str>>,
    /// The application protocol agreed on.
    pub alpn: Option<&'static str>,
    /// Whether a session was resumed.
    pub resumed: bool,
    /// The client's JA4 fingerprint, where its greeting could be read.
    pub ja4: Option<Arc<str>>,
    /// The certificate the client proved to hold.
    pub client: Option<ClientCertificate>,
}

/// A client's certificate, verified in the handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The name that counts as the user's, by the listener's setting: visible ASCII, with spaces inside.
    pub user: Option<Arc<str>>,
    /// Whom it was issued to, as a distinguished name; any characters.
    pub subject: Arc<str>,
    /// Who issued it; any characters.
    pub issuer: Arc<str>,
    /// The serial number, in hex.
    pub serial: Arc<str>,
    /// The SHA-256 digest of the certificate, in hex.
    pub sha256: Arc<str>,
    /// Its last second.
    pub not_after: SystemTime,
}

/// The moment a request is decided at: read once, handed to every stage, so stages have no clock of their own.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For intervals.
    pub mono: Instant,
    /// For dates.
    pub wall: SystemTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        let mapped = ClientAddr::new("::ffff:192.0.2.7".parse().unwrap());
        assert_eq!(mapped.ip(), "192.0.2.7".parse::<IpAddr>().unwrap());
        assert_eq!(mapped.subscriber(), mapped.ip());
    }

    #[test]
    fn ipv6_subscribers_are_counted_by_their_64() {
        let one = ClientAddr::new("2001:db8:1:2:aaaa::1".parse().unwrap());
        let two = ClientAddr::new("2001:db8:1:2:bbbb::9".parse().unwrap());
        let other = ClientAddr::new("2001:db8:1:3::1".parse().unwrap());
        assert_eq!(one.subscriber(), two.subscriber());
        assert_ne!(one.subscriber(), other.subscriber());
    }

    #[test]
    fn a_peers_request_id_is_taken_only_when_it_is_harmless() {
        for good in ["a", "0f-1_2.3:4", &"x".repeat(64)] {
            assert_eq!(RequestId::from_peer(good).unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a\r\nb", "é", "<x>", &"x".repeat(65)] {
            assert!(RequestId::from_peer(bad).is_none(), "{bad:?}");
        }
    }
}
