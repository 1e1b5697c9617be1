//! The `[upstream]` section, and the `[[pool]]` entries, which are alike.

use super::discover::DiscoverSettings;
use super::endpoint::{Endpoint, Replicas};
use super::hedge::HedgeSettings;
use super::status::Statuses;
use super::transport::Protocol;
use crate::fault::Fault;
use crate::tls::{self, UpstreamTls};
use crate::units::{self, Secret, Share, Span};
use http::HeaderName;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::collections::BTreeMap;

/// `[upstream]`, the default pool, or one `[[pool]]`: the replicas and how they are dealt with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A `[[pool]]`'s name, for routes, metrics and the log: 1 to 32 lower-case letters, digits, `-` and `_`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where the replicas are: a list of `host:port`, or one text with commas. A name stands for all its addresses.
    /// `https://` before one says that the pool's replicas speak TLS, as `tls` does.
    pub replicas: Replicas,
    /// What is spoken with them.
    pub protocol: Protocol,
    /// Requests that one HTTP/2 connection carries at once; the replica may want fewer.
    pub max_streams: u32,
    /// How one is chosen.
    pub algorithm: Algorithm,
    /// What consistent hashing goes by.
    pub hash_by: HashBy,
    /// Over how long the share of a replica that came back rises to its full; `0s`: at once.
    pub slow_start: Span,
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
    /// Requests that one replica has at once, which with HTTP/1 is its connections; `0`: no limit.
    pub max_in_flight: u32,
    /// Requests for each replica that wait while all have that many; more get 503.
    pub max_queue: u32,
    /// How long one waits; then 503.
    pub queue_timeout: Span,
    /// Whether they are spoken to over TLS, and whom the gate then believes.
    #[serde(deserialize_with = "tls::switch_or_table")]
    pub tls: UpstreamTls,
    /// When a request is sent again.
    pub retry: RetrySettings,
    /// When a second replica is asked beside the first.
    pub hedge: HedgeSettings,
    /// A cookie that brings a client back to its replica.
    pub affinity: AffinitySettings,
    /// How replicas are probed.
    pub health: HealthSettings,
    /// When a replica's answers take it out of turn.
    pub ejection: EjectionSettings,
    /// Where else replicas are found.
    pub discover: DiscoverSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: String::new(),
            replicas: Replicas(vec!["127.0.0.1:8181".into()]),
            protocol: Protocol::default(),
            max_streams: 100,
            algorithm: Algorithm::default(),
            hash_by: HashBy::default(),
            slow_start: Span::secs(0),
            connect_timeout: Span::secs(1),
            read_timeout: Span::secs(300),
            write_timeout: Span::secs(60),
            idle_timeout: Span::secs(50),
            max_retries: 2,
            max_in_flight: 0,
            max_queue: 64,
            queue_timeout: Span::secs(1),
            tls: UpstreamTls::default(),
            retry: RetrySettings::default(),
            hedge: HedgeSettings::default(),
            affinity: AffinitySettings::default(),
            health: HealthSettings::default(),
            ejection: EjectionSettings::default(),
            discover: DiscoverSettings::default(),
        }
    }
}

/// How a replica is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// In turn, by weight where weights differ, and then smoothly: the heavy one's turns do not come in a row.
    #[default]
    RoundRobin,
    /// The one with the fewest requests in hand, for its weight.
    LeastConnections,
    /// The better of two drawn at random: requests in hand times the time its answers take.
    PeakEwma,
    /// By a key's place on a ring (ketama).
    ConsistentHash,
}

/// What consistent hashing goes by. What a request lacks is taken by its client's address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum HashBy {
    /// The verified user.
    #[default]
    User,
    /// The client's address.
    Address,
    /// A header field, written `header:x-name`.
    Header(HeaderName),
}

impl Serialize for HashBy {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::User => output.serialize_str("user"),
            Self::Address => output.serialize_str("address"),
            Self::Header(name) => output.collect_str(&format_args!("header:{name}")),
        }
    }
}

impl<'de> Deserialize<'de> for HashBy {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        match text.as_str() {
            "user" => Ok(Self::User),
            "address" => Ok(Self::Address),
            other => {
                other.strip_prefix("header:").and_then(|name| name.parse().ok()).map(Self::Header).ok_or_else(|| {
                    de::Error::custom(format!("{text:?} is no key; write \"user\", \"address\" or \"header:x-name\""))
                })
            }
        }
    }
}

/// `[upstream.retry]`: when a request is sent again. Only where nothing was sent, or where its method is idempotent and
/// the client has seen nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetrySettings {
    /// Retries as a share of the requests.
    pub budget: Share,
    /// Retries a second that may be made whatever comes in; ten seconds of them are in reserve.
    pub min_per_second: u32,
    /// How long a replica may take to its response head before an idempotent request is tried elsewhere; `0s`: as long
    /// as to answer at all. A route's own `response_timeout` goes before it.
    pub per_try_timeout: Span,
    /// Answers to idempotent requests that are tried elsewhere, as long as there is somebody else.
    pub statuses: Statuses,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            budget: Share::percent(20),
            min_per_second: 10,
            per_try_timeout: Span::secs(15),
            statuses: Statuses::of(&[(502, 504)]),
        }
    }
}

/// `[upstream.affinity]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AffinitySettings {
    /// The cookie's name; empty: none.
    pub cookie: String,
    /// What its values are made with, 16 characters or more; the same for all instances. Empty: one made at each start.
    #[serde(deserialize_with = "units::unless_empty", skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
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
    /// The path that tells whether the replica is alive; empty: any HTTP answer says so.
    pub live_path: String,
    /// Time between probes, give or take a tenth.
    pub interval: Span,
    /// Time for one probe.
    pub timeout: Span,
    /// Good probes in a row that bring a replica back.
    pub rise: u32,
    /// Bad probes in a row that take a replica out; of a new one, the first does.
    pub fall: u32,
    /// The statuses of a good answer.
    pub status: Statuses,
    /// The media type of a good answer, as `application/json`; empty: any but an HTML page.
    pub content_type: String,
    /// What a good answer's JSON object must hold at its top level, as `{ ready = true }`; unset: the body is not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect_json: Option<BTreeMap<String, serde_json::Value>>,
    /// While fewer than this share of the replicas are ready, those that are alive get requests too; 0: never.
    pub panic_threshold: Share,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            path: "/ready".into(),
            fallback: "/health".into(),
            live_path: String::new(),
            interval: Span::secs(2),
            timeout: Span::secs(1),
            rise: 1,
            fall: 2,
            status: Statuses::of(&[(200, 200)]),
            content_type: String::new(),
            expect_json: None,
            panic_threshold: Share::percent(0),
        }
    }
}

/// `[upstream.ejection]`: when a replica's answers take it out of turn, and for how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EjectionSettings {
    /// Whether answers count.
    pub enabled: bool,
    /// Failures in a row; 0: however many.
    pub consecutive_failures: u32,
    /// Failures among the answers within `window`, from 0 to 1; 0: however many.
    pub failure_rate: f64,
    /// How many times slower than the median of the others, geometric means within `window`; 0: however slow.
    pub latency_factor: f64,
    /// What a slow replica must be above that median besides.
    pub latency_excess: Span,
    /// Answers within `window` before a rate or a time says anything.
    pub min_requests: u32,
    /// How far back answers count.
    pub window: Span,
    /// The statuses that are failures; a broken connection and no answer in time always are.
    pub statuses: Statuses,
    /// How long the first ejection lasts; each one after doubles it.
    pub time: Span,
    /// The longest.
    pub max_time: Span,
    /// Requests that try a replica whose time is over, and must all do well.
    pub trials: u32,
    /// The share of the replicas that may be ejected at once; one may always, the last one never.
    pub max_share: Share,
    /// While fewer than this share of the replicas would be left in turn, ejections are disregarded; 0: never.
    pub panic_threshold: Share,
}

impl Default for EjectionSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            consecutive_failures: 5,
            failure_rate: 0.5,
            latency_factor: 8.0,
            latency_excess: Span::millis(100),
            min_requests: 20,
            window: Span::secs(10),
            statuses: Statuses::of(&[(500, 500), (502, 504)]),
            time: Span::secs(10),
            max_time: Span::secs(300),
            trials: 2,
            max_share: Share::percent(50),
            panic_threshold: Share::percent(50),
        }
    }
}

/// What may stand before a replica.
const HTTPS: &str = "https://";
const HTTP: &str = "http://";

impl Settings {
    /// Whether the replicas are spoken to over TLS.
    pub fn speaks_tls(&self) -> bool {
        self.tls.enabled || self.replicas.0.iter().any(|text| text.trim_start().starts_with(HTTPS))
    }

    /// Whether a request's key decides.
    pub fn hashes(&self) -> bool {
        self.algorithm == Algorithm::ConsistentHash
    }

    /// The replicas' places, or everything that is wrong with the section.
    pub(super) fn endpoints(&self) -> Result<Vec<Endpoint>, Vec<Fault>> {
        let mut faults = self.discover.faults();
        let mut endpoints = Vec::new();
        let over_tls = self.speaks_tls();
        for (i, text) in self.replicas.0.iter().enumerate() {
            let text = text.trim_start();
            let (bare, says) = match (text.strip_prefix(HTTPS), text.strip_prefix(HTTP)) {
                (Some(bare), _) => (with_port(bare, 443), true),
                (_, Some(bare)) => (with_port(bare, 80), false),
                _ => (text.to_owned(), self.tls.enabled),
            };
            if says != over_tls {
                let what = format!("{text:?} is without TLS, and the pool speaks TLS");
                let mend = "write https:// before each replica, or put those without TLS into a pool of their own";
                faults.push(Fault::key(format!("replicas[{i}]"), what, mend));
            }
            match Endpoint::read(&bare) {
                Some(endpoint) => endpoints.push(endpoint),
                None => faults.push(Fault::key(
                    format!("replicas[{i}]"),
                    format!("{text:?} is no replica"),
                    "write host:port, as \"127.0.0.1:8181\" or \"[::1]:8181\", perhaps with weight=2 behind it",
                )),
            }
        }
        if self.replicas.0.is_empty() && !self.discover.finds() {
            faults.push(Fault::key("replicas", "there is no replica to forward to", "name at least one host:port"));
        }
        if !(1..=10_000).contains(&self.max_streams) {
            let what = format!("{} requests on one connection are too few or too many", self.max_streams);
            faults.push(Fault::key("max_streams", what, "write a number from 1 to 10000"));
        }
        let (health, ejection) = (&self.health, &self.ejection);
        for (key, span) in [
            ("connect_timeout", self.connect_timeout),
            ("read_timeout", self.read_timeout),
            ("write_timeout", self.write_timeout),
            ("queue_timeout", self.queue_timeout),
            ("health.interval", health.interval),
            ("health.timeout", health.timeout),
            ("ejection.window", ejection.window),
            ("ejection.time", ejection.time),
        ] {
            if span.0.is_zero() {
                faults.push(Fault::key(key, "no time at all", "write a duration above zero, as \"1s\""));
            }
        }
        for (key, n) in
            [("health.rise", health.rise), ("health.fall", health.fall), ("ejection.trials", ejection.trials)]
        {
            if n == 0 {
                faults.push(Fault::key(key, "nothing can be counted", "write 1 or more"));
            }
        }
        if self.max_retries > 16 {
            faults.push(Fault::key("max_retries", "more than 16 retries multiply an outage", "write 16 or less"));
        }
        if health.status.is_empty() {
            faults.push(Fault::key("health.status", "no answer would be good", "write a status, as 200"));
        }
        let path_like = |path: &str| path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        for (key, path, needed) in [
            ("health.path", &health.path, true),
            ("health.fallback", &health.fallback, false),
            ("health.live_path", &health.live_path, false),
        ] {
            if (needed || !path.is_empty()) && !path_like(path) {
                let mend = if needed {
                    "begin it with /, in visible ASCII"
                } else {
                    "begin it with /, or leave it empty for none"
                };
                faults.push(Fault::key(key, "no path", mend));
            }
        }
        if !health.content_type.is_empty() && !health.content_type.contains('/') {
            let mend = "write type and subtype, as \"application/json\"";
            faults.push(Fault::key("health.content_type", format!("{:?} is no media type", health.content_type), mend));
        }
        if !(0.0..=1.0).contains(&ejection.failure_rate) {
            faults.push(Fault::key(
                "ejection.failure_rate",
                "no share of the answers",
                "write a number from 0.0 to 1.0",
            ));
        }
        let factor = ejection.latency_factor;
        if factor != 0.0 && !(1.5..=1_000_000.0).contains(&factor) {
            let what = format!("{factor} times the others' would eject replicas that are like them");
            faults.push(Fault::key("ejection.latency_factor", what, "write 1.5 or more, or 0.0 for never"));
        }
        if ejection.max_time < ejection.time {
            faults.push(Fault::key(
                "ejection.max_time",
                "less than the first ejection's time",
                "raise it, or lower time",
            ));
        }
        let cookie = &self.affinity.cookie;
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if cookie.len() > 64 || !cookie.bytes().all(token) {
            let mend = "use up to 64 letters, digits, - and _ (RFC 6265 section 4.1.1)";
            faults.push(Fault::key("affinity.cookie", format!("{cookie:?} is no cookie name"), mend));
        }
        if self.affinity.secret.as_ref().is_some_and(|secret| secret.expose().len() < 16) {
            let mend = "make one with `openssl rand -hex 32`";
            faults.push(Fault::key("affinity.secret", "fewer than 16 characters could be guessed", mend));
        }
        if faults.is_empty() { Ok(endpoints) } else { Err(faults) }
    }
}

/// `host` or `host:port`, perhaps with a weight behind it, with a port.
fn with_port(text: &str, port: u16) -> String {
    let (place, rest) = text.split_once(char::is_whitespace).map_or((text, ""), |(place, rest)| (place, rest));
    let place = place.strip_suffix('/').unwrap_or(place);
    let has_port = place.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
    if has_port { format!("{place} {rest}") } else { format!("{place}:{port} {rest}") }
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
        let full = "hash_by = 'header:X-Tenant'\n[health]\nexpect_json = { ready = true, status = 'ok' }\n\
                    interval = '500ms'\nstatus = ['200-204', 418]";
        let settings: Settings = toml::from_str(full).unwrap();
        assert_eq!(settings.hash_by, HashBy::Header(HeaderName::from_static("x-tenant")));
        assert!(settings.health.status.has(203) && settings.health.status.has(418) && !settings.health.status.has(205));
        assert_eq!(settings.health.expect_json.unwrap()["ready"], serde_json::Value::Bool(true));
        let printed = toml::to_string(&Settings::default()).unwrap();
        assert_eq!(toml::from_str::<Settings>(&printed).unwrap(), Settings::default());
        assert!(toml::from_str::<Settings>("hash_by = 'header:'").is_err());
    }

    #[test]
    fn a_scheme_says_whether_the_pool_speaks_tls() {
        let names = |text: &str| {
            let settings: Settings = toml::from_str(text).unwrap();
            let tls = settings.speaks_tls();
            settings.endpoints().map(|list| (tls, list.iter().map(|e| e.name().to_string()).collect::<Vec<_>>()))
        };
        let of = |tls: bool, list: &[&str]| (tls, list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        for (text, found) in [
            ("replicas = ['https://a', 'https://[::1]:2 weight=2']", of(true, &["a:443", "[::1]:2"])),
            ("replicas = 'http://a:1'", of(false, &["a:1"])),
            ("replicas = 'http://[::1]/'", of(false, &["[::1]:80"])),
            ("replicas = 'a:1'\ntls = true", of(true, &["a:1"])),
            ("replicas = 'a:1'\n[tls]\nca = 'x'", of(false, &["a:1"])),
        ] {
            assert_eq!(names(text).unwrap(), found, "{text}");
        }
        for mixed in ["replicas = 'https://a, b:1'", "replicas = 'http://a'\ntls = true", "replicas = 'ftp://a:1'"] {
            assert_eq!(names(mixed).unwrap_err().len(), 1, "{mixed}");
        }
    }

    #[test]
    fn every_fault_is_reported() {
        let settings = Settings {
            replicas: Replicas(vec!["a".into(), "b:1".into(), "c:0".into()]),
            connect_timeout: Span::secs(0),
            max_retries: 17,
            health: HealthSettings {
                path: "ready".into(),
                live_path: "live".into(),
                fall: 0,
                status: Statuses::of(&[]),
                content_type: "json".into(),
                ..HealthSettings::default()
            },
            ejection: EjectionSettings {
                failure_rate: 2.0,
                latency_factor: 1.0,
                max_time: Span::secs(1),
                trials: 0,
                ..EjectionSettings::default()
            },
            affinity: AffinitySettings { cookie: "a b".into(), secret: Some(Secret::new("short".into())) },
            ..Settings::default()
        };
        let keys: Vec<String> =
            settings.endpoints().unwrap_err().iter().map(|f| f.to_string().split(':').next().unwrap().into()).collect();
        let want = [
            "replicas[0]",
            "replicas[2]",
            "connect_timeout",
            "health.fall",
            "ejection.trials",
            "max_retries",
            "health.status",
            "health.path",
            "health.live_path",
            "health.content_type",
            "ejection.failure_rate",
            "ejection.latency_factor",
            "ejection.max_time",
            "affinity.cookie",
            "affinity.secret",
        ];
        assert_eq!(keys, want);
        assert!(Settings { replicas: Replicas(vec![]), ..Settings::default() }.endpoints().is_err());
    }
}
