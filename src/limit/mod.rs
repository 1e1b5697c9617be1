//! Rate limits: one token bucket per user and policy.
//!
//! Decides, after the user is known and before the route's policy looks at the request, whether this user may have one
//! more request now. In go the [`UserKey`], the name of the limit the route asks for and the moment; out comes what is
//! left of the bucket, or a refusal (429) that says when a retry may succeed.
//!
//! The bucket is the generic cell rate algorithm (ITU-T I.371 annex A) as the `governor` crate counts it: a user who was
//! quiet has `burst` requests at once, and then one each `per / count`. Over any span of time `T` a bucket admits at most
//! `burst + rate × T` requests; the interval is rounded up to whole nanoseconds, so never more.
//!
//! *Memory.* Each policy holds at most `max_keys` buckets of at most 76 bytes each (70 MB at the default of a million).
//! A bucket that is whole again is the same as none and is dropped: by [`Limits::housekeep`], and by a new user who finds
//! no room, at most once a second. When every bucket is in use, users without one share an overflow bucket, one for each
//! part of the table (up to 256), of the same rate: a flood of new addresses exhausts that bucket and not the memory, and
//! users who already have a bucket keep it. Verified users always get one; they are as many as the configuration names.
//! Cost: two hashes and one short lock.
//!
//! *Open or closed.* Closed: a new address in a flood is limited together with it. There is no failure to pass on, because
//! all state is local. The buckets of a policy whose rate, burst and `max_keys` are unchanged outlive a reload.

mod carry;
mod load;
mod settings;
mod store;

pub use load::{HeldBytes, InFlight, Load, LoadSettings};
pub use settings::{Allowance, Settings};

use crate::facts::{Now, UserKey};
use crate::fault::Fault;
use crate::verdict::{Mode, Quota, Reason, Refusal};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use store::Buckets;

/// The name of the limit that holds where a route names none.
pub const DEFAULT: &str = "default";

/// The longest time an empty bucket may take to refill; keeps every sum of times far from overflow.
const LONGEST_WINDOW: Duration = Duration::from_secs(400 * 86_400);

/// Accepted values of `max_keys`: fewer would limit strangers together on a quiet day, more is no longer bounded memory.
const KEYS: std::ops::RangeInclusive<usize> = 256..=50_000_000;

/// All limits of one configuration.
#[derive(Debug)]
pub struct Limits {
    mode: Mode,
    enabled: bool,
    default: Policy,
    named: BTreeMap<Arc<str>, Policy>,
}

/// One limit: what it allows, and everybody's buckets.
#[derive(Debug)]
struct Policy {
    name: Arc<str>,
    shape: Shape,
    buckets: Arc<Buckets>,
}

/// What makes a bucket what it is; equal shapes may go on with the same buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    /// One request more after this time.
    interval: Duration,
    burst: NonZeroU32,
    max_keys: usize,
}

impl Shape {
    /// The time in which an empty bucket refills whole.
    fn window(self) -> Duration {
        self.interval * self.burst.get()
    }
}

/// How full a limit is.
#[derive(Debug, Clone, Copy)]
pub struct Table<'a> {
    /// The limit's name.
    pub policy: &'a str,
    /// Users with a bucket now.
    pub users: u64,
    /// Requests counted on an overflow bucket since the buckets were made.
    pub overflowed: u64,
}

impl Limits {
    /// Builds the limits, going on with the buckets of `previous` where a policy's shape is unchanged.
    ///
    /// # Errors
    ///
    /// A `max_keys` out of bounds, and policies whose bucket would take longer than 400 days to refill.
    pub fn build(settings: &Settings, previous: Option<&Limits>) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        if !KEYS.contains(&settings.max_keys) {
            let mend = format!("write a number from {} to {}", KEYS.start(), KEYS.end());
            faults.push(Fault::key(
                "max_keys",
                format!("{} buckets a policy is out of bounds", settings.max_keys),
                mend,
            ));
        }
        if settings.policies.contains_key(DEFAULT) {
            let what = "the name \"default\" belongs to the limit of routes that name none";
            faults.push(Fault::key("policies.default", what, "write it as [limits.default], or choose another name"));
        }
        let mut shape = |key: &str, allowance: &Allowance| {
            shape(allowance, settings.max_keys).unwrap_or_else(|what| {
                faults.push(Fault::key(key, what, "write a higher rate or a smaller burst"));
                Shape { interval: Duration::from_secs(1), burst: NonZeroU32::MIN, max_keys: settings.max_keys }
            })
        };
        let default = shape("default", &settings.default);
        let named: Vec<_> = settings
            .policies
            .iter()
            .map(|(name, allowance)| (name.as_str(), shape(&format!("policies.{name}"), allowance)))
            .collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        let policy = |name: &str, shape: Shape| {
            let kept = previous.and_then(|p| p.exact(name)).filter(|p| p.shape == shape).map(|p| p.buckets.clone());
            let buckets = kept.unwrap_or_else(|| Arc::new(Buckets::new(shape.interval, shape.burst, shape.max_keys)));
            Policy { name: name.into(), shape, buckets }
        };
        Ok(Self {
            mode: settings.mode,
            enabled: settings.enabled,
            default: policy(DEFAULT, default),
            named: named.into_iter().map(|(name, shape)| (name.into(), policy(name, shape))).collect(),
        })
    }

    /// Whether refusals are carried out.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether a route may ask for the limit `name`; the configuration refuses names this does not know.
    pub fn knows(&self, name: &str) -> bool {
        self.exact(name).is_some()
    }

    /// Every limit's name, the default first: a closed set that may label metrics.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.all().map(|policy| &policy.name)
    }

    /// Takes one token from the user's bucket of the limit `policy`, or of the default one. `None` when limits are off.
    ///
    /// A name that was never configured counts as the default, so that a mistake cannot lift a limit.
    ///
    /// # Errors
    ///
    /// [`Reason::RateLimited`] with the time to wait and the empty quota.
    pub fn take(&self, user: &UserKey, policy: Option<&str>, now: Now) -> Result<Option<Quota>, Refusal> {
        if !self.enabled {
            return Ok(None);
        }
        let policy = policy.and_then(|name| self.exact(name)).unwrap_or(&self.default);
        let Shape { interval, burst, .. } = policy.shape;
        let quota = |remaining: u32, reset: Duration| Quota {
            policy: policy.name.clone(),
            limit: burst.get(),
            window: policy.shape.window(),
            remaining,
            reset,
        };
        match policy.buckets.take(user, now.mono) {
            // What is spent refills in this time at the latest; the bucket keeps no fractions for us to see.
            Ok(remaining) => Ok(Some(quota(remaining, interval * burst.get().saturating_sub(remaining)))),
            Err(wait) => {
                let mut refusal = Refusal::new(
                    Reason::RateLimited,
                    format!("{user} is over the limit \"{}\": {} per {:?}", policy.name, burst, policy.shape.window()),
                )
                .retry_after(wait);
                refusal.quota = Some(quota(0, wait + interval * (burst.get() - 1)));
                Err(refusal)
            }
        }
    }

    /// Drops the buckets that are whole again and gives their memory back. To be called every few seconds, off the
    /// request path: it locks one part of one table at a time, for some microseconds, 10 ms in all for a million.
    pub fn housekeep(&self, now: Now) {
        for policy in self.all() {
            policy.buckets.sweep(now.mono);
        }
    }

    /// How full the limits are.
    pub fn tables(&self) -> impl Iterator<Item = Table<'_>> {
        self.all().map(|policy| Table {
            policy: &policy.name,
            users: policy.buckets.len() as u64,
            overflowed: policy.buckets.overflowed(),
        })
    }

    fn exact(&self, name: &str) -> Option<&Policy> {
        if name == DEFAULT { Some(&self.default) } else { self.named.get(name) }
    }

    fn all(&self) -> impl Iterator<Item = &Policy> {
        std::iter::once(&self.default).chain(self.named.values())
    }
}

/// The bucket an allowance asks for, or what is wrong with it.
fn shape(allowance: &Allowance, max_keys: usize) -> Result<Shape, String> {
    let burst = allowance.burst.unwrap_or(allowance.rate.count);
    let nanos = allowance.rate.per.as_nanos().div_ceil(u128::from(allowance.rate.count.get()));
    let whole = nanos.saturating_mul(u128::from(burst.get()));
    match u64::try_from(nanos) {
        Ok(nanos) if whole <= LONGEST_WINDOW.as_nanos() => {
            Ok(Shape { interval: Duration::from_nanos(nanos.max(1)), burst, max_keys })
        }
        _ => Err(format!("at {}, a burst of {burst} takes longer than 400 days to refill", allowance.rate)),
    }
}

#[cfg(test)]
mod tests;
