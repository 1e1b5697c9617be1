//! Handles that were resolved beforehand, so that recording on the request path hashes and locks nothing.

use super::labels::{AuditOutcome, Label, LimitDecision, STATUSES, ShedCause, status_slot, status_text};
use crate::verdict::Action;
use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge};
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A histogram of durations, in seconds.
#[derive(Debug, Clone)]
pub struct Seconds(pub(super) Histogram);

impl Seconds {
    /// Records one duration.
    pub fn observe(&self, duration: Duration) {
        self.0.observe(duration.as_secs_f64());
    }

    /// How many durations were recorded.
    pub fn count(&self) -> u64 {
        self.0.get_sample_count()
    }
}

/// One metric for each value of a label.
#[derive(Debug, Clone)]
pub struct By<L, M> {
    cells: Arc<[M]>,
    label: PhantomData<fn(L)>,
}

impl<L: Label, M> By<L, M> {
    pub(super) fn new(make: impl Fn(&'static str) -> M) -> Self {
        Self { cells: L::ALL.iter().map(|value| make(value.text())).collect(), label: PhantomData }
    }

    fn cell(&self, value: L) -> Option<&M> {
        self.cells.get(value.slot())
    }
}

impl<L: Label> By<L, IntCounter> {
    /// Counts one.
    pub fn count(&self, value: L) {
        self.add(value, 1);
    }

    /// Counts `n`.
    pub fn add(&self, value: L, n: u64) {
        if let Some(counter) = self.cell(value) {
            counter.inc_by(n);
        }
    }

    /// The count so far.
    pub fn get(&self, value: L) -> u64 {
        self.cell(value).map_or(0, IntCounter::get)
    }
}

impl<L: Label> By<L, Seconds> {
    /// Records one duration.
    pub fn observe(&self, value: L, duration: Duration) {
        if let Some(seconds) = self.cell(value) {
            seconds.observe(duration);
        }
    }
}

/// What one rate limit decided.
pub type LimitMetrics = By<LimitDecision, IntCounter>;

/// Counters that come into being when first used, so that what never happens takes no series.
#[derive(Debug)]
struct LazyCounters {
    family: IntCounterVec,
    cells: Box<[OnceLock<IntCounter>]>,
}

impl LazyCounters {
    fn new(family: IntCounterVec, len: usize) -> Self {
        Self { family, cells: std::iter::repeat_with(OnceLock::new).take(len).collect() }
    }

    fn count(&self, slot: usize, make: impl FnOnce(&IntCounterVec) -> IntCounter) {
        if let Some(cell) = self.cells.get(slot) {
            cell.get_or_init(|| make(&self.family)).inc();
        }
    }
}

/// The requests of one route. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RouteMetrics(Arc<Route>);

#[derive(Debug)]
struct Route {
    name: String,
    requests: LazyCounters,
    seconds: Seconds,
}

impl RouteMetrics {
    pub(super) fn new(name: &str, requests: IntCounterVec, seconds: Seconds) -> Self {
        let cells = (STATUSES.len() + 1) * Action::ALL.len();
        Self(Arc::new(Route { name: name.into(), requests: LazyCounters::new(requests, cells), seconds }))
    }

    /// Records one finished request: the status the client got, what became of it, and how long it took from its first
    /// byte to the last byte of the answer.
    pub fn record(&self, status: u16, action: Action, total: Duration) {
        let slot = status_slot(status) * Action::ALL.len() + action.slot();
        self.0.requests.count(slot, |family| {
            family.with_label_values(&[self.0.name.as_str(), &status_text(status), action.as_str()])
        });
        self.0.seconds.observe(total);
    }
}

/// Hits of the loaded rules. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RuleMetrics(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    ids: Box<[u64]>,
    hits: LazyCounters,
    reads: IntCounterVec,
}

impl RuleMetrics {
    pub(super) fn new(ids: Box<[u64]>, hits: IntCounterVec, reads: IntCounterVec) -> Self {
        let hits = LazyCounters::new(hits, ids.len());
        Self(Arc::new(Rules { ids, hits, reads }))
    }

    /// Counts what a loaded rule has read.
    pub fn read(&self, id: u64, bytes: u64) {
        if self.0.ids.binary_search(&id).is_ok() {
            self.0.reads.with_label_values(&[id.to_string()]).inc_by(bytes);
        }
    }

    /// Counts one match of a loaded rule; an id that was not loaded is not counted.
    pub fn hit(&self, id: u64) {
        if let Ok(slot) = self.0.ids.binary_search(&id) {
            self.0.hits.count(slot, |family| family.with_label_values(&[id.to_string()]));
        }
    }
}

/// One listener's connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ListenerMetrics {
    pub(super) open: IntGauge,
    pub(super) accepted: IntCounter,
    pub(super) refused: IntCounter,
}

impl ListenerMetrics {
    /// Counts an accepted connection, open until the guard is dropped.
    pub fn opened(&self) -> ConnectionGuard {
        self.accepted.inc();
        ConnectionGuard::count(&self.open)
    }

    /// Counts a connection that was closed at once because there were too many.
    pub fn refused(&self) {
        self.refused.inc();
    }

    /// Connections open now.
    pub fn open(&self) -> i64 {
        self.open.get()
    }
}

/// Counts a connection as open while it lives.
#[derive(Debug)]
pub struct ConnectionGuard(IntGauge);

impl ConnectionGuard {
    pub(super) fn count(open: &IntGauge) -> Self {
        open.inc();
        Self(open.clone())
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// How loaded the gate is.
#[derive(Debug, Clone)]
pub struct LoadMetrics {
    /// Requests in flight.
    pub requests: IntGauge,
    /// Bytes of responses held.
    pub held: IntGauge,
    /// The lag of the event loop, in seconds.
    pub lag: Gauge,
    /// Requests refused.
    pub shed: By<ShedCause, IntCounter>,
    /// Responses cut because there was no room to hold them.
    pub cut: IntCounter,
}

/// The audit queue and what became of its events. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AuditMetrics {
    /// Events taken and not yet written.
    pub queue: IntGauge,
    /// Events written and lost.
    pub events: By<AuditOutcome, IntCounter>,
    /// Failed attempts to open or write the file.
    pub errors: IntCounter,
}
