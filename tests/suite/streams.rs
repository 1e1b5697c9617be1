//! Streams: server-sent events, WebSockets, and the plain forms of HTTP/1 that proxies get wrong.

use crate::harness::{Answer, Gate, H1, Replica, until, within};
use std::time::Duration;

const ROUTES: &str = "[[route]]\nname = \"ws\"\npath = \"/ws\"\nwebsocket = true\n";
const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\nconnection: Upgrade\r\n\
    upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A client's frame with a short text.
fn frame(text: &str) -> Vec<u8> {
    let mask = [7, 1, 9, 3];
    let mut out = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap()];
    out.extend(mask);
    out.extend(text.bytes().zip(mask.into_iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

async fn open_websocket(gate: &Gate) -> H1 {
    let mut h1 = H1::tls(gate.tls).await;
    assert_eq!(h1.send(HANDSHAKE).await.status, 101);
    h1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_survive_a_reload_and_are_told_when_the_gate_goes() {
    let replica = Replica::start(|seen| match seen.target() {
        "/ws" => Answer::Echo,
        "/events" => Answer::Chunks("text/event-stream", vec![(Duration::from_millis(20), "data: tick\n\n"); 10_000]),
        _ => Answer::ok("x"),
    })
    .await;
    let mut gate = Gate::start_with(&[replica.address], ROUTES, |dir| {
        let path = dir.path().join("gate.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("drain = \"10s\"", "drain = \"3s\"")).unwrap();
    })
    .await;
    let mut events = H1::tls(gate.tls).await;
    events.write(b"GET /events HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\n\r\n").await.unwrap();
    events.read_past(b"data: tick\n\n").await;
    let mut socket = open_websocket(&gate).await;
    gate.signal("HUP");
    gate.reloaded("applied", 0.0).await;
    socket.write(&frame("hello;")).await.unwrap();
    assert_eq!(socket.read_past(b";").await[2..], *b"hello;");
    for _ in 0..100 {
        events.read_past(b"data: tick\n\n").await;
    }

    gate.signal("TERM");
    socket.write(&frame("still here;")).await.unwrap();
    assert_eq!(socket.read_past(b";").await[2..], *b"still here;", "until the drain is over");
    // RFC 6455 section 7.4.1: 1001, going away.
    socket.read_past(&[0x88, 2, 0x03, 0xe9]).await;
    within("its end", socket.is_closed()).await;
    assert_eq!(gate.ended().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_that_breaks_the_protocol_is_closed() {
    let replica = Replica::start(|seen| if seen.target() == "/ws" { Answer::Echo } else { Answer::ok("x") }).await;
    let gate = Gate::start(&[replica.address], ROUTES).await;
    for (what, bytes) in [
        ("no mask", &b"\x81\x05hello"[..]),
        ("a ping in pieces", b"\x09\x80\0\0\0\0"),
        ("a reserved opcode", b"\x83\x80\0\0\0\0"),
    ] {
        let mut socket = open_websocket(&gate).await;
        socket.write(bytes).await.unwrap();
        let told = socket.read_past(&[0x88, 2, 0x03, 0xea]).await;
        assert_eq!(told.len(), 4, "{what}: nothing of it was sent back");
        within("its end", socket.is_closed()).await;
    }
}

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
                    h1.write(&frame(&text)).await.unwrap();
                    assert_eq!(h1.read_past(b";").await[2..], *text.as_bytes());
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
