//! The `[upstream]` section.

use crate::fault::Fault;
use crate::units::Span;
use serde::{Deserialize, Deserializer, Serialize, de};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

/// `[upstream]`: the replicas and how they are dealt with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where the replicas are: a list of `host:port`, or one text with commas. A name stands for all its addresses.
    pub replicas: Replicas,
    /// Time to connect to a replica.
    pub connect_timeout: Span,
    /// Time a replica may be silent, before and within its response.
    pub read_timeout: Span,
    /// Time a replica may take to accept more of the request.
    pub write_timeout: Span,
    /// How long an unused connection is kept; less than the replica's own limit.
    pub idle_timeout: Span,
    /// How often another replica is tried after the first, where that is safe.
    pub max_retries: u8,
    /// How replicas are probed.
    pub health: HealthSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            replicas: Replicas(vec!["127.0.0.1:8181".into()]),
            connect_timeout: Span::secs(1),
            read_timeout: Span::secs(300),
            write_timeout: Span::secs(60),
            idle_timeout: Span::secs(50),
            max_retries: 2,
            health: HealthSettings::default(),
        }
    }
}

/// `[upstream.health]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthSettings {
    /// Whether replicas are asked at all. If not, one that could not be connected to is tried again every interval.
    pub enabled: bool,
    /// The path that tells whether the replica is ready.
    pub path: String,
    /// Asked instead where that path does not exist (404) or is answered with a page; empty: none.
    pub fallback: String,
    /// Time between probes, give or take a tenth.
    pub interval: Span,
    /// Time for one probe.
    pub timeout: Span,
    /// Good probes in a row that bring a replica back.
    pub rise: u32,
    /// Bad probes in a row that take a replica out; of a new one, the first does.
    pub fall: u32,
    /// The status of a good answer.
    pub status: u16,
    /// What a good answer's JSON object must hold at its top level, as `{ ready = true }`; unset: the body is not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect_json: Option<BTreeMap<String, serde_json::Value>>,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            path: "/ready".into(),
            fallback: "/health".into(),
            interval: Span::secs(2),
            timeout: Span::secs(1),
            rise: 1,
            fall: 2,
            status: 200,
            expect_json: None,
        }
    }
}

/// A list of `host:port`, also read from one text with commas.
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

/// One `host:port` of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    name: Arc<str>,
    host: Box<str>,
    port: u16,
}

impl Endpoint {
    fn read(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let bare = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').filter(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())?,
            None => host,
        };
        let named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let fits = bare.parse::<IpAddr>().is_ok() || (!bare.is_empty() && bare.len() <= 253 && bare.bytes().all(named));
        let bracketed = bare.len() != host.len();
        // An IPv6 address without brackets cannot be told from its port.
        (fits && (bracketed || !bare.contains(':'))).then(|| Self { name: text.into(), host: bare.into(), port })
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

    /// The address, where it is written as one.
    pub(super) fn literal(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.host.parse().ok()?, self.port))
    }
}

impl Settings {
    /// The replicas' places, or everything that is wrong with the section.
    pub(super) fn endpoints(&self) -> Result<Vec<Endpoint>, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut endpoints = Vec::new();
        for (i, text) in self.replicas.0.iter().enumerate() {
            match Endpoint::read(text) {
                Some(endpoint) => endpoints.push(endpoint),
                None => faults.push(Fault::key(
                    format!("replicas[{i}]"),
                    format!("{text:?} is no replica"),
                    "write host:port, as \"127.0.0.1:8181\" or \"[::1]:8181\"",
                )),
            }
        }
        if self.replicas.0.is_empty() {
            faults.push(Fault::key("replicas", "there is no replica to forward to", "name at least one host:port"));
        }
        let spans = [
            ("connect_timeout", self.connect_timeout),
            ("read_timeout", self.read_timeout),
            ("write_timeout", self.write_timeout),
            ("health.interval", self.health.interval),
            ("health.timeout", self.health.timeout),
        ];
        for (key, span) in spans {
            if span.0.is_zero() {
                faults.push(Fault::key(key, "no time at all", "write a duration above zero, as \"1s\""));
            }
        }
        for (key, n) in [("health.rise", self.health.rise), ("health.fall", self.health.fall)] {
            if n == 0 {
                faults.push(Fault::key(key, "no probe can be counted", "write 1 or more"));
            }
        }
        if self.max_retries > 16 {
            faults.push(Fault::key("max_retries", "more than 16 retries multiply an outage", "write 16 or less"));
        }
        if !(200..=599).contains(&self.health.status) {
            faults.push(Fault::key("health.status", "no final HTTP status", "write one from 200 to 599"));
        }
        let path_like = |path: &str| path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        if !path_like(&self.health.path) {
            faults.push(Fault::key("health.path", "no path", "begin it with /, in visible ASCII"));
        }
        if !self.health.fallback.is_empty() && !path_like(&self.health.fallback) {
            faults.push(Fault::key("health.fallback", "no path", "begin it with /, or leave it empty for none"));
        }
        if faults.is_empty() { Ok(endpoints) } else { Err(faults) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_read_as_list_and_as_text() {
        for text in ["replicas = ['a:1', '[::1]:2']", "replicas = 'a:1, [::1]:2,'"] {
            let settings: Settings = toml::from_str(text).unwrap();
            let names: Vec<_> = settings.endpoints().unwrap().iter().map(|e| e.name().to_string()).collect();
            assert_eq!(names, ["a:1", "[::1]:2"]);
        }
        let full = "[health]\nexpect_json = { ready = true, status = 'ok' }\ninterval = '500ms'";
        let settings: Settings = toml::from_str(full).unwrap();
        assert_eq!(settings.health.expect_json.unwrap()["ready"], serde_json::Value::Bool(true));
        let printed = toml::to_string(&Settings::default()).unwrap();
        assert_eq!(toml::from_str::<Settings>(&printed).unwrap(), Settings::default());
    }

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
        ] {
            assert!(Endpoint::read(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn every_fault_is_reported() {
        let settings = Settings {
            replicas: Replicas(vec!["a".into(), "b:1".into(), "c:0".into()]),
            connect_timeout: Span::secs(0),
            max_retries: 17,
            health: HealthSettings { path: "ready".into(), fall: 0, status: 99, ..HealthSettings::default() },
            ..Settings::default()
        };
        let keys: Vec<String> =
            settings.endpoints().unwrap_err().iter().map(|f| f.to_string().split(':').next().unwrap().into()).collect();
        let want = [
            "replicas[0]",
            "replicas[2]",
            "connect_timeout",
            "health.fall",
            "max_retries",
            "health.status",
            "health.path",
        ];
        assert_eq!(keys, want);
        assert!(Settings { replicas: Replicas(vec![]), ..Settings::default() }.endpoints().is_err());
    }
}
