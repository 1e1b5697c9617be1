use super::super::endpoint::Replicas;
use super::super::replica::Probed;
use super::super::settings::{AffinitySettings, HealthSettings, RetrySettings};
use super::*;
use crate::units::{Secret, Span};
use std::collections::HashMap;

fn settings(list: &str) -> Settings {
    Settings { replicas: list.parse::<Replicas>().unwrap(), ..Settings::default() }
}

fn build(settings: &Settings, previous: Option<&Pool>, now: Instant) -> Arc<Pool> {
    let metrics = Arc::new(Metrics::new().unwrap());
    Arc::new(Pool::build("default", settings, Path::new("."), previous, &metrics, now).unwrap())
}

fn pool(list: &str, change: impl FnOnce(&mut Settings)) -> Arc<Pool> {
    let mut settings = settings(list);
    change(&mut settings);
    build(&settings, None, Instant::now())
}

fn ask(now: Instant) -> Ask<'static> {
    Ask { now, tried: &[], key: 0, cookie: None, idempotent: true, dice: 0 }
}

fn take(pool: &Arc<Pool>, ask: Ask<'_>) -> Option<Lease> {
    pool.try_acquire(ask)
}

fn port(lease: &Lease) -> u16 {
    lease.replica().address().port()
}

fn ports(pool: &Arc<Pool>, ask: Ask<'_>, n: usize) -> Vec<u16> {
    (0..n).map(|_| port(&take(pool, ask).unwrap())).collect()
}

fn replica(pool: &Pool, port: u16) -> Arc<Replica> {
    pool.replicas().iter().find(|(replica, _)| replica.address().port() == port).unwrap().0.clone()
}

/// Has the replica at `port` end a request of its own as `outcome` says.
fn ends(pool: &Arc<Pool>, port: u16, outcome: Outcome, now: Instant) {
    let others: Vec<_> =
        pool.replicas().iter().map(|(r, _)| r).filter(|r| r.address().port() != port).map(|r| r.id()).collect();
    let mut lease = take(pool, Ask { tried: &others, ..ask(now) }).unwrap();
    assert_eq!(lease.replica().address().port(), port);
    lease.report(outcome, now);
}

fn fine(ms: u64) -> Outcome {
    Outcome::Answered { status: 200, latency: Duration::from_millis(ms) }
}

const FAILED: Outcome = Outcome::Answered { status: 500, latency: Duration::from_millis(1) };
const THREE: &str = "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3";

#[test]
fn healthy_replicas_take_turns() {
    let (pool, now) = (pool(THREE, |_| {}), Instant::now());
    assert_eq!(ports(&pool, ask(now), 6), [1, 2, 3, 1, 2, 3]);
    ends(&pool, 2, Outcome::ConnectFailed, now);
    let after = ports(&pool, ask(now), 300);
    assert_eq!((1..=3).map(|p| after.iter().filter(|a| **a == p).count()).collect::<Vec<_>>(), [150, 0, 150]);
    assert_eq!(pool.healthy(), 2);
    let tried = [replica(&pool, 1).id()];
    assert!(ports(&pool, Ask { tried: &tried, ..ask(now) }, 9).iter().all(|port| *port == 3));
}

#[test]
fn weights_and_slow_start_shape_the_turns() {
    let pool = pool("127.0.0.1:1 weight=3, 127.0.0.1:2", |s| s.slow_start = Span::secs(10));
    let start = Instant::now() + Duration::from_secs(20);
    let of_two = |at, n| ports(&pool, ask(at), n).iter().filter(|port| **port == 2).count();
    assert_eq!(of_two(start, 400), 100);
    replica(&pool, 2).take_out();
    assert_eq!(of_two(start, 40), 0);
    let ready = Probed { alive: true, ready: true };
    assert!(replica(&pool, 2).judge(ready, &HealthSettings::default(), start));
    let early = of_two(start, 400);
    assert!((5..=20).contains(&early), "a tenth of its share, not {early}");
    assert_eq!(of_two(start + Duration::from_secs(10), 400), 100);
}

#[test]
fn the_least_busy_gets_the_next() {
    let (pool, now) = (pool(THREE, |s| s.algorithm = Algorithm::LeastConnections), Instant::now());
    let held: Vec<_> = (0..6).map(|_| take(&pool, ask(now)).unwrap()).collect();
    let mut busy = HashMap::new();
    held.iter().for_each(|lease| *busy.entry(port(lease)).or_insert(0) += 1);
    assert_eq!(busy, HashMap::from([(1, 2), (2, 2), (3, 2)]));
    let free = port(&held[0]);
    drop(held.into_iter().next());
    assert_eq!(port(&take(&pool, ask(now)).unwrap()), free);
}

#[test]
fn two_choices_leave_the_slow_one_alone() {
    let (pool, now) = (pool(THREE, |s| s.algorithm = Algorithm::PeakEwma), Instant::now());
    for (port, ms) in [(1, 10), (2, 10), (3, 2_000)] {
        ends(&pool, port, fine(ms), now);
    }
    let got: Vec<_> = (0..300_u64)
        .map(|i| port(&take(&pool, Ask { dice: i.wrapping_mul(0x9e37_79b9_7f4a_7c15), ..ask(now) }).unwrap()))
        .collect();
    assert!(!got.contains(&3) && got.contains(&1) && got.contains(&2));
    // With enough requests in their hands the slow one is the shorter queue.
    let _held: Vec<_> = (0..900_u64)
        .map(|i| take(&pool, Ask { dice: i.wrapping_mul(0x9e37_79b9_7f4a_7c15), ..ask(now) }).unwrap())
        .collect();
    assert!(replica(&pool, 3).in_flight() > 0);
}

#[test]
fn a_key_keeps_its_replica_and_moves_only_while_that_is_away() {
    let (pool, now) = (pool(THREE, |s| s.algorithm = Algorithm::ConsistentHash), Instant::now());
    let place = |key: u32| port(&take(&pool, Ask { key: super::super::hash(&key.to_be_bytes()), ..ask(now) }).unwrap());
    let before: Vec<_> = (0..200).map(place).collect();
    assert_eq!((0..200).map(place).collect::<Vec<_>>(), before);
    assert!((1..=3).all(|port| before.iter().filter(|p| **p == port).count() > 30));
    replica(&pool, 2).take_out();
    let after: Vec<_> = (0..200).map(place).collect();
    assert!(before.iter().zip(&after).all(|(b, a)| if *b == 2 { *a != 2 } else { a == b }));
}

#[test]
fn a_cookie_brings_back_to_its_replica_while_that_is_in_turn() {
    let affinity = || AffinitySettings { cookie: "stay".into(), secret: Some(Secret::new("s".repeat(16))) };
    let (pool, now) = (pool(THREE, |s| s.affinity = affinity()), Instant::now());
    let first = take(&pool, ask(now)).unwrap();
    let set = first.set_cookie(None).unwrap();
    assert!(set.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax") && !set.contains("127.0.0.1"));
    let cookie = format!("a=b; {}", set.split(';').next().unwrap());
    let with = Ask { cookie: Some(cookie.as_bytes()), ..ask(now) };
    assert!(ports(&pool, with, 9).iter().all(|p| *p == port(&first)));
    assert!(take(&pool, with).unwrap().set_cookie(with.cookie).is_none(), "it has it already");
    // Another instance with the same secret knows it, whatever is guessed is nobody's.
    let other = build(&Settings { affinity: affinity(), ..settings(THREE) }, None, now);
    assert!(ports(&other, with, 9).iter().all(|p| *p == port(&first)));
    assert_eq!(
        ports(&pool, Ask { cookie: Some(b"stay=127.0.0.1:2"), ..ask(now) }, 30).iter().filter(|p| **p == 2).count(),
        10
    );
    replica(&pool, port(&first)).take_out();
    let elsewhere = take(&pool, with).unwrap();
    assert_ne!(port(&elsewhere), port(&first));
    assert!(elsewhere.set_cookie(with.cookie).is_some(), "and from then on it stays there");
}

#[tokio::test]
async fn without_a_healthy_replica_the_answer_is_503() {
    let (pool, now) = (pool("127.0.0.1:1,127.0.0.1:2", |_| {}), Instant::now());
    let all: Vec<_> = pool.replicas().iter().map(|(replica, _)| replica.id()).collect();
    let refusal = pool.acquire(Ask { tried: &all, ..ask(now) }).await.unwrap_err();
    assert_eq!((refusal.reason, refusal.retry_after), (Reason::NoReplica, Some(Duration::from_secs(2))));
    pool.replicas().iter().for_each(|(replica, _)| assert!(replica.take_out()));
    assert_eq!(pool.acquire(ask(now)).await.unwrap_err().reason.status(), 503);
    // A name that does not resolve (RFC 6761 section 6.4) has no replica and is no fault.
    assert!(take(&build(&settings("nothing.invalid:1"), None, now), ask(now)).is_none());
}

#[test]
fn a_failed_connection_never_takes_out_the_last_one() {
    let (pool, now) = (pool("127.0.0.1:1,127.0.0.1:2", |_| {}), Instant::now());
    ends(&pool, 1, Outcome::ConnectFailed, now);
    for _ in 0..20 {
        ends(&pool, 2, Outcome::ConnectFailed, now);
        ends(&pool, 2, Outcome::Broken, now);
    }
    assert_eq!(ports(&pool, ask(now), 2), [2, 2]);
}

#[test]
fn a_failing_replica_is_ejected_tried_and_ejected_for_longer() {
    let (pool, start) = (pool(THREE, |_| {}), Instant::now());
    let at = |s: u64| start + Duration::from_secs(s);
    for _ in 0..30 {
        ends(&pool, 1, fine(5), start);
        ends(&pool, 3, fine(5), start);
    }
    for _ in 0..5 {
        assert!(replica(&pool, 2).is_healthy());
        ends(&pool, 2, FAILED, start);
    }
    let state = |now| replica(&pool, 2).state(now);
    assert_eq!((state(start), state(at(10))), ("ejected", "trial"));
    assert!(!ports(&pool, ask(at(9)), 30).contains(&2));
    // Its time is over: two idempotent requests try it, others do not, and one that fails is enough.
    assert!(!ports(&pool, Ask { idempotent: false, ..ask(at(10)) }, 30).contains(&2));
    let mut trials = [take(&pool, ask(at(10))).unwrap(), take(&pool, ask(at(10))).unwrap()];
    assert!(trials.iter().all(|trial| port(trial) == 2) && port(&take(&pool, ask(at(10))).unwrap()) != 2);
    trials[0].report(fine(5), at(10));
    trials[1].report(FAILED, at(10));
    assert_eq!((state(at(29)), state(at(30))), ("ejected", "trial"), "twenty seconds now");
    // A trial whose client left says nothing, and gives its place to the next.
    drop(trials);
    drop(take(&pool, ask(at(30))).unwrap());
    for _ in 0..2 {
        let mut trial = take(&pool, ask(at(30))).unwrap();
        assert_eq!(port(&trial), 2);
        trial.report(fine(5), at(30));
    }
    assert_eq!(state(at(30)), "up");
    assert_eq!(pool.replicas().iter().map(|(replica, _)| replica.in_flight()).sum::<usize>(), 0);
}

#[test]
fn an_answer_that_breaks_off_is_no_good_one() {
    let (pool, now) = (pool(THREE, |_| {}), Instant::now());
    for _ in 0..5 {
        assert!(replica(&pool, 2).is_healthy());
        let others = [replica(&pool, 1).id(), replica(&pool, 3).id()];
        let mut lease = take(&pool, Ask { tried: &others, ..ask(now) }).unwrap();
        lease.report(fine(5), now);
        lease.report(Outcome::Broken, now);
    }
    assert_eq!(replica(&pool, 2).state(now), "ejected");
}

#[test]
fn a_url_that_fails_everywhere_ejects_nobody() {
    let (pool, now) = (pool(THREE, |_| {}), Instant::now());
    for _ in 0..100 {
        (1..=3).for_each(|port| ends(&pool, port, FAILED, now));
    }
    assert_eq!(pool.healthy(), 3);
}

#[test]
fn a_slow_replica_is_ejected_beside_fast_ones() {
    let (pool, start) = (pool(THREE, |_| {}), Instant::now());
    for i in 0..60 {
        let now = start + Duration::from_millis(i * 50);
        ends(&pool, 1, fine(10), now);
        ends(&pool, 3, fine(12), now);
        if replica(&pool, 2).is_healthy() {
            ends(&pool, 2, fine(1_500), now);
        }
    }
    assert_eq!((replica(&pool, 2).state(start), pool.healthy()), ("ejected", 2));
}

#[test]
fn not_more_than_a_share_is_ejected_and_panic_uses_all() {
    let now = Instant::now();
    let four = "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3,127.0.0.1:4";
    let pool = pool(four, |_| {});
    let break_all = |ports: &[u16]| {
        for _ in 0..10 {
            ports
                .iter()
                .filter(|port| replica(&pool, **port).is_healthy())
                .for_each(|port| ends(&pool, *port, Outcome::Broken, now));
        }
    };
    break_all(&[1, 2, 3, 4]);
    assert_eq!(pool.healthy(), 2, "half of them");
    let up: Vec<u16> = (1..=4).filter(|port| replica(&pool, *port).is_healthy()).collect();
    assert!(ports(&pool, ask(now), 40).iter().all(|port| up.contains(port)));
    // One more is away: a quarter is left, and that is too little to believe ejections.
    replica(&pool, up[0]).take_out();
    let mut got = ports(&pool, ask(now), 40);
    got.sort_unstable();
    got.dedup();
    assert_eq!(got.len(), 3);
    assert!(!got.contains(&up[0]), "but one that cannot be connected to is not asked");
}

#[test]
fn the_unready_are_asked_only_where_that_is_wanted() {
    let now = Instant::now();
    let unready = Probed { alive: true, ready: false };
    for (threshold, asked) in [(0, false), (60, true)] {
        let pool = pool("127.0.0.1:1,127.0.0.1:2", |s| s.health.panic_threshold = Share::percent(threshold));
        replica(&pool, 2).judge(unready, &HealthSettings::default(), now);
        assert_eq!(ports(&pool, ask(now), 10).contains(&2), asked, "{threshold}");
    }
}

#[test]
fn retries_are_bounded_by_number_budget_and_who_is_left() {
    let retry = RetrySettings { budget: Share::percent(0), min_per_second: 1, ..RetrySettings::default() };
    let (pool, now) = (pool("127.0.0.1:1,127.0.0.1:2", |s| s.retry = retry), Instant::now());
    let tried = [replica(&pool, 1).id()];
    assert!(pool.may_retry(1, &tried, now) && pool.may_retry(2, &tried, now) && !pool.may_retry(3, &tried, now));
    let all = [replica(&pool, 1).id(), replica(&pool, 2).id()];
    assert!(!pool.may_retry(1, &all, now));
    assert_eq!((0..100).filter(|_| pool.may_retry(1, &tried, now)).count(), 8, "ten in reserve, two are spent");
    assert!(pool.may_leave(0, &[], &replica(&pool, 1)) && !pool.may_leave(2, &[], &replica(&pool, 1)));
    assert!(!pool.may_leave(0, &tried, &replica(&pool, 2)));
}

#[tokio::test(start_paused = true)]
async fn a_busy_replica_is_passed_over_then_waited_for_then_503() {
    let now = Instant::now();
    let pool = pool("127.0.0.1:1,127.0.0.1:2", |s| {
        (s.max_in_flight, s.max_queue, s.queue_timeout) = (1, 1, Span::secs(5));
    });
    let first = pool.acquire(ask(now)).await.unwrap();
    let second = pool.acquire(ask(now)).await.unwrap();
    assert_ne!(port(&first), port(&second));
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.acquire(ask(now)).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let full = pool.acquire(ask(now)).await.unwrap_err();
    assert_eq!((full.reason, full.reason.status()), (Reason::Overloaded, 503));
    assert!(full.retry_after.is_some());
    let freed = port(&second);
    drop(second);
    let mut ends = Vec::new();
    for waiting in waiting {
        ends.push(waiting.await.unwrap());
    }
    let (served, late): (Vec<_>, Vec<_>) = ends.into_iter().partition(Result::is_ok);
    assert_eq!(served.iter().map(|lease| port(lease.as_ref().unwrap())).collect::<Vec<_>>(), [freed]);
    assert_eq!(late.into_iter().map(|end| end.unwrap_err().reason).collect::<Vec<_>>(), [Reason::Overloaded]);
}

#[test]
fn state_outlives_a_reload() {
    let now = Instant::now();
    let old = pool(THREE, |_| {});
    ends(&old, 1, Outcome::ConnectFailed, now);
    for _ in 0..5 {
        ends(&old, 2, Outcome::Broken, now);
    }
    // With two of three away, ejections would be disregarded.
    let tried = [replica(&old, 2).id()];
    let busy = take(&old, Ask { tried: &tried, ..ask(now) }).unwrap();
    assert_eq!(port(&busy), 3);
    let new = build(&settings("127.0.0.1:4,127.0.0.1:1,127.0.0.1:2,127.0.0.1:3"), Some(&old), now);
    let state = |pool: &Pool| -> Vec<_> {
        pool.replicas().iter().map(|(r, _)| (r.address().port(), r.state(now), r.in_flight())).collect()
    };
    assert_eq!(state(&new), [(4, "up", 0), (1, "down", 0), (2, "ejected", 0), (3, "up", 1)]);
    drop(busy);
    assert_eq!(replica(&new, 3).in_flight(), 0);
    // Who wants no ejections has none.
    let mut without = settings(THREE);
    without.ejection.enabled = false;
    assert_eq!(state(&build(&without, Some(&new), now))[1], (2, "up", 0));
}

#[test]
fn a_drained_replica_gets_nothing_new() {
    let (pool, now) = (pool("127.0.0.1:1,127.0.0.1:2", |_| {}), Instant::now());
    let held: Vec<_> = (0..2).map(|_| take(&pool, ask(now)).unwrap()).collect();
    assert!(pool.drain("127.0.0.1:1", true, now) && !pool.drain("127.0.0.1:9", true, now));
    assert!(ports(&pool, ask(now), 10).iter().all(|port| *port == 2));
    assert_eq!(replica(&pool, 1).in_flight(), 1, "what it has it keeps");
    assert!(pool.drain("127.0.0.1:1", false, now));
    assert!(ports(&pool, ask(now), 10).contains(&1));
    drop(held);
}

#[test]
fn one_address_is_one_replica() {
    let pool = pool("127.0.0.1:1,127.0.0.1:1,localhost:1", |_| {});
    let same = pool.replicas().iter().filter(|(r, _)| r.address() == "127.0.0.1:1".parse().unwrap()).count();
    assert_eq!(same, 1);
}
