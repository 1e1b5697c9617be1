//! Which replica a request goes to, and which replicas are fit to be asked.
//!
//! Decides after the rules and the cache. In: the replicas already tried for this request; out: the next healthy one in
//! turn, or [`Reason::NoReplica`] (503). Health comes from two sides: [`Pool::run`] probes each replica every interval,
//! and [`Pool::report`] takes a replica that cannot be connected to out of turn at once, until its next good probe.
//! A replica nobody has asked yet counts as healthy, so that the gate serves as soon as it listens; and a failed
//! connection never takes out the last healthy replica, only probes do.
//!
//! A pool is one generation's; the replicas inside are shared with the one before ([`Pool::build`]), so health and
//! requests in flight outlive a reload. Memory: a few hundred bytes a replica. `pick` is one atomic addition and a walk
//! over the replicas, without a lock.
//!
//! Fails closed: without a healthy replica nothing is forwarded.

mod probe;
mod replica;
mod settings;

pub use replica::{InFlight, Outcome, Replica, ReplicaId};
pub use settings::{HealthSettings, Replicas, Settings};

use crate::fault::Fault;
use crate::verdict::{Reason, Refusal};
use arc_swap::ArcSwap;
use settings::Endpoint;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// Most addresses taken of one name.
const MAX_ADDRESSES: usize = 32;

type Observer = Box<dyn Fn(&Replica, bool) + Send + Sync>;

/// The replicas of one upstream.
pub struct Pool {
    settings: Settings,
    endpoints: Vec<Endpoint>,
    replicas: ArcSwap<Vec<Arc<Replica>>>,
    turn: AtomicUsize,
    /// Wakes the prober when a replica failed.
    doubt: Notify,
    observer: Option<Observer>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("replicas", &self.replicas.load()).finish_non_exhaustive()
    }
}

impl Pool {
    /// Builds a pool; replicas that `previous` has at the same name and address are taken over with their health.
    ///
    /// Names are resolved here, which blocks for as long as the system's resolver takes; call it where blocking is
    /// allowed. A name that does not resolve is no fault: it has no replicas until [`run`](Self::run) resolves it.
    ///
    /// # Errors
    /// Every fault of the settings, keys relative to `upstream`.
    pub fn build(settings: &Settings, previous: Option<&Pool>) -> Result<Self, Vec<Fault>> {
        let endpoints = settings.endpoints()?;
        let pool = Self {
            settings: settings.clone(),
            endpoints,
            replicas: ArcSwap::default(),
            turn: AtomicUsize::new(0),
            doubt: Notify::new(),
            observer: None,
        };
        let known = previous.map(|previous| previous.replicas.load_full()).unwrap_or_default();
        let found = pool.endpoints.iter().map(|endpoint| match endpoint.literal() {
            Some(address) => (endpoint, vec![address]),
            None => (endpoint, (endpoint.host(), endpoint.port()).to_socket_addrs().into_iter().flatten().collect()),
        });
        let replicas = assemble(found, &known);
        pool.replicas.store(Arc::new(replicas));
        Ok(pool)
    }

    /// Calls `observer` whenever a replica's health changes, with what it is now: for metrics and the log.
    pub fn observe(mut self, observer: impl Fn(&Replica, bool) + Send + Sync + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// The next healthy replica in turn that is not in `tried`.
    ///
    /// # Errors
    /// [`Reason::NoReplica`] if there is none; `Retry-After` is the probes' interval, at least a second.
    pub fn pick(&self, tried: &[ReplicaId]) -> Result<Arc<Replica>, Refusal> {
        let replicas = self.replicas.load();
        let first = self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(replicas.len()).unwrap_or(0);
        let mut in_turn = replicas.iter().skip(first).chain(replicas.iter().take(first));
        in_turn.find(|replica| replica.is_healthy() && !tried.contains(&replica.id())).map(Arc::clone).ok_or_else(
            || {
                let detail = match (replicas.is_empty(), tried.is_empty()) {
                    (true, _) => "no replica has an address",
                    (false, true) => "no replica is healthy",
                    (false, false) => "no other replica is healthy",
                };
                let wait = self.settings.health.interval.0.max(Duration::from_secs(1));
                Refusal::new(Reason::NoReplica, detail).retry_after(wait)
            },
        )
    }

    /// Says how a replica did. Never blocks.
    pub fn report(&self, replica: &Replica, outcome: Outcome) {
        match outcome {
            // Nothing to mend: a replica out of turn is brought back by a probe, not by what was under way.
            Outcome::Connected => {}
            Outcome::ConnectFailed => {
                let others = self.replicas.load().iter().any(|other| other.id() != replica.id() && other.is_healthy());
                if others && replica.take_out() {
                    self.changed(replica, false);
                }
                self.doubt.notify_one();
            }
            // The process may be restarting: ask it, but the one failed exchange is no proof.
            Outcome::Broken => self.doubt.notify_one(),
        }
    }

    /// All replicas, for metrics and status pages.
    pub fn replicas(&self) -> Arc<Vec<Arc<Replica>>> {
        self.replicas.load_full()
    }

    /// How many replicas are healthy; readiness asks for at least one.
    pub fn healthy(&self) -> usize {
        self.replicas.load().iter().filter(|replica| replica.is_healthy()).count()
    }

    /// What the pool was built from: timeouts and retries are the caller's to apply.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    fn changed(&self, replica: &Replica, healthy: bool) {
        if let Some(observer) = &self.observer {
            observer(replica, healthy);
        }
    }
}

/// The replicas at the addresses found, those already known taken over. One address is one replica, whoever names it.
fn assemble<'a>(
    found: impl Iterator<Item = (&'a Endpoint, Vec<SocketAddr>)>,
    known: &[Arc<Replica>],
) -> Vec<Arc<Replica>> {
    let mut replicas: Vec<Arc<Replica>> = Vec::new();
    for (endpoint, mut addresses) in found {
        // A resolver turns its answers round; the turn is ours.
        addresses.sort_unstable();
        addresses.dedup();
        for address in addresses.into_iter().take(MAX_ADDRESSES) {
            if replicas.iter().any(|replica| replica.address() == address) {
                continue;
            }
            let same = |replica: &&Arc<Replica>| replica.address() == address && replica.name() == endpoint.name();
            let known = known.iter().find(same);
            replicas.push(known.map_or_else(|| Arc::new(Replica::new(endpoint.name(), address)), Arc::clone));
        }
    }
    replicas
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn pool(list: &str, previous: Option<&Pool>) -> Pool {
        let settings = Settings { replicas: list.parse().unwrap(), ..Settings::default() };
        Pool::build(&settings, previous).unwrap()
    }

    fn ports(pool: &Pool, tried: &[ReplicaId], n: usize) -> Vec<u16> {
        (0..n).map(|_| pool.pick(tried).unwrap().address().port()).collect()
    }

    #[test]
    fn healthy_replicas_take_turns() {
        let pool = pool("127.0.0.1:1, 127.0.0.1:2,127.0.0.1:3", None);
        assert_eq!(ports(&pool, &[], 6), [1, 2, 3, 1, 2, 3]);
        let two = pool.replicas()[1].clone();
        pool.report(&two, Outcome::ConnectFailed);
        let after = ports(&pool, &[], 300);
        assert!(!after.contains(&2) && after.contains(&1) && after.contains(&3));
        assert_eq!(pool.healthy(), 2);
        let tried = [pool.replicas()[0].id()];
        assert!(ports(&pool, &tried, 9).iter().all(|port| *port == 3));
    }

    #[test]
    fn without_a_healthy_replica_the_answer_is_503() {
        let pool = pool("127.0.0.1:1,127.0.0.1:2", None);
        let all: Vec<_> = pool.replicas().iter().map(|replica| replica.id()).collect();
        let refusal = pool.pick(&all).unwrap_err();
        assert_eq!((refusal.reason, refusal.retry_after), (Reason::NoReplica, Some(Duration::from_secs(2))));
        for replica in pool.replicas().iter() {
            replica.take_out();
        }
        assert_eq!(pool.pick(&[]).unwrap_err().reason.status(), 503);
    }

    #[test]
    fn a_failed_connection_never_takes_out_the_last_one() {
        let pool = pool("127.0.0.1:1,127.0.0.1:2", None);
        for replica in pool.replicas().iter() {
            pool.report(replica, Outcome::ConnectFailed);
            pool.report(replica, Outcome::Broken);
        }
        assert_eq!(ports(&pool, &[], 2), [2, 2]);
    }

    #[test]
    fn health_and_requests_in_flight_outlive_a_reload() {
        let old = pool("127.0.0.1:1,127.0.0.1:2", None);
        old.report(&old.replicas()[0], Outcome::ConnectFailed);
        let busy = old.replicas()[1].enter();
        let new = pool("127.0.0.1:3,127.0.0.1:1,127.0.0.1:2", Some(&old));
        let seen: Vec<_> = new.replicas().iter().map(|r| (r.address().port(), r.is_healthy(), r.in_flight())).collect();
        assert_eq!(seen, [(3, true, 0), (1, false, 0), (2, true, 1)]);
        drop(busy);
        assert_eq!(new.replicas()[2].in_flight(), 0);
    }

    #[test]
    fn changes_are_told_once() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&told);
        let pool = pool("127.0.0.1:1,127.0.0.1:2", None)
            .observe(move |replica, healthy| seen.lock().unwrap().push((replica.address().port(), healthy)));
        for _ in 0..3 {
            pool.report(&pool.replicas()[0].clone(), Outcome::ConnectFailed);
        }
        assert_eq!(*told.lock().unwrap(), [(1, false)]);
    }

    #[test]
    fn one_address_is_one_replica() {
        let pool = pool("127.0.0.1:1,127.0.0.1:1,localhost:1", None);
        assert_eq!(pool.replicas().iter().filter(|r| r.address() == "127.0.0.1:1".parse().unwrap()).count(), 1);
        // A name that does not resolve (RFC 6761 section 6.4) has no replica and is no fault.
        assert!(super::tests::pool("nothing.invalid:1", None).pick(&[]).is_err());
    }
}
