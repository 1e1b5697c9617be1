//! The registry: every metric of the project, with its name, help and labels.

use super::balance::BalanceMetrics;
use super::handles::{
    AuditMetrics, By, ConnectionGuard, LimitMetrics, ListenerMetrics, LoadMetrics, RouteMetrics, RuleMetrics, Seconds,
};
use super::labels::{
    AcmeOutcome, CacheStatus, HandshakeOutcome, Label, ProxyOutcome, ReloadOutcome, ReputationDecision, ShadowOutcome,
    WafPhase,
};
use crate::facts::RouteName;
use crate::verdict::{Mode, Reason};
use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Error, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};
use std::collections::BTreeSet;
use std::time::SystemTime;

/// 0.1 ms to 60 s: from a cached answer to an agent that thinks.
const REQUEST_BUCKETS: [f64; 18] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// 10 µs to 1 s: what inspecting one request may take.
const WAF_BUCKETS: [f64; 16] = [
    0.000_01, 0.000_025, 0.000_05, 0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0,
];

/// The route label of requests that were refused before they had a route; no configured route can have this name.
const NO_ROUTE: &str = "-";

/// The kind of a metric, as the text format names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts by bucket, and a sum.
    Histogram,
}

impl Kind {
    /// The word the text format uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One registered metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// Its labels, in order.
    pub labels: Vec<String>,
    /// What it says.
    pub help: String,
}

/// Makes and registers metrics, and remembers what it made.
pub(super) struct Book {
    registry: Registry,
    entries: Vec<Described>,
}

impl Book {
    fn add<C: Collector + Clone + 'static>(&mut self, kind: Kind, metric: Result<C, Error>) -> Result<C, Error> {
        let metric = metric?;
        self.registry.register(Box::new(metric.clone()))?;
        for desc in metric.desc() {
            let mut labels = desc.variable_labels.clone();
            labels.extend(desc.const_label_pairs.iter().map(|pair| pair.name().to_owned()));
            self.entries.push(Described { name: desc.fq_name.clone(), kind, labels, help: desc.help.clone() });
        }
        Ok(metric)
    }

    fn counter(&mut self, name: &str, help: &str) -> Result<IntCounter, Error> {
        self.add(Kind::Counter, IntCounter::new(name, help))
    }

    pub(super) fn counters(&mut self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, Error> {
        self.add(Kind::Counter, IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&mut self, name: &str, help: &str) -> Result<IntGauge, Error> {
        self.add(Kind::Gauge, IntGauge::new(name, help))
    }

    fn fraction(&mut self, name: &str, help: &str) -> Result<Gauge, Error> {
        self.add(Kind::Gauge, Gauge::new(name, help))
    }

    pub(super) fn gauges(&mut self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, Error> {
        self.add(Kind::Gauge, IntGaugeVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn float_gauges(&mut self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, Error> {
        self.add(Kind::Gauge, GaugeVec::new(Opts::new(name, help), labels))
    }

    fn seconds(&mut self, name: &str, help: &str, buckets: &[f64]) -> Result<Seconds, Error> {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.add(Kind::Histogram, Histogram::with_opts(opts)).map(Seconds)
    }

    fn histograms(&mut self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> Result<HistogramVec, Error> {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.add(Kind::Histogram, HistogramVec::new(opts, labels))
    }
}

fn counts<L: Label>(family: &IntCounterVec) -> By<L, IntCounter> {
    By::new(|value| family.with_label_values(&[value]))
}

/// Every metric of the gate. Made once; outlives all snapshots.
pub struct Metrics {
    registry: Registry,
    entries: Vec<Described>,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    rule_hits: IntCounterVec,
    rule_reads: IntCounterVec,
    rule_ids: Mutex<BTreeSet<u64>>,
    shadow_requests: IntCounterVec,
    shadow_rules: IntCounterVec,
    shadow_ids: Mutex<BTreeSet<u64>>,
    limit_decisions: IntCounterVec,
    limit_keys: IntGaugeVec,
    limit_overflows: IntCounterVec,
    connections: IntGaugeVec,
    connections_accepted: IntCounterVec,
    connections_refused: IntCounterVec,
    certificate_expiry: IntGaugeVec,
    acme_next: IntGaugeVec,
    config_loaded: IntGauge,
    refusals: [By<Reason, IntCounter>; 2],
    /// From sending a request to a replica until the head of its answer.
    pub upstream_seconds: Seconds,
    /// Time in the rules, by phase.
    pub waf_seconds: By<WafPhase, Seconds>,
    /// Inspections that ran into their work limit.
    pub waf_exhausted: IntCounter,
    /// Decisions of the address lists.
    pub reputation: By<ReputationDecision, IntCounter>,
    /// What the cache did for requests.
    pub cache: By<CacheStatus, IntCounter>,
    /// Bytes of stored responses.
    pub cache_bytes: IntGauge,
    /// Stored responses.
    pub cache_entries: IntGauge,
    /// PROXY headers.
    pub proxy_headers: By<ProxyOutcome, IntCounter>,
    /// TLS handshakes.
    pub handshakes: By<HandshakeOutcome, IntCounter>,
    /// Time to complete a TLS handshake.
    pub handshake_seconds: Seconds,
    /// The audit queue; handed to the audit stage.
    pub audit: AuditMetrics,
    /// Orders for certificates.
    pub acme_orders: By<AcmeOutcome, IntCounter>,
    /// Reloads.
    pub reloads: By<ReloadOutcome, IntCounter>,
    /// WebSocket tunnels open now.
    tunnels: IntGauge,
    /// Pools and replicas.
    pub balance: BalanceMetrics,
    /// Bytes of bodies held in memory for inspection; whoever holds adds, and subtracts when done.
    pub held_bytes: IntGauge,
    /// How loaded the gate is; handed to the stage that sheds.
    pub load: LoadMetrics,
}

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    ///
    /// Two metrics of one name, or a name or label the format does not allow: a fault of this file, which its tests
    /// would show.
    pub fn new() -> Result<Self, Error> {
        let mut book = Book { registry: Registry::new(), entries: Vec::new() };
        let b = &mut book;

        let requests = b.counters(
            "gatehouse_requests_total",
            "Requests answered, by route, status and what became of them.",
            &["route", "status", "action"],
        )?;
        let request_seconds = b.histograms(
            "gatehouse_request_duration_seconds",
            "Time from a request's first byte to the last byte of its answer.",
            &["route"],
            &REQUEST_BUCKETS,
        )?;
        let upstream_seconds = b.seconds(
            "gatehouse_upstream_duration_seconds",
            "Time from choosing a replica to the head of its answer.",
            &REQUEST_BUCKETS,
        )?;
        let waf = b.histograms(
            "gatehouse_waf_duration_seconds",
            "Time spent in the rules, by phase.",
            &["phase"],
            &WAF_BUCKETS,
        )?;
        let waf_exhausted = b.counter(
            "gatehouse_waf_exhausted_total",
            "Requests and responses that took more work to inspect than the limit; `waf.on_budget` decides on them.",
        )?;
        let rule_hits = b.counters("gatehouse_rule_hits_total", "Matches of loaded rules, by rule id.", &["rule"])?;
        let rule_reads = b.counters(
            "gatehouse_rule_read_bytes_total",
            "Bytes read by a rule's operators, by rule id; counted while `waf.rule_costs` is on.",
            &["rule"],
        )?;
        let shadow_requests = b.counters(
            "gatehouse_shadow_requests_total",
            "Requests of the share that a candidate of rules judges, by route and what it said.",
            &["route", "outcome"],
        )?;
        let shadow_rules = b.counters(
            "gatehouse_shadow_rule_differences_total",
            "Matches of only one of candidate and rules in force, in requests that only that one refuses, by rule id.",
            &["rule", "outcome"],
        )?;
        let refusals = b.counters(
            "gatehouse_refusals_total",
            "Findings that refuse a request, by reason; in mode detect the request passed all the same.",
            &["reason", "mode"],
        )?;
        let limit_decisions = b.counters(
            "gatehouse_limit_decisions_total",
            "Decisions of the rate limits, by policy.",
            &["policy", "decision"],
        )?;
        let limit_keys = b.gauges("gatehouse_limit_keys", "Users with a token bucket now, by policy.", &["policy"])?;
        let limit_overflows = b.counters(
            "gatehouse_limit_overflows_total",
            "Requests counted on a shared bucket because more users came than buckets fit, by policy.",
            &["policy"],
        )?;
        let reputation =
            b.counters("gatehouse_reputation_decisions_total", "Decisions of the address lists.", &["decision"])?;
        let cache =
            b.counters("gatehouse_cache_requests_total", "What the response cache did for requests.", &["status"])?;
        let cache_bytes = b.gauge("gatehouse_cache_bytes", "Memory taken by stored responses.")?;
        let cache_entries = b.gauge("gatehouse_cache_entries", "Stored responses.")?;
        let balance = BalanceMetrics::new(b)?;
        let connections = b.gauges("gatehouse_connections", "Connections open now, by listener.", &["listener"])?;
        let connections_accepted =
            b.counters("gatehouse_connections_total", "Connections accepted, by listener.", &["listener"])?;
        let connections_refused = b.counters(
            "gatehouse_connections_refused_total",
            "Connections closed at once because too many were open, by listener.",
            &["listener"],
        )?;
        let proxy_headers = b.counters(
            "gatehouse_proxy_headers_total",
            "Connections to listeners with the PROXY protocol from peers it concerns, by what they began with.",
            &["outcome"],
        )?;
        let handshakes =
            b.counters("gatehouse_handshakes_total", "TLS handshakes, by how they ended.", &["outcome"])?;
        let handshake_seconds =
            b.seconds("gatehouse_handshake_duration_seconds", "Time to complete a TLS handshake.", &REQUEST_BUCKETS)?;
        let certificate_expiry = b.gauges(
            "gatehouse_certificate_expiry_timestamp_seconds",
            "When a certificate ends, in seconds since 1970.",
            &["name"],
        )?;
        let acme_orders =
            b.counters("gatehouse_acme_orders_total", "Orders for certificates, by how they ended.", &["outcome"])?;
        let acme_next = b.gauges(
            "gatehouse_acme_next_order_timestamp_seconds",
            "When a certificate is ordered or renewed next, in seconds since 1970.",
            &["name"],
        )?;
        let held_bytes = b.gauge("gatehouse_held_bytes", "Bytes of bodies held in memory for inspection.")?;
        let load = LoadMetrics {
            requests: b.gauge("gatehouse_requests_in_flight", "Requests taken in and not yet answered.")?,
            held: b.gauge(
                "gatehouse_held_response_bytes",
                "Bytes of responses held for clients that do not take them at once.",
            )?,
            lag: b.fraction(
                "gatehouse_event_loop_lag_seconds",
                "How late the event loop ran, by the least of the last samples.",
            )?,
            shed: counts(&b.counters(
                "gatehouse_shed_total",
                "Requests refused because the gate was saturated, by the figure that said so.",
                &["cause"],
            )?),
            cut: b.counter(
                "gatehouse_held_responses_cut_total",
                "Responses cut off because no more bytes may be held for clients that do not take them.",
            )?,
        };
        let tunnels = b.gauge("gatehouse_tunnels", "WebSocket tunnels open now.")?;
        let audit_queue = b.gauge("gatehouse_audit_queue_events", "Audit events taken and not yet written.")?;
        let audit_events = b.counters(
            "gatehouse_audit_events_total",
            "Audit events that were written, and that were lost.",
            &["outcome"],
        )?;
        let audit_errors = b.counter(
            "gatehouse_audit_write_errors_total",
            "Failed attempts to open or write the audit file; each is tried again.",
        )?;
        let reloads = b.counters("gatehouse_reloads_total", "Reloads, by outcome.", &["outcome"])?;
        let config_loaded = b.gauge(
            "gatehouse_config_loaded_timestamp_seconds",
            "When the running configuration was loaded, in seconds since 1970.",
        )?;
        let build = Opts::new("gatehouse_build_info", "Always 1; the label names the running version.")
            .const_label("version", env!("CARGO_PKG_VERSION"));
        b.add(Kind::Gauge, IntGauge::with_opts(build))?.set(1);
        book.registry.register(Box::new(ProcessCollector::for_self()))?;

        Ok(Self {
            registry: book.registry,
            entries: book.entries,
            upstream_seconds,
            waf_exhausted,
            waf_seconds: By::new(|phase| Seconds(waf.with_label_values(&[phase]))),
            reputation: counts(&reputation),
            cache: counts(&cache),
            cache_bytes,
            cache_entries,
            proxy_headers: counts(&proxy_headers),
            handshakes: counts(&handshakes),
            handshake_seconds,
            audit: AuditMetrics { queue: audit_queue, events: counts(&audit_events), errors: audit_errors },
            acme_orders: counts(&acme_orders),
            reloads: counts(&reloads),
            held_bytes,
            load,
            tunnels,
            refusals: [Mode::Enforce, Mode::Detect]
                .map(|mode| By::new(|reason| refusals.with_label_values(&[reason, mode.text()]))),
            requests,
            request_seconds,
            rule_hits,
            rule_reads,
            rule_ids: Mutex::default(),
            shadow_requests,
            shadow_rules,
            shadow_ids: Mutex::default(),
            limit_decisions,
            limit_keys,
            limit_overflows,
            balance,
            connections,
            connections_accepted,
            connections_refused,
            certificate_expiry,
            acme_next,
            config_loaded,
        })
    }

    /// The handle of a route; the same counters each time it is asked for.
    pub fn route(&self, route: &RouteName) -> RouteMetrics {
        self.route_named(&route.0)
    }

    /// The handle for requests that were refused before they had a route.
    pub fn unrouted(&self) -> RouteMetrics {
        self.route_named(NO_ROUTE)
    }

    fn route_named(&self, name: &str) -> RouteMetrics {
        RouteMetrics::new(name, self.requests.clone(), Seconds(self.request_seconds.with_label_values(&[name])))
    }

    /// The handle for the loaded rules.
    pub fn rules(&self, ids: impl IntoIterator<Item = u64>) -> RuleMetrics {
        let loaded: BTreeSet<u64> = ids.into_iter().collect();
        self.rule_ids.lock().extend(&loaded);
        RuleMetrics::new(loaded.into_iter().collect(), self.rule_hits.clone(), self.rule_reads.clone())
    }

    /// Ends the series of all rules but these, after a reload.
    pub fn keep_rules(&self, ids: impl IntoIterator<Item = u64>) {
        let loaded: BTreeSet<u64> = ids.into_iter().collect();
        self.rule_ids.lock().retain(|known| {
            let keep = loaded.contains(known);
            if !keep {
                // A rule that never matched has no series to end.
                let _ = self.rule_hits.remove_label_values(&[known.to_string()]);
                let _ = self.rule_reads.remove_label_values(&[known.to_string()]);
            }
            keep
        });
    }

    /// Counts what a candidate said of a request.
    pub fn shadow(&self, route: Option<&RouteName>, outcome: ShadowOutcome) {
        let route = route.map_or(NO_ROUTE, |route| &route.0);
        self.shadow_requests.with_label_values(&[route, outcome.as_str()]).inc();
    }

    /// Counts rules that matched on one side only. They have to be loaded ones: ids are labels.
    pub fn shadow_rules(&self, ids: impl IntoIterator<Item = u64>, outcome: ShadowOutcome) {
        let mut known = self.shadow_ids.lock();
        for id in ids {
            known.insert(id);
            self.shadow_rules.with_label_values(&[id.to_string().as_str(), outcome.as_str()]).inc();
        }
    }

    /// Ends the series of differences of all rules but these, after a reload.
    pub fn keep_shadow_rules(&self, ids: impl IntoIterator<Item = u64>) {
        let loaded: BTreeSet<u64> = ids.into_iter().collect();
        self.shadow_ids.lock().retain(|known| {
            let keep = loaded.contains(known);
            for outcome in ShadowOutcome::ALL.iter().filter(|_| !keep) {
                let _ = self.shadow_rules.remove_label_values(&[known.to_string().as_str(), outcome.as_str()]);
            }
            keep
        });
    }

    /// What a rate limit holds now: users with a bucket, and requests that found no room for one since the start.
    pub fn limit_table(&self, policy: &str, keys: u64, overflows: u64) {
        self.limit_keys.with_label_values(&[policy]).set(i64::try_from(keys).unwrap_or(i64::MAX));
        let counter = self.limit_overflows.with_label_values(&[policy]);
        counter.reset();
        counter.inc_by(overflows);
    }

    /// The handle of a rate limit, by its name in the configuration.
    pub fn limit(&self, policy: &str) -> LimitMetrics {
        By::new(|decision| self.limit_decisions.with_label_values(&[policy, decision]))
    }

    /// Counts a WebSocket tunnel, open until the guard is dropped.
    pub fn tunnel_opened(&self) -> ConnectionGuard {
        ConnectionGuard::count(&self.tunnels)
    }

    /// The handle of a listener, by its name or address in the configuration.
    pub fn listener(&self, listener: &str) -> ListenerMetrics {
        ListenerMetrics {
            open: self.connections.with_label_values(&[listener]),
            accepted: self.connections_accepted.with_label_values(&[listener]),
            refused: self.connections_refused.with_label_values(&[listener]),
        }
    }

    /// Counts one finding that refuses a request, whether it was carried out or only recorded.
    pub fn refusal(&self, reason: Reason, mode: Mode) {
        let [enforced, detected] = &self.refusals;
        match mode {
            Mode::Enforce => enforced.count(reason),
            Mode::Detect => detected.count(reason),
        }
    }

    /// Says which certificates are served and when each ends; others' series end.
    pub fn certificates<'a>(&self, certificates: impl IntoIterator<Item = (&'a str, SystemTime)>) {
        self.certificate_expiry.reset();
        for (name, expiry) in certificates {
            self.certificate_expiry.with_label_values(&[name]).set(unix_seconds(expiry));
        }
    }

    /// Says when each certificate is ordered next, by its first name. Others end their series.
    pub fn acme_due<'a>(&self, certificates: impl IntoIterator<Item = (&'a str, SystemTime)>) {
        self.acme_next.reset();
        for (name, at) in certificates {
            self.acme_next.with_label_values(&[name]).set(unix_seconds(at));
        }
    }

    /// Says when the running configuration was loaded.
    pub fn config_loaded(&self, at: SystemTime) {
        self.config_loaded.set(unix_seconds(at));
    }

    /// Everything registered, the process collector's metrics aside.
    pub fn described(&self) -> &[Described] {
        &self.entries
    }

    /// All metrics in Prometheus's text format, version 0.0.4.
    pub fn render(&self) -> String {
        let mut text = String::with_capacity(16 * 1024);
        for family in self.registry.gather() {
            let before = text.len();
            if let Err(error) = TextEncoder::new().encode_utf8(&[family], &mut text) {
                // One family that cannot be written must not hide the others.
                text.truncate(before);
                tracing::error!(%error, "a metric could not be written");
            }
        }
        text
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("registered", &self.entries.len()).finish_non_exhaustive()
    }
}

/// Seconds since 1970, negative before.
fn unix_seconds(at: SystemTime) -> i64 {
    match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |s| -s),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{
        DiscoveryOutcome, EjectionCause, LimitDecision, MirrorOutcome, QueueOutcome, ReplicaOutcome, RetryOutcome,
    };
    use crate::verdict::Action;
    use std::time::Duration;

    const DOC: &str = include_str!("../../docs/metrics.md");

    fn has(text: &str, line: &str) -> bool {
        text.lines().any(|l| l == line)
    }

    /// The rows of the document's tables that describe a metric, as they should be.
    fn rows() -> Vec<String> {
        let metrics = Metrics::new().unwrap();
        let mut rows: Vec<String> = metrics.described().iter().map(row).collect();
        // The process collector counts only CPU time and start; the rest are gauges.
        for desc in ProcessCollector::for_self().desc() {
            let kind = if desc.fq_name.ends_with("_total") { Kind::Counter } else { Kind::Gauge };
            let (name, help) = (desc.fq_name.clone(), desc.help.clone());
            rows.push(row(&Described { name, kind, labels: Vec::new(), help }));
        }
        rows.sort();
        rows
    }

    fn row(metric: &Described) -> String {
        let labels: Vec<String> = metric.labels.iter().map(|l| format!("`{l}`")).collect();
        format!("| `{}` | {} | {} | {} |", metric.name, metric.kind.as_str(), labels.join(", "), metric.help)
    }

    #[test]
    fn the_document_lists_every_metric_and_none_more() {
        let documented = |line: &&str| line.starts_with("| `gatehouse_") || line.starts_with("| `process_");
        let mut in_doc: Vec<String> = DOC.lines().filter(documented).map(str::to_owned).collect();
        in_doc.sort();
        let rows = rows();
        assert!(in_doc == rows, "docs/metrics.md should list:\n{}", rows.join("\n"));
    }

    #[test]
    fn the_document_lists_every_label_value() {
        fn check<L: Label>(metric: &str, label: &str) {
            let values: Vec<String> = L::ALL.iter().map(|v| format!("`{}`", v.text())).collect();
            let row = format!("| `{label}` of `{metric}` | {} |", values.join(", "));
            assert!(has(DOC, &row), "docs/metrics.md should have the row\n{row}");
        }
        check::<Action>("gatehouse_requests_total", "action");
        check::<WafPhase>("gatehouse_waf_duration_seconds", "phase");
        check::<Reason>("gatehouse_refusals_total", "reason");
        check::<Mode>("gatehouse_refusals_total", "mode");
        check::<LimitDecision>("gatehouse_limit_decisions_total", "decision");
        check::<ReputationDecision>("gatehouse_reputation_decisions_total", "decision");
        check::<CacheStatus>("gatehouse_cache_requests_total", "status");
        check::<ReplicaOutcome>("gatehouse_replica_requests_total", "outcome");
        check::<EjectionCause>("gatehouse_replica_ejections_total", "cause");
        check::<QueueOutcome>("gatehouse_pool_queue_total", "outcome");
        check::<RetryOutcome>("gatehouse_pool_retries_total", "outcome");
        check::<MirrorOutcome>("gatehouse_pool_mirrored_total", "outcome");
        check::<DiscoveryOutcome>("gatehouse_pool_discovery_total", "outcome");
        check::<HandshakeOutcome>("gatehouse_handshakes_total", "outcome");
        check::<ProxyOutcome>("gatehouse_proxy_headers_total", "outcome");
        check::<AcmeOutcome>("gatehouse_acme_orders_total", "outcome");
        check::<crate::telemetry::AuditOutcome>("gatehouse_audit_events_total", "outcome");
        check::<ShadowOutcome>("gatehouse_shadow_requests_total", "outcome");
        check::<ReloadOutcome>("gatehouse_reloads_total", "outcome");
    }

    #[test]
    fn names_and_helps_follow_the_conventions() {
        for metric in Metrics::new().unwrap().described() {
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            assert_eq!(metric.name.ends_with("_duration_seconds"), metric.kind == Kind::Histogram, "{}", metric.name);
            assert!(metric.help.ends_with('.') && !metric.help.contains('|'), "{}", metric.name);
        }
    }

    #[test]
    fn what_is_recorded_is_rendered() {
        let m = Metrics::new().unwrap();
        let api = m.route(&RouteName("api".into()));
        api.record(200, Action::Pass, Duration::from_millis(2));
        m.route(&RouteName("api".into())).record(200, Action::Pass, Duration::from_millis(3));
        api.record(299, Action::Pass, Duration::from_micros(50));
        m.unrouted().record(400, Action::Block, Duration::ZERO);
        m.waf_seconds.observe(WafPhase::RequestBody, Duration::from_micros(30));
        m.refusal(Reason::RequestRules(406), Mode::Detect);
        m.limit("default").count(LimitDecision::Refuse);
        let replica = m.balance.replica("default", "127.0.0.1:8181");
        replica.state(true, 3, Some(0.25));
        replica.count(ReplicaOutcome::Answered);
        m.certificates([("localhost", SystemTime::UNIX_EPOCH + Duration::from_secs(9))]);
        m.config_loaded(SystemTime::UNIX_EPOCH + Duration::from_secs(7));
        let text = m.render();
        for line in [
            r#"gatehouse_requests_total{action="pass",route="api",status="200"} 2"#,
            r#"gatehouse_requests_total{action="pass",route="api",status="other"} 1"#,
            r#"gatehouse_requests_total{action="block",route="-",status="400"} 1"#,
            r#"gatehouse_request_duration_seconds_bucket{route="api",le="0.0025"} 2"#,
            r#"gatehouse_request_duration_seconds_count{route="api"} 3"#,
            r#"gatehouse_waf_duration_seconds_bucket{phase="2",le="0.00005"} 1"#,
            r#"gatehouse_refusals_total{mode="detect",reason="request_rules"} 1"#,
            r#"gatehouse_refusals_total{mode="enforce",reason="request_rules"} 0"#,
            r#"gatehouse_limit_decisions_total{decision="refuse",policy="default"} 1"#,
            r#"gatehouse_replica_healthy{pool="default",replica="127.0.0.1:8181"} 1"#,
            r#"gatehouse_replica_latency_seconds{pool="default",replica="127.0.0.1:8181"} 0.25"#,
            r#"gatehouse_replica_requests_total{outcome="answered",pool="default",replica="127.0.0.1:8181"} 1"#,
            r#"gatehouse_certificate_expiry_timestamp_seconds{name="localhost"} 9"#,
            "gatehouse_config_loaded_timestamp_seconds 7",
            concat!("gatehouse_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "# TYPE process_resident_memory_bytes gauge",
        ] {
            assert!(has(&text, line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn only_loaded_rules_make_series_and_unloaded_ones_end() {
        let m = Metrics::new().unwrap();
        let rules = m.rules([942_100, 1, 942_100]);
        rules.hit(942_100);
        rules.hit(942_100);
        rules.hit(7);
        let text = m.render();
        assert!(has(&text, r#"gatehouse_rule_hits_total{rule="942100"} 2"#), "{text}");
        assert!(!text.contains(r#"rule="7""#) && !text.contains(r#"rule="1""#), "{text}");
        m.shadow_rules([942_100, 1], ShadowOutcome::OnlyShadow);
        m.keep_rules([1]);
        m.keep_shadow_rules([1]);
        let text = m.render();
        assert!(!text.contains("942100"));
        let line = r#"gatehouse_shadow_rule_differences_total{outcome="only_shadow",rule="1"} 1"#;
        assert!(has(&text, line), "{text}");
    }

    #[test]
    fn replicas_and_certificates_that_are_gone_have_no_series() {
        let m = Metrics::new().unwrap();
        m.balance.replica("default", "a").state(true, 0, None);
        m.balance.replica("default", "b").state(false, 0, None);
        m.balance.keep_replicas(&[("default".to_owned(), "b".to_owned())].into());
        m.certificates([("x", SystemTime::UNIX_EPOCH)]);
        m.certificates([("y", SystemTime::UNIX_EPOCH)]);
        let text = m.render();
        assert!(!text.contains(r#"replica="a""#) && text.contains(r#"replica="b""#), "{text}");
        assert!(!text.contains(r#"name="x""#) && text.contains(r#"name="y""#), "{text}");
    }

    #[test]
    fn a_connection_is_open_until_its_guard_goes() {
        let listener = Metrics::new().unwrap().listener("tls");
        let one = listener.opened();
        let two = listener.opened();
        drop(one);
        assert_eq!(listener.open(), 1);
        drop(two);
        assert_eq!((listener.open(), listener.accepted.get()), (0, 2));
    }
}
