//! One replica: an address, what probes and answers say of it, and how many requests it has.

use super::ewma::Ewma;
use super::outlier::{Change, Evidence, Outlier, Sign, Sums};
use super::settings::{EjectionSettings, HealthSettings};
use super::transport::{ConnectError, host_of};
use crate::telemetry::ReplicaMetrics;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Which replica, for the length of one request and across reloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplicaId(SocketAddr);

/// Not alive: no connection, or no HTTP to a probe.
const DEAD: u8 = 1;
/// Alive and not ready.
const UNREADY: u8 = 2;
/// Ejected, or on trial.
const EJECTED: u8 = 4;
/// An operator wants it out of turn.
const DRAINING: u8 = 8;

/// What keeps a replica out of turn; nothing, if all is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bars(u8);

impl Bars {
    pub(super) fn none(self) -> bool {
        self.0 == 0
    }

    pub(super) fn only_ejected(self) -> bool {
        self.0 == EJECTED
    }

    pub(super) fn ejected(self) -> bool {
        self.0 & EJECTED != 0
    }

    pub(super) fn draining(self) -> bool {
        self.0 & DRAINING != 0
    }

    pub(super) fn alive(self) -> bool {
        self.0 & DEAD == 0
    }

    pub(super) fn ready(self) -> bool {
        self.0 & (DEAD | UNREADY) == 0
    }
}

/// What a probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Probed {
    pub(super) alive: bool,
    pub(super) ready: bool,
}

/// A verdict that takes several probes in a row to turn.
#[derive(Debug)]
struct Turn {
    good: bool,
    /// Probes in a row that say otherwise.
    against: u32,
}

impl Turn {
    const GOOD: Self = Self { good: true, against: 0 };

    fn judge(&mut self, good: bool, needed: u32) -> bool {
        if good == self.good {
            self.against = 0;
            return false;
        }
        self.against = self.against.saturating_add(1);
        if self.against < needed {
            return false;
        }
        *self = Self { good, against: 0 };
        true
    }
}

#[derive(Debug)]
struct Record {
    alive: Turn,
    ready: Turn,
    /// Whether any probe has ended yet.
    asked: bool,
    outlier: Outlier,
}

/// A replica. Shared by generations, which is how its state outlives a reload.
#[derive(Debug)]
pub struct Replica {
    name: Arc<str>,
    address: SocketAddr,
    meter: ReplicaMetrics,
    born: Instant,
    bars: AtomicU8,
    in_flight: AtomicUsize,
    /// Milliseconds after `born` at which it came (back) into turn, plus one; 0: long ago.
    warming: AtomicU64,
    /// Counts up when kept connections to it are not to be used any more.
    epoch: AtomicU32,
    /// Whether probes use the fall-back path.
    fallback: AtomicBool,
    /// Told when it is found dead.
    died: Notify,
    /// Why it was not believed last; empty while it is.
    disbelief: Mutex<String>,
    ewma: Mutex<Ewma>,
    record: Mutex<Record>,
}

impl Replica {
    pub(super) fn new(name: &Arc<str>, address: SocketAddr, meter: ReplicaMetrics, now: Instant) -> Self {
        let record = Record { alive: Turn::GOOD, ready: Turn::GOOD, asked: false, outlier: Outlier::default() };
        Self {
            name: Arc::clone(name),
            address,
            meter,
            born: now,
            bars: AtomicU8::new(0),
            in_flight: AtomicUsize::new(0),
            warming: AtomicU64::new(1),
            epoch: AtomicU32::new(0),
            fallback: AtomicBool::new(false),
            died: Notify::new(),
            disbelief: Mutex::default(),
            ewma: Mutex::default(),
            record: Mutex::new(record),
        }
    }

    /// Which one.
    pub fn id(&self) -> ReplicaId {
        ReplicaId(self.address)
    }

    /// `host:port` as configured or found.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The host in its name.
    pub fn host(&self) -> &str {
        host_of(&self.name)
    }

    /// Says in the log why it is not believed over TLS: once for each reason, not for each connection. `None`: it is.
    pub fn believed(&self, error: Option<&ConnectError>) {
        match error {
            Some(ConnectError::Tls(why)) => {
                let mut known = self.disbelief.lock();
                if *known != *why {
                    tracing::warn!(replica = %self.name, address = %self.address, %why, "replica is not believed");
                    known.clone_from(why);
                }
            }
            Some(_) => {}
            None => self.disbelief.lock().clear(),
        }
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it is in turn.
    pub fn is_healthy(&self) -> bool {
        self.bars().none()
    }

    /// Whether it speaks HTTP, as far as is known.
    pub fn is_alive(&self) -> bool {
        self.bars().alive()
    }

    /// Ends when it is found dead.
    pub async fn death(&self) {
        loop {
            let mut died = std::pin::pin!(self.died.notified());
            died.as_mut().enable();
            if !self.is_alive() {
                return;
            }
            died.await;
        }
    }

    /// Requests it has at this moment.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Kept connections of another epoch are not to be used.
    pub fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Counters of how it treats requests.
    pub fn meter(&self) -> &ReplicaMetrics {
        &self.meter
    }

    /// Its state in one word: `up`, `ejected`, `trial`, `draining`, `unready` or `down`.
    pub fn state(&self, now: Instant) -> &'static str {
        let bars = self.bars();
        match bars {
            _ if !bars.alive() => "down",
            _ if bars.draining() => "draining",
            _ if !bars.ready() => "unready",
            _ if bars.ejected() && self.record.lock().outlier.on_trial(now) => "trial",
            _ if bars.ejected() => "ejected",
            _ => "up",
        }
    }

    /// The average time to its response heads, in seconds; `None` before the first.
    pub fn latency(&self) -> Option<f64> {
        self.ewma.lock().measured()
    }

    /// For how long it stays ejected.
    pub fn ejected_for(&self, now: Instant) -> Option<Duration> {
        self.record.lock().outlier.until().map(|until| until.saturating_duration_since(now))
    }

    pub(super) fn bars(&self) -> Bars {
        Bars(self.bars.load(Ordering::Relaxed))
    }

    fn bar(&self, bar: u8, on: bool) -> bool {
        let before =
            if on { self.bars.fetch_or(bar, Ordering::Relaxed) } else { self.bars.fetch_and(!bar, Ordering::Relaxed) };
        (before & bar != 0) != on
    }

    /// Takes a place among at most `most` requests.
    pub(super) fn enter(&self, most: usize) -> bool {
        let one_more = |n: usize| (n < most).then_some(n + 1);
        self.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    pub(super) fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Its share of what it would get, from 0.1 to 1, while it comes back over `slow_start`.
    pub(super) fn warmth(&self, now: Instant, slow_start: Duration) -> f64 {
        let warming = self.warming.load(Ordering::Relaxed);
        if warming == 0 || slow_start.is_zero() {
            return 1.0;
        }
        let since = self.born + Duration::from_millis(warming - 1);
        let share = now.saturating_duration_since(since).as_secs_f64() / slow_start.as_secs_f64();
        if share >= 1.0 {
            // Not worth a look any more; a race with a new start only skips that one.
            let _ = self.warming.compare_exchange(warming, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
        share.clamp(0.1, 1.0)
    }

    fn warm(&self, now: Instant) {
        let since = now.saturating_duration_since(self.born).as_millis();
        self.warming.store(u64::try_from(since).unwrap_or(u64::MAX - 1).saturating_add(1), Ordering::Relaxed);
    }

    pub(super) fn expected_seconds(&self, now: Instant) -> f64 {
        self.ewma.lock().seconds(now)
    }

    pub(super) fn observe(&self, latency: Duration, now: Instant) {
        self.ewma.lock().observe(latency, now);
    }

    /// Ends the use of connections kept so far.
    pub(super) fn distrust(&self) {
        self.epoch.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes it for dead; whether that changed anything. One good probe brings it back, whatever `rise` says of replicas
    /// that probes took out.
    pub(super) fn take_out(&self) -> bool {
        let mut record = self.record.lock();
        record.alive = Turn { good: false, against: u32::MAX - 1 };
        let changed = self.bar(DEAD, true);
        self.died.notify_waiters();
        changed
    }

    /// Counts a probe's result; whether anything changed.
    pub(super) fn judge(&self, found: Probed, health: &HealthSettings, now: Instant) -> bool {
        let mut record = self.record.lock();
        // Nothing speaks for a replica that fails its very first probe.
        let fall = if std::mem::replace(&mut record.asked, true) { health.fall } else { 1 };
        let needed = |good: bool| if good { health.rise } else { fall };
        let alive = record.alive.judge(found.alive, needed(found.alive));
        let ready = record.ready.judge(found.ready, needed(found.ready));
        let was_out = !self.bars().ready();
        if self.bar(DEAD, !record.alive.good) && !record.alive.good {
            self.died.notify_waiters();
        }
        self.bar(UNREADY, !record.ready.good);
        if was_out && self.bars().ready() {
            self.warm(now);
        }
        alive || ready
    }

    pub(super) fn set_draining(&self, on: bool, now: Instant) -> bool {
        let changed = self.bar(DRAINING, on);
        if changed && !on {
            self.warm(now);
        }
        changed
    }

    pub(super) fn record(&self, sign: Sign, now: Instant, rules: &EjectionSettings) -> Option<Evidence> {
        self.record.lock().outlier.record(sign, now, rules)
    }

    pub(super) fn sums(&self, now: Instant, rules: &EjectionSettings) -> Sums {
        self.record.lock().outlier.sums(now, rules)
    }

    pub(super) fn eject(&self, now: Instant, rules: &EjectionSettings) -> Duration {
        let mut record = self.record.lock();
        let time = record.outlier.eject(now, rules);
        self.bar(EJECTED, true);
        time
    }

    pub(super) fn awaits_trial(&self, now: Instant) -> bool {
        self.record.lock().outlier.on_trial(now)
    }

    pub(super) fn begin_trial(&self, now: Instant, rules: &EjectionSettings) -> bool {
        self.record.lock().outlier.begin_trial(now, rules)
    }

    pub(super) fn end_trial(&self, good: Option<bool>, now: Instant, rules: &EjectionSettings) -> Change {
        let mut record = self.record.lock();
        let change = record.outlier.end_trial(good, now, rules);
        if change == Change::Returned {
            self.bar(EJECTED, false);
            self.warm(now);
        }
        change
    }

    /// Ends what a configuration without ejections does not want.
    pub(super) fn pardon(&self) {
        let mut record = self.record.lock();
        record.outlier = Outlier::default();
        self.bar(EJECTED, false);
    }

    pub(super) fn uses_fallback(&self) -> bool {
        self.fallback.load(Ordering::Relaxed)
    }

    pub(super) fn set_fallback(&self, on: bool) {
        self.fallback.store(on, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    fn replica(now: Instant) -> Replica {
        let meter = Metrics::new().unwrap().balance.replica("upstream", "a:1");
        Replica::new(&"a:1".into(), "127.0.0.1:1".parse().unwrap(), meter, now)
    }

    fn health(rise: u32, fall: u32) -> HealthSettings {
        HealthSettings { rise, fall, ..HealthSettings::default() }
    }

    const READY: Probed = Probed { alive: true, ready: true };
    const UNREADY: Probed = Probed { alive: true, ready: false };
    const DEAD: Probed = Probed { alive: false, ready: false };

    #[test]
    fn health_turns_after_rise_and_fall() {
        let now = Instant::now();
        let replica = replica(now);
        let health = health(2, 2);
        for (found, change, state) in [
            (READY, false, "up"),
            (UNREADY, false, "up"),
            (READY, false, "up"),
            (UNREADY, false, "up"),
            (UNREADY, true, "unready"),
            (UNREADY, false, "unready"),
            (READY, false, "unready"),
            (UNREADY, false, "unready"),
            (READY, false, "unready"),
            (READY, true, "up"),
            (DEAD, false, "up"),
            (DEAD, true, "down"),
            (UNREADY, false, "down"),
            (UNREADY, true, "unready"),
            (READY, false, "unready"),
            (READY, true, "up"),
        ] {
            assert_eq!((replica.judge(found, &health, now), replica.state(now)), (change, state));
        }
        assert!(replica.take_out() && !replica.take_out());
        let slow = HealthSettings { rise: 5, ..health };
        assert!(replica.judge(READY, &slow, now) && replica.is_healthy());
    }

    #[test]
    fn the_first_probe_alone_can_take_a_new_replica_out() {
        let now = Instant::now();
        let replica = replica(now);
        let health = health(1, 3);
        assert!(replica.judge(UNREADY, &health, now) && !replica.is_healthy());
        assert!(replica.judge(READY, &health, now) && replica.is_healthy());
        assert!(!replica.judge(UNREADY, &health, now) && replica.is_healthy());
    }

    #[test]
    fn a_replica_that_came_back_warms_up() {
        let now = Instant::now();
        let replica = replica(now);
        let (slow, at) = (Duration::from_secs(10), |s| now + Duration::from_secs(s));
        assert!(
            (replica.warmth(now, slow) - 0.1).abs() < 1e-9 && (replica.warmth(now, Duration::ZERO) - 1.0).abs() < 1e-9
        );
        assert!((replica.warmth(at(5), slow) - 0.5).abs() < 1e-9);
        assert!((replica.warmth(at(10), slow) - 1.0).abs() < 1e-9);
        replica.take_out();
        replica.judge(READY, &health(1, 1), at(20));
        assert!((replica.warmth(at(25), slow) - 0.5).abs() < 1e-9, "again");
    }

    #[test]
    fn no_more_requests_than_it_may_have() {
        let replica = replica(Instant::now());
        assert!(replica.enter(2) && replica.enter(2) && !replica.enter(2));
        replica.leave();
        assert!(replica.enter(2));
        assert_eq!(replica.in_flight(), 2);
    }
}
