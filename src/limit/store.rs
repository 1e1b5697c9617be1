//! The buckets of one policy: a table of bounded size under governor's algorithm.
//!
//! governor's own stores grow with every new key until somebody cleans up. This one is a [`StateStore`] too, and never
//! holds more than it was made for. It is cut into shards, each behind its own lock; a key belongs to the shard that a
//! randomly keyed hash says, so nobody can aim at one.

use crate::facts::UserKey;
use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Most shards a table is cut into.
const SHARDS: usize = 256;
/// Tables are cut so that a shard has room for at least this many keys, unless the table is smaller.
const SHARD_MIN: usize = 128;
/// A full shard is searched for whole buckets by a request at most this often.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Time as requests bring it: the latest moment any of them was decided at, in nanoseconds since the first.
#[derive(Debug, Clone, Default)]
struct Watch(Arc<WatchState>);

#[derive(Debug, Default)]
struct WatchState {
    first: OnceLock<Instant>,
    latest: AtomicU64,
}

impl Watch {
    /// Moves on to `now`, never back, and returns the time.
    fn advance(&self, now: Instant) -> u64 {
        let first = *self.0.first.get_or_init(|| now);
        // Half the range is 292 years, and leaves room for governor's sums.
        let nanos =
            u64::try_from(now.saturating_duration_since(first).as_nanos()).unwrap_or(u64::MAX).min(u64::MAX / 2);
        self.0.latest.fetch_max(nanos, Ordering::Relaxed).max(nanos)
    }
}

impl Clock for Watch {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.latest.load(Ordering::Relaxed))
    }
}

/// Everybody's bucket under one policy.
#[derive(Debug)]
pub(super) struct Buckets {
    limiter: RateLimiter<UserKey, Handle, Watch, StateInformationMiddleware>,
    watch: Watch,
    table: Arc<Table>,
}

impl Buckets {
    /// An empty table for at most `max_keys` buckets of `burst` requests that gain one each `interval`.
    pub(super) fn new(interval: Duration, burst: NonZeroU32, max_keys: usize) -> Self {
        let watch = Watch::default();
        let table = Arc::new(Table::new(max_keys, watch.clone()));
        let interval = interval.max(Duration::from_nanos(1));
        // Only an interval of zero gives no quota.
        let quota = Quota::with_period(interval).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(burst);
        let limiter = RateLimiter::new(quota, Handle(table.clone()), watch.clone());
        Self { limiter, watch, table }
    }

    /// Takes one token: `Ok` with what is left, `Err` with the time until there is one.
    pub(super) fn take(&self, user: &UserKey, now: Instant) -> Result<u32, Duration> {
        let now = self.watch.advance(now);
        match self.limiter.check_key(user) {
            Ok(state) => Ok(state.remaining_burst_capacity()),
            Err(until) => Err(until.wait_time_from(Nanos::new(now))),
        }
    }

    /// Drops whole buckets everywhere.
    pub(super) fn sweep(&self, now: Instant) {
        let now = self.watch.advance(now);
        for shard in &self.table.shards {
            let mut shard = shard.lock();
            shard.sweep(now);
            if shard.buckets.capacity() / 4 > shard.buckets.len() {
                let room = shard.buckets.len() * 2;
                shard.buckets.shrink_to(room);
            }
        }
    }

    /// Every bucket that is not whole, with the time in nanoseconds until it is.
    pub(super) fn each(&self, now: Instant, mut visit: impl FnMut(&UserKey, u64)) {
        let now = self.watch.advance(now);
        for shard in &self.table.shards {
            for (key, whole_at) in &shard.lock().buckets {
                if *whole_at > now {
                    visit(key, whole_at - now);
                }
            }
        }
    }

    /// Puts a bucket back that is whole again in `whole_in` nanoseconds; one that is here already stays the emptier of
    /// the two. Without room it is dropped.
    pub(super) fn put(&self, key: UserKey, whole_in: u64, now: Instant) {
        let whole_at = self.watch.advance(now).saturating_add(whole_in);
        let mut shard = self.table.shard(&key).lock();
        if shard.buckets.len() < self.table.room || key.verified().is_some() || shard.buckets.contains_key(&key) {
            let bucket = shard.buckets.entry(key).or_insert(whole_at);
            *bucket = whole_at.max(*bucket);
        }
    }

    /// How many buckets there are.
    pub(super) fn len(&self) -> usize {
        self.table.shards.iter().map(|shard| shard.lock().buckets.len()).sum()
    }

    /// How many requests were counted on an overflow bucket.
    pub(super) fn overflowed(&self) -> u64 {
        self.table.overflowed.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct Table {
    /// A power of two of them.
    shards: Box<[Mutex<Shard>]>,
    /// Most keys in each.
    room: usize,
    hasher: RandomState,
    watch: Watch,
    overflowed: AtomicU64,
}

#[derive(Debug, Default)]
struct Shard {
    /// For each user the moment at which the bucket is whole again (the algorithm's theoretical arrival time).
    buckets: HashMap<UserKey, u64>,
    /// The same for all users who found no room.
    overflow: Option<u64>,
    /// When a request may next search for whole buckets.
    next_sweep: u64,
}

impl Shard {
    /// Drops the buckets that are whole at `now`: to the algorithm they are the same as none.
    fn sweep(&mut self, now: u64) {
        self.buckets.retain(|_, whole_at| *whole_at > now);
        self.next_sweep = now.saturating_add(u64::try_from(SWEEP_EVERY.as_nanos()).unwrap_or(u64::MAX));
    }
}

impl Table {
    fn new(max_keys: usize, watch: Watch) -> Self {
        let wanted = (max_keys / SHARD_MIN).clamp(1, SHARDS);
        let count = 1 << wanted.ilog2();
        let shards = (0..count).map(|_| Mutex::default()).collect();
        let room = (max_keys / count).max(1);
        Self { shards, room, hasher: RandomState::new(), watch, overflowed: AtomicU64::new(0) }
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::indexing_slicing,
        reason = "the mask leaves only the low bits that number the shards, a power of two"
    )]
    fn shard(&self, key: &UserKey) -> &Mutex<Shard> {
        &self.shards[self.hasher.hash_one(key) as usize & (self.shards.len() - 1)]
    }
}

/// A shared table as governor wants it.
#[derive(Debug)]
struct Handle(Arc<Table>);

impl StateStore for Handle {
    type Key = UserKey;

    fn measure_and_replace<T, F, E>(&self, key: &UserKey, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let table = &self.0;
        let mut shard = table.shard(key).lock();
        if let Some(whole_at) = shard.buckets.get_mut(key) {
            let (outcome, next) = decide(Some(Nanos::new(*whole_at)))?;
            *whole_at = next.as_u64();
            return Ok(outcome);
        }
        if shard.buckets.len() >= table.room {
            let now = table.watch.now().as_u64();
            if now >= shard.next_sweep {
                shard.sweep(now);
            }
        }
        // Verified users are as many as the configuration names, so they need no bound of ours.
        if shard.buckets.len() < table.room || key.verified().is_some() {
            let (outcome, next) = decide(None)?;
            shard.buckets.insert(key.clone(), next.as_u64());
            return Ok(outcome);
        }
        table.overflowed.fetch_add(1, Ordering::Relaxed);
        let (outcome, next) = decide(shard.overflow.map(Nanos::new))?;
        shard.overflow = Some(next.as_u64());
        Ok(outcome)
    }
}
