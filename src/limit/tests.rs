use super::*;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Instant, SystemTime};

fn settings(toml: &str) -> Settings {
    toml::from_str(toml).unwrap()
}

fn limits(toml: &str) -> Limits {
    Limits::build(&settings(toml), None).unwrap()
}

fn user(n: u128) -> UserKey {
    UserKey::Address(IpAddr::V6(Ipv6Addr::from_bits(n << 64)))
}

/// Virtual time: an arbitrary start and what passed since.
struct Time(Instant);

impl Time {
    fn at(&self, after: Duration) -> Now {
        Now { mono: self.0 + after, wall: SystemTime::UNIX_EPOCH + after }
    }
}

fn time() -> Time {
    Time(Instant::now())
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_burst_then_one_each_interval() {
    let (limits, time) = (limits("default = { rate = \"1/s\", burst = 3 }"), time());
    for left in [2, 1, 0] {
        let quota = limits.take(&user(1), None, time.at(Duration::ZERO)).unwrap().unwrap();
        assert_eq!((quota.remaining, quota.limit, quota.window), (left, 3, 3 * SECOND));
        assert_eq!(quota.reset, (3 - left) * SECOND);
        assert_eq!(&*quota.policy, "default");
    }
    let refusal = limits.take(&user(1), None, time.at(SECOND / 4)).unwrap_err();
    assert_eq!((refusal.reason, refusal.retry_after), (Reason::RateLimited, Some(SECOND * 3 / 4)));
    let quota = refusal.quota.unwrap();
    assert_eq!((quota.remaining, quota.reset), (0, SECOND * 11 / 4));
    assert!(limits.take(&user(2), None, time.at(SECOND / 4)).is_ok(), "another user has another bucket");
    assert!(limits.take(&user(1), None, time.at(SECOND)).is_ok(), "one more after the interval");
    assert!(limits.take(&user(1), None, time.at(SECOND)).is_err(), "and only one");
    assert_eq!(limits.take(&user(1), None, time.at(60 * SECOND)).unwrap().unwrap().remaining, 2, "whole again");
}

#[test]
fn the_default_is_a_hundred_a_minute() {
    let (limits, time) = (limits(""), time());
    for _ in 0..100 {
        assert!(limits.take(&user(1), None, time.at(Duration::ZERO)).is_ok());
    }
    let refusal = limits.take(&user(1), None, time.at(Duration::ZERO)).unwrap_err();
    assert_eq!(refusal.retry_after, Some(Duration::from_millis(600)));
}

#[test]
fn routes_choose_their_limit_and_a_wrong_name_lifts_none() {
    let (limits, time) = (limits("default.rate = \"2/m\"\npolicies.login.rate = \"1/m\""), time());
    let now = time.at(Duration::ZERO);
    assert!(limits.knows("login") && limits.knows("default") && !limits.knows("nowhere"));
    assert_eq!(limits.names().map(|n| &**n).collect::<Vec<_>>(), ["default", "login"]);
    assert!(limits.take(&user(1), Some("login"), now).is_ok());
    assert_eq!(&*limits.take(&user(1), Some("login"), now).unwrap_err().quota.unwrap().policy, "login");
    assert_eq!(limits.take(&user(1), Some("nowhere"), now).unwrap().unwrap().remaining, 1);
    assert!(limits.take(&user(1), None, now).is_ok());
    assert!(limits.take(&user(1), Some("nowhere"), now).is_err(), "it shares the default's bucket");
}

#[test]
fn switched_off_nothing_is_counted() {
    let (limits, time) = (limits("enabled = \"off\"\ndefault.rate = \"1/d\""), time());
    for _ in 0..10 {
        assert_eq!(limits.take(&user(1), None, time.at(Duration::ZERO)), Ok(None));
    }
    assert_eq!(limits.tables().map(|table| table.users).sum::<u64>(), 0);
}

#[test]
fn unchanged_policies_keep_their_buckets_over_a_reload() {
    let time = time();
    let now = time.at(Duration::ZERO);
    let before = limits("default.rate = \"1/m\"\npolicies.login.rate = \"1/m\"");
    for policy in [None, Some("login")] {
        assert!(before.take(&user(1), policy, now).is_ok());
    }
    let changed = settings("mode = \"detect\"\ndefault.rate = \"1/m\"\npolicies.login.rate = \"2/m\"");
    let after = Limits::build(&changed, Some(&before)).unwrap();
    assert!(after.take(&user(1), None, now).is_err(), "the same shape: the bucket stays empty");
    assert!(after.take(&user(1), Some("login"), now).is_ok(), "another shape: a new bucket");
    assert_eq!(after.mode(), Mode::Detect);
}

#[test]
fn a_flood_of_new_users_is_bounded_and_spares_the_known() {
    let (limits, time) = (limits("max_keys = 4096\ndefault = { rate = \"1/m\", burst = 2 }"), time());
    let known = user(1 << 39);
    assert!(limits.take(&known, None, time.at(Duration::ZERO)).is_ok());
    let admitted = (0..40_000).filter(|n| limits.take(&user(*n), None, time.at(SECOND)).is_ok()).count();
    let held: u64 = limits.tables().map(|table| table.users).sum();
    assert!(held <= 4096, "{held} buckets");
    // Each bucket once, and at most burst from the overflow bucket of each of the 32 shards.
    assert!(admitted <= 4096 + 32 * 2, "{admitted} admitted");
    assert!(limits.tables().map(|table| table.overflowed).sum::<u64>() > 30_000);
    assert!(limits.take(&known, None, time.at(SECOND)).is_ok(), "a known user keeps the bucket");
    assert!(limits.take(&known, None, time.at(SECOND)).is_err(), "with what was left in it");
    assert!(limits.take(&user(1 << 40), None, time.at(2 * SECOND)).is_err(), "strangers wait while the flood lasts");
    let verified = UserKey::ApiKey("ci".into());
    assert_eq!(
        limits.take(&verified, None, time.at(2 * SECOND)).unwrap().unwrap().remaining,
        1,
        "verified users do not"
    );
    assert_eq!(limits.take(&verified, None, time.at(2 * SECOND)).unwrap().unwrap().remaining, 0);
    // The first newcomer after the flood finds room without any housekeeping.
    assert!(limits.take(&user(1 << 41), None, time.at(120 * SECOND)).is_ok());
    limits.housekeep(time.at(600 * SECOND));
    assert_eq!(limits.tables().map(|table| table.users).sum::<u64>(), 0, "all are whole and gone");
}

/// The module's figure: an entry and its control byte in a table that is at worst 7/16 full.
#[test]
fn a_bucket_is_as_small_as_promised() {
    assert!((size_of::<(UserKey, u64)>() + 1) * 16 / 7 <= 76);
}

#[test]
fn housekeeping_keeps_what_is_spent() {
    let (limits, time) = (limits("default = { rate = \"1/s\", burst = 10 }"), time());
    for _ in 0..10 {
        limits.take(&user(1), None, time.at(Duration::ZERO)).unwrap();
    }
    limits.take(&user(2), None, time.at(Duration::ZERO)).unwrap();
    limits.housekeep(time.at(5 * SECOND));
    assert_eq!(limits.tables().map(|table| table.users).sum::<u64>(), 1);
    assert_eq!(limits.take(&user(1), None, time.at(5 * SECOND)).unwrap().unwrap().remaining, 4);
}

#[test]
fn what_cannot_be_right_is_refused_with_the_key() {
    for (toml, key) in [
        ("max_keys = 3", "max_keys"),
        ("max_keys = 99999999999", "max_keys"),
        ("default = { rate = \"1/d\", burst = 4000000000 }", "default"),
        ("policies.a.rate = \"1/500d\"", "policies.a"),
        ("policies.default.rate = \"1/s\"", "policies.default"),
    ] {
        let faults = Limits::build(&settings(toml), None).unwrap_err();
        assert_eq!(faults.len(), 1, "{toml}");
        assert!(faults[0].to_string().starts_with(&format!("{key}: ")), "{toml}: {}", faults[0]);
        assert!(!faults[0].mend.is_empty());
    }
    assert_eq!(Limits::build(&settings("max_keys = 3\npolicies.a.rate = \"1/500d\""), None).unwrap_err().len(), 2);
}

proptest! {
    /// Whatever the rate, the burst and the arrivals: in no window more than burst + rate × time.
    #[test]
    fn a_bucket_never_gives_more_than_burst_and_rate_allow(
        count in 1_u32..50,
        per_millis in 1_u64..5_000,
        burst in 1_u32..20,
        gaps in prop::collection::vec(0_u64..400_000_000, 1..200),
    ) {
        let limits = limits(&format!("default = {{ rate = \"{count}/{per_millis}ms\", burst = {burst} }}"));
        let (time, mut elapsed, mut admitted) = (time(), Duration::ZERO, Vec::new());
        let mut refused_until = Duration::ZERO;
        for gap in gaps {
            elapsed += Duration::from_nanos(gap);
            match limits.take(&user(1), None, time.at(elapsed)) {
                Ok(_) => {
                    prop_assert!(elapsed >= refused_until, "admitted before its own Retry-After");
                    admitted.push(elapsed);
                }
                Err(refusal) => {
                    let wait = refusal.retry_after.unwrap();
                    prop_assert!(!wait.is_zero());
                    refused_until = elapsed + wait;
                }
            }
        }
        let rate = f64::from(count) / Duration::from_millis(per_millis).as_secs_f64();
        for (i, from) in admitted.iter().enumerate() {
            for (j, to) in admitted.iter().enumerate().skip(i) {
                let allowed = f64::from(burst) + rate * (*to - *from).as_secs_f64() + 1e-6;
                prop_assert!((j - i + 1) as f64 <= allowed, "{} in {:?}, allowed {allowed}", j - i + 1, *to - *from);
            }
        }
    }

    /// The other side: a user who keeps to the rate is never refused, and who waits as told is served.
    #[test]
    fn a_user_within_the_rate_is_never_refused(count in 1_u32..50, per_millis in 1_u64..5_000, steps in 1_u32..200) {
        let limits = limits(&format!("default = {{ rate = \"{count}/{per_millis}ms\", burst = 1 }}"));
        let time = time();
        let interval = Duration::from_nanos((per_millis * 1_000_000).div_ceil(u64::from(count)));
        for step in 0..steps {
            prop_assert!(limits.take(&user(1), None, time.at(interval * step)).is_ok());
            let refusal = limits.take(&user(1), None, time.at(interval * step)).unwrap_err();
            prop_assert_eq!(refusal.retry_after, Some(interval));
        }
    }
}
