//! `fetch-url`: an address that the application will fetch. Decides whether it leads to the open internet.
//!
//! Comes after nothing: what is given is the value as the application will see it. Two questions, in this order.
//!
//! 1. *Do all clients read it alike?* It must be of the strict grammar of [`super::grammar`]'s `url`, which RFC 3986
//!    and the WHATWG's parser read alike. So there is no backslash, blank or control character, no user information, no
//!    second `@` or `:`, no missing `//`, no port in other than plain digits, no percent-encoding in the host, no `@`
//!    behind a host without a path, no zone, and one spelling of each host: an address is four decimal numbers or IPv6
//!    in brackets; `2130706433`, `0x7f.1`, `0177.0.0.1`, `127.1`, full-width digits, `①`, `。` and a dot at the end are
//!    refused whatever they lead to. No such address is opened by `allow:`.
//! 2. *Does it lead inside?* Refused are addresses that are not global (IANA's special-purpose registries), IPv6 that
//!    carries IPv4 (mapped, compatible, translated, 6to4, Teredo, ISATAP), the metadata services of clouds, names of
//!    one label, names under suffixes of inner networks, names of public services that answer with the address written
//!    in them, names with such an address in them, ports of services that are not for the web (below 1024 all but 80
//!    and 443; from there on, a list), and addresses with parts that are addresses of such a host themselves.
//!
//! `allow:` opens a host (all its ports), a host with a port, `*.suffix`, or a network, each as it is written in the
//! address. Neither a network nor a suffix opens the metadata services in it: these must be named.
//!
//! What this cannot see: a public name that resolves to an inner address, today or at the second look. That is for the
//! network the application fetches from (docs: egress rules) and for the application's own check of the address it
//! connects to.
//!
//! Fails closed. Cost: a few passes over at most 8192 bytes, and over a host of at most 253; nothing is looked up.
//! Allocates only where a part is an address itself.

use super::class::{Arguments, Misfit, SpecError, excerpt};
use super::grammar::host::{self, Host};
use super::grammar::uri;
use ipnet::IpNet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[cfg(test)]
mod tests;

/// What may be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    schemes: Vec<String>,
    allow: Vec<Allow>,
}

/// What may be fetched although it leads inside.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Allow {
    Net(IpNet),
    Suffix(String),
    Address(IpAddr, Option<u16>),
    Name(String, Option<u16>),
}

/// Networks of IPv4 that are not global: base, prefix length (IANA, RFC 6890 and later).
const INNER_V4: [(Ipv4Addr, u32); 18] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 31, 196, 0), 24),
    (Ipv4Addr::new(192, 52, 193, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(192, 175, 48, 0), 24),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// Networks within 2000::/3 that are not global, or carry IPv4: base, prefix length.
const INNER_V6: [(Ipv6Addr, u32); 4] = [
    // IETF protocol assignments, with Teredo, ORCHID and benchmarking.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Addresses of metadata services and of what else clouds put beside every machine.
const METADATA_V4: [Ipv4Addr; 6] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];
/// Names of metadata services, and all below them.
const METADATA_NAMES: [&str; 8] = [
    "metadata.google.internal",
    "metadata.goog",
    "metadata",
    "instance-data",
    "instance-data.ec2.internal",
    "metadata.tencentyun.com",
    "metadata.packet.net",
    "metadata.platformequinix.com",
];

/// Suffixes of inner networks: special-use names (RFC 6761, 6762, 8375, 9476), ICANN's `.internal`, and usual ones.
const INNER_NAMES: [&str; 24] = [
    "local",
    "localhost",
    "localdomain",
    "internal",
    "intranet",
    "intra",
    "private",
    "priv",
    "lan",
    "home",
    "home.arpa",
    "corp",
    "svc",
    "cluster",
    "consul",
    "docker",
    "kube",
    "invalid",
    "test",
    "onion",
    "alt",
    "in-addr.arpa",
    "ip6.arpa",
    "workgroup",
];

/// Public names that answer with an address that is written in the question, or with a loopback one.
const ECHO_NAMES: [&str; 31] = [
    "nip.io",
    "sslip.io",
    "xip.io",
    "xip.name",
    "ip6.name",
    "nip.direct",
    "localtest.me",
    "lvh.me",
    "vcap.me",
    "lacolhost.com",
    "local.gd",
    "localho.st",
    "traefik.me",
    "fuf.me",
    "localh.st",
    "bugbounty.dod.network",
    "mail.ebc.apple.com",
    "nicob.net",
    "yoogle.com",
    "rbndr.us",
    "1u.ms",
    "rebind.network",
    "rebind.it",
    "localdomain.pw",
    "127-0-0-1.org.uk",
    "smackaho.st",
    "42foo.com",
    "vm.direct",
    "lndo.site",
    "ddev.site",
    "localstack.cloud",
];

/// Where scanners are called back.
const CALLBACK_NAMES: [&str; 14] = [
    "burpcollaborator.net",
    "oastify.com",
    "interact.sh",
    "interactsh.com",
    "oast.fun",
    "oast.live",
    "oast.site",
    "oast.online",
    "oast.pro",
    "oast.me",
    "dnslog.cn",
    "ceye.io",
    "canarytokens.com",
    "requestrepo.com",
];

/// Ports from 1024 on of services that are not for the web. Below 1024, only 80 and 443 are.
const INNER_PORTS: [u16; 62] = [
    1080, 1099, 1433, 1434, 1521, 1883, 2049, 2181, 2222, 2375, 2376, 2377, 2379, 2380, 3306, 3389, 4369, 4444, 4505,
    4506, 5000, 5432, 5555, 5672, 5900, 5901, 5984, 5985, 5986, 6000, 6379, 6380, 6443, 6667, 7000, 7001, 7199, 7474,
    7687, 8009, 8086, 8125, 8200, 8300, 8500, 8529, 8600, 9000, 9042, 9092, 9160, 9200, 9300, 10250, 10255, 10256,
    11211, 11434, 15672, 27017, 50070, 61616,
];

impl Fetch {
    /// Reads what stands between the parentheses: schemes, then `; allow:` and what is allowed.
    pub(super) fn from_spec(arguments: Option<Arguments<'_>>) -> Result<Self, SpecError> {
        let mut fetch = Self { schemes: Vec::new(), allow: Vec::new() };
        for piece in arguments.into_iter().flat_map(|arguments| arguments.split(';')) {
            if let Some(list) = piece.text.strip_prefix("allow:") {
                for item in (Arguments { text: list, at: piece.at + 6 }).split(',') {
                    fetch.allow.push(allow(item)?);
                }
            } else if fetch.schemes.is_empty() && fetch.allow.is_empty() && !piece.text.contains(':') {
                for scheme in piece.split(',') {
                    let name = scheme.text.to_ascii_lowercase();
                    if !uri::WEB.contains(&name.as_str()) {
                        return Err(SpecError::new(
                            scheme.at,
                            format!("`{}` is no scheme that is fetched", excerpt(scheme.text)),
                            "write `https`, `http` or both",
                        ));
                    }
                    if !fetch.schemes.contains(&name) {
                        fetch.schemes.push(name);
                    }
                }
            } else {
                return Err(SpecError::new(
                    piece.at,
                    format!("`{}` is not understood", excerpt(piece.text)),
                    "did you mean `allow:`? Write schemes first and then `; allow:`, as in `fetch-url(https; allow: 10.0.0.0/8, ollama)`",
                ));
            }
        }
        if fetch.schemes.is_empty() {
            fetch.schemes = uri::WEB.map(str::to_owned).to_vec();
        }
        Ok(fetch)
    }

    /// Whether the application may fetch `value`.
    ///
    /// # Errors
    /// Clients could disagree about it, its scheme or port is not for this, or it leads inside.
    pub fn check(&self, value: &[u8]) -> Result<(), Misfit> {
        self.judge(value).map_err(|what| Misfit::new(format!("no address to fetch: {what}")))
    }

    fn judge(&self, value: &[u8]) -> Result<(), &'static str> {
        let uri = uri::parse(value)?;
        if !self.schemes.iter().any(|scheme| uri.scheme.eq_ignore_ascii_case(scheme.as_bytes())) {
            return Err("a scheme that is not allowed");
        }
        let port = uri.port.unwrap_or(if uri.scheme.eq_ignore_ascii_case(b"https") { 443 } else { 80 });
        if self.allow.iter().any(|allow| allow.names(&uri.host, port)) {
            return Ok(());
        }
        if metadata(&uri.host) {
            return Err("the metadata service of a cloud");
        }
        if self.allow.iter().any(|allow| allow.holds(&uri.host)) {
            return Ok(());
        }
        match &uri.host {
            Host::V4(ip) if !global(IpAddr::V4(*ip)) => return Err("an address that is not on the open internet"),
            Host::V6(ip) if !global(IpAddr::V6(*ip)) => return Err("an address that is not on the open internet"),
            Host::V4(_) | Host::V6(_) => {}
            Host::Name(name) => outer_name(name)?,
        }
        if uri.port.is_some() && !web_port(port) {
            return Err("a port that is not for the web");
        }
        if carried_inside(value, uri.behind) { Err("an inner address within the address") } else { Ok(()) }
    }
}

/// Whether a part of the address is itself one with an inner address for its host, for a public page to lead there.
/// Names are not looked at: people do search for `http://localhost:3000`.
fn carried_inside(value: &[u8], behind: &[u8]) -> bool {
    let slashes = |part: &[u8]| part == b"://" || part.eq_ignore_ascii_case(b"%2f");
    if !behind.windows(3).any(slashes) {
        return false;
    }
    let inner = |text: &[u8]| {
        let end = text.iter().position(|b| matches!(b, b'/' | b'?' | b'#' | b'\\')).unwrap_or(text.len());
        let authority = text.get(..end).unwrap_or_default();
        let host = authority.rsplit(|b| *b == b'@').next().unwrap_or_default();
        host::authority(host).is_ok_and(|(host, _)| match host {
            Host::V4(ip) => !global(IpAddr::V4(ip)),
            Host::V6(ip) => !global(IpAddr::V6(ip)),
            Host::Name(_) => metadata(&host),
        })
    };
    // As it stands (a path's own `//` is between two of its segments), and decoded. Each is read up to the next slash.
    let any = |text: &[u8]| {
        text.windows(3).enumerate().any(|(at, part)| part == b"://" && inner(text.get(at + 3..).unwrap_or_default()))
    };
    any(behind) || uri::texts(value).iter().any(|(_, text)| any(text))
}

/// Prints the parentheses with what stands between them; nothing, when that is what goes without saying.
impl fmt::Display for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.allow.is_empty() && self.schemes == uri::WEB {
            return Ok(());
        }
        write!(f, "({}", self.schemes.join(", "))?;
        for (i, allow) in self.allow.iter().enumerate() {
            write!(f, "{}{allow}", if i == 0 { "; allow: " } else { ", " })?;
        }
        f.write_str(")")
    }
}

impl Allow {
    /// Whether it is this very host that is allowed, on this port.
    fn names(&self, host: &Host<'_>, port: u16) -> bool {
        let on = |allowed: &Option<u16>| allowed.is_none_or(|allowed| allowed == port);
        match (self, host) {
            (Self::Address(IpAddr::V4(allowed), port), Host::V4(ip)) => allowed == ip && on(port),
            (Self::Address(IpAddr::V6(allowed), port), Host::V6(ip)) => allowed == ip && on(port),
            (Self::Name(allowed, port), Host::Name(name)) => allowed.eq_ignore_ascii_case(name) && on(port),
            _ => false,
        }
    }

    /// Whether the host is in a network or under a suffix that is allowed.
    fn holds(&self, host: &Host<'_>) -> bool {
        match (self, host) {
            (Self::Net(net), Host::V4(ip)) => net.contains(&IpAddr::V4(*ip)),
            (Self::Net(net), Host::V6(ip)) => net.contains(&IpAddr::V6(*ip)),
            (Self::Suffix(suffix), Host::Name(name)) => name.len() > suffix.len() && under(name, suffix),
            _ => false,
        }
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = match self {
            Self::Net(net) => return net.fmt(f),
            Self::Suffix(suffix) => return write!(f, "*.{suffix}"),
            Self::Address(IpAddr::V6(ip), port) => {
                write!(f, "[{ip}]")?;
                port
            }
            Self::Address(ip, port) => {
                ip.fmt(f)?;
                port
            }
            Self::Name(name, port) => {
                f.write_str(name)?;
                port
            }
        };
        port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// One item behind `allow:`.
fn allow(item: Arguments<'_>) -> Result<Allow, SpecError> {
    let wrong = || {
        SpecError::new(
            item.at,
            format!("`{}` is no host and no network", excerpt(item.text)),
            "write a host, a host and a port, `*.suffix` or a network, as in `ollama, localhost:11434, *.corp.example, 10.0.0.0/8`",
        )
    };
    if item.text.contains('/') {
        return item.text.parse::<IpNet>().map(|net| Allow::Net(net.trunc())).map_err(|_| wrong());
    }
    if let Ok(ip) = item.text.parse::<Ipv6Addr>() {
        return Ok(Allow::Address(IpAddr::V6(ip), None));
    }
    if let Some(suffix) = item.text.strip_prefix("*.") {
        return match host::parse(suffix.as_bytes()) {
            Ok(Host::Name(name)) => Ok(Allow::Suffix(name.to_ascii_lowercase())),
            _ => Err(wrong()),
        };
    }
    match host::authority(item.text.as_bytes()).map_err(|_| wrong())? {
        (Host::V4(ip), port) => Ok(Allow::Address(IpAddr::V4(ip), port)),
        (Host::V6(ip), port) => Ok(Allow::Address(IpAddr::V6(ip), port)),
        (Host::Name(name), port) => Ok(Allow::Name(name.to_ascii_lowercase(), port)),
    }
}

/// Whether `name` is `suffix` or below it.
fn under(name: &str, suffix: &str) -> bool {
    let Some((before, end)) = name.len().checked_sub(suffix.len()).and_then(|at| name.split_at_checked(at)) else {
        return false;
    };
    end.eq_ignore_ascii_case(suffix) && (before.is_empty() || before.ends_with('.'))
}

/// Whether a host is the metadata service of a cloud.
pub(super) fn metadata(host: &Host<'_>) -> bool {
    match host {
        Host::V4(ip) => METADATA_V4.contains(ip),
        Host::V6(ip) => METADATA_V6.contains(ip),
        Host::Name(name) => METADATA_NAMES.iter().any(|metadata| under(name, metadata)),
    }
}

/// Whether a name may be one of the open internet.
fn outer_name(name: &str) -> Result<(), &'static str> {
    let any = |list: &[&str]| list.iter().any(|suffix| under(name, suffix));
    if !name.contains('.') {
        return Err("a name of one label, which is inside");
    }
    if any(&INNER_NAMES) || name.split('.').any(|label| label.eq_ignore_ascii_case("svc")) {
        return Err("a name of an inner network");
    }
    if any(&ECHO_NAMES) {
        return Err("a name that resolves to any address");
    }
    if any(&CALLBACK_NAMES) {
        return Err("a name that scanners are called back at");
    }
    if inner_address_within(name) {
        return Err("a name with an inner address in it");
    }
    Ok(())
}

/// Whether four numbers that stand together, between dots or hyphens, are an address that is not global.
fn inner_address_within(name: &str) -> bool {
    let mut last = [None::<u8>; 4];
    for part in name.split(['.', '-']) {
        let number = (part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse().ok()).flatten();
        let [_, b, c, d] = last;
        last = [b, c, d, number];
        if let [Some(a), Some(b), Some(c), Some(d)] = last
            && !global(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
        {
            return true;
        }
    }
    false
}

/// Whether an address is one of the open internet, and is no other address in disguise.
fn global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => !INNER_V4.iter().any(|(base, length)| (ip.to_bits() ^ base.to_bits()) >> (32 - length) == 0),
        IpAddr::V6(ip) => {
            let bits = ip.to_bits();
            let isatap = matches!(ip.segments(), [_, _, _, _, 0 | 0x200, 0x5efe, _, _]);
            // Global unicast is 2000::/3; mapped, compatible, translated (64:ff9b::/96), unique local (fc00::/7),
            // link-local and multicast addresses are all outside of it.
            bits >> 125 == 1
                && !isatap
                && !INNER_V6.iter().any(|(base, length)| (bits ^ base.to_bits()) >> (128 - length) == 0)
        }
    }
}

/// Whether servers of the web are found on a port.
fn web_port(port: u16) -> bool {
    match port {
        80 | 443 => true,
        0..=1023 => false,
        5902..=5910 | 6001..=6063 | 27018..=27019 => false,
        _ => !INNER_PORTS.contains(&port),
    }
}
