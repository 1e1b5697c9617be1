//! One replica: an address, its health, and how many requests it has.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

/// Which replica, for the length of one request and across reloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplicaId(SocketAddr);

/// How a request's dealings with a replica went, as far as health is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The connection stood, new or kept.
    Connected,
    /// No connection came about: refused, unreachable, or too slow.
    ConnectFailed,
    /// The connection stood but broke off, or the answer was late or garbled.
    Broken,
}

/// A replica. Shared by generations; all its state is atomic, written by probes and reports, and each value stands alone.
#[derive(Debug)]
pub struct Replica {
    name: Arc<str>,
    address: SocketAddr,
    healthy: AtomicBool,
    /// Whether any probe has ended yet.
    asked: AtomicBool,
    /// Probes in a row that contradict `healthy`.
    against: AtomicU32,
    /// Whether probes use the fall-back path.
    fallback: AtomicBool,
    in_flight: AtomicUsize,
}

impl Replica {
    pub(super) fn new(name: &Arc<str>, address: SocketAddr) -> Self {
        Self {
            name: Arc::clone(name),
            address,
            healthy: AtomicBool::new(true),
            asked: AtomicBool::new(false),
            against: AtomicU32::new(0),
            fallback: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
        }
    }

    /// Which one.
    pub fn id(&self) -> ReplicaId {
        ReplicaId(self.address)
    }

    /// `host:port` as configured: a closed set, so it may label metrics.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it is in turn.
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// Requests it has at this moment.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts a request until the guard is dropped.
    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Takes it out of turn; whether that changed anything. One good probe brings it back, whatever `rise` says of
    /// replicas that probes took out.
    pub(super) fn take_out(&self) -> bool {
        self.against.store(u32::MAX - 1, Ordering::Relaxed);
        self.healthy.swap(false, Ordering::Relaxed)
    }

    /// Counts a probe's result; `Some` with the new health if it changed.
    pub(super) fn judge(&self, good: bool, rise: u32, fall: u32) -> Option<bool> {
        let first = !self.asked.swap(true, Ordering::Relaxed);
        let healthy = self.is_healthy();
        if good == healthy {
            self.against.store(0, Ordering::Relaxed);
            return None;
        }
        let against = self.against.load(Ordering::Relaxed).saturating_add(1);
        self.against.store(against, Ordering::Relaxed);
        // Nothing speaks for a replica that fails its very first probe.
        let needed = if good {
            rise
        } else if first {
            1
        } else {
            fall
        };
        if against < needed {
            return None;
        }
        self.against.store(0, Ordering::Relaxed);
        self.healthy.store(good, Ordering::Relaxed);
        Some(good)
    }

    pub(super) fn uses_fallback(&self) -> bool {
        self.fallback.load(Ordering::Relaxed)
    }

    pub(super) fn set_fallback(&self, on: bool) {
        self.fallback.store(on, Ordering::Relaxed);
    }
}

/// A request in a replica's hands.
#[derive(Debug)]
pub struct InFlight(Arc<Replica>);

impl InFlight {
    /// The replica.
    pub fn replica(&self) -> &Arc<Replica> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_turns_after_rise_and_fall() {
        let replica = Replica::new(&"a:1".into(), "127.0.0.1:1".parse().unwrap());
        for (good, change) in [
            (true, None),
            (false, None),
            (true, None),
            (false, None),
            (false, Some(false)),
            (false, None),
            (true, None),
            (false, None),
            (true, None),
            (true, Some(true)),
        ] {
            assert_eq!(replica.judge(good, 2, 2), change);
        }
        assert!(replica.take_out() && !replica.take_out());
        assert_eq!(replica.judge(true, 5, 2), Some(true));
    }

    #[test]
    fn the_first_probe_alone_can_take_a_new_replica_out() {
        let replica = Replica::new(&"a:1".into(), "127.0.0.1:1".parse().unwrap());
        assert_eq!(replica.judge(false, 1, 3), Some(false));
        assert_eq!(replica.judge(true, 1, 3), Some(true));
        assert_eq!(replica.judge(false, 1, 3), None);
    }
}
