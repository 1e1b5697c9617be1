//! Which replica a request goes to, and which replicas are fit to be asked.
//!
//! Decides after the rules and the cache. In: what is known of the request ([`Ask`]); out: a [`Lease`] of a replica, or
//! [`Reason::NoReplica`](crate::verdict::Reason::NoReplica) and
//! [`Reason::Overloaded`](crate::verdict::Reason::Overloaded), both 503. A route names a pool, or several by weight
//! ([`Traffic`]); a pool chooses among its replicas in turn ([`Pool::acquire`]).
//!
//! *Health* comes from two sides. [`Pools::run`] probes each replica every interval: one that speaks no HTTP is down, one
//! that says so is not ready. And every answer counts ([`Lease::report`]): a replica that cannot be connected to is out of
//! turn at once, until its next good probe; one whose answers fail or are far slower than the others' is ejected for a
//! time that doubles, and comes back when a few requests on trial went well (`outlier`). A failed connection and an
//! ejection never take out the last one; where few are left, ejections are disregarded (panic).
//!
//! *Retries* are the caller's to make; [`Pool::may_retry`] says whether there is somebody to ask and the budget lasts.
//!
//! A pool is one generation's; replicas, queue and retry budget are shared with the pool of the same name before it
//! ([`Pools::build`]), so all they know outlives a reload. Where replicas are found may change in between (`discover`):
//! one that is gone gets no more requests, and ends those it has.
//!
//! Memory: about a kilobyte a replica, with consistent hashing 2.5 KiB more for each unit of weight. Cost of a choice: a
//! walk over the replicas, and one short lock.
//!
//! Fails closed: without a healthy replica nothing is forwarded.

mod affinity;
mod budget;
mod choice;
mod discover;
mod endpoint;
mod ewma;
mod hedge;
mod judge;
mod members;
mod outlier;
mod pool;
mod probe;
mod queue;
mod replica;
mod ring;
mod settings;
mod status;
mod transport;

pub use discover::DiscoverSettings;
pub use endpoint::Replicas;
pub use hedge::{After, HedgeSettings};
pub use judge::Outcome;
pub use pool::{Ask, Lease, Pool};
pub use replica::{Replica, ReplicaId};
pub use ring::hash;
pub use settings::{AffinitySettings, Algorithm, EjectionSettings, HashBy, HealthSettings, RetrySettings, Settings};
pub use status::Statuses;
pub use transport::{ConnectError, Connected, Protocol, Transport, Wire};

use crate::fault::Fault;
use crate::telemetry::Metrics;
use crate::tls::Outbound;
use crate::units::Share;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{Semaphore, watch};

/// The name of the pool that `[upstream]` describes.
pub const DEFAULT: &str = "default";

/// All pools of one generation.
#[derive(Debug)]
pub struct Pools {
    /// `[upstream]` first.
    list: Vec<Arc<Pool>>,
    default: Arc<Pool>,
    cookies: Vec<Box<str>>,
}

impl Pools {
    /// Builds `[upstream]` and every `[[pool]]`; each takes over what the one of its name in `previous` knows. Relative
    /// paths start at `base`. May block, see [`Pool::build`].
    ///
    /// # Errors
    /// Every fault, keys as `upstream.replicas[0]` and `pool[0].name`.
    pub fn build(
        upstream: &Settings,
        pools: &[Settings],
        base: &Path,
        previous: Option<&Self>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, Vec<Fault>> {
        let (now, mut faults) = (Instant::now(), Vec::new());
        let mut build = |name: &str, settings: &Settings, key: &str| {
            let before = previous.and_then(|previous| previous.named(name)).map(AsRef::as_ref);
            let built = Pool::build(name, settings, base, before, metrics, now);
            built.map_err(|found| faults.extend(found.into_iter().map(|fault| fault.under(key)))).ok().map(Arc::new)
        };
        let default = build(DEFAULT, upstream, "upstream");
        let named: Vec<_> = pools
            .iter()
            .enumerate()
            .filter_map(|(i, settings)| build(&settings.name, settings, &format!("pool[{i}]")))
            .collect();
        if !upstream.name.is_empty() {
            let mend = "remove it: [upstream] is the pool \"default\"";
            faults.push(Fault::key("upstream.name", "the default pool has its name", mend));
        }
        for (i, settings) in pools.iter().enumerate() {
            let name = settings.name.as_str();
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
            let key = format!("pool[{i}].name");
            if !(1..=32).contains(&name.len()) || !name.bytes().all(plain) {
                let mend = "use 1 to 32 lower-case letters, digits, - and _";
                faults.push(Fault::key(key, format!("{name:?} is no pool name"), mend));
            } else if name == DEFAULT || pools.iter().take(i).any(|other| other.name == name) {
                let what = format!("there is another pool of the name {name:?}");
                faults.push(Fault::key(key, what, "give each pool a name of its own; \"default\" is [upstream]'s"));
            }
        }
        match default {
            Some(default) if faults.is_empty() => {
                let list: Vec<_> = std::iter::once(Arc::clone(&default)).chain(named).collect();
                let mut cookies: Vec<Box<str>> =
                    list.iter().map(|pool| pool.settings().affinity.cookie.as_str().into()).collect();
                cookies.retain(|cookie| !cookie.is_empty());
                Ok(Self { list, default, cookies })
            }
            _ => Err(faults),
        }
    }

    /// The pool that `[upstream]` describes.
    pub fn default(&self) -> &Arc<Pool> {
        &self.default
    }

    /// The pool of that name.
    pub fn named(&self, name: &str) -> Option<&Arc<Pool>> {
        self.list.iter().find(|pool| **pool.name() == *name)
    }

    /// All of them, the default one first.
    pub fn all(&self) -> &[Arc<Pool>] {
        &self.list
    }

    /// The files that were read to speak to replicas: when one changes, the configuration is to be loaded anew.
    pub fn files(&self) -> Vec<PathBuf> {
        self.outbound().flat_map(|(_, tls)| tls.files().to_vec()).collect()
    }

    /// What works but should not stay so, keys as in the configuration.
    pub fn warnings(&self) -> Vec<Fault> {
        let named = |(i, tls): (usize, &Outbound)| {
            let key = i.checked_sub(1).map_or_else(|| "upstream".to_owned(), |i| format!("pool[{i}]"));
            tls.warnings().iter().map(|warning| warning.clone().under(&key)).collect::<Vec<_>>()
        };
        self.outbound().flat_map(named).collect()
    }

    fn outbound(&self) -> impl Iterator<Item = (usize, &Outbound)> {
        self.list.iter().enumerate().filter_map(|(i, pool)| Some((i, pool.transport().tls()?)))
    }

    /// The names of all affinity cookies, which are between clients and the gate.
    pub fn cookies(&self) -> &[Box<str>] {
        &self.cookies
    }

    /// Probes replicas and finds them anew until `shutdown` says true or its sender is gone. One runs for each
    /// generation; after a reload the old one's is ended and the new one's started.
    pub async fn run(self: Arc<Self>, mut shutdown: watch::Receiver<bool>) {
        let work = futures_util::future::join_all(self.list.iter().map(|pool| pool.run()));
        tokio::select! {
            _ = work => {}
            gone = shutdown.wait_for(|stop| *stop) => drop(gone),
        }
    }

    /// Sets the gauges of all pools and replicas to what they are now, and ends the series of replicas that are gone.
    pub fn publish(&self, metrics: &Metrics) {
        let mut there = BTreeSet::new();
        for pool in &self.list {
            pool.publish();
            let replicas = pool.replicas();
            there.extend(replicas.iter().map(|(replica, _)| (pool.name().to_string(), replica.address().to_string())));
        }
        metrics.balance.keep_replicas(&there);
    }
}

/// Where the requests of one route go.
#[derive(Debug, Clone)]
pub struct Traffic {
    /// With what share of `total` each; at least one.
    pools: Vec<(Arc<Pool>, u32)>,
    first: Arc<Pool>,
    total: u64,
    by_request: bool,
    mirror: Option<Mirror>,
}

/// Where copies of requests go.
#[derive(Debug, Clone)]
pub struct Mirror {
    /// The pool that gets them.
    pub pool: Arc<Pool>,
    /// Of how many requests.
    pub share: Share,
    /// Largest body copied, in bytes.
    pub max_body: usize,
    /// Bounds the copies under way.
    pub places: Arc<Semaphore>,
}

/// What a route says of it, by the pools' names.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// One pool.
    pub pool: Option<&'a str>,
    /// Or several with their weights.
    pub split: &'a [(&'a str, u32)],
    /// Whether each request is drawn anew; else its user decides, and stays.
    pub by_request: bool,
    /// Pool, share, largest body in bytes, copies at once.
    pub mirror: Option<(&'a str, Share, usize, usize)>,
}

impl Traffic {
    /// Finds the pools of a plan.
    ///
    /// # Errors
    /// Names that no pool has, keys relative to the route.
    pub fn build(plan: Plan<'_>, pools: &Pools) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut find = |key: String, name: &str| {
            let found = pools.named(name).map(Arc::clone);
            if found.is_none() {
                let mend = "add a [[pool]] of that name, or write \"default\" for [upstream]";
                faults.push(Fault::key(key, format!("no pool is named {name:?}"), mend));
            }
            found
        };
        let mut list = Vec::new();
        for (i, (name, weight)) in plan.split.iter().enumerate() {
            list.extend(find(format!("split[{i}].pool"), name).map(|pool| (pool, *weight)));
        }
        if list.is_empty() {
            let pool = plan.pool.map_or_else(|| Some(Arc::clone(pools.default())), |name| find("pool".into(), name));
            list.extend(pool.map(|pool| (pool, 1)));
        }
        let mirror = plan.mirror.and_then(|(name, share, max_body, most)| {
            let pool = find("mirror.pool".into(), name)?;
            Some(Mirror { pool, share, max_body, places: Arc::new(Semaphore::new(most)) })
        });
        let first = list.first().map(|(pool, _)| Arc::clone(pool));
        match first {
            Some(first) if faults.is_empty() => {
                let total = list.iter().map(|(_, weight)| u64::from(*weight)).sum();
                Ok(Self { pools: list, first, total, by_request: plan.by_request, mirror })
            }
            _ => Err(faults),
        }
    }

    /// The pool for a request: by its user's key (called only where that decides), or by `dice`, drawn anew for each.
    pub fn pool(&self, user: impl FnOnce() -> u64, dice: u64) -> &Arc<Pool> {
        if self.pools.len() < 2 || self.total == 0 {
            return &self.first;
        }
        let place = if self.by_request { dice } else { user() };
        // The key's place between nothing and all, as a share of the weights.
        let mut at = u64::try_from((u128::from(place) * u128::from(self.total)) >> 64).unwrap_or_default();
        for (pool, weight) in &self.pools {
            match at.checked_sub(u64::from(*weight)) {
                None => return pool,
                Some(rest) => at = rest,
            }
        }
        &self.first
    }

    /// Where its copy goes, if `dice` says that one is made.
    pub fn mirror(&self, dice: u32) -> Option<&Mirror> {
        self.mirror.as_ref().filter(|mirror| mirror.share.takes(dice))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pools(upstream: &str, named: &[(&str, &str)], previous: Option<&Pools>) -> Result<Pools, Vec<Fault>> {
        let of = |name: &str, list: &str| Settings {
            name: name.into(),
            replicas: list.parse().unwrap(),
            ..Settings::default()
        };
        let named: Vec<_> = named.iter().map(|(name, list)| of(name, list)).collect();
        let metrics = Arc::new(Metrics::new().unwrap());
        Pools::build(&of("", upstream), &named, Path::new("."), previous, &metrics)
    }

    #[test]
    fn pools_have_names_of_their_own() {
        let faults = pools(
            "127.0.0.1:1",
            &[("a", "x"), ("a", "127.0.0.1:1"), ("default", "127.0.0.1:1"), ("A", "127.0.0.1:1")],
            None,
        );
        let keys: Vec<String> =
            faults.unwrap_err().iter().map(|f| f.to_string().split(": ").next().unwrap().into()).collect();
        assert_eq!(keys, ["pool[0].replicas[0]", "pool[1].name", "pool[2].name", "pool[3].name"]);
    }

    #[test]
    fn a_split_follows_its_weights_and_keeps_users() {
        let pools = pools("127.0.0.1:1", &[("canary", "127.0.0.1:2")], None).unwrap();
        let plan = Plan { pool: None, split: &[("default", 90), ("canary", 10)], by_request: false, mirror: None };
        let traffic = Traffic::build(plan, &pools).unwrap();
        let place = |user: u32| traffic.pool(|| hash(&user.to_be_bytes()), 0).name().to_string();
        let canary = (0..10_000).filter(|user| place(*user) == "canary").count();
        assert!((850..1150).contains(&canary), "{canary}");
        assert!((0..100).all(|user| place(user) == place(user)));
        let traffic = Traffic::build(Plan { by_request: true, ..plan }, &pools).unwrap();
        assert_eq!(&**traffic.pool(|| 0, u64::MAX).name(), "canary");
        assert_eq!(&**traffic.pool(|| u64::MAX, 0).name(), "default");
        let none =
            Plan { split: &[("default", 1), ("gone", 1)], mirror: Some(("gone", Share::percent(1), 1, 1)), ..plan };
        assert_eq!(Traffic::build(none, &pools).unwrap_err().len(), 2);
    }

    #[test]
    fn a_pool_of_the_same_name_keeps_its_replicas() {
        let old = pools("127.0.0.1:1", &[("a", "127.0.0.1:1")], None).unwrap();
        let replica = |pools: &Pools, name: &str| pools.named(name).unwrap().replicas()[0].0.clone();
        let new = pools("127.0.0.1:1,127.0.0.1:2", &[("b", "127.0.0.1:1"), ("a", "127.0.0.1:1")], Some(&old)).unwrap();
        assert!(Arc::ptr_eq(&replica(&old, "a"), &replica(&new, "a")));
        assert!(Arc::ptr_eq(&replica(&old, "default"), &replica(&new, "default")));
        assert!(!Arc::ptr_eq(&replica(&old, "a"), &replica(&new, "b")));
    }
}
