//! One pool: who of its replicas gets a request.

use super::affinity::{self, Affinity};
use super::budget::{Budget, Terms};
use super::choice::{self, Candidate};
use super::discover::Discovery;
use super::hedge::{After, Hedges};
use super::judge::Outcome;
use super::members::{Member, Members};
use super::outlier::Sign;
use super::queue::{Queue, Waited};
use super::replica::{Replica, ReplicaId};
use super::settings::{Algorithm, Settings};
use super::transport::Transport;
use crate::fault::Fault;
use crate::telemetry::{HedgeOutcome, Metrics, PoolMetrics, RetryOutcome};
use crate::units::Share;
use crate::verdict::{Reason, Refusal};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// What a request asks of a pool.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// When.
    pub now: Instant,
    /// Replicas not to be asked again.
    pub tried: &'a [ReplicaId],
    /// Its key's place on the ring ([`super::hash`]); looked at where [`Algorithm::ConsistentHash`] decides.
    pub key: u64,
    /// Its `Cookie` field; looked at where there is an affinity cookie.
    pub cookie: Option<&'a [u8]>,
    /// Whether it could be sent again, and so may try a replica that was ejected.
    pub idempotent: bool,
    /// Drawn anew for each.
    pub dice: u64,
}

/// A pool of replicas.
pub struct Pool {
    pub(super) name: Arc<str>,
    pub(super) settings: Settings,
    pub(super) transport: Arc<Transport>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) meter: PoolMetrics,
    pub(super) members: ArcSwap<Members>,
    pub(super) discovery: Mutex<Discovery>,
    pub(super) affinity: Affinity,
    turn: AtomicUsize,
    /// Wakes the prober when a replica failed.
    pub(super) doubt: Notify,
    pub(super) queue: Arc<Queue>,
    budget: Arc<Budget>,
    pub(super) hedges: Arc<Hedges>,
    /// One ejection is decided at a time: each looks at how many there are.
    pub(super) ejecting: Mutex<()>,
    pub(super) born: Instant,
    /// Milliseconds after `born` at which speeds are compared next.
    pub(super) compare: AtomicU64,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.name)
            .field("members", &self.members.load().list)
            .finish_non_exhaustive()
    }
}

/// What a choice came to.
enum Choice {
    Taken(Lease),
    /// All who are fit have as many requests as they may.
    Busy,
    Nobody,
}

/// Who may be asked.
#[derive(Clone, Copy)]
struct Fit<'a> {
    tried: &'a [ReplicaId],
    unready: bool,
    ejected: bool,
}

impl Fit<'_> {
    fn takes(&self, replica: &Replica) -> bool {
        let bars = replica.bars();
        (bars.none() || self.beyond(bars)) && !self.tried.contains(&replica.id())
    }

    fn beyond(&self, bars: super::replica::Bars) -> bool {
        !bars.draining() && (bars.ready() || self.unready && bars.alive()) && (!bars.ejected() || self.ejected)
    }
}

impl Pool {
    /// Builds a pool. What `previous` knows is taken over: replicas at the same address with their state, names that
    /// were resolved, the queue and the retry budget.
    ///
    /// Names that are new are resolved here, which blocks for as long as the system's resolver takes; call it where
    /// blocking is allowed. A name that does not resolve is no fault: it has no replicas until [`run`](Self::run)
    /// resolves it.
    ///
    /// # Errors
    /// Every fault of the settings and of the file they name, keys relative to the section.
    pub fn build(
        name: &str,
        settings: &Settings,
        base: &Path,
        previous: Option<&Pool>,
        metrics: &Arc<Metrics>,
        now: Instant,
    ) -> Result<Self, Vec<Fault>> {
        let endpoints = settings.endpoints();
        let transport = Transport::build(settings, base, previous.map(|previous| &previous.transport));
        let (endpoints, transport) = match (endpoints, transport) {
            (Ok(endpoints), Ok(transport)) => (endpoints, transport),
            (endpoints, transport) => {
                return Err([endpoints.err(), transport.err()].into_iter().flatten().flatten().collect());
            }
        };
        let known = previous.map(|previous| previous.discovery.lock().clone());
        let discovery = Discovery::begin(endpoints, &settings.discover, base, known.as_ref(), now)?;
        let terms = terms(settings);
        let pool = Self {
            name: name.into(),
            settings: settings.clone(),
            transport,
            metrics: Arc::clone(metrics),
            meter: metrics.balance.pool(name),
            members: ArcSwap::from_pointee(Members::default()),
            discovery: Mutex::new(discovery),
            affinity: Affinity::new(name, &settings.affinity),
            turn: AtomicUsize::new(0),
            doubt: Notify::new(),
            queue: previous.map_or_else(Arc::default, |previous| Arc::clone(&previous.queue)),
            budget: previous.map_or_else(|| Arc::new(Budget::new(terms, now)), |previous| Arc::clone(&previous.budget)),
            hedges: previous.map_or_else(Arc::default, |previous| Arc::clone(&previous.hedges)),
            ejecting: Mutex::default(),
            born: now,
            compare: AtomicU64::new(0),
        };
        let known = previous.map(|previous| previous.members.load_full()).unwrap_or_default();
        pool.adopt(&known.list, now);
        if !settings.ejection.enabled {
            pool.members.load().list.iter().for_each(|member| member.replica.pardon());
        }
        Ok(pool)
    }

    /// Makes members of what is discovered, those already known taken over. One address is one replica, whoever names
    /// it. Whether that changed anything.
    pub(super) fn adopt(&self, known: &[Member], now: Instant) -> bool {
        let mut list: Vec<Member> = Vec::new();
        for found in self.discovery.lock().found() {
            if list.iter().any(|member| member.replica.address() == found.address) {
                continue;
            }
            let same =
                |member: &&Member| member.replica.address() == found.address && member.replica.name() == &found.name;
            let replica = known.iter().find(same).map_or_else(
                || {
                    let meter = self.metrics.balance.replica(&self.name, &found.address.to_string());
                    Arc::new(Replica::new(&found.name, found.address, meter, now))
                },
                |member| Arc::clone(&member.replica),
            );
            list.push(Member { token: self.affinity.token(found.address), weight: found.weight, replica });
        }
        if self.members.load().same(&list) {
            return false;
        }
        self.members.store(Arc::new(Members::new(list, self.settings.algorithm == Algorithm::ConsistentHash)));
        true
    }

    /// A replica for a request, with a place among its requests. Waits, within bounds, while all are busy.
    ///
    /// # Errors
    /// [`Reason::NoReplica`] if nobody is fit, `Retry-After` being the probes' interval, at least a second;
    /// [`Reason::Overloaded`] if too many wait already, or it waited for too long.
    pub async fn acquire(self: &Arc<Self>, ask: Ask<'_>) -> Result<Lease, Refusal> {
        self.budget.deposit(terms(&self.settings));
        match self.choose(ask) {
            Choice::Taken(lease) => Ok(lease),
            Choice::Nobody => Err(self.nobody(ask)),
            Choice::Busy => {
                let most = self.members.load().list.len().saturating_mul(self.settings.max_queue as usize);
                let attempt = || match self.choose(Ask { now: Instant::now(), ..ask }) {
                    Choice::Busy => None,
                    done => Some(done),
                };
                let (waited, choice) = self.queue.wait(most, self.settings.queue_timeout.0, attempt).await;
                self.meter.queue.count(waited.into());
                match choice {
                    Some(Choice::Taken(lease)) => Ok(lease),
                    Some(_) => Err(self.nobody(ask)),
                    None => {
                        let detail = match waited {
                            Waited::Full => "all replicas are busy, and too many requests wait already",
                            _ => "all replicas stayed busy",
                        };
                        Err(Refusal::new(Reason::Overloaded, detail).retry_after(Duration::from_secs(1)))
                    }
                }
            }
        }
    }

    /// A replica for a request, or nothing: for what can do without.
    pub fn try_acquire(self: &Arc<Self>, ask: Ask<'_>) -> Option<Lease> {
        match self.choose(ask) {
            Choice::Taken(lease) => Some(lease),
            Choice::Busy | Choice::Nobody => None,
        }
    }

    fn nobody(&self, ask: Ask<'_>) -> Refusal {
        let detail = match (self.members.load().list.is_empty(), ask.tried.is_empty()) {
            (true, _) => "no replica has an address",
            (false, true) => "no replica is healthy",
            (false, false) => "no other replica is healthy",
        };
        let wait = self.settings.health.interval.0.max(Duration::from_secs(1));
        Refusal::new(Reason::NoReplica, detail).retry_after(wait)
    }

    fn most(&self) -> usize {
        match self.settings.max_in_flight {
            0 => usize::MAX,
            most => most as usize,
        }
    }

    /// Whether so few are left in turn that the ejected, and the unready, get requests too.
    fn panics(&self, members: &Members) -> (bool, bool) {
        let (mut all, mut ready, mut up) = (0_u32, 0_u32, 0_u32);
        for member in &members.list {
            let bars = member.replica.bars();
            if !bars.draining() {
                all += 1;
                ready += u32::from(bars.ready());
                up += u32::from(bars.none());
            }
        }
        let few = |n: u32, share: Share| f64::from(n) < share.value() * f64::from(all);
        (few(up, self.settings.ejection.panic_threshold), few(ready, self.settings.health.panic_threshold))
    }

    fn choose(self: &Arc<Self>, ask: Ask<'_>) -> Choice {
        let members = self.members.load();
        let (ejected, unready) = self.panics(&members);
        let fit = Fit { tried: ask.tried, unready, ejected };
        let taken = |index: usize, trial: bool| {
            members.list.get(index).map(|member| Lease {
                pool: Arc::clone(self),
                member: member.clone(),
                trial,
                settled: false,
                well: None,
            })
        };
        // One whose ejection is over is tried as soon as there is a request that another could answer in its stead.
        if ask.idempotent && ask.tried.is_empty() && !ejected {
            let on_trial = |member: &Member| {
                let replica = &member.replica;
                replica.bars().only_ejected()
                    && replica.awaits_trial(ask.now)
                    && replica.enter(self.most())
                    && (replica.begin_trial(ask.now, &self.settings.ejection) || {
                        replica.leave();
                        false
                    })
            };
            if let Some(lease) = members.list.iter().position(on_trial).and_then(|index| taken(index, true)) {
                return Choice::Taken(lease);
            }
        }
        let mut busy = false;
        for fit in [fit, Fit { ejected: true, ..fit }] {
            // Between a look and taking the place somebody else may take it: then look again.
            for _ in 0..8 {
                let Some(index) = self.among(&members, fit, ask, &mut busy) else { break };
                if let Some(member) = members.list.get(index)
                    && member.replica.enter(self.most())
                    && let Some(lease) = taken(index, false)
                {
                    return Choice::Taken(lease);
                }
                busy = true;
            }
            if busy {
                return Choice::Busy;
            }
        }
        Choice::Nobody
    }

    /// The one whose turn it is among those that are fit and have room; `busy` if some had no room.
    fn among(&self, members: &Members, fit: Fit<'_>, ask: Ask<'_>, busy: &mut bool) -> Option<usize> {
        let (most, slow_start) = (self.most(), self.settings.slow_start.0);
        let mut candidates = SmallVec::<[Candidate; 16]>::new();
        for (index, member) in members.list.iter().enumerate() {
            let replica = &member.replica;
            if !fit.takes(replica) {
                continue;
            }
            let in_flight = replica.in_flight();
            if in_flight >= most {
                *busy = true;
                continue;
            }
            let weight = f64::from(member.weight) * replica.warmth(ask.now, slow_start);
            candidates.push(Candidate { index, weight, in_flight });
        }
        if candidates.is_empty() {
            return None;
        }
        *busy = false;
        if let Some(index) = self.stays(members, &candidates, ask) {
            return Some(index);
        }
        match self.settings.algorithm {
            Algorithm::RoundRobin => choice::smooth(&candidates, &mut members.gained.lock()),
            Algorithm::LeastConnections => choice::least(&candidates, self.turn.fetch_add(1, Ordering::Relaxed)),
            Algorithm::PeakEwma => choice::two_choices(&candidates, ask.dice, |index| {
                members.list.get(index).map_or(f64::MAX, |member| member.replica.expected_seconds(ask.now))
            }),
            Algorithm::ConsistentHash => {
                members.ring.find(ask.key, |index| candidates.iter().any(|candidate| candidate.index == index))
            }
        }
    }

    /// The candidate that the request's cookie names.
    fn stays(&self, members: &Members, candidates: &[Candidate], ask: Ask<'_>) -> Option<usize> {
        let value = affinity::value(ask.cookie?, self.affinity.cookie()?)?;
        let named = |candidate: &&Candidate| {
            let token = members.list.get(candidate.index).and_then(|member| member.token.as_ref());
            token.is_some_and(|token| token.as_bytes() == value)
        };
        candidates.iter().find(named).map(|candidate| candidate.index)
    }

    /// Whether anybody but those tried could be asked.
    pub fn has_other(&self, tried: &[ReplicaId]) -> bool {
        let members = self.members.load();
        let (_, unready) = self.panics(&members);
        let fit = Fit { tried, unready, ejected: true };
        members.list.iter().any(|member| fit.takes(&member.replica))
    }

    /// Whether a request that was sent `attempts` times may be sent once more; if so it is paid from the budget. Counts
    /// what it decides.
    pub fn may_retry(&self, attempts: usize, tried: &[ReplicaId], now: Instant) -> bool {
        let outcome = if attempts > usize::from(self.settings.max_retries) {
            RetryOutcome::Exhausted
        } else if !self.has_other(tried) {
            RetryOutcome::Nobody
        } else if !self.budget.withdraw(terms(&self.settings), now) {
            RetryOutcome::OverBudget
        } else {
            RetryOutcome::Retried
        };
        self.meter.retries.count(outcome);
        outcome == RetryOutcome::Retried
    }

    /// After how long a second replica is to be asked beside `first`, for a request that may be asked twice; `None`: not.
    pub fn hedges_after(&self, first: &Replica) -> Option<Duration> {
        if self.settings.hedge.after == After::Off || !self.has_other(&[first.id()]) {
            return None;
        }
        self.hedges.deposit(&self.settings.hedge);
        self.hedges.after(&self.settings.hedge)
    }

    /// A second replica, if one is free and the budget lasts, which then is paid. Counts what it decides against.
    pub fn hedge(self: &Arc<Self>, ask: Ask<'_>) -> Option<Lease> {
        let Some(lease) = self.try_acquire(ask) else {
            self.meter.hedges.count(HedgeOutcome::Nobody);
            return None;
        };
        if self.hedges.withdraw() {
            return Some(lease);
        }
        self.meter.hedges.count(HedgeOutcome::OverBudget);
        None
    }

    /// Whether a request that was sent `attempts` times before could yet be sent to another replica than this one.
    pub fn may_leave(&self, attempts: usize, tried: &[ReplicaId], replica: &Replica) -> bool {
        if attempts >= usize::from(self.settings.max_retries) {
            return false;
        }
        let mut tried: SmallVec<[ReplicaId; 8]> = tried.into();
        tried.push(replica.id());
        self.has_other(&tried)
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// All replicas with their weights, for metrics and status pages.
    pub fn replicas(&self) -> Vec<(Arc<Replica>, u32)> {
        self.members.load().list.iter().map(|member| (Arc::clone(&member.replica), member.weight)).collect()
    }

    /// How many replicas are in turn; readiness asks for at least one.
    pub fn healthy(&self) -> usize {
        self.members.load().list.iter().filter(|member| member.replica.is_healthy()).count()
    }

    /// What the pool was built from: timeouts are the caller's to apply.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How its replicas are spoken to.
    pub fn transport(&self) -> &Arc<Transport> {
        &self.transport
    }

    /// Counters of the pool.
    pub fn meter(&self) -> &PoolMetrics {
        &self.meter
    }

    /// Sets the gauges of the pool and its replicas to what they are now.
    pub fn publish(&self) {
        let members = self.members.load();
        let (ejected, unready) = self.panics(&members);
        self.meter.state(self.queue.waiting(), self.budget.left(), ejected || unready);
        for member in &members.list {
            let replica = &member.replica;
            replica.meter().state(replica.is_healthy(), replica.in_flight(), replica.latency());
        }
    }

    /// Takes the replica of that name or address out of turn, or brings it back; what it has in hand it ends. Whether
    /// there is such a replica.
    pub fn drain(&self, replica: &str, on: bool, now: Instant) -> bool {
        let members = self.members.load();
        let named =
            |member: &&Member| &**member.replica.name() == replica || member.replica.address().to_string() == replica;
        let mut found = false;
        for member in members.list.iter().filter(named) {
            found = true;
            if member.replica.set_draining(on, now) {
                tracing::info!(pool = %self.name, replica = %member.replica.address(), on, "replica is drained");
            }
        }
        if !on {
            self.queue.wake_all();
        }
        found
    }
}

fn terms(settings: &Settings) -> Terms {
    Terms { share: i64::from(settings.retry.budget.thousandths()), least: settings.retry.min_per_second }
}

/// A request's place with a replica, until dropped.
#[derive(Debug)]
pub struct Lease {
    pool: Arc<Pool>,
    pub(super) member: Member,
    /// Whether it tries a replica that was ejected.
    pub(super) trial: bool,
    /// Whether the replica was judged by it.
    pub(super) settled: bool,
    /// A good response head, its seconds and when it came: it counts once nothing was wrong with what followed.
    pub(super) well: Option<(f64, Instant)>,
}

impl Lease {
    /// The replica.
    pub fn replica(&self) -> &Arc<Replica> {
        &self.member.replica
    }

    /// The pool.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Says how the replica did. Never blocks.
    pub fn report(&mut self, outcome: Outcome, now: Instant) {
        let pool = Arc::clone(&self.pool);
        pool.settle(self, outcome, now);
    }

    /// The value of `Set-Cookie` that brings the client back to this replica, unless its `Cookie` field does already.
    pub fn set_cookie(&self, cookie: Option<&[u8]>) -> Option<String> {
        let token = self.member.token.as_ref()?;
        let name = self.pool.affinity.cookie()?;
        let there = cookie.and_then(|field| affinity::value(field, name));
        (there != Some(token.as_bytes())).then(|| self.pool.affinity.set_cookie(token)).flatten()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.member.replica.leave();
        if self.trial && !self.settled {
            // Its client left, or a stage refused it: that says nothing, and another may try.
            self.pool.end_trial(&self.member.replica, None, Instant::now());
        }
        if let Some((seconds, at)) = self.well.take() {
            self.pool.weigh(&self.member.replica, Sign::Good(seconds), at);
        }
        self.pool.queue.wake_one();
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
