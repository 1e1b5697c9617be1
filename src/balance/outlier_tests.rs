use super::*;
use crate::units::Span;
use proptest::prelude::*;

fn rules() -> EjectionSettings {
    EjectionSettings {
        consecutive_failures: 3,
        failure_rate: 0.5,
        latency_factor: 5.0,
        min_requests: 10,
        window: Span::secs(10),
        time: Span::secs(10),
        max_time: Span::secs(60),
        trials: 2,
        ..EjectionSettings::default()
    }
}

fn after(start: Instant, ms: u64) -> Instant {
    start + Duration::from_millis(ms)
}

#[test]
fn a_run_of_failures_is_evidence_and_a_good_answer_ends_it() {
    let (start, rules) = (Instant::now(), rules());
    let mut outlier = Outlier::default();
    for (sign, evidence) in [
        (Sign::Doubtful, None),
        (Sign::Doubtful, None),
        (Sign::Good(0.01), None),
        (Sign::Doubtful, None),
        (Sign::Bad, None),
        (Sign::Doubtful, Some(Evidence::Run { certain: true })),
    ] {
        assert_eq!(outlier.record(sign, start, &rules), evidence);
    }
    let mut outlier = Outlier::default();
    let found: Vec<_> = (0..3).map(|_| outlier.record(Sign::Doubtful, start, &rules)).collect();
    assert_eq!(found, [None, None, Some(Evidence::Run { certain: false })]);
}

#[test]
fn a_failure_rate_is_evidence_once_there_is_enough_and_while_it_is_recent() {
    let (start, rules) = (Instant::now(), rules());
    let mut outlier = Outlier::default();
    let found: Vec<_> = (0..10)
        .filter_map(|i| outlier.record(if i % 2 == 0 { Sign::Good(0.01) } else { Sign::Bad }, start, &rules))
        .collect();
    assert_eq!(found, [Evidence::Rate { certain: true }], "the tenth answer is enough");
    // Eleven seconds later all of it is forgotten.
    assert_eq!(outlier.record(Sign::Bad, after(start, 11_000), &rules), None);
    assert_eq!(outlier.sums(after(start, 11_000), &rules).answers, 1);
}

#[test]
fn what_a_request_may_have_caused_counts_beside_the_others() {
    let rules = rules();
    let sums = |good: u32, failures: u32| {
        let mut sums = Sums::default();
        (0..good).for_each(|_| sums.add(Sign::Good(0.01)));
        (0..failures).for_each(|_| sums.add(Sign::Doubtful));
        sums
    };
    let doubtful = Evidence::Rate { certain: false };
    assert!(convicts(doubtful, sums(5, 5), &[sums(20, 0), sums(20, 1)], &rules));
    // A URL that fails everywhere takes out nobody.
    assert!(!convicts(doubtful, sums(5, 5), &[sums(5, 5), sums(5, 6)], &rules));
    assert!(!convicts(Evidence::Run { certain: false }, sums(0, 9), &[sums(0, 0)], &rules));
    assert!(convicts(Evidence::Run { certain: true }, sums(0, 9), &[sums(0, 9)], &rules));
}

#[test]
fn slow_is_what_is_many_times_slower_than_the_others() {
    let rules = rules();
    let sums = |seconds: f64, n: u32| {
        let mut sums = Sums::default();
        (0..n).for_each(|_| sums.add(Sign::Good(seconds)));
        sums
    };
    assert!(convicts(Evidence::Slow, sums(1.0, 20), &[sums(0.05, 20), sums(0.06, 20)], &rules));
    assert!(!convicts(Evidence::Slow, sums(0.2, 20), &[sums(0.05, 20), sums(0.06, 20)], &rules));
    assert!(!convicts(Evidence::Slow, sums(0.05, 20), &[sums(0.001, 20)], &rules), "fifty times, and nobody feels it");
    assert!(!convicts(Evidence::Slow, sums(1.0, 20), &[sums(0.05, 3)], &rules), "nobody to compare with");
    // One answer of five minutes among fast ones is no slow replica.
    let mut mixed = sums(0.05, 40);
    mixed.add(Sign::Good(300.0));
    assert!(!convicts(Evidence::Slow, mixed, &[sums(0.05, 20)], &rules));
}

#[test]
fn an_ejection_ends_with_good_trials_or_begins_again_for_longer() {
    let (start, rules) = (Instant::now(), rules());
    let mut outlier = Outlier::default();
    assert_eq!(outlier.eject(start, &rules), Duration::from_secs(10));
    assert!(outlier.is_out() && !outlier.on_trial(after(start, 9_999)));
    assert!(!outlier.begin_trial(after(start, 9_999), &rules));
    let now = after(start, 10_000);
    // Two at once, no third; one that says nothing gives its place back.
    assert!(outlier.begin_trial(now, &rules) && outlier.begin_trial(now, &rules) && !outlier.begin_trial(now, &rules));
    assert_eq!(outlier.end_trial(None, now, &rules), Change::None);
    assert!(outlier.begin_trial(now, &rules));
    assert_eq!(outlier.end_trial(Some(false), now, &rules), Change::Ejected);
    assert_eq!(outlier.until(), Some(after(now, 20_000)));
    // What the first trial still brings in no longer counts.
    assert_eq!(outlier.end_trial(Some(true), now, &rules), Change::None);
    let now = after(now, 20_000);
    assert!(outlier.begin_trial(now, &rules));
    assert_eq!(outlier.end_trial(Some(true), now, &rules), Change::None);
    assert!(outlier.begin_trial(now, &rules));
    assert_eq!(outlier.end_trial(Some(true), now, &rules), Change::Returned);
    assert!(!outlier.is_out());
    // Soon again: longer still. Long after: as the first time.
    assert_eq!(outlier.eject(after(now, 1_000), &rules), Duration::from_secs(40));
    let now = after(now, 100_000);
    for _ in 0..2 {
        assert!(outlier.begin_trial(now, &rules));
        outlier.end_trial(Some(true), now, &rules);
    }
    assert_eq!(outlier.eject(after(now, 600_000), &rules), Duration::from_secs(10));
}

proptest! {
    /// Whatever comes, an ejection is never longer than it may be, and a trial never has more requests than it may.
    #[test]
    fn ejections_and_trials_are_bounded(steps in prop::collection::vec((0_u8..6, 0_u64..30_000), 1..200)) {
        let rules = rules();
        let mut now = Instant::now();
        let mut outlier = Outlier::default();
        let mut running = 0_u32;
        for (step, pause) in steps {
            now += Duration::from_millis(pause);
            match step {
                0 => { outlier.record(Sign::Good(0.01), now, &rules); }
                1 => { outlier.record(Sign::Bad, now, &rules); }
                2 if !outlier.is_out() => {
                    let time = outlier.eject(now, &rules);
                    prop_assert!(time >= rules.time.0 && time <= rules.max_time.0);
                    running = 0;
                }
                3 => running += u32::from(outlier.begin_trial(now, &rules)),
                4 if running > 0 => {
                    running -= 1;
                    if outlier.end_trial(Some(true), now, &rules) == Change::Returned {
                        running = 0;
                    }
                }
                5 if running > 0 => {
                    outlier.end_trial(Some(false), now, &rules);
                    running = 0;
                }
                _ => {}
            }
            prop_assert!(running <= rules.trials);
            prop_assert!(outlier.until().is_none_or(|until| until <= now + rules.max_time.0));
        }
    }
}
