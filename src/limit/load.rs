//! Load shedding: what the gate refuses so that the rest is served in time.
//!
//! Decides once a request's route is known, before anything dear is done for it. The gate is saturated while one of two
//! figures is at its bound: requests in flight; the lag of the event loop, by its least over the last [`SAMPLES`] samples
//! (one slow poll is no saturation, a queue that does not empty is). Then a request of normal priority is refused with 503
//! and `Retry-After`. One of low priority is refused from three quarters of a bound on, one of high priority (health
//! checks) never; the admin listener is apart from all this.
//!
//! Bytes of responses held for clients that do not take them have a bound as well. Past it such responses are cut, and
//! requests of low priority refused; no others, or a few deaf clients could have everybody refused.
//!
//! Memory: a few words; cost: three atomic loads and two additions. Fails open: a figure that is not measured is zero.

use crate::facts::Priority;
use crate::telemetry::{LoadMetrics, ShedCause};
use crate::units::{ByteSize, Span};
use crate::verdict::{Reason, Refusal};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// How many samples of the lag are looked at.
const SAMPLES: usize = 8;

/// `[overload]`: when requests are refused for the sake of the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoadSettings {
    /// Requests in flight, open WebSockets and event streams not counted; 0: no bound.
    pub max_requests: usize,
    /// How late the event loop may be, for almost half a second on end; `0s`: no bound.
    pub max_lag: Span,
    /// Bytes of responses held for clients that do not take them; beyond, such a response is cut. `0B`: no bound.
    pub max_held: ByteSize,
    /// When a refused client may come again.
    pub retry_after: Span,
}

impl Default for LoadSettings {
    fn default() -> Self {
        Self { max_requests: 20_000, max_lag: Span::secs(1), max_held: ByteSize::mib(256), retry_after: Span::secs(2) }
    }
}

/// How loaded the gate is. One for the process.
#[derive(Debug)]
pub struct Load {
    metrics: LoadMetrics,
    requests: AtomicUsize,
    held: AtomicUsize,
    lags: [AtomicU64; SAMPLES],
    next: AtomicUsize,
}

/// A request in flight, until dropped.
#[derive(Debug)]
pub struct InFlight(Arc<Load>);

/// Bytes held, until dropped.
#[derive(Debug)]
pub struct HeldBytes(Arc<Load>, usize);

impl Load {
    /// Nothing to do yet.
    pub fn new(metrics: LoadMetrics) -> Self {
        let lags = std::array::from_fn(|_| AtomicU64::new(0));
        Self { metrics, requests: AtomicUsize::new(0), held: AtomicUsize::new(0), lags, next: AtomicUsize::new(0) }
    }

    /// Takes one more request in.
    ///
    /// # Errors
    /// [`Reason::Overloaded`] while the gate is saturated for this priority.
    pub fn enter(self: &Arc<Self>, settings: &LoadSettings, priority: Priority) -> Result<InFlight, Refusal> {
        if let Some(cause) = self.saturated(settings, priority) {
            self.metrics.shed.count(cause);
            let refusal = Refusal::new(Reason::Overloaded, format!("saturated: {}", cause.as_str()));
            return Err(refusal.retry_after(settings.retry_after.0));
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.metrics.requests.inc();
        Ok(InFlight(self.clone()))
    }

    fn saturated(&self, settings: &LoadSettings, priority: Priority) -> Option<ShedCause> {
        let bound = |most: u64| match priority {
            Priority::High => u64::MAX,
            Priority::Normal => most,
            Priority::Low => (most - most / 4).max(1),
        };
        let reached = |figure: u64, most: u64| most != 0 && figure >= bound(most);
        if reached(self.requests.load(Ordering::Relaxed) as u64, settings.max_requests as u64) {
            return Some(ShedCause::Requests);
        }
        if priority == Priority::Low && reached(self.held.load(Ordering::Relaxed) as u64, settings.max_held.0) {
            return Some(ShedCause::Memory);
        }
        let micros = u64::try_from(settings.max_lag.0.as_micros()).unwrap_or(u64::MAX);
        reached(self.lag(), micros).then_some(ShedCause::Lag)
    }

    /// The least lag of the last samples, in microseconds.
    fn lag(&self) -> u64 {
        self.lags.iter().map(|lag| lag.load(Ordering::Relaxed)).min().unwrap_or(0)
    }

    /// Takes note of one sample: how much later than asked a timer ran.
    pub fn sample(&self, lag: Duration) {
        let slot = self.next.fetch_add(1, Ordering::Relaxed) % SAMPLES;
        if let Some(cell) = self.lags.get(slot) {
            cell.store(u64::try_from(lag.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        self.metrics.lag.set(Duration::from_micros(self.lag()).as_secs_f64());
    }

    /// Takes note of bytes that a client does not take at once; `None` if there is no room for them.
    pub fn hold(self: &Arc<Self>, settings: &LoadSettings, bytes: usize) -> Option<HeldBytes> {
        let before = self.held.fetch_add(bytes, Ordering::Relaxed);
        self.metrics.held.add(i64::try_from(bytes).unwrap_or(i64::MAX));
        let held = HeldBytes(self.clone(), bytes);
        let fits = settings.max_held.0 == 0 || (before + bytes) as u64 <= settings.max_held.0;
        if !fits {
            self.metrics.cut.inc();
        }
        fits.then_some(held)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.requests.dec();
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.0.held.fetch_sub(self.1, Ordering::Relaxed);
        self.0.metrics.held.sub(i64::try_from(self.1).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    fn load() -> (Arc<Load>, Metrics) {
        let metrics = Metrics::new().unwrap();
        (Arc::new(Load::new(metrics.load.clone())), metrics)
    }

    fn refused(load: &Arc<Load>, settings: &LoadSettings) -> [bool; 3] {
        [Priority::Low, Priority::Normal, Priority::High].map(|priority| load.enter(settings, priority).is_err())
    }

    #[test]
    fn the_lowest_priority_goes_first_and_the_highest_never() {
        let (load, metrics) = load();
        let settings = LoadSettings { max_requests: 8, ..LoadSettings::default() };
        let mut places = Vec::new();
        for (n, expected) in [(5, [false; 3]), (6, [true, false, false]), (8, [true, true, false])] {
            while places.len() < n {
                places.push(load.enter(&settings, Priority::High).unwrap());
            }
            assert_eq!(refused(&load, &settings), expected, "{n}");
        }
        let refusal = load.enter(&settings, Priority::Normal).unwrap_err();
        assert_eq!((refusal.reason.status(), refusal.retry_after), (503, Some(settings.retry_after.0)));
        places.clear();
        assert_eq!(refused(&load, &settings), [false; 3]);
        assert_eq!(metrics.load.shed.get(ShedCause::Requests), 4);
        assert_eq!(metrics.load.requests.get(), 0);
    }

    #[test]
    fn one_slow_poll_is_no_saturation() {
        let (load, _metrics) = load();
        let settings = LoadSettings::default();
        let late = settings.max_lag.0;
        for _ in 0..SAMPLES - 1 {
            load.sample(late);
        }
        assert_eq!(refused(&load, &settings), [false; 3]);
        load.sample(late);
        assert_eq!(refused(&load, &settings), [true, true, false]);
        assert_eq!(refused(&load, &LoadSettings { max_lag: Span::secs(0), ..settings.clone() }), [false; 3]);
        load.sample(Duration::ZERO);
        assert_eq!(refused(&load, &settings), [false; 3]);
    }

    #[test]
    fn held_bytes_have_a_bound_and_come_back() {
        let (load, metrics) = load();
        let settings = LoadSettings { max_held: ByteSize(100), ..LoadSettings::default() };
        let first = load.hold(&settings, 60).unwrap();
        assert!(load.hold(&settings, 60).is_none());
        let second = load.hold(&settings, 40).unwrap();
        assert_eq!(refused(&load, &settings), [true, false, false], "a few deaf clients stop nobody else");
        assert_eq!((metrics.load.held.get(), metrics.load.cut.get()), (100, 1));
        drop((first, second));
        assert_eq!(refused(&load, &settings), [false; 3]);
    }
}
