//! The tree of settings: one section a stage, each stage's own `Settings`, and the sections that belong to the gate as
//! a whole. The defaults here are the defaults; the annotated reference file is held equal to them by a test.

use crate::fault::Fault;
use crate::units::{self, ByteSize, Cidr, Span};
use crate::{admin, audit, balance, cache, client, inspect, limit, policy, reputation, telemetry, tls};
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// A whole configuration. Every section may be left out; its defaults then hold.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Document {
    /// The process: threads, state, connections.
    pub server: ServerSettings,
    /// Where the gate listens.
    pub listener: Listeners,
    /// How large a request head may be.
    pub http: HeadLimits,
    /// How long a client or a replica may take.
    pub timeouts: TimeoutSettings,
    /// Log output.
    pub log: telemetry::LogSettings,
    /// Certificates.
    pub tls: tls::Settings,
    /// Who a client is: trusted hops, users' keys.
    pub client: client::Settings,
    /// Address lists.
    pub reputation: reputation::Settings,
    /// Rate limits.
    pub limits: limit::Settings,
    /// When requests are refused for the sake of the others.
    pub overload: limit::LoadSettings,
    /// What all responses say.
    pub response: policy::ResponseSettings,
    /// Routes; the longest path that matches decides, in whatever order they stand.
    pub route: Vec<policy::RouteSettings>,
    /// What the fields of requests are for.
    pub policy: policy::Settings,
    /// Inspection by rules.
    pub waf: inspect::Settings,
    /// The response cache.
    pub cache: cache::Settings,
    /// The replicas.
    pub upstream: balance::Settings,
    /// More pools of replicas, which routes name.
    pub pool: Vec<balance::Settings>,
    /// Audit events.
    pub audit: audit::Settings,
    /// The admin listener.
    pub admin: admin::Settings,
}

/// `[server]`: the process. A change needs a restart, but for the connection limits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerSettings {
    /// The name of this instance in audit events and logs.
    pub name: String,
    /// Worker threads; 0: one for each core.
    pub threads: usize,
    /// Where what the gate makes itself is kept: its development certificate, its state.
    pub state_dir: PathBuf,
    /// How long requests in flight may take to end after SIGTERM or a hand-over.
    pub drain: Span,
    /// How long `/readyz` says 503 while connections are still accepted, after SIGTERM: for load balancers to notice.
    pub drain_delay: Span,
    /// How long a new process may take to be ready at a hand-over.
    pub upgrade_timeout: Span,
    /// Where the process id is written, by whichever process serves. Empty: nowhere.
    #[serde(deserialize_with = "units::unless_empty", skip_serializing_if = "Option::is_none")]
    pub pid_file: Option<PathBuf>,
    /// Open client connections in all; more are closed at once.
    pub max_connections: usize,
    /// Open client connections from one address (IPv6: one /64); more are closed at once.
    pub max_connections_per_address: usize,
    /// Requests that one connection may carry; it ends with the response to the last, an HTTP/2 one with a GOAWAY. 0: no
    /// limit.
    pub max_requests_per_connection: u64,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            name: "gatehouse".to_owned(),
            threads: 0,
            state_dir: "state".into(),
            drain: Span::secs(30),
            drain_delay: Span::secs(0),
            upgrade_timeout: Span::secs(60),
            pid_file: None,
            max_connections: 20_000,
            max_connections_per_address: 256,
            max_requests_per_connection: 0,
        }
    }
}

/// `[[listener]]`: all of them. None written: one for TLS and one that redirects to it, both on loopback.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Listeners(pub Vec<ListenerSettings>);

impl Default for Listeners {
    fn default() -> Self {
        let on = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let tls = ListenerSettings { https_port: 8443, ..ListenerSettings::at(on(8443)) };
        let plain = ListenerSettings { address: on(8080), tls: false, ..tls.clone() };
        Self(vec![tls, plain])
    }
}

impl std::ops::Deref for Listeners {
    type Target = [ListenerSettings];

    fn deref(&self) -> &[ListenerSettings] {
        &self.0
    }
}

/// One `[[listener]]`. A change of where it listens and whether it speaks TLS needs a restart.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerSettings {
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// Whether it speaks TLS (HTTP/2 or HTTP/1.1 by ALPN); without TLS it speaks HTTP/1.1.
    #[serde(default = "yes")]
    pub tls: bool,
    /// What a listener without TLS does.
    #[serde(default)]
    pub plain: PlainMode,
    /// The port that a redirect names.
    #[serde(default = "https_port")]
    pub https_port: u16,
    /// The oldest version of TLS it speaks.
    #[serde(default)]
    pub min_version: tls::MinVersion,
    /// The protocols it offers over TLS, the preferred one first.
    #[serde(default = "protocols")]
    pub alpn: Vec<tls::Protocol>,
    /// Whether its clients are asked for certificates, and whose.
    #[serde(default)]
    pub client_certificates: tls::ClientCertificates,
    /// Whether trusted peers say who is behind them before the first byte.
    #[serde(default)]
    pub proxy_protocol: client::proxy::ProxyMode,
    /// The networks of those peers; empty: those of `[client] trusted`.
    #[serde(default, deserialize_with = "units::list")]
    pub proxy_trusted: Vec<Cidr>,
}

impl ListenerSettings {
    /// A listener for TLS with everything at its default.
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address,
            tls: true,
            plain: PlainMode::default(),
            https_port: https_port(),
            min_version: tls::MinVersion::default(),
            alpn: protocols(),
            client_certificates: tls::ClientCertificates::default(),
            proxy_protocol: client::proxy::ProxyMode::default(),
            proxy_trusted: Vec::new(),
        }
    }

    /// What a handshake on it begins from.
    pub fn terms(&self) -> tls::Terms<'_> {
        tls::Terms { min_version: self.min_version, alpn: &self.alpn, client_certificates: &self.client_certificates }
    }

    /// Whether a change from `other` can only be taken up by a restart.
    pub fn listens_unlike(&self, other: &Self) -> bool {
        let of = |listener: &Self| (listener.address, listener.tls, listener.plain, listener.https_port);
        of(self) != of(other)
    }
}

fn protocols() -> Vec<tls::Protocol> {
    vec![tls::Protocol::H2, tls::Protocol::Http11]
}

fn yes() -> bool {
    true
}

fn https_port() -> u16 {
    443
}

/// What a listener without TLS does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PlainMode {
    /// Sends the client to the same address over TLS.
    #[default]
    Redirect,
    /// Serves it as the TLS listener would.
    Serve,
}

/// `[http]`: how large a request head may be. What is larger is refused with 431, or 414 for the target.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeadLimits {
    /// The whole head, in HTTP/2 its fields decoded.
    pub max_head: ByteSize,
    /// Fields in the head.
    pub max_headers: usize,
    /// The request target.
    pub max_target: ByteSize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { max_head: ByteSize::kib(64), max_headers: 128, max_target: ByteSize::kib(16) }
    }
}

/// `[timeouts]`: how long a client or a replica may take. `0s` and `0B` mean no limit only where it says so.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeoutSettings {
    /// The TLS handshake, from the accepted connection.
    pub handshake: Span,
    /// A request head, from its first byte to its last.
    pub head: Span,
    /// Between two pieces of a request body.
    pub body_idle: Span,
    /// A whole request body; `0s`: no limit.
    pub body_total: Span,
    /// The slowest a request body may come, in bytes a second over its whole time, once `body_idle` has passed; `0B`: no
    /// limit.
    pub body_min_rate: ByteSize,
    /// A connection without a request.
    pub keepalive: Span,
    /// A client that takes nothing of its response.
    pub send_idle: Span,
    /// The slowest a client may take what waits for it, in bytes a second, once `send_idle` has passed; `0B`: no limit.
    pub send_min_rate: ByteSize,
    /// How long a connection may be used; it then ends with its next response, an HTTP/2 one with a GOAWAY. `0s`: no limit.
    pub connection_age: Span,
    /// A WebSocket over which nothing moves.
    pub tunnel_idle: Span,
    /// A WebSocket, from its opening; `0s`: no limit.
    pub tunnel_life: Span,
}

impl Default for TimeoutSettings {
    fn default() -> Self {
        Self {
            handshake: Span::secs(5),
            head: Span::secs(10),
            body_idle: Span::secs(10),
            body_total: Span::secs(0),
            body_min_rate: ByteSize(512),
            keepalive: Span::secs(60),
            send_idle: Span::secs(30),
            send_min_rate: ByteSize(512),
            connection_age: Span::secs(3600),
            tunnel_idle: Span::secs(600),
            tunnel_life: Span::secs(86_400),
        }
    }
}

/// More worker threads than this are a slip of the pen, and starting them would fail.
const MAX_THREADS: usize = 1024;

impl Document {
    /// What no single section can see: values that contradict each other, or that would stop all traffic.
    pub(super) fn contradictions(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if self.listener.is_empty() {
            faults.push(Fault::key("listener", "the gate would listen nowhere", "add a [[listener]] with an address"));
        }
        for (index, listener) in self.listener.iter().enumerate() {
            let taken = self.listener.iter().take(index).any(|other| other.address == listener.address);
            if taken && listener.address.port() != 0 {
                let what = format!("another listener already has {}", listener.address);
                faults.push(Fault::key(format!("listener[{index}].address"), what, "give it another port"));
            }
        }
        for (index, listener) in self.listener.iter().enumerate() {
            if !listener.tls && listener.client_certificates.mode != tls::Demand::Off {
                let what = "without TLS no client can show a certificate";
                let mend = "write tls = true, or mode = \"off\"";
                faults.push(Fault::key(format!("listener[{index}].client_certificates"), what, mend));
            }
            let terms = client::proxy::ProxyTerms::new(listener.proxy_protocol, &listener.proxy_trusted, &self.client);
            if terms.nobody_is_trusted() {
                let what = "headers are taken of trusted peers, and nobody is trusted";
                let mend = "name the load balancers' networks in proxy_trusted, or in [client] trusted";
                faults.push(Fault::key(format!("listener[{index}].proxy_protocol"), what, mend));
            }
        }
        let over_tls = self.tls.acme.challenge == tls::Challenge::TlsAlpn01;
        if self.tls.acme.on() && !self.listener.iter().any(|listener| listener.tls == over_tls) {
            let (what, mend) = if over_tls {
                ("no listener speaks TLS, where tls-alpn-01 is asked", "add a [[listener]], or write \"http-01\"")
            } else {
                ("no listener is without TLS, where http-01 is asked", "add one, or write \"tls-alpn-01\"")
            };
            faults.push(Fault::key("tls.acme.challenge", what, mend));
        }
        let (server, http, times, waf) = (&self.server, &self.http, &self.timeouts, &self.waf);
        for (key, zero) in [
            ("server.max_connections", server.max_connections == 0),
            ("server.max_connections_per_address", server.max_connections_per_address == 0),
            ("server.upgrade_timeout", server.upgrade_timeout.0.is_zero()),
            ("http.max_headers", http.max_headers == 0),
            ("http.max_target", http.max_target.0 == 0),
            ("timeouts.handshake", times.handshake.0.is_zero()),
            ("timeouts.head", times.head.0.is_zero()),
            ("timeouts.body_idle", times.body_idle.0.is_zero()),
            ("timeouts.keepalive", times.keepalive.0.is_zero()),
            ("timeouts.send_idle", times.send_idle.0.is_zero()),
            ("timeouts.tunnel_idle", times.tunnel_idle.0.is_zero()),
        ] {
            if zero {
                faults.push(Fault::key(key, "with zero here nothing could pass", "write a value above zero"));
            }
        }
        let overload = &self.overload;
        if overload.max_held.0 != 0 && overload.max_held < ByteSize::mib(1) {
            let what = format!("{} leaves no room for slow clients", overload.max_held);
            faults.push(Fault::key("overload.max_held", what, "write at least 1MiB, or 0B for no bound"));
        }
        if !overload.max_lag.0.is_zero() && overload.max_lag < Span::millis(10) {
            let what = "a busy gate is as late as this, and serves all the same";
            faults.push(Fault::key("overload.max_lag", what, "write at least 10ms, or 0s for no bound"));
        }
        if server.threads > MAX_THREADS {
            let mend = format!("write at most {MAX_THREADS}, or 0 for one each core");
            faults.push(Fault::key("server.threads", format!("{} threads are too many", server.threads), mend));
        }
        if http.max_target > http.max_head {
            let what = format!("a target of {} does not fit into a head of {}", http.max_target, http.max_head);
            faults.push(Fault::key("http.max_target", what, "lower it, or raise http.max_head"));
        }
        if waf.max_body < ByteSize::kib(1) {
            let mend = "write at least 1KiB, or enabled = false to inspect nothing";
            faults.push(Fault::key("waf.max_body", format!("{} leaves no room for a request", waf.max_body), mend));
        }
        if waf.held_total < waf.max_body {
            let what = format!("{} is less than one body of {} (waf.max_body)", waf.held_total, waf.max_body);
            faults.push(Fault::key("waf.held_total", what, "raise it, or lower waf.max_body"));
        }
        for (index, route) in self.route.iter().enumerate().filter(|(_, route)| waf.enabled && route.inspect) {
            if let Some(body) = route.max_body.filter(|body| *body > waf.held_total) {
                let what = format!("a body of {body} cannot be held within {} (waf.held_total)", waf.held_total);
                let mend = "lower it, raise waf.held_total, or write inspect = false";
                faults.push(Fault::key(format!("route[{index}].max_body"), what, mend));
            }
        }
        faults
    }
}
