//! The event: what the gate knows about one transaction, as plain typed values.
//!
//! Nothing here is masked, escaped or cut yet: that is the encoder's work, off the request path.

use crate::facts::{ClientAddr, ClientCertificate, PeerAddr, RequestId, RouteName, Scheme, UserKey};
use crate::telemetry::CacheStatus;
use crate::verdict::{Action, Mode, Reason};
use bytes::Bytes;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Where on its way a request was when a finding was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Reading the request from the connection.
    Listener,
    /// Finding the client behind the peer.
    Client,
    /// The address lists.
    Reputation,
    /// The request model.
    Request,
    /// Who the user is.
    User,
    /// The rate limits.
    Limit,
    /// The route's policy.
    Policy,
    /// Phase 1 of the rules.
    RequestHead,
    /// Phase 2 of the rules, or holding the body for it.
    RequestBody,
    /// The response cache.
    Cache,
    /// Choosing a replica.
    Balance,
    /// The replica.
    Upstream,
    /// Phase 3 of the rules.
    ResponseHead,
    /// Phase 4 of the rules.
    ResponseBody,
}

impl Stage {
    /// The name in the event.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::Client => "client",
            Self::Reputation => "reputation",
            Self::Request => "request",
            Self::User => "user",
            Self::Limit => "limit",
            Self::Policy => "policy",
            Self::RequestHead => "request_head",
            Self::RequestBody => "request_body",
            Self::Cache => "cache",
            Self::Balance => "balance",
            Self::Upstream => "upstream",
            Self::ResponseHead => "response_head",
            Self::ResponseBody => "response_body",
        }
    }
}

/// SecLang's severities, which are syslog's (ModSecurity reference, action `severity`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Severity(u8);

impl Severity {
    /// A severity from 0 (emergency) to 7 (debug); `None` for any other number.
    pub fn new(number: u8) -> Option<Self> {
        (number <= 7).then_some(Self(number))
    }

    /// The number, 0 to 7.
    pub fn number(self) -> u8 {
        self.0
    }

    /// The name as SecLang writes it.
    pub fn as_str(self) -> &'static str {
        match self.0 {
            0 => "EMERGENCY",
            1 => "ALERT",
            2 => "CRITICAL",
            3 => "ERROR",
            4 => "WARNING",
            5 => "NOTICE",
            6 => "INFO",
            _ => "DEBUG",
        }
    }
}

/// A reason to refuse that a stage found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Who found it.
    pub stage: Stage,
    /// Why.
    pub reason: Reason,
    /// What the stage says about it.
    pub detail: Cow<'static, str>,
    /// Whether the request was refused for it; `false` where detect mode let it pass.
    pub enforced: bool,
}

/// One rule that matched and logs; a chain under its first rule's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleMatch {
    /// The rule's id.
    pub id: u64,
    /// The phase it ran in, 1 to 5.
    pub phase: u8,
    /// Its severity, if it has one.
    pub severity: Option<Severity>,
    /// Its message, expanded.
    pub msg: Bytes,
    /// Its logdata, expanded.
    pub data: Bytes,
    /// Its tags, expanded.
    pub tags: Vec<Arc<str>>,
    /// The variable that matched last, as `ARGS:name`.
    pub variable: Bytes,
    /// That variable's value, as the operator saw it.
    pub value: Bytes,
}

/// One field of a request that the policy says something of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldFound {
    /// Where it stands: `query`, `json`, …
    pub place: &'static str,
    /// Its name, as the client wrote it.
    pub name: Bytes,
    /// Its class, as the policy spells it.
    pub class: Bytes,
    /// `fits`, `doubtful`, `attack` or `misfit`.
    pub verdict: &'static str,
    /// Why, unless it fits.
    pub detail: Bytes,
}

/// What a candidate of rules would have done otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shadowed {
    /// `only_live` or `only_shadow`: which of the two refuses the request.
    pub outcome: &'static str,
    /// Why the candidate would refuse it.
    pub reason: Option<&'static str>,
    /// The rules of the candidate that matched and log.
    pub rules: Vec<u64>,
    /// The fields that are not what the candidate's policy says, with names as the client wrote them.
    pub fields: Vec<Bytes>,
}

/// How long things took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Durations {
    /// From the request's first byte to the last of the answer.
    pub total: Duration,
    /// From choosing a replica to the head of its answer; `None` if none was asked.
    pub upstream: Option<Duration>,
    /// In the rules, all phases together; `None` if they did not run.
    pub waf: Option<Duration>,
}

/// What the TLS connection was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// `"1.3"`.
    pub version: Cow<'static, str>,
    /// The cipher suite's IANA name.
    pub cipher: Cow<'static, str>,
    /// The named group of the key exchange, if known.
    pub group: Option<Cow<'static, str>>,
    /// The server name the client asked for.
    pub sni: Option<Bytes>,
    /// The application protocol agreed on.
    pub alpn: Option<Bytes>,
    /// Whether a session was resumed.
    pub resumed: bool,
    /// The client's JA4 fingerprint, if computed.
    pub ja4: Option<Arc<str>>,
    /// The client's certificate, if it showed one.
    pub client: Option<ClientCertificate>,
}

/// One transaction.
#[derive(Debug, Clone)]
pub struct Event {
    /// When the request began.
    pub at: SystemTime,
    /// Its identifier.
    pub id: RequestId,
    /// Who opened the connection.
    pub peer: PeerAddr,
    /// Who is held responsible.
    pub client: ClientAddr,
    /// Whom limits count; `None` if it was refused before that was known.
    pub user: Option<UserKey>,
    /// The route it took; `None` if it was refused before that was known.
    pub route: Option<RouteName>,
    /// The listener it came in by.
    pub listener: Option<Arc<str>>,
    /// Plain or TLS.
    pub scheme: Scheme,
    /// `"1.0"`, `"1.1"`, `"2"`.
    pub protocol: &'static str,
    /// The method as it came.
    pub method: Bytes,
    /// The request target as it came.
    pub target: Bytes,
    /// The authority without its port: `Host` or `:authority`; empty if there was none.
    pub host: Bytes,
    /// The request's header fields as they came, in order, with names in any case.
    pub headers: Vec<(Bytes, Bytes)>,
    /// The mode of the gate's rules.
    pub mode: Mode,
    /// What became of the request.
    pub action: Action,
    /// The status the client got; 0 if none was sent.
    pub status: u16,
    /// Every reason to refuse, enforced or not, in order; the enforced one is the last.
    pub findings: Vec<Finding>,
    /// Every rule that matched and logs, in order.
    pub rules: Vec<RuleMatch>,
    /// What fields of the request are for, and how they were found.
    pub fields: Vec<FieldFound>,
    /// What a candidate of rules would have done otherwise.
    pub shadow: Option<Shadowed>,
    /// Anomaly scores by name, as `inbound`, `sqli`.
    pub scores: Vec<(Cow<'static, str>, i64)>,
    /// What the cache did.
    pub cache: Option<CacheStatus>,
    /// The replica that answered or was asked last.
    pub replica: Option<Arc<str>>,
    /// How long things took.
    pub durations: Durations,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// The TLS connection; `None` on a plain listener.
    pub tls: Option<Tls>,
}

impl Event {
    /// An event of a request about which nothing else is known yet: passed, status 0, all else empty.
    pub fn new(at: SystemTime, id: RequestId, peer: PeerAddr, client: ClientAddr) -> Self {
        Self {
            at,
            id,
            peer,
            client,
            user: None,
            route: None,
            listener: None,
            scheme: Scheme::Http,
            protocol: "1.1",
            method: Bytes::new(),
            target: Bytes::new(),
            host: Bytes::new(),
            headers: Vec::new(),
            mode: Mode::Enforce,
            action: Action::Pass,
            status: 0,
            findings: Vec::new(),
            rules: Vec::new(),
            fields: Vec::new(),
            shadow: None,
            scores: Vec::new(),
            cache: None,
            replica: None,
            durations: Durations::default(),
            bytes_in: 0,
            bytes_out: 0,
            tls: None,
        }
    }

    /// Whether it is written when only relevant ones are: refused, failed, or something was found or matched.
    pub fn relevant(&self) -> bool {
        self.action != Action::Pass || !self.findings.is_empty() || !self.rules.is_empty()
    }

    /// About how much memory it takes, in bytes. Shared buffers count as if they were its own.
    pub fn weight(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(n, v)| n.len() + v.len() + 2 * size_of::<Bytes>()).sum();
        let rules: usize = self
            .rules
            .iter()
            .map(|r| {
                let tags: usize = r.tags.iter().map(|t| t.len() + size_of::<Arc<str>>()).sum();
                r.msg.len() + r.data.len() + r.variable.len() + r.value.len() + tags + size_of::<RuleMatch>()
            })
            .sum();
        let findings: usize = self.findings.iter().map(|f| f.detail.len() + size_of::<Finding>()).sum();
        let scores = self.scores.len() * size_of::<(Cow<'static, str>, i64)>();
        let text = |f: &FieldFound| f.name.len() + f.class.len() + f.detail.len();
        let fields: usize = self.fields.iter().map(|f| text(f) + size_of::<FieldFound>()).sum();
        let shadow = self.shadow.iter().flat_map(|shadow| &shadow.fields).map(|f| f.len() + size_of::<Bytes>());
        let fields = fields + shadow.sum::<usize>();
        let own = size_of::<Self>() + self.method.len() + self.target.len() + self.host.len();
        own + headers + rules + findings + fields + scores
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A refused request with everything filled in.
    pub(in crate::audit) fn full() -> Event {
        let mut event = Event::new(
            SystemTime::UNIX_EPOCH + Duration::from_micros(1_767_225_600_123_456),
            RequestId::from_peer("0191f3c2a5d47e0b").unwrap(),
            PeerAddr("10.0.0.9:51200".parse().unwrap()),
            ClientAddr::new("203.0.113.7".parse().unwrap()),
        );
        event.user = Some(UserKey::ApiKey("ci".into()));
        event.route = Some(RouteName("api".into()));
        event.listener = Some("tls".into());
        event.scheme = Scheme::Https;
        event.protocol = "2";
        event.method = "POST".into();
        event.target = "/api/login?token=tok-8841&q=1%27%20or%201=1".into();
        event.host = "archon.test".into();
        event.headers = vec![
            ("host".into(), "archon.test".into()),
            ("User-Agent".into(), "curl/8.5.0".into()),
            ("referer".into(), "https://archon.test/?session=s1234567".into()),
            ("authorization".into(), "Bearer abc.def.ghi".into()),
            ("cookie".into(), "sid=s3cr3t-77; theme=dark".into()),
            ("accept".into(), "text/html".into()),
            ("accept".into(), "application/json".into()),
        ];
        event.action = Action::Block;
        event.status = 403;
        event.findings = vec![
            Finding {
                stage: Stage::Reputation,
                reason: Reason::Reputation,
                detail: "on list \"scanners\"".into(),
                enforced: false,
            },
            Finding {
                stage: Stage::RequestBody,
                reason: Reason::RequestRules(403),
                detail: "inbound anomaly score 10 reached 5".into(),
                enforced: true,
            },
        ];
        event.rules = vec![RuleMatch {
            id: 942_100,
            phase: 2,
            severity: Severity::new(2),
            msg: "SQL Injection Attack Detected via libinjection".into(),
            data: "Matched Data: s&1 found within ARGS:q: 1' or 1=1".into(),
            tags: vec!["attack-sqli".into(), "OWASP_CRS".into()],
            variable: "ARGS:q".into(),
            value: "1' or 1=1".into(),
        }];
        event.fields = vec![FieldFound {
            place: "query",
            name: "q".into(),
            class: "short(300)".into(),
            verdict: "attack",
            detail: "sql: break-out `quote and a condition`".into(),
        }];
        event.shadow = Some(Shadowed {
            outcome: "only_live",
            reason: Some("field"),
            rules: vec![942_100, 942_180],
            fields: vec!["query q (short(300)): attack".into()],
        });
        event.scores = vec![("inbound".into(), 10), ("sqli".into(), 10)];
        event.cache = Some(CacheStatus::Miss);
        event.replica = Some("127.0.0.1:8181".into());
        event.durations = Durations {
            total: Duration::from_micros(1_250),
            upstream: Some(Duration::from_micros(700)),
            waf: Some(Duration::from_micros(210)),
        };
        event.bytes_in = 82;
        event.bytes_out = 143;
        event.tls = Some(Tls {
            version: "1.3".into(),
            cipher: "TLS_AES_256_GCM_SHA384".into(),
            group: Some("X25519MLKEM768".into()),
            sni: Some("archon.test".into()),
            alpn: Some("h2".into()),
            resumed: false,
            ja4: Some("t13d1516h2_8daaf6152771_b186095e22b6".into()),
            client: Some(ClientCertificate {
                user: Some("alice".into()),
                subject: "O=Example, CN=alice".into(),
                issuer: "O=Example, CN=Authority".into(),
                serial: "0a1b".into(),
                sha256: "ab".repeat(32).into(),
                not_after: SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000),
            }),
        });
        event
    }

    #[test]
    fn what_is_found_or_matched_or_refused_is_relevant() {
        let all = full();
        let bare = Event::new(all.at, all.id.clone(), all.peer, all.client);
        assert!(!bare.relevant());
        assert!(Event { action: Action::Error, ..bare.clone() }.relevant());
        assert!(Event { findings: all.findings.clone(), ..bare.clone() }.relevant());
        assert!(Event { rules: all.rules.clone(), ..bare }.relevant());
    }

    #[test]
    fn the_weight_follows_what_the_network_sent() {
        let small = full();
        let mut large = small.clone();
        large.headers.push(("x".into(), vec![b'a'; 10_000].into()));
        assert!(large.weight() >= small.weight() + 10_000);
    }
}
