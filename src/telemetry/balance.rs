//! What is counted of pools and replicas.

use super::handles::By;
use super::labels::{
    DiscoveryOutcome, EjectionCause, HedgeOutcome, Label, MirrorOutcome, QueueOutcome, ReplicaOutcome, RetryOutcome,
};
use super::metrics::Book;
use parking_lot::Mutex;
use prometheus::{Error, Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use std::collections::BTreeSet;

/// The families of pools and replicas. Replicas come and go: their series begin and end with them.
#[derive(Debug)]
pub struct BalanceMetrics {
    healthy: IntGaugeVec,
    in_flight: IntGaugeVec,
    latency: GaugeVec,
    requests: IntCounterVec,
    ejections: IntCounterVec,
    queued: IntGaugeVec,
    queue: IntCounterVec,
    retries: IntCounterVec,
    budget: IntGaugeVec,
    panic: IntGaugeVec,
    hedges: IntCounterVec,
    mirrored: IntCounterVec,
    discovery: IntCounterVec,
    replicas: Mutex<BTreeSet<(String, String)>>,
}

impl BalanceMetrics {
    pub(super) fn new(b: &mut Book) -> Result<Self, Error> {
        const REPLICA: [&str; 2] = ["pool", "replica"];
        Ok(Self {
            healthy: b.gauges("gatehouse_replica_healthy", "1 while the replica is in turn, else 0.", &REPLICA)?,
            in_flight: b.gauges("gatehouse_replica_in_flight", "Requests the replica has now.", &REPLICA)?,
            latency: b.float_gauges(
                "gatehouse_replica_latency_seconds",
                "Peak EWMA of the time to the replica's response heads.",
                &REPLICA,
            )?,
            requests: b.counters(
                "gatehouse_replica_requests_total",
                "Requests forwarded to a replica, by how it treated them; each attempt counts.",
                &["pool", "replica", "outcome"],
            )?,
            ejections: b.counters(
                "gatehouse_replica_ejections_total",
                "Times a replica was taken out of turn for its answers, by cause.",
                &["pool", "replica", "cause"],
            )?,
            queued: b.gauges("gatehouse_pool_queued", "Requests that wait for a replica now.", &["pool"])?,
            queue: b.counters(
                "gatehouse_pool_queue_total",
                "Requests that came when all replicas had as many as they may, by what became of them.",
                &["pool", "outcome"],
            )?,
            retries: b.counters(
                "gatehouse_pool_retries_total",
                "Requests that could be sent again, by whether they were.",
                &["pool", "outcome"],
            )?,
            budget: b.gauges("gatehouse_pool_retry_budget", "Retries left in the budget.", &["pool"])?,
            panic: b.gauges(
                "gatehouse_pool_panic",
                "1 while so few replicas are in turn that the others get requests too.",
                &["pool"],
            )?,
            hedges: b.counters(
                "gatehouse_pool_hedges_total",
                "Requests that a second replica was due to be asked for, by what became of them.",
                &["pool", "outcome"],
            )?,
            mirrored: b.counters(
                "gatehouse_pool_mirrored_total",
                "Copies of requests that were due to a pool, by what became of them.",
                &["pool", "outcome"],
            )?,
            discovery: b.counters(
                "gatehouse_pool_discovery_total",
                "Looks at where replicas are found, by what they brought.",
                &["pool", "outcome"],
            )?,
            replicas: Mutex::default(),
        })
    }

    /// The handle of a replica, by its pool and address.
    pub fn replica(&self, pool: &str, replica: &str) -> ReplicaMetrics {
        self.replicas.lock().insert((pool.to_owned(), replica.to_owned()));
        ReplicaMetrics {
            healthy: self.healthy.with_label_values(&[pool, replica]),
            in_flight: self.in_flight.with_label_values(&[pool, replica]),
            latency: self.latency.with_label_values(&[pool, replica]),
            requests: By::new(|outcome| self.requests.with_label_values(&[pool, replica, outcome])),
            ejections: By::new(|cause| self.ejections.with_label_values(&[pool, replica, cause])),
        }
    }

    /// Ends the series of all replicas but these.
    pub fn keep_replicas(&self, keep: &BTreeSet<(String, String)>) {
        self.replicas.lock().retain(|known| {
            let stays = keep.contains(known);
            if !stays {
                let (pool, replica) = (known.0.as_str(), known.1.as_str());
                // What was never seen has no series to end.
                let _ = self.healthy.remove_label_values(&[pool, replica]);
                let _ = self.in_flight.remove_label_values(&[pool, replica]);
                let _ = self.latency.remove_label_values(&[pool, replica]);
                for outcome in ReplicaOutcome::ALL {
                    let _ = self.requests.remove_label_values(&[pool, replica, outcome.as_str()]);
                }
                for cause in EjectionCause::ALL {
                    let _ = self.ejections.remove_label_values(&[pool, replica, cause.as_str()]);
                }
            }
            stays
        });
    }

    /// The handle of a pool, by its name.
    pub fn pool(&self, pool: &str) -> PoolMetrics {
        PoolMetrics {
            queued: self.queued.with_label_values(&[pool]),
            queue: By::new(|outcome| self.queue.with_label_values(&[pool, outcome])),
            retries: By::new(|outcome| self.retries.with_label_values(&[pool, outcome])),
            budget: self.budget.with_label_values(&[pool]),
            panic: self.panic.with_label_values(&[pool]),
            hedges: By::new(|outcome| self.hedges.with_label_values(&[pool, outcome])),
            mirrored: By::new(|outcome| self.mirrored.with_label_values(&[pool, outcome])),
            discovery: By::new(|outcome| self.discovery.with_label_values(&[pool, outcome])),
        }
    }
}

/// One replica's health and how it treated requests. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ReplicaMetrics {
    healthy: IntGauge,
    in_flight: IntGauge,
    latency: Gauge,
    /// Requests forwarded to it.
    pub requests: By<ReplicaOutcome, IntCounter>,
    /// Times it was ejected.
    pub ejections: By<EjectionCause, IntCounter>,
}

impl ReplicaMetrics {
    /// Says how it stands; `latency` in seconds, if any is known.
    pub fn state(&self, healthy: bool, in_flight: usize, latency: Option<f64>) {
        self.healthy.set(i64::from(healthy));
        self.in_flight.set(i64::try_from(in_flight).unwrap_or(i64::MAX));
        self.latency.set(latency.unwrap_or(0.0));
    }

    /// Counts one forwarded request.
    pub fn count(&self, outcome: ReplicaOutcome) {
        self.requests.count(outcome);
    }
}

/// One pool. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PoolMetrics {
    queued: IntGauge,
    /// Requests that met only busy replicas.
    pub queue: By<QueueOutcome, IntCounter>,
    /// Retries.
    pub retries: By<RetryOutcome, IntCounter>,
    budget: IntGauge,
    panic: IntGauge,
    /// Second requests.
    pub hedges: By<HedgeOutcome, IntCounter>,
    /// Copies of requests.
    pub mirrored: By<MirrorOutcome, IntCounter>,
    /// Looks at where replicas are found.
    pub discovery: By<DiscoveryOutcome, IntCounter>,
}

impl PoolMetrics {
    /// Says how it stands.
    pub fn state(&self, queued: usize, budget: i64, panic: bool) {
        self.queued.set(i64::try_from(queued).unwrap_or(i64::MAX));
        self.budget.set(budget);
        self.panic.set(i64::from(panic));
    }
}
