//! Streams: server-sent events, WebSockets, and the plain forms of HTTP/1 that proxies get wrong.

use crate::harness::{Answer, Gate, H1, Replica, until, within};
use std::time::Duration;

const ROUTES: &str = "[[route]]\nname = \"ws\"\npath = \"/ws\"\nwebsocket = true\n";
const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\nconnection: Upgrade\r\n\
    upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_flow_at_once_with_every_protection_on() {
    let replica = Replica::start(|_| {
        let hour = Duration::from_secs(3600);
        Answer::Chunks("text/event-stream", vec![(Duration::ZERO, "data: one\n\n"), (hour, "data: two\n\n")])
    })
    .await;
    let gate = Gate::start(&[replica.address], "").await;
    let mut h1 = H1::tls(gate.tls).await;
    h1.write(b"GET /api/stream HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\naccept: text/event-stream\r\n\r\n")
        .await
        .unwrap();
    let seen = h1.read_past(b"data: one\n\n").await;
    assert!(seen.starts_with(b"HTTP/1.1 200 OK"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websockets_pass_many_at_once() {
    let replica = Replica::start(|seen| if seen.target() == "/ws" { Answer::Echo } else { Answer::ok("x") }).await;
    let gate = Gate::start(&[replica.address], ROUTES).await;
    let all: Vec<_> = (0..200)
        .map(|i| {
            let address = gate.tls;
            tokio::spawn(async move {
                let mut h1 = H1::tls(address).await;
                let reply = h1.send(HANDSHAKE).await;
                assert_eq!(reply.status, 101, "{}", reply.head);
                assert_eq!(reply.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
                for round in 0..5 {
                    let text = format!("message {i} {round};");
                    h1.write(text.as_bytes()).await.unwrap();
                    assert_eq!(h1.read_past(b";").await, text.as_bytes());
                }
                h1
            })
        })
        .collect();
    let mut open = Vec::new();
    for one in all {
        open.push(one.await.unwrap());
    }
    assert_eq!(gate.metric("gatehouse_tunnels").await, 200.0);
    drop(open);
    until("the tunnels to end", async || gate.metric("gatehouse_tunnels").await == 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_that_is_refused_is_relayed_and_one_that_is_not_asked_for_is_not_forwarded() {
    let replica =
        Replica::start(|_| Answer::Whole("426 Upgrade Required", vec![("x-why", "version".into())], b"no".to_vec()))
            .await;
    let gate = Gate::start(&[replica.address], ROUTES).await;
    let reply = H1::tls(gate.tls).await.send(HANDSHAKE).await;
    assert_eq!((reply.status, reply.header("x-why"), reply.text()), (426, Some("version"), "no".into()));

    // Elsewhere the same head is an ordinary request without an upgrade.
    let reply = H1::tls(gate.tls).await.send(HANDSHAKE.replace("/ws", "/other")).await;
    assert_eq!(reply.status, 426);
    let seen = replica.seen().pop().unwrap();
    assert_eq!((seen.header("upgrade"), seen.header("connection")), (None, None), "{}", seen.head);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attack_in_a_handshake_opens_no_tunnel() {
    let replica = Replica::start(|_| Answer::Echo).await;
    let gate = Gate::start(&[replica.address], ROUTES).await;
    let attack = HANDSHAKE.replace("/ws", "/ws?q=1%27%20UNION%20SELECT%20password%20FROM%20users--");
    assert_eq!(H1::tls(gate.tls).await.send(attack).await.status, 403);
    assert_eq!(replica.touched(), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keep_alive_pipelining_head_and_old_clients() {
    let replica = Replica::start(|seen| match seen.target() {
        "/chunks" => Answer::Chunks("text/plain", vec![(Duration::ZERO, "one"), (Duration::ZERO, "two")]),
        target => Answer::ok(target.to_owned()),
    })
    .await;
    let gate = Gate::start(&[replica.address], "").await;
    let mut h1 = H1::tls(gate.tls).await;
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\n\r\n");
    let post = "POST /b HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\nbody";
    let first = h1.send(format!("{}{post}{}", get("/a"), get("/c"))).await;
    let texts = [first.text(), h1.reply().await.text(), h1.reply().await.text()];
    assert_eq!(texts, ["/a", "/b", "/c"], "answered one after the other, in order");

    h1.write(b"HEAD /h HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\n\r\n").await.unwrap();
    let head = h1.reply_to_head().await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("2")));
    assert_eq!(h1.send(get("/after")).await.text(), "/after", "the connection goes on after HEAD");
    assert_eq!(h1.send(get("/chunks")).await.text(), "onetwo");

    let mut old = H1::tls(gate.tls).await;
    let reply = old.send("GET /chunks HTTP/1.0\r\nhost: gate.test\r\nuser-agent: suite\r\n\r\n").await;
    assert_eq!((reply.status, reply.header("transfer-encoding"), reply.text()), (200, None, "onetwo".into()));
    within("its end", old.is_closed()).await;
}
