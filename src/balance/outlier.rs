//! Passive health: what a replica's answers say of it, against what the others' say.
//!
//! One [`Outlier`] a replica, a state machine without a clock: closed (in turn), ejected until a time, on trial (its
//! time is over; a few requests at once decide). Evidence is a run of failures, a failure rate within a sliding window,
//! or answers many times slower than the others'. The times of answers are averaged as logarithms: one agent that thinks
//! for minutes must not hide what the rest say.
//!
//! Failures that a request may have caused itself (a status, a late answer) count only as far as the others do better:
//! else a client who knows a URL that fails could take out one replica after the other. A broken connection is never the
//! client's doing.

use super::settings::EjectionSettings;
use std::time::{Duration, Instant};

/// Longest run of ejections that still doubles the time.
const DOUBLINGS: u32 = 16;

/// How one answer counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Sign {
    /// A good answer, and the seconds to its head.
    Good(f64),
    /// A failure that the request itself may have caused.
    Doubtful,
    /// A failure that is the replica's, or its connection's.
    Bad,
}

/// Why a replica is ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evidence {
    /// A run of failures; whether some were the replica's without doubt.
    Run { certain: bool },
    /// Too many failures.
    Rate { certain: bool },
    /// Too slow.
    Slow,
}

/// What a window adds up to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Sums {
    pub(super) answers: u32,
    pub(super) failures: u32,
    certain: u32,
    /// Of the times of good answers.
    logarithms: f64,
}

impl Sums {
    fn add(&mut self, sign: Sign) {
        match sign {
            Sign::Good(seconds) => self.logarithms += seconds.max(0.000_001).ln(),
            Sign::Doubtful => self.failures += 1,
            Sign::Bad => {
                self.failures += 1;
                self.certain += 1;
            }
        }
        self.answers += 1;
    }

    fn and(self, other: Self) -> Self {
        Self {
            answers: self.answers + other.answers,
            failures: self.failures + other.failures,
            certain: self.certain + other.certain,
            logarithms: self.logarithms + other.logarithms,
        }
    }

    /// Failures among answers, from 0 to 1.
    pub(super) fn rate(self) -> f64 {
        if self.answers == 0 { 0.0 } else { f64::from(self.failures) / f64::from(self.answers) }
    }

    /// The geometric mean of good answers' seconds, if there were at least `least`.
    pub(super) fn seconds(self, least: u32) -> Option<f64> {
        let good = self.answers - self.failures;
        (good > 0 && good >= least).then(|| (self.logarithms / f64::from(good)).exp())
    }
}

/// A sliding window of two halves.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    began: Option<Instant>,
    now: Sums,
    before: Sums,
}

impl Window {
    fn turn(&mut self, length: Duration, now: Instant) {
        let half = length / 2;
        let Some(began) = self.began else {
            self.began = Some(now);
            return;
        };
        let elapsed = now.saturating_duration_since(began);
        if elapsed >= half {
            self.before = if elapsed < half * 2 { self.now } else { Sums::default() };
            self.now = Sums::default();
            self.began = Some(now);
        }
    }

    fn sums(&self) -> Sums {
        self.now.and(self.before)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    Ejected {
        until: Instant,
    },
    /// Requests that may still be tried, and good answers so far.
    Trial {
        running: u32,
        good: u32,
    },
}

/// What an end of a trial changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    None,
    Ejected,
    Returned,
}

/// Passive health of one replica.
#[derive(Debug, Default)]
pub(super) struct Outlier {
    state: State,
    run: u32,
    run_certain: bool,
    window: Window,
    /// Ejections in a row.
    times: u32,
    returned: Option<Instant>,
}

impl Outlier {
    /// Whether it is out of turn; a trial is out of turn for all but its requests.
    pub(super) fn is_out(&self) -> bool {
        self.state != State::Closed
    }

    /// Whether a trial may be begun or is under way.
    pub(super) fn on_trial(&self, now: Instant) -> bool {
        match self.state {
            State::Closed => false,
            State::Ejected { until } => now >= until,
            State::Trial { .. } => true,
        }
    }

    /// When its ejection ends.
    pub(super) fn until(&self) -> Option<Instant> {
        match self.state {
            State::Ejected { until } => Some(until),
            _ => None,
        }
    }

    /// Counts an answer; evidence against the replica, if there now is enough for a second look.
    pub(super) fn record(&mut self, sign: Sign, now: Instant, rules: &EjectionSettings) -> Option<Evidence> {
        self.window.turn(rules.window.0, now);
        self.window.now.add(sign);
        if matches!(sign, Sign::Good(_)) {
            (self.run, self.run_certain) = (0, false);
        } else {
            self.run = self.run.saturating_add(1);
            self.run_certain |= sign == Sign::Bad;
        }
        if self.is_out() {
            return None;
        }
        let sums = self.window.sums();
        let enough = sums.answers >= rules.min_requests;
        if rules.consecutive_failures > 0 && self.run >= rules.consecutive_failures {
            Some(Evidence::Run { certain: self.run_certain })
        } else if rules.failure_rate > 0.0 && enough && sums.rate() >= rules.failure_rate {
            let certain = f64::from(sums.certain) / f64::from(sums.answers.max(1)) >= rules.failure_rate;
            Some(Evidence::Rate { certain })
        } else if rules.latency_factor > 0.0 && enough && matches!(sign, Sign::Good(_)) {
            Some(Evidence::Slow)
        } else {
            None
        }
    }

    /// What its window holds.
    pub(super) fn sums(&mut self, now: Instant, rules: &EjectionSettings) -> Sums {
        self.window.turn(rules.window.0, now);
        self.window.sums()
    }

    /// Takes it out of turn; for how long.
    pub(super) fn eject(&mut self, now: Instant, rules: &EjectionSettings) -> Duration {
        // Good conduct since its return wears off what was before: one ejection for each `time`.
        if let Some(returned) = self.returned.take() {
            let good = now.saturating_duration_since(returned).as_secs_f64() / rules.time.0.as_secs_f64().max(0.001);
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is above zero")]
            let good = good as u32;
            self.times = self.times.saturating_sub(good);
        }
        let doubled = rules.time.0.saturating_mul(1 << self.times.min(DOUBLINGS));
        let time = doubled.min(rules.max_time.0.max(rules.time.0));
        self.times = self.times.saturating_add(1);
        self.state = State::Ejected { until: now + time };
        (self.run, self.run_certain) = (0, false);
        self.window = Window::default();
        time
    }

    /// Lets one request try it; false where it is not its time, or enough are trying.
    pub(super) fn begin_trial(&mut self, now: Instant, rules: &EjectionSettings) -> bool {
        let (running, good) = match self.state {
            State::Ejected { until } if now >= until => (0, 0),
            State::Trial { running, good } => (running, good),
            _ => return false,
        };
        if running + good >= rules.trials {
            return false;
        }
        self.state = State::Trial { running: running + 1, good };
        true
    }

    /// A request on trial has ended; `None`: without saying anything of the replica.
    pub(super) fn end_trial(&mut self, good: Option<bool>, now: Instant, rules: &EjectionSettings) -> Change {
        let State::Trial { running, good: so_far } = self.state else { return Change::None };
        match good {
            Some(false) => {
                self.eject(now, rules);
                Change::Ejected
            }
            Some(true) if so_far + 1 >= rules.trials => {
                self.state = State::Closed;
                self.window = Window::default();
                (self.run, self.run_certain) = (0, false);
                self.returned = Some(now);
                Change::Returned
            }
            Some(true) => {
                self.state = State::Trial { running: running.saturating_sub(1), good: so_far + 1 };
                Change::None
            }
            None => {
                self.state = State::Trial { running: running.saturating_sub(1), good: so_far };
                Change::None
            }
        }
    }
}

/// Whether evidence against one replica holds beside what the `others` in turn did in the same time.
pub(super) fn convicts(evidence: Evidence, own: Sums, others: &[Sums], rules: &EjectionSettings) -> bool {
    match evidence {
        Evidence::Run { certain: true } | Evidence::Rate { certain: true } => true,
        Evidence::Run { certain: false } | Evidence::Rate { certain: false } => {
            let all = others.iter().fold(Sums::default(), |sum, other| sum.and(*other));
            all.answers > 0 && all.rate() * 2.0 < own.rate()
        }
        Evidence::Slow => {
            let mut seconds: Vec<f64> = others.iter().filter_map(|other| other.seconds(rules.min_requests)).collect();
            seconds.sort_by(f64::total_cmp);
            let (Some(own), Some(median)) = (own.seconds(rules.min_requests), seconds.get(seconds.len() / 2)) else {
                return false;
            };
            own > median * rules.latency_factor && own - median > rules.latency_excess.0.as_secs_f64()
        }
    }
}

#[cfg(test)]
#[path = "outlier_tests.rs"]
mod tests;
