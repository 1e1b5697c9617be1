//! What the gate tells its operator: every metric name and label, and the log's set-up.
//!
//! Decides nothing about a request. Metrics go in as typed calls on handles that were resolved beforehand, and come out
//! as Prometheus text from [`Metrics::render`]; no other module names a metric, and a test holds `docs/metrics.md` equal
//! to what is registered. Labels are closed enums, or names from the configuration, the rules and the certificates:
//! never a path, a user or an address of a client, so no request can make a series.
//!
//! Cost on the request path: one or two atomic additions per recorded fact, no lock and no hashing. Memory: one cell per
//! series, bounded by routes × statuses × actions, policies, replicas, listeners and loaded rules.
//!
//! Recording cannot fail. Names follow the Prometheus conventions (base units, `_total` for counters).

mod balance;
mod handles;
mod labels;
mod log;
mod metrics;

pub use balance::{BalanceMetrics, PoolMetrics, ReplicaMetrics};
pub use handles::{
    AuditMetrics, By, ConnectionGuard, LimitMetrics, ListenerMetrics, LoadMetrics, RouteMetrics, RuleMetrics, Seconds,
};
pub use labels::{
    AcmeOutcome, AuditOutcome, CacheStatus, DiscoveryOutcome, EjectionCause, HandshakeOutcome, HedgeOutcome, Label,
    LimitDecision, MirrorOutcome, ProxyOutcome, QueueOutcome, ReloadOutcome, ReplicaOutcome, ReputationDecision,
    RetryOutcome, ShadowOutcome, ShedCause, WafPhase,
};
pub use log::{LogFormat, LogSettings, init};
pub use metrics::{Described, Kind, Metrics};
