//! Peak EWMA: how long a replica takes to its response heads, quick to believe that it became slow.
//!
//! An answer slower than the average replaces it at once; a faster one pulls it down by how long ago the last came
//! (weight `1 - e^(-t/τ)`). While nothing is measured the average falls by the same rule, so that a replica which was
//! slow once is tried again. The idea is Finagle's.

use std::time::{Duration, Instant};

/// τ: after this time without an answer a third of the old average is left.
const DECAY: Duration = Duration::from_secs(10);
/// What an unmeasured replica is taken for, in seconds.
const UNKNOWN: f64 = 0.005;

/// The average of one replica.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ewma {
    last: Option<(Instant, f64)>,
}

impl Ewma {
    /// Takes in one answer's time to its head.
    pub(super) fn observe(&mut self, latency: Duration, now: Instant) {
        let seconds = latency.as_secs_f64();
        let average = match self.last {
            Some((at, average)) if seconds < average => {
                let kept = kept(now, at);
                average * kept + seconds * (1.0 - kept)
            }
            _ => seconds,
        };
        self.last = Some((now, average));
    }

    /// Seconds to be expected of it now; above zero.
    pub(super) fn seconds(&self, now: Instant) -> f64 {
        self.last.map_or(UNKNOWN, |(at, average)| (average * kept(now, at)).max(0.000_001))
    }

    /// The average in seconds as last measured; `None` before.
    pub(super) fn measured(&self) -> Option<f64> {
        self.last.map(|(_, average)| average)
    }
}

fn kept(now: Instant, at: Instant) -> f64 {
    (-now.saturating_duration_since(at).as_secs_f64() / DECAY.as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slow_is_believed_at_once_and_fast_only_with_time() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut ewma = Ewma::default();
        assert!(ewma.measured().is_none() && ewma.seconds(start) > 0.0);
        ewma.observe(Duration::from_millis(10), at(0));
        ewma.observe(Duration::from_secs(1), at(10));
        assert!((ewma.measured().unwrap() - 1.0).abs() < 1e-9);
        ewma.observe(Duration::from_millis(10), at(20));
        assert!(ewma.measured().unwrap() > 0.99, "one fast answer is no proof");
        ewma.observe(Duration::from_millis(10), at(60_000));
        assert!(ewma.measured().unwrap() < 0.02, "after a minute it is");
        // And without any answer it comes down too.
        ewma.observe(Duration::from_secs(1), at(60_010));
        assert!(ewma.seconds(at(120_000)) < 0.01);
    }

    proptest! {
        #[test]
        fn an_average_is_never_outside_of_what_was_seen(latencies in prop::collection::vec((0_u64..10_000, 0_u64..30_000), 1..50)) {
            let mut now = Instant::now();
            let mut ewma = Ewma::default();
            for (latency, pause) in &latencies {
                now += Duration::from_millis(*pause);
                ewma.observe(Duration::from_millis(*latency), now);
            }
            let seen = latencies.iter().map(|(latency, _)| *latency as f64 / 1000.0);
            let (least, most) = seen.fold((f64::MAX, 0.0_f64), |(a, b), s| (a.min(s), b.max(s)));
            let average = ewma.measured().unwrap();
            prop_assert!(average >= least - 1e-9 && average <= most + 1e-9);
            prop_assert!(ewma.seconds(now) > 0.0);
        }
    }
}
