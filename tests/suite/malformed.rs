//! Bad input: each kind gets its status or a closed connection, reaches no replica, and the next client is served.

use crate::harness::{Gate, H1, Replica, h2_request};
use bytes::Bytes;

const POST: &str = "POST /a HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_bad_head_has_its_status() {
    let replica = Replica::plain().await;
    let gate = Gate::start(&[replica.address], "").await;
    let long = "x".repeat(1 << 20);
    for (kind, bytes, status) in [
        ("garbage", "\x16\x03\x01 what is this\r\n\r\n".to_owned(), 400),
        ("a head of 1 MB", format!("GET / HTTP/1.1\r\nhost: a\r\nx-a: {long}\r\n\r\n"), 431),
        ("a target of 1 MB", format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"), 414),
        ("many fields", format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(500)), 431),
        ("no host", "GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("two hosts", "GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n".to_owned(), 400),
        ("bare LF", "GET / HTTP/1.1\nhost: a\n\n".to_owned(), 400),
        ("obs-fold", "GET / HTTP/1.1\r\nhost: a\r\nx: a\r\n b\r\n\r\n".to_owned(), 400),
        ("two framings", format!("{POST}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
        ("signed length", format!("{POST}content-length: +3\r\n\r\nabc"), 400),
        ("unknown coding", format!("{POST}transfer-encoding: gzip\r\n\r\n"), 501),
        ("blank in the target", "GET /a b HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), 400),
        ("CONNECT", "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n".to_owned(), 405),
        ("TRACE", "TRACE / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), 405),
        ("NUL in the path", "GET /a%00b HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), 400),
    ] {
        let reply = H1::plain(gate.plain).await.send(&bytes).await;
        assert_eq!(reply.status, status, "{kind}: {}", reply.text());
        let event = gate.event(&reply).await;
        assert_eq!(
            (event["action"].as_str(), event["status"].as_u64()),
            (Some("block"), Some(status.into())),
            "{kind}"
        );
        assert_eq!(H1::tls(gate.tls).await.get("/", "").await.status, 200, "the next client, after {kind}");
    }
    assert!(replica.seen().iter().all(|seen| seen.target() == "/"), "only the good ones arrived");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_chunks_are_refused_and_the_connection_is_closed() {
    let replica = Replica::plain().await;
    let gate = Gate::start(&[replica.address], "").await;
    for chunks in [
        "zz\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcX\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3;a\nb\r\nabc\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n",
        "\r\nabc",
        "0\r\nhost: evil\r\n\r\n",
    ] {
        for split in [false, true] {
            let head = format!("{POST}content-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n");
            let mut h1 = H1::plain(gate.plain).await;
            let reply = if split {
                h1.write(head.as_bytes()).await.unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(30)).await;
                h1.send(chunks).await
            } else {
                h1.send(format!("{head}{chunks}")).await
            };
            assert_eq!(reply.status, 400, "{chunks:?}, split: {split}");
            assert!(h1.is_closed().await);
        }
    }
    assert_eq!(replica.touched().1, 0, "not a byte");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_heads_are_bounded_and_checked_alike() {
    let replica = Replica::plain().await;
    let gate = Gate::start(&[replica.address], "").await;
    let big = "x".repeat(100_000);
    let reply = h2_request(gate.tls, "GET", "/", &[("x-big", &big)], Vec::new()).await;
    assert_eq!(reply.status, 431);
    for target in ["/a%00b", "/a/..%2f..%2fetc/passwd"] {
        assert_eq!(h2_request(gate.tls, "GET", target, &[], Vec::new()).await.status, 400, "{target}");
    }
    let passed =
        h2_request(gate.tls, "POST", "/", &[("content-type", "text/plain")], vec![Bytes::from_static(b"hi")]).await;
    assert_eq!(passed.status, 200);
    assert_eq!(replica.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_cannot_be_parsed_is_refused() {
    let replica = Replica::plain().await;
    let gate = Gate::start(&[replica.address], "").await;
    for (kind, body) in [
        ("application/json", "{\"a\": [1, 2"),
        ("application/json", "{\"a\": 1} trailing"),
        ("multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx"),
        ("application/xml", "<a><b></a>"),
    ] {
        let reply = H1::tls(gate.tls).await.post("/api/tasks", kind, body.as_bytes()).await;
        assert_eq!(reply.status, 400, "{kind} {body}: {}", reply.text());
    }
    let good = H1::tls(gate.tls).await.post("/api/tasks", "application/json", b"{\"title\": \"write the docs\"}").await;
    assert_eq!(good.status, 200);
    assert_eq!(replica.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_heads_and_stalled_bodies_are_ended() {
    let replica = Replica::plain().await;
    let gate =
        Gate::start(&[replica.address], "[timeouts]\nhead = \"500ms\"\nbody_idle = \"500ms\"\nkeepalive = \"700ms\"\n")
            .await;
    let mut h1 = H1::tls(gate.tls).await;
    assert_eq!(h1.send("GET / HTTP/1.1\r\nhost: ga").await.status, 408);
    let mut h1 = H1::tls(gate.tls).await;
    assert_eq!(h1.send(format!("{POST}content-type: text/plain\r\ncontent-length: 10\r\n\r\nhalf")).await.status, 408);
    let mut h1 = H1::tls(gate.tls).await;
    assert!(h1.is_closed().await, "a connection that never asks");
    assert_eq!(replica.touched().1, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn internal_paths_and_identity_are_out_of_a_clients_hands() {
    let replica = Replica::plain().await;
    let routes = "[[route]]\nname = \"internal\"\npath = \"/internal/\"\nrefuse = true\n";
    let gate = Gate::start(&[replica.address], routes).await;
    for target in [
        "/internal",
        "/internal/credentials/agents",
        "//internal/x",
        "/%69nternal/x",
        "/api/../internal/x",
        "/api/%2e%2e/internal/x",
        "/internal;a=b/x",
        "/internal%2fx",
        "/./internal/x",
        "http://gate.test/internal/x",
        "/\\internal/x",
    ] {
        for method in ["GET", "POST", "DELETE", "HEAD"] {
            let mut h1 = H1::tls(gate.tls).await;
            h1.write(format!("{method} {target} HTTP/1.1\r\nhost: gate.test\r\n\r\n").as_bytes()).await.unwrap();
            let reply = h1.reply_to_head().await;
            assert!(matches!(reply.status, 400 | 403), "{method} {target}: {}", reply.status);
        }
    }
    assert_eq!(replica.touched(), (0, 0));

    let spoofed = "x-forwarded-for: 6.6.6.6\r\nX-Forwarded-Proto: ftp\r\nx_forwarded_for: 6.6.6.6\r\nforwarded: for=6.6.6.6\r\n\
        X-Archon-User: root\r\nx-auth-user: root\r\nx-real-ip: 6.6.6.6\r\nx-request-id: mine\r\nconnection: x-secret\r\n\
        x-secret: 1\r\nproxy-connection: keep-alive\r\nx-kept: yes\r\n";
    let reply = H1::tls(gate.tls).await.get("/who", spoofed).await;
    assert_eq!(reply.status, 200);
    assert_ne!(reply.header("x-request-id"), Some("mine"));
    let seen = replica.seen().pop().unwrap();
    let got = |name: &str| seen.header(name);
    assert_eq!(
        (got("x-forwarded-for"), got("x-forwarded-proto"), got("x-forwarded-host"), got("x-kept")),
        (Some("127.0.0.1"), Some("https"), Some("gate.test"), Some("yes"))
    );
    assert_eq!(got("x-request-id"), reply.header("x-request-id"));
    assert!(got("traceparent").is_some_and(|trace| trace.starts_with("00-")));
    for gone in
        ["x_forwarded_for", "forwarded", "x-archon-user", "x-auth-user", "x-real-ip", "x-secret", "proxy-connection"]
    {
        assert_eq!(got(gone), None, "{gone}");
    }
    assert!(!seen.head.contains("6.6.6.6") && !seen.head.contains("root"));
}
