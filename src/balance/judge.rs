//! What a replica's answers change: how fast it is taken to be, whether it is doubted, and whether it is ejected.

use super::hedge::After;
use super::outlier::{Change, Evidence, Sign, convicts};
use super::pool::{Lease, Pool};
use super::replica::Replica;
use super::settings::EjectionSettings;
use crate::telemetry::EjectionCause;
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often replicas are held against each other for how fast they are.
const COMPARE: Duration = Duration::from_secs(1);

/// How a request's dealings with a replica went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It answered with this status, its head after this time.
    Answered {
        /// The status.
        status: u16,
        /// From asking to the response head.
        latency: Duration,
    },
    /// No connection came about: refused, unreachable, or too slow.
    ConnectFailed,
    /// A connection made for this request broke off, or what came was no HTTP.
    Broken,
    /// A kept connection broke off, which replicas may do to one that is idle (RFC 9112 section 9.3.1).
    Stale,
    /// Another was asked beside it, and answered first.
    Overtaken {
        /// How long it had.
        after: Duration,
    },
    /// It did not answer in time.
    TimedOut {
        /// How long it had.
        after: Duration,
    },
}

impl Pool {
    pub(super) fn settle(&self, lease: &mut Lease, outcome: Outcome, now: Instant) {
        let replica = Arc::clone(&lease.member.replica);
        let rules = &self.settings.ejection;
        if let Outcome::Answered { latency: time, .. } | Outcome::Overtaken { after: time } = outcome
            && self.settings.hedge.after != After::Off
        {
            self.hedges.observe(time);
        }
        let sign = match outcome {
            Outcome::Overtaken { after } => {
                // It might have answered the next moment: that it took as long as this is all that is known.
                replica.observe(after, now);
                return;
            }
            Outcome::Answered { status, latency } if rules.statuses.has(status) => {
                // Failing fast is not being fast.
                let latency = latency.max(Duration::from_secs_f64(replica.latency().unwrap_or(0.0)));
                replica.observe(latency, now);
                Sign::Doubtful
            }
            Outcome::Answered { latency, .. } => {
                replica.observe(latency, now);
                Sign::Good(latency.as_secs_f64())
            }
            Outcome::TimedOut { after } => {
                replica.observe(after, now);
                self.doubt.notify_one();
                Sign::Doubtful
            }
            Outcome::Stale => {
                replica.distrust();
                return;
            }
            Outcome::Broken => {
                replica.distrust();
                // The process may be restarting: ask it, but the one failed exchange is no proof.
                self.doubt.notify_one();
                Sign::Bad
            }
            Outcome::ConnectFailed => {
                replica.distrust();
                let others = self.members.load();
                let others = || others.list.iter().any(|m| m.replica.id() != replica.id() && m.replica.bars().ready());
                if replica.bars().alive() && others() && replica.take_out() {
                    tracing::warn!(pool = %self.name, replica = %replica.address(), "replica cannot be connected to");
                }
                self.doubt.notify_one();
                Sign::Bad
            }
        };
        lease.settled = true;
        if !rules.enabled {
            return;
        }
        if lease.trial {
            // At the head: a stream on trial may go on for hours.
            self.end_trial(&replica, Some(matches!(sign, Sign::Good(_))), now);
            return;
        }
        match sign {
            Sign::Good(seconds) => lease.well = Some((seconds, now)),
            Sign::Doubtful | Sign::Bad => {
                lease.well = None;
                self.weigh(&replica, sign, now);
            }
        }
    }

    /// Adds one sign to what is known of a replica.
    pub(super) fn weigh(&self, replica: &Replica, sign: Sign, now: Instant) {
        match replica.record(sign, now, &self.settings.ejection) {
            None => {}
            Some(Evidence::Slow) => self.compare(now),
            Some(evidence) => self.consider(replica, evidence, now),
        }
    }

    pub(super) fn end_trial(&self, replica: &Replica, good: Option<bool>, now: Instant) {
        match replica.end_trial(good, now, &self.settings.ejection) {
            Change::None => {}
            Change::Ejected => {
                replica.meter().ejections.count(EjectionCause::Trial);
                tracing::warn!(pool = %self.name, replica = %replica.address(), "replica failed its trial");
            }
            Change::Returned => {
                tracing::info!(pool = %self.name, replica = %replica.address(), "replica is back in turn");
                self.queue.wake_all();
            }
        }
    }

    /// Holds all replicas in turn against each other for their speed, once in a while.
    fn compare(&self, now: Instant) {
        let at = u64::try_from(now.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX);
        let due = self.compare.load(Ordering::Relaxed);
        let next = at.saturating_add(u64::try_from(COMPARE.as_millis()).unwrap_or(u64::MAX));
        if at < due || self.compare.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        for member in &self.members.load().list {
            self.consider(&member.replica, Evidence::Slow, now);
        }
    }

    /// Ejects a replica if the evidence holds beside the others, and enough of them are left.
    fn consider(&self, replica: &Replica, evidence: Evidence, now: Instant) {
        let rules: &EjectionSettings = &self.settings.ejection;
        let _one_at_a_time = self.ejecting.lock();
        let members = self.members.load();
        let others: SmallVec<[_; 16]> = members
            .list
            .iter()
            .filter(|member| member.replica.id() != replica.id() && member.replica.bars().none())
            .map(|member| member.replica.sums(now, rules))
            .collect();
        let ejected = members.list.iter().filter(|member| member.replica.bars().ejected()).count();
        let allowed = (rules.max_share.value() * members.list.len() as f64).floor().max(1.0);
        if replica.bars().ejected() || others.is_empty() || ejected as f64 + 1.0 > allowed {
            return;
        }
        if !convicts(evidence, replica.sums(now, rules), &others, rules) {
            return;
        }
        let time = replica.eject(now, rules);
        let cause = match evidence {
            Evidence::Run { .. } => EjectionCause::Consecutive,
            Evidence::Rate { .. } => EjectionCause::FailureRate,
            Evidence::Slow => EjectionCause::Latency,
        };
        replica.meter().ejections.count(cause);
        tracing::warn!(
            pool = %self.name, replica = %replica.address(), cause = cause.as_str(), seconds = time.as_secs_f64(),
            "replica is ejected"
        );
    }
}
