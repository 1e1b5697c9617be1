//! Who is asking: the real address behind trusted hops, and the user behind the credentials.
//!
//! [`Clients`] decides first of all stages, from the peer's address and one header: the peer is the client, unless it is
//! one of the trusted networks (a load balancer, a content delivery network). Then the header's chain of addresses is
//! walked from its right end, where the nearest hop wrote, to the left, as long as the hop that vouches for an address is
//! trusted itself. The first address that is not trusted is the client. What cannot be read ends the walk at the last
//! good hop, so nothing a client writes can put words into a trusted hop's mouth.
//!
//! [`Users`] decides once the request has been read: a verified certificate is the user, else a verified API key, else
//! the client's address.
//! [`proxy`] reads what a trusted peer says of a connection before its first byte; the client it names is the peer from then on.
//! [`Forwarding`] says what the replica is told of both, and what of the client's own claims it must not see.
//!
//! *Bounds.* At most 64 addresses are looked at, each against every trusted network of the configuration;
//! credentials longer than 1024 bytes are not even hashed. No state, no I/O after the load.
//!
//! *Open or closed.* Closed: nobody is trusted unless configured, an unreadable chain never yields a client further away
//! than the last trusted hop, and unknown credentials give no name. Whether they are refused is `required`.
//!
//! *Sources.* RFC 7239 (Forwarded), the `X-Forwarded-For` custom, RFC 6750 section 2.1 (Bearer).

mod chain;
mod forwarded;
pub mod proxy;
mod users;

pub use forwarded::Forwarding;
pub use users::Users;

use crate::facts::{ClientAddr, PeerAddr};
use crate::fault::Fault;
use crate::units::{self, Cidr, Secret};
use crate::verdict::Refusal;
use chain::Form;
use http::header::{HeaderMap, HeaderName};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The `[client]` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Networks whose hops are believed when they say who is behind them; as an array or one text with commas.
    #[serde(deserialize_with = "units::list")]
    pub trusted: Vec<Cidr>,
    /// The header in which trusted hops say so: `forwarded` (RFC 7239), `x-forwarded-for`, or another that holds one
    /// address or a list of them with commas, as `x-real-ip` and `cf-connecting-ip` do.
    pub header: String,
    /// The users and their API keys.
    pub keys: Vec<Key>,
    /// The header that carries an API key. `Authorization: Bearer` is read too.
    pub key_header: String,
    /// Whether a request must come with a known key.
    pub required: Requirement,
    /// The header that tells the replica the verified user's name.
    pub user_header: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            trusted: Vec::new(),
            header: "x-forwarded-for".into(),
            keys: Vec::new(),
            key_header: "x-api-key".into(),
            required: Requirement::Optional,
            user_header: "x-archon-user".into(),
        }
    }
}

/// Whether a request must come with a known key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Requirement {
    /// Without a known key the user is the client's address; unknown credentials are passed on.
    #[default]
    Optional,
    /// Without a known key the answer is 401.
    Required,
}

/// One user's API key. Exactly one of `secret`, `sha256` and `file` is given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Key {
    /// The user's name for limits, audit events and replicas: visible ASCII characters.
    pub name: String,
    /// The key itself, at least 16 characters; an empty text, as an unset environment variable leaves it, is no key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// The key's SHA-256 digest in hex; an empty text is no key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Secret>,
    /// A file that holds the key, for example a mounted secret; white space around it is ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

/// The trusted networks, and how their hops name who is behind them.
#[derive(Debug)]
pub struct Clients {
    trusted: Vec<IpNet>,
    header: HeaderName,
    form: Form,
}

impl Clients {
    /// Checks the settings. `_base` is unused: nothing is read from files.
    ///
    /// # Errors
    ///
    /// A header that is no header name, an IPv4-mapped network that is not one of IPv4 alone.
    pub fn build(settings: &Settings, _base: &Path) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let header = header_name(&settings.header, "header", &mut faults);
        let form = if header == http::header::FORWARDED { Form::Forwarded } else { Form::List };
        let trusted = settings.trusted.iter().map(|network| canonical(network.0)).collect();
        if faults.is_empty() { Ok(Self { trusted, header, form }) } else { Err(faults) }
    }

    /// Finds the address to hold responsible.
    ///
    /// # Errors
    ///
    /// None today: what cannot be read only ends the walk. The form is that of every stage.
    pub fn identify(&self, peer: PeerAddr, headers: &HeaderMap) -> Result<ClientAddr, Refusal> {
        let mut client = ClientAddr::new(peer.0.ip());
        if !self.trusts(client.ip()) {
            return Ok(client);
        }
        let lines = headers.get_all(&self.header).iter().rev().map(http::HeaderValue::as_bytes);
        for hop in chain::nearest_first(self.form, lines).take(chain::MAX_HOPS) {
            let Some(address) = hop else { break };
            client = ClientAddr::new(address);
            if !self.trusts(client.ip()) {
                break;
            }
        }
        Ok(client)
    }

    /// Whether the peer is one of the trusted hops, whose request identifiers and trace contexts may be kept.
    pub fn is_trusted(&self, peer: PeerAddr) -> bool {
        self.trusts(peer.0.ip().to_canonical())
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }
}

/// Addresses are compared in canonical form, so a network within `::ffff:0:0/96` is the IPv4 network it means.
fn canonical(network: IpNet) -> IpNet {
    if let IpNet::V6(v6) = network
        && let Some(v4) = v6.network().to_ipv4_mapped()
        && let Some(length) = v6.prefix_len().checked_sub(96)
        && let Ok(net) = ipnet::Ipv4Net::new(v4, length)
    {
        return IpNet::V4(net);
    }
    network
}

fn header_name(text: &str, key: &str, faults: &mut Vec<Fault>) -> HeaderName {
    HeaderName::try_from(text).unwrap_or_else(|_| {
        let mend = "write letters, digits and hyphens, as \"x-forwarded-for\"";
        faults.push(Fault::key(key, format!("{text:?} is no header name"), mend));
        http::header::FORWARDED
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(toml: &str) -> Clients {
        Clients::build(&toml::from_str(toml).unwrap(), Path::new("")).unwrap()
    }

    fn identify(clients: &Clients, peer: &str, lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&clients.header, line.as_bytes().try_into().unwrap());
        }
        clients.identify(PeerAddr((peer.parse::<IpAddr>().unwrap(), 4711).into()), &headers).unwrap().to_string()
    }

    #[test]
    fn the_chain_is_walked_through_trusted_hops_only() {
        let clients = clients("trusted = [\"10.0.0.0/8\", \"2001:db8::/32\", \"::ffff:172.16.0.0/108\"]");
        for (peer, lines, expected) in [
            ("192.0.2.1", vec!["1.1.1.1"], "192.0.2.1"),
            ("10.0.0.1", vec![], "10.0.0.1"),
            ("10.0.0.1", vec!["1.1.1.1"], "1.1.1.1"),
            ("::ffff:10.0.0.1", vec!["1.1.1.1"], "1.1.1.1"),
            ("172.31.0.1", vec!["1.1.1.1"], "1.1.1.1"),
            ("10.0.0.1", vec!["6.6.6.6, 1.1.1.1, 10.0.0.2"], "1.1.1.1"),
            ("10.0.0.1", vec!["6.6.6.6", "1.1.1.1", "10.0.0.2,2001:db8::5"], "1.1.1.1"),
            ("10.0.0.1", vec!["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", vec!["6.6.6.6, garbage, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", vec!["6.6.6.6, garbage"], "10.0.0.1"),
            ("10.0.0.1", vec!["1.1.1.1, , "], "1.1.1.1"),
            ("10.0.0.1", vec![""], "10.0.0.1"),
            ("10.0.0.1", vec!["1.1.1.1:99, 10.0.0.2:80"], "1.1.1.1"),
            ("10.0.0.1", vec!["[2620:fe::9]:443"], "2620:fe::9"),
            ("10.0.0.1", vec!["[2620:fe::9]"], "2620:fe::9"),
            ("10.0.0.1", vec!["2620:fe::9"], "2620:fe::9"),
            ("10.0.0.1", vec!["::ffff:1.1.1.1"], "1.1.1.1"),
            ("10.0.0.1", vec!["1.1.1.1:x"], "10.0.0.1"),
            ("10.0.0.1", vec!["fe80::1%eth0"], "10.0.0.1"),
            ("10.0.0.1", vec!["1.1.1.1 "], "1.1.1.1"),
            ("10.0.0.1", vec!["1.1.1.1\u{e9}"], "10.0.0.1"),
        ] {
            assert_eq!(identify(&clients, peer, &lines), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn a_long_chain_is_not_walked_to_its_end() {
        let clients = clients("trusted = \"10.0.0.0/8\"");
        let chain = format!("1.1.1.1{}", ", 10.0.0.2".repeat(chain::MAX_HOPS));
        assert_eq!(identify(&clients, "10.0.0.1", &[&chain]), "10.0.0.2");
        let commas = format!("1.1.1.1{}", ",".repeat(10_000));
        assert_eq!(identify(&clients, "10.0.0.1", &[&commas]), "10.0.0.1");
    }

    #[test]
    fn forwarded_is_read_as_rfc7239_says() {
        let clients = clients("trusted = \"10.0.0.0/8, 2001:db8::/32\"\nheader = \"Forwarded\"");
        for (lines, expected) in [
            (vec!["for=1.1.1.1"], "1.1.1.1"),
            (vec!["For=\"1.1.1.1:80\";proto=https ; by=10.0.0.9"], "1.1.1.1"),
            (vec!["for=6.6.6.6", "for=1.1.1.1, proto=http;for=\"[2001:db8::7]:4711\""], "1.1.1.1"),
            (vec!["for=\"[2620:fe::9]\""], "2620:fe::9"),
            (vec!["for=1.1.1.1, for=unknown"], "10.0.0.1"),
            (vec!["for=1.1.1.1, for=_hidden, for=10.0.0.2"], "10.0.0.2"),
            (vec!["for=1.1.1.1, proto=https"], "10.0.0.1"),
            (vec!["for=1.1.1.1;for=2.2.2.2"], "10.0.0.1"),
            // A quote that a client leaves open cannot swallow what a hop appends.
            (vec!["for=\"6.6.6.6, for=1.1.1.1"], "1.1.1.1"),
            (vec!["for=\"6.6.6.6", "for=1.1.1.1"], "1.1.1.1"),
            (vec!["for=6.6.6.6;x=\"a,b;c\", for=10.0.0.2"], "6.6.6.6"),
            (vec!["for=\"6.6.\\6.6\""], "10.0.0.1"),
            (vec!["for=\"6.6.6.6"], "10.0.0.1"),
            (vec!["for"], "10.0.0.1"),
            (vec!["for =1.1.1.1"], "10.0.0.1"),
        ] {
            assert_eq!(identify(&clients, "10.0.0.1", &lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn trust_is_a_matter_of_the_peer_alone() {
        let clients = clients("trusted = \"10.0.0.0/8\"");
        for (peer, trusted) in [("10.1.2.3", true), ("::ffff:10.1.2.3", true), ("11.0.0.1", false), ("::1", false)] {
            assert_eq!(clients.is_trusted(PeerAddr((peer.parse::<IpAddr>().unwrap(), 1).into())), trusted, "{peer}");
        }
        assert!(!self::clients("").is_trusted(PeerAddr(([127, 0, 0, 1], 1).into())), "nobody is trusted by default");
    }

    #[test]
    fn settings_read_and_print() {
        let text = "trusted = \"10.0.0.0/8,::1/128\"\nrequired = \"required\"\n[[keys]]\nname = \"ci\"\nfile = \"k\"\n";
        let settings: Settings = toml::from_str(text).unwrap();
        assert_eq!(toml::from_str::<Settings>(&toml::to_string(&settings).unwrap()).unwrap(), settings);
        let secret = "[[keys]]\nname = \"ci\"\nsecret = \"open sesame open sesame\"\n";
        let printed = toml::to_string(&toml::from_str::<Settings>(secret).unwrap()).unwrap();
        assert!(printed.contains("***") && !printed.contains("sesame"), "{printed}");
        assert!(toml::from_str::<Settings>("trusted = \"10.0.0.0/33\"").is_err());
        let bad = Settings { header: "no header".into(), ..Settings::default() };
        assert!(Clients::build(&bad, Path::new("")).unwrap_err()[0].to_string().starts_with("header: "));
    }
}
