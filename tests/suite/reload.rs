//! Reloads and the end.

use crate::harness::{Answer, Gate, H1, Replica, until};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Reloads in the test under load: the whole figure takes a while.
fn rounds() -> usize {
    if std::env::var_os("GATEHOUSE_LONG").is_some() { 200 } else { 20 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reloads_under_load_fail_no_request() {
    let replica = Replica::plain().await;
    let gate = Gate::start(&[replica.address], "").await;
    let (stop, failed, served) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..64)
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
    until("load", async || served.load(Ordering::Relaxed) > 64).await;
    for _ in 0..rounds() {
        let before = gate.metric("gatehouse_reloads_total{outcome=\"applied\"}").await;
        gate.signal("HUP");
        gate.reloaded("applied", before).await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    println!(
        "{} reloads, {} requests, {} failed",
        rounds(),
        served.load(Ordering::Relaxed),
        failed.load(Ordering::Relaxed)
    );
    assert_eq!(failed.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_is_taken_up_and_a_broken_one_leaves_what_runs() {
    let replica = Replica::plain().await;
    let rule =
        |word: &str| format!("SecRule ARGS:q \"@streq {word}\" \"id:9300,phase:2,deny,status:403,t:none,log\"\n");
    let gate = Gate::start_with(&[replica.address], "[waf]\nrules = \"own.conf\"\n", |dir| {
        std::fs::write(dir.path().join("own.conf"), rule("one")).unwrap();
    })
    .await;
    let status = async |word: &str| H1::tls(gate.tls).await.get(&format!("/?q={word}"), "").await.status;
    assert_eq!((status("one").await, status("two").await), (403, 200));
    std::fs::write(gate.path("own.conf"), rule("two")).unwrap();
    until("the new rule", async || status("two").await == 403).await;
    assert_eq!(status("one").await, 200);

    let refused = async || gate.metric("gatehouse_reloads_total{outcome=\"refused\"}").await;
    let before = refused().await;
    std::fs::write(gate.path("own.conf"), "\nSecRule ARGS:q \"@streq three\" \"id:9300,phase:2,deny\n").unwrap();
    gate.reloaded("refused", before).await;
    assert!(gate.log().contains("own.conf:2:"), "file and line: {}", gate.log());
    assert_eq!(status("two").await, 403, "the running rules stay");

    std::fs::write(gate.path("own.conf"), rule("two")).unwrap();
    let before = refused().await;
    let text = std::fs::read_to_string(gate.path("gate.toml")).unwrap();
    std::fs::write(gate.path("gate.toml"), text.replace("[limits]", "[limits]\nbrust = 5")).unwrap();
    gate.reloaded("refused", before).await;
    assert!(gate.log().contains("brust"), "{}", gate.log());
    let status_page = H1::try_get(gate.admin, "/api/v1/status").await.unwrap().text();
    assert!(status_page.contains("brust"), "the admin listener shows the last fault: {status_page}");
    assert_eq!(status("two").await, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_lets_requests_in_flight_end() {
    let replica = Replica::start(|seen| match seen.target() {
        "/slow" => Answer::Late(Duration::from_millis(800), Box::new(Answer::ok("done"))),
        _ => Answer::ok("quick"),
    })
    .await;
    let mut gate = Gate::start(&[replica.address], "").await;
    let address = gate.tls;
    let slow = tokio::spawn(async move { H1::tls(address).await.get("/slow", "").await });
    until("the request to be under way", async || !replica.seen().is_empty()).await;
    let mut idle = H1::tls(gate.tls).await;
    assert_eq!(idle.get("/", "").await.status, 200);
    gate.signal("TERM");
    assert!(idle.is_closed().await, "idle connections go at once");
    let reply = slow.await.unwrap();
    assert_eq!((reply.status, reply.text()), (200, "done".into()));
    assert_eq!(reply.header("connection"), Some("close"));
    assert_eq!(gate.ended().await, Some(0));
}
