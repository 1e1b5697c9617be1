//! Replicas that fail in every way they can, under load: no idempotent request may be lost while others are well.

use crate::harness::{Answer, Gate, H1, Replica, Seen, until};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const CONFIG: &str = "[upstream.retry]\nper_try_timeout = \"700ms\"\n\
     [upstream.ejection]\ntime = \"500ms\"\nlatency_excess = \"50ms\"\n\
     [upstream.health]\ninterval = \"200ms\"\ntimeout = \"200ms\"\n\
     [cache]\nenabled = false\n";

/// Clients that ask without pause.
struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(gate: &Gate, clients: usize) -> Self {
        let (stop, served, failed) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let clients = (0..clients)
            .map(|_| {
                let (address, stop, served, failed) = (gate.tls, stop.clone(), served.clone(), failed.clone());
                tokio::spawn(async move {
                    let mut h1 = H1::tls(address).await;
                    while !stop.load(Ordering::Relaxed) {
                        let reply = h1.get("/work", "").await;
                        served.fetch_add(1, Ordering::Relaxed);
                        if reply.status != 200 || reply.text() != "well" {
                            failed.fetch_add(1, Ordering::Relaxed);
                            println!("failed: {} {}", reply.status, reply.text());
                            h1 = H1::tls(address).await;
                        }
                    }
                })
            })
            .collect();
        Self { stop, served, failed, clients }
    }

    async fn goes_on(&self, n: usize) {
        let so_far = self.served.load(Ordering::Relaxed);
        until("load", async || self.served.load(Ordering::Relaxed) > so_far + n).await;
    }

    /// Requests answered, and those answered badly.
    async fn end(self) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
        (self.served.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}

fn ready() -> Answer {
    Answer::with(&[("content-type", "application/json")], "{\"ready\":true}")
}

fn hour() -> Duration {
    Duration::from_secs(3600)
}

/// Puts one of three replicas into a fault under load and out of it again. It has to leave the turn, and to come back.
async fn survives(name: &str, fault: impl Fn(&Seen, usize) -> Answer + Send + Sync + 'static) {
    let faulty = Arc::new(AtomicBool::new(false));
    let (told, count) = (faulty.clone(), AtomicUsize::new(0));
    let bad = Replica::start(move |seen| match (told.load(Ordering::Relaxed), seen.target()) {
        (true, _) => fault(seen, count.fetch_add(1, Ordering::Relaxed)),
        (false, "/ready") => ready(),
        (false, _) => Answer::ok("well"),
    })
    .await;
    let good = [well().await, well().await];
    let gate = Gate::start(&[good[0].address, bad.address, good[1].address], CONFIG).await;
    let load = Load::start(&gate, 6);
    load.goes_on(100).await;
    let healthy = format!("gatehouse_replica_healthy{{pool=\"default\",replica=\"{}\"}}", bad.address);
    faulty.store(true, Ordering::Relaxed);
    let began = Instant::now();
    until("the replica to leave the turn", async || gate.metric(&healthy).await == 0.0).await;
    let out = began.elapsed();
    load.goes_on(100).await;
    faulty.store(false, Ordering::Relaxed);
    let mended = Instant::now();
    until("its return", async || gate.metric(&healthy).await == 1.0).await;
    let back = mended.elapsed();
    load.goes_on(100).await;
    let (served, failed) = load.end().await;
    println!("{name}: out of turn after {out:?}, back after {back:?}; {served} requests, {failed} failed");
    assert_eq!(failed, 0, "{name}");
}

async fn well() -> Replica {
    Replica::start(|seen| if seen.target() == "/ready" { ready() } else { Answer::ok("well") }).await
}

/// Only what clients ask for fails; probes are answered.
fn behind_good_probes(fault: Answer) -> impl Fn(&Seen, usize) -> Answer + Send + Sync + 'static {
    move |seen, _| if seen.target() == "/ready" { ready() } else { fault.clone() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_stalls_whole() {
    survives("stalled", |_, _| Answer::Late(hour(), Box::new(Answer::Closes))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_stalls_behind_good_probes() {
    survives("stalled behind good probes", behind_good_probes(Answer::Late(hour(), Box::new(Answer::Closes)))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_resets() {
    survives("resetting", |_, _| Answer::Resets).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_resets_behind_good_probes() {
    survives("resetting behind good probes", behind_good_probes(Answer::Resets)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_answers_garbage() {
    let garbage = || Answer::RawThenCloses(b"\x16\x03\x01\x02\x00 not a word of HTTP\r\n\r\n".to_vec());
    survives("garbage", move |_, _| garbage()).await;
    survives("garbage behind good probes", behind_good_probes(garbage())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_breaks_off_its_answers() {
    survives("breaking off", behind_good_probes(Answer::BreaksOff)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_answers_503() {
    let busy = Answer::Whole("503 Service Unavailable", vec![("content-type", "text/plain".into())], b"busy".to_vec());
    survives("answering 503", behind_good_probes(busy)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_dies_slowly() {
    survives("slowly dying", |seen, n| match seen.target() {
        "/ready" => ready(),
        _ => Answer::Late(Duration::from_millis(20 * n as u64), Box::new(Answer::ok("well"))),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_killed() {
    let mut bad = well().await;
    let good = [well().await, well().await];
    let gate = Gate::start(&[good[0].address, bad.address, good[1].address], CONFIG).await;
    let load = Load::start(&gate, 6);
    load.goes_on(100).await;
    let healthy = format!("gatehouse_replica_healthy{{pool=\"default\",replica=\"{}\"}}", bad.address);
    let began = Instant::now();
    bad.kill().await;
    until("the replica to leave the turn", async || gate.metric(&healthy).await == 0.0).await;
    let out = began.elapsed();
    load.goes_on(100).await;
    let began = Instant::now();
    bad.revive().await;
    until("its return", async || gate.metric(&healthy).await == 1.0).await;
    let back = began.elapsed();
    load.goes_on(100).await;
    let (served, failed) = load.end().await;
    println!("killed: out of turn after {out:?}, back after {back:?}; {served} requests, {failed} failed");
    assert_eq!(failed, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_not_ended_by_the_time_an_answer_may_take() {
    let pieces = vec![(Duration::ZERO, "data: 1\n\n"), (Duration::from_millis(1500), "data: 2\n\n")];
    let stream = move |seen: &Seen| match seen.target() {
        "/ready" => ready(),
        _ => Answer::Chunks("text/event-stream", pieces.clone()),
    };
    let replicas = [Replica::start(stream.clone()).await, Replica::start(stream).await];
    let config =
        format!("{CONFIG}[[route]]\nname = \"events\"\npath = \"/events\"\nstream = true\nresponse_timeout = \"1s\"\n");
    let gate = Gate::start(&replicas.each_ref().map(|r| r.address), &config).await;
    for target in ["/events", "/other"] {
        assert_eq!(H1::tls(gate.tls).await.get(target, "").await.text(), "data: 1\n\ndata: 2\n\n", "{target}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_breaks_off_is_neither_shown_nor_stored() {
    let half =
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncache-control: max-age=60\r\ncontent-length: 99\r\n\r\nhalf";
    let bad = Replica::start(move |_| Answer::RawThenCloses(half.to_vec())).await;
    let good = Replica::start(|seen| match seen.target() {
        // Of a kind that no rule reads: its head is not held.
        "/image" => Answer::with(&[("content-type", "image/png"), ("cache-control", "max-age=60")], "whole"),
        _ => Answer::with(&[("content-type", "text/plain"), ("cache-control", "max-age=60")], "whole"),
    })
    .await;
    let gate = Gate::start(&[bad.address, good.address], "[upstream.ejection]\nenabled = false\n").await;
    let mut h1 = H1::tls(gate.tls).await;
    for round in 0..2 {
        for target in ["/a", "/b", "/image", "/c"] {
            let reply = h1.get(target, "").await;
            assert_eq!((reply.status, reply.text()), (200, "whole".to_owned()), "{round} {target}: {}", reply.head);
        }
    }
    assert!(bad.seen().len() >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_end_with_their_budget() {
    let busy =
        || Answer::Whole("503 Service Unavailable", vec![("content-type", "text/plain".into())], b"busy".to_vec());
    let replicas = [Replica::start(move |_| busy()).await, Replica::start(move |_| busy()).await];
    let config = "[upstream.retry]\nbudget = 0.0\nmin_per_second = 0\n[upstream.ejection]\nenabled = false\n";
    let gate = Gate::start(&replicas.each_ref().map(|r| r.address), config).await;
    let mut h1 = H1::tls(gate.tls).await;
    for _ in 0..3 {
        assert_eq!(h1.get("/x", "").await.text(), "busy", "the replica's own answer");
    }
    assert_eq!(replicas.iter().map(|r| r.seen().len()).sum::<usize>(), 3);
    until("the count", async || {
        gate.metric("gatehouse_pool_retries_total{outcome=\"over_budget\",pool=\"default\"}").await == 3.0
    })
    .await;
}
