//! `host:port`, as the configuration, a file or a name server gives it.

use serde::{Deserialize, Deserializer, Serialize, de};
use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

/// The largest weight: beyond it a replica of weight 1 would hardly ever be asked.
pub(super) const MAX_WEIGHT: u32 = 1000;

/// A list of `host:port`, each perhaps with ` weight=N` behind it, also read from one text with commas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Replicas(pub Vec<String>);

impl FromStr for Replicas {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(String::from).collect()))
    }
}

impl<'de> Deserialize<'de> for Replicas {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> de::Visitor<'de> for Visit {
            type Value = Replicas;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of \"host:port\", or one text with commas between them")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Replicas, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Replicas, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element::<String>()? {
                    list.push(item);
                }
                Ok(Replicas(list))
            }
        }
        input.deserialize_any(Visit)
    }
}

/// One of them, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    name: Arc<str>,
    host: Box<str>,
    port: u16,
    weight: u32,
}

impl Endpoint {
    /// Reads `host:port` or `host:port weight=N`, N from 1 to [`MAX_WEIGHT`].
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let (place, weight) = (words.next()?, words.next());
        let weight = match weight {
            None => 1,
            Some(weight) => weight.strip_prefix("weight=")?.parse().ok().filter(|n| (1..=MAX_WEIGHT).contains(n))?,
        };
        let (host, port) = place.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let bare = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').filter(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())?,
            None => host,
        };
        let named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let fits = bare.parse::<IpAddr>().is_ok() || (!bare.is_empty() && bare.len() <= 253 && bare.bytes().all(named));
        let bracketed = bare.len() != host.len();
        // An IPv6 address without brackets cannot be told from its port.
        let good = fits && (bracketed || !bare.contains(':')) && words.next().is_none();
        good.then(|| Self { name: place.into(), host: bare.into(), port, weight })
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn weight(&self) -> u32 {
        self.weight
    }

    /// The address, where it is written as one.
    pub(super) fn literal(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.host.parse().ok()?, self.port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_host_and_port() {
        for (text, literal) in [("127.0.0.1:80", true), ("[2001:db8::1]:80", true), ("archon-api_1.local:80", false)] {
            assert_eq!(Endpoint::read(text).unwrap().literal().is_some(), literal, "{text}");
        }
        for bad in [
            "",
            "a",
            "a:",
            ":80",
            "a:0",
            "a:x",
            "a:70000",
            "::1:80",
            "[a]:80",
            "http://a:80",
            "a b:80",
            "[127.0.0.1]:1",
            "a:80 weight=0",
            "a:80 weight=1001",
            "a:80 weight=-1",
            "a:80 2",
            "a:80 weight=1 x",
        ] {
            assert!(Endpoint::read(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn weights_stand_behind() {
        let endpoint = Endpoint::read("  a.test:80   weight=7 ").unwrap();
        assert_eq!((&**endpoint.name(), endpoint.port(), endpoint.weight()), ("a.test:80", 80, 7));
        assert_eq!(Endpoint::read("a:1").unwrap().weight(), 1);
    }
}
