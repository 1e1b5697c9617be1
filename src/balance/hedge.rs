//! Hedging: asking a second replica when the first one takes longer than most do, for requests that may be asked twice.
//!
//! When that is, a pool says as a time or as a share of its answers (`p95`), which is looked up in a histogram of the
//! times to its response heads; older answers count less and less. Hedges are paid from a budget: a share of the requests
//! that could be hedged. Memory: half a kilobyte a pool.

use crate::units::{Share, Span};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

/// `[upstream.hedge]`: when a second replica is asked beside the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HedgeSettings {
    /// After how long: a time, or the share of the pool's answers that come sooner; `off`: never.
    pub after: After,
    /// Second requests as a share of those that could have one.
    pub max_share: Share,
}

impl Default for HedgeSettings {
    fn default() -> Self {
        Self { after: After::Off, max_share: Share::percent(5) }
    }
}

/// After how long a second replica is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Never.
    Off,
    /// After this time.
    Time(Duration),
    /// After the time in which this many of a hundred answers come.
    Percent(u32),
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Time(time) => Span(*time).fmt(f),
            Self::Percent(percent) => write!(f, "p{percent}"),
        }
    }
}

impl Serialize for After {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        output.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for After {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        let percent = text.strip_prefix('p').and_then(|n| n.parse().ok()).filter(|n| (50..=99).contains(n));
        let time = text.parse().ok().map(|Span(time)| time).filter(|time| !time.is_zero());
        match (text.as_str(), percent, time) {
            ("off", ..) => Ok(Self::Off),
            (_, Some(percent), _) => Ok(Self::Percent(percent)),
            (_, _, Some(time)) => Ok(Self::Time(time)),
            _ => Err(de::Error::custom(format!(
                "{text:?} is no time to wait: write \"off\", a duration as \"50ms\", or \"p50\" to \"p99\""
            ))),
        }
    }
}

/// Steps to a doubling of the time, and how many there are: up to more than an hour.
const STEPS: f64 = 4.0;
const BUCKETS: usize = 128;
/// Fewer answers than this say nothing of their shares; at so many, all count half from then on.
const LEAST: u32 = 100;
const MOST: u32 = 4000;
/// In thousandths of a hedge: what one costs, and what can be saved up.
const ONE: i64 = 1000;
const SAVED: i64 = 10 * ONE;

/// What a pool knows of its answers' times, and its budget.
#[derive(Debug)]
pub(super) struct Hedges {
    buckets: [AtomicU32; BUCKETS],
    count: AtomicU32,
    credit: AtomicI64,
}

impl Default for Hedges {
    fn default() -> Self {
        Self { buckets: [const { AtomicU32::new(0) }; BUCKETS], count: AtomicU32::new(0), credit: AtomicI64::new(0) }
    }
}

impl Hedges {
    /// Counts an answer.
    pub(super) fn observe(&self, time: Duration) {
        let micros = time.as_secs_f64() * 1e6;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0, and less than 2^32")]
        let step = (micros.max(1.0).log2() * STEPS).clamp(0.0, 1e6) as usize;
        if let Some(bucket) = self.buckets.get(step.min(BUCKETS - 1)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        if self.count.fetch_add(1, Ordering::Relaxed) + 1 == MOST {
            let left = self.buckets.iter().map(|bucket| {
                let half = bucket.load(Ordering::Relaxed) / 2;
                bucket.fetch_sub(half, Ordering::Relaxed) - half
            });
            self.count.store(left.sum(), Ordering::Relaxed);
        }
    }

    /// After how long a second replica would be asked; `None`: not.
    pub(super) fn after(&self, settings: &HedgeSettings) -> Option<Duration> {
        match settings.after {
            After::Off => None,
            After::Time(time) => Some(time),
            After::Percent(percent) => {
                let all: u32 = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum();
                if all < LEAST {
                    return None;
                }
                let sooner = u64::from(all) * u64::from(percent) / 100;
                let mut seen = 0;
                let step = self.buckets.iter().position(|bucket| {
                    seen += u64::from(bucket.load(Ordering::Relaxed));
                    seen >= sooner
                })?;
                // The upper end of the step.
                let micros = ((step as f64 + 1.0) / STEPS).exp2();
                Some(Duration::from_secs_f64(micros / 1e6))
            }
        }
    }

    /// A request that could be hedged was made.
    pub(super) fn deposit(&self, settings: &HedgeSettings) {
        let more = i64::from(settings.max_share.thousandths());
        let add = |credit: i64| Some((credit + more).min(SAVED));
        let _ = self.credit.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Pays for one, if that is left.
    pub(super) fn withdraw(&self) -> bool {
        let pay = |credit: i64| (credit >= ONE).then_some(credit - ONE);
        self.credit.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_three_ways() {
        for (text, after) in
            [("off", After::Off), ("50ms", After::Time(Duration::from_millis(50))), ("p95", After::Percent(95))]
        {
            let settings: HedgeSettings = toml::from_str(&format!("after = '{text}'")).unwrap();
            assert_eq!((settings.after, settings.after.to_string().as_str()), (after, text));
        }
        for bad in ["p10", "p100", "0s", "soon", ""] {
            assert!(toml::from_str::<HedgeSettings>(&format!("after = '{bad}'")).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_share_of_the_answers_has_its_time() {
        let hedges = Hedges::default();
        let settings = HedgeSettings { after: After::Percent(95), ..HedgeSettings::default() };
        for n in 1..=1000_u64 {
            if n == 50 {
                assert_eq!(hedges.after(&settings), None, "too few to say");
            }
            hedges.observe(Duration::from_millis(n % 100 + 1));
        }
        let after = hedges.after(&settings).unwrap().as_millis();
        assert!((90..=125).contains(&after), "{after}");
        // What is faster from then on soon outweighs it.
        (0..8000).for_each(|_| hedges.observe(Duration::from_millis(2)));
        assert!(hedges.after(&settings).unwrap() < Duration::from_millis(4));
        hedges.observe(Duration::from_secs(1 << 40));
        hedges.observe(Duration::ZERO);
    }

    #[test]
    fn hedges_are_a_share_of_the_requests() {
        let (hedges, settings) = (Hedges::default(), HedgeSettings::default());
        assert!(!hedges.withdraw());
        let paid = (0..1000).filter(|_| {
            hedges.deposit(&settings);
            hedges.withdraw()
        });
        assert_eq!(paid.count(), 50);
        (0..1000).for_each(|_| hedges.deposit(&settings));
        assert_eq!((0..100).filter(|_| hedges.withdraw()).count(), 10, "no more is saved up");
    }
}
