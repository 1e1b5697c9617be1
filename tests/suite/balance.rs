//! Balancing and replicas that fail.

use crate::harness::{Answer, Gate, H1, Replica, h2_request, until};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const PROBES: &str = "[upstream.health]\ninterval = \"200ms\"\ntimeout = \"200ms\"\n";

/// Says who it is, and is ready.
async fn named(name: &'static str) -> Replica {
    Replica::start(move |seen| match seen.target() {
        "/ready" => Answer::with(&[("content-type", "application/json")], "{\"ready\":true}"),
        _ => Answer::ok(name),
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_take_turns() {
    let replicas = [named("a").await, named("b").await, named("c").await];
    let gate = Gate::start(&replicas.each_ref().map(|r| r.address), PROBES).await;
    let mut h1 = H1::tls(gate.tls).await;
    let mut names = Vec::new();
    for _ in 0..6 {
        names.push(h1.get("/", "").await.text());
    }
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), 3);
    assert_eq!(names[..3], names[3..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replica_killed_under_load_costs_no_idempotent_request() {
    let mut replicas = [named("a").await, named("b").await, named("c").await];
    let gate = Gate::start(&replicas.each_ref().map(|r| r.address), PROBES).await;
    let (stop, failed, served) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let (address, stop, failed, served) = (gate.tls, stop.clone(), failed.clone(), served.clone());
            tokio::spawn(async move {
                let mut h1 = H1::tls(address).await;
                while !stop.load(Ordering::Relaxed) {
                    let reply = h1.get("/", "").await;
                    served.fetch_add(1, Ordering::Relaxed);
                    failed.fetch_add(usize::from(reply.status != 200), Ordering::Relaxed);
                }
            })
        })
        .collect();
    let load = async |n: usize| {
        let so_far = served.load(Ordering::Relaxed);
        until("load", async || served.load(Ordering::Relaxed) > so_far + n).await;
    };
    load(300).await;
    replicas[1].kill().await;
    load(600).await;
    let healthy = format!("gatehouse_replica_healthy{{replica=\"{}\"}}", replicas[1].address);
    until("the dead one to be noticed", async || gate.metric(&healthy).await == 0.0).await;
    replicas[1].revive().await;
    until("its return", async || gate.metric(&healthy).await == 1.0).await;
    load(300).await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    println!("{} requests, {} failed", served.load(Ordering::Relaxed), failed.load(Ordering::Relaxed));
    assert_eq!(failed.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_that_may_have_arrived_is_not_sent_twice() {
    let replicas = [Replica::start(|_| Answer::Closes).await, Replica::start(|_| Answer::Closes).await];
    let gate = Gate::start(&replicas.each_ref().map(|r| r.address), "").await;
    let reply = H1::tls(gate.tls).await.post("/api/tasks", "application/json", b"{\"a\":1}").await;
    assert_eq!(reply.status, 502);
    assert_eq!(replicas.iter().map(|r| r.seen().len()).sum::<usize>(), 1);
    // A GET may be: both were asked.
    assert_eq!(H1::tls(gate.tls).await.get("/x", "").await.status, 502);
    assert_eq!(replicas.iter().map(|r| r.seen().len()).sum::<usize>(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_to_fail_has_its_status() {
    let replica = Replica::start(|seen| match seen.target() {
        "/closes" => Answer::Closes,
        "/late" => Answer::Late(Duration::from_secs(30), Box::new(Answer::ok("late"))),
        "/half" => Answer::BreaksOff,
        _ => Answer::ok("ok"),
    })
    .await;
    let gate =
        Gate::start(&[replica.address], "[[route]]\nname = \"late\"\npath = \"/late\"\nresponse_timeout = \"300ms\"\n")
            .await;
    for (target, status) in [("/closes", 502), ("/late", 504), ("/half", 502), ("/fine", 200)] {
        let reply = H1::tls(gate.tls).await.get(target, "").await;
        assert_eq!(reply.status, status, "{target}");
        if status != 200 {
            let event = gate.event(&reply).await;
            assert_eq!(
                (event["action"].as_str(), event["status"].as_u64()),
                (Some("error"), Some(status.into())),
                "{target}"
            );
        }
    }
    assert_eq!(h2_request(gate.tls, "GET", "/half", &[], Vec::new()).await.status, 502);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_replicas_the_answer_is_503_and_the_gate_is_not_ready() {
    let mut replica = named("a").await;
    let gate = Gate::start(&[replica.address], PROBES).await;
    let ready = async || H1::try_get(gate.admin, "/readyz").await.map(|reply| reply.status);
    until("readiness", async || ready().await == Some(200)).await;
    replica.kill().await;
    until("unreadiness", async || ready().await == Some(503)).await;
    let reply = H1::tls(gate.tls).await.get("/", "").await;
    assert_eq!(reply.status, 503);
    assert!(reply.header("retry-after").is_some());
    assert_eq!(H1::try_get(gate.admin, "/livez").await.unwrap().status, 200, "alive all the same");
    replica.revive().await;
    until("its return", async || ready().await == Some(200)).await;
    assert_eq!(H1::tls(gate.tls).await.get("/", "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_fall_back_to_health_and_are_not_fooled_by_a_page() {
    for (ready, health, expected) in [
        (Some(("404 Not Found", "application/json")), Some(("200 OK", "application/json")), 200),
        (Some(("404 Not Found", "application/json")), Some(("503 Service Unavailable", "application/json")), 503),
        (Some(("200 OK", "text/html")), Some(("503 Service Unavailable", "application/json")), 503),
        (Some(("200 OK", "text/html")), Some(("200 OK", "application/json")), 200),
        (Some(("503 Service Unavailable", "application/json")), Some(("200 OK", "application/json")), 503),
    ] {
        let replica = Replica::start(move |seen| {
            let answer = match seen.target() {
                "/ready" => ready,
                "/health" => health,
                _ => None,
            };
            match answer {
                Some((status, kind)) => Answer::Whole(status, vec![("content-type", kind.into())], b"{}".to_vec()),
                None => Answer::ok("hi"),
            }
        })
        .await;
        let gate = Gate::start(&[replica.address], PROBES).await;
        until("a probe's verdict", async || {
            H1::try_get(gate.admin, "/readyz").await.is_some_and(|reply| reply.status == expected)
        })
        .await;
        assert_eq!(H1::tls(gate.tls).await.get("/", "").await.status, expected, "{ready:?} {health:?}");
    }
}
