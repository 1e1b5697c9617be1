//! The retry budget: retries are a share of what comes in, so that they cannot multiply an outage.
//!
//! A token bucket: every request pays in `share` tokens, time pays in `least` a second, a retry takes one. It holds ten
//! seconds of `least` and begins full, so that a replica lost at a quiet time or with many requests in hand costs
//! nobody an answer; once that is spent, retries are `share` of the requests. In thousandths, without a lock.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

const TOKEN: i64 = 1000;
/// Seconds of `least` that the bucket holds.
const RESERVE: i64 = 10;

/// The budget of one pool. Its terms are handed in with each call: they are a generation's, what is left is not.
#[derive(Debug)]
pub(super) struct Budget {
    tokens: AtomicI64,
    born: Instant,
    /// Milliseconds after `born` up to which time has paid.
    paid: AtomicU64,
}

/// What a budget is filled by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// Thousandths of a retry for each request.
    pub(super) share: i64,
    /// Retries a second, whatever comes in.
    pub(super) least: u32,
}

impl Terms {
    fn most(self) -> i64 {
        // Without any reserve the share alone must still add up to whole retries.
        (i64::from(self.least) * RESERVE * TOKEN).max(10 * TOKEN)
    }
}

impl Budget {
    pub(super) fn new(terms: Terms, now: Instant) -> Self {
        let full = if terms.least == 0 { 0 } else { terms.most() };
        Self { tokens: AtomicI64::new(full), born: now, paid: AtomicU64::new(0) }
    }

    /// A request came in.
    pub(super) fn deposit(&self, terms: Terms) {
        // Full is the rule: then nothing is written.
        if terms.share > 0 && self.tokens.load(Ordering::Relaxed) < terms.most() {
            self.tokens.fetch_add(terms.share, Ordering::Relaxed);
        }
    }

    /// Whether a retry may be made; it then is paid.
    pub(super) fn withdraw(&self, terms: Terms, now: Instant) -> bool {
        self.fill(terms, now);
        let take = |tokens: i64| (tokens >= TOKEN).then(|| tokens.min(terms.most()) - TOKEN);
        self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// Whole retries left.
    pub(super) fn left(&self) -> i64 {
        self.tokens.load(Ordering::Relaxed) / TOKEN
    }

    fn fill(&self, terms: Terms, now: Instant) {
        let elapsed = u64::try_from(now.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX);
        let before = self.paid.fetch_max(elapsed, Ordering::Relaxed);
        // `least` a second is as many thousandths a millisecond.
        let since = i64::try_from(elapsed.saturating_sub(before)).unwrap_or(i64::MAX);
        let due = since.saturating_mul(i64::from(terms.least));
        if due > 0 {
            let add = |tokens: i64| Some(tokens.saturating_add(due).min(terms.most()));
            let _ = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn a_reserve_then_a_share() {
        let start = Instant::now();
        let terms = Terms { share: 200, least: 10 };
        let budget = Budget::new(terms, start);
        let drawn = |n: usize, at: Instant| (0..n).filter(|_| budget.withdraw(terms, at)).count();
        assert_eq!(drawn(1000, start), 100, "ten seconds of ten");
        (0..50).for_each(|_| budget.deposit(terms));
        assert_eq!(drawn(1000, start), 10, "a fifth of fifty");
        assert_eq!(drawn(1000, start + Duration::from_secs(2)), 20, "ten a second");
        assert_eq!(drawn(1000, start + Duration::from_secs(3600)), 100, "never more than it holds");
        assert_eq!(drawn(1, start), 0, "an earlier clock pays nothing");
    }

    #[test]
    fn without_a_reserve_only_the_share() {
        let start = Instant::now();
        let terms = Terms { share: 500, least: 0 };
        let budget = Budget::new(terms, start);
        assert!(!budget.withdraw(terms, start + Duration::from_secs(60)));
        (0..2).for_each(|_| budget.deposit(terms));
        assert!(budget.withdraw(terms, start) && !budget.withdraw(terms, start));
        let none = Terms { share: 0, least: 0 };
        budget.deposit(none);
        assert!(!budget.withdraw(none, start));
    }

    proptest! {
        /// Whatever happens in whatever order, retries are within reserve, share and time.
        #[test]
        fn never_more_than_paid_in(share in 0_i64..1000, least in 0_u32..20, steps in prop::collection::vec((any::<bool>(), 0_u64..200), 1..400)) {
            let start = Instant::now();
            let terms = Terms { share, least };
            let budget = Budget::new(terms, start);
            let (mut now, mut requests, mut retries) = (start, 0_i64, 0_i64);
            for (retry, pause) in steps {
                now += Duration::from_millis(pause);
                if retry {
                    retries += i64::from(budget.withdraw(terms, now));
                } else {
                    requests += 1;
                    budget.deposit(terms);
                }
            }
            let time = i64::try_from((now - start).as_millis()).unwrap() * i64::from(least);
            prop_assert!(retries * TOKEN <= i64::from(least) * RESERVE * TOKEN + requests * share + time);
        }
    }
}
