//! The response cache.

use crate::harness::{Answer, Gate, H1, Replica};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const FRESH: &[(&str, &str)] = &[("content-type", "text/plain"), ("cache-control", "public, max-age=60")];

/// Each answer differs, so that a stored one shows.
async fn counting(headers: &'static [(&'static str, &'static str)]) -> Replica {
    let count = AtomicUsize::new(0);
    Replica::start(move |_| Answer::with(headers, &count.fetch_add(1, Ordering::Relaxed).to_string())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_response_is_served_again_and_says_so() {
    let replica = counting(FRESH).await;
    let gate = Gate::start(&[replica.address], "").await;
    let mut h1 = H1::tls(gate.tls).await;
    let first = h1.get("/a", "").await;
    assert!(first.header("cache-status").unwrap().contains("fwd=uri-miss; stored"), "{}", first.head);
    let second = h1.get("/a", "").await;
    assert!(second.header("cache-status").unwrap().starts_with("Gatehouse; hit; ttl="), "{}", second.head);
    assert!(second.header("age").is_some());
    assert_eq!((first.text(), second.text(), replica.seen().len()), ("0".into(), "0".into(), 1));
    assert_ne!(h1.get("/a?b", "").await.text(), "0", "another query, another entry");
    // An unsafe request makes what is stored wrong.
    assert_eq!(h1.post("/a", "text/plain", b"x").await.status, 200);
    assert_ne!(h1.get("/a", "").await.text(), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_users_response_is_never_anothers() {
    for (headers, fields, public) in [
        (&[("cache-control", "max-age=60")][..], "authorization: Bearer x\r\n", false),
        (&[("cache-control", "max-age=60")], "cookie: sid=1\r\n", false),
        (&[("cache-control", "public, max-age=60"), ("set-cookie", "sid=1")], "", false),
        (&[("cache-control", "private, max-age=60")], "", false),
        (&[("cache-control", "no-store")], "", false),
        (&[("cache-control", "public, max-age=60"), ("vary", "*")], "", false),
        (&[("etag", "\"x\"")], "", false),
        (&[("cache-control", "public, max-age=60")], "", true),
    ] {
        let replica = counting(headers).await;
        let gate = Gate::start(&[replica.address], "").await;
        let mut h1 = H1::tls(gate.tls).await;
        let first = h1.get("/a", fields).await.text();
        let second = h1.get("/a", "").await.text();
        assert_eq!(first == second, public, "{headers:?} {fields:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variants_are_kept_apart() {
    let replica = counting(&[("cache-control", "public, max-age=60"), ("vary", "accept-language")]).await;
    let gate = Gate::start(&[replica.address], "").await;
    let mut h1 = H1::tls(gate.tls).await;
    let de = h1.get("/a", "accept-language: de\r\n").await.text();
    let en = h1.get("/a", "accept-language: en\r\n").await.text();
    assert_ne!(de, en);
    assert_eq!(h1.get("/a", "accept-language: de\r\n").await.text(), de);
    assert_eq!(h1.get("/a", "accept-language: en\r\n").await.text(), en);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_requests_in_flight_become_one() {
    let replica =
        Replica::start(|_| Answer::Late(Duration::from_millis(300), Box::new(Answer::with(FRESH, "once")))).await;
    let gate = Gate::start(&[replica.address], "").await;
    let all: Vec<_> = (0..100)
        .map(|_| {
            let address = gate.plain;
            tokio::spawn(async move { H1::plain(address).await.get("/slow", "").await.text() })
        })
        .collect();
    for one in all {
        assert_eq!(one.await.unwrap(), "once");
    }
    assert_eq!(replica.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn validators_work_at_the_gate_and_reach_the_replica_as_it_gave_them() {
    let replica = Replica::start(|seen| {
        if seen.header("if-none-match") == Some("\"v1\"") {
            Answer::Whole(
                "304 Not Modified",
                vec![("etag", "\"v1\"".into()), ("cache-control", "no-cache".into())],
                Vec::new(),
            )
        } else {
            Answer::with(&[("etag", "\"v1\""), ("cache-control", "no-cache"), ("content-type", "text/plain")], "body")
        }
    })
    .await;
    let gate = Gate::start(&[replica.address], "").await;
    let mut h1 = H1::tls(gate.tls).await;
    assert_eq!(h1.get("/p", "").await.text(), "body");
    let again = h1.get("/p", "").await;
    assert_eq!((again.status, again.text()), (200, "body".into()), "revalidated and served from the store");
    let not_modified = h1.get("/p", "if-none-match: W/\"v1\"\r\n").await;
    assert_eq!(not_modified.status, 304, "{}", not_modified.head);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_if_cached_asks_nobody() {
    let replica = counting(FRESH).await;
    let gate = Gate::start(&[replica.address], "").await;
    let mut h1 = H1::tls(gate.tls).await;
    assert_eq!(h1.get("/a", "cache-control: only-if-cached\r\n").await.status, 504);
    assert_eq!(replica.seen().len(), 0);
    assert_eq!(h1.get("/a", "").await.status, 200);
    assert_eq!(h1.get("/a", "cache-control: only-if-cached\r\n").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_response_is_not_stored() {
    const RULE: &str =
        "SecRule RESPONSE_BODY \"@contains secret-leak\" \"id:9200,phase:4,deny,status:502,t:none,log\"\n";
    let replica = Replica::start(|seen| {
        let body = if seen.target() == "/bad" { "a secret-leak here" } else { "fine" };
        Answer::with(FRESH, body)
    })
    .await;
    let gate = Gate::start_with(&[replica.address], "[waf]\nrules = \"own.conf\"\n", |dir| {
        std::fs::write(dir.path().join("own.conf"), RULE).unwrap();
    })
    .await;
    let mut h1 = H1::tls(gate.tls).await;
    for _ in 0..2 {
        let refused = h1.get("/bad", "").await;
        assert_eq!(refused.status, 502);
        assert!(!refused.text().contains("secret-leak"));
        h1 = H1::tls(gate.tls).await;
    }
    assert_eq!(replica.seen().len(), 2, "asked both times");
    assert_eq!(h1.get("/good", "").await.text(), "fine");
}
