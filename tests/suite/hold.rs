//! Bodies held whole before a replica hears of the request.

use crate::harness::{Answer, Gate, H1, Replica, Reply, h2_request};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::net::SocketAddr;

/// Refuses what holds the mark, wherever it is in a form or plain body.
const RULE: &str =
    "SecRule REQUEST_BODY|ARGS \"@contains forbidden-mark\" \"id:9100,phase:2,deny,status:403,t:none,log\"\n";
const WAF: &str = "[waf]\nrules = \"own.conf\"\n";

async fn gate(replica: &Replica) -> Gate {
    Gate::start_with(&[replica.address], WAF, |dir| std::fs::write(dir.path().join("own.conf"), RULE).unwrap()).await
}

/// Text of about this size that no rule minds, with `end` at its end.
fn text(size: usize, end: &str) -> Vec<u8> {
    let mut body = b"note=".to_vec();
    while body.len() + end.len() < size {
        body.extend_from_slice(b"the quick brown fox jumps over the lazy dog ");
    }
    body.extend_from_slice(end.as_bytes());
    body
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut out = b"POST /up HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\naccept: */*\r\n\
        content-type: application/x-www-form-urlencoded\r\ntransfer-encoding: chunked\r\n\r\n"
        .to_vec();
    for chunk in body.chunks(7_001) {
        out.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

async fn upload(way: &str, address: SocketAddr, body: &[u8]) -> Reply {
    const FORM: &str = "application/x-www-form-urlencoded";
    match way {
        "h1 length" => H1::tls(address).await.post("/up", FORM, body).await,
        "h1 chunked" => H1::tls(address).await.send(chunked(body)).await,
        _ => {
            let pieces = body.chunks(50_000).map(Bytes::copy_from_slice).collect();
            let length = body.len().to_string();
            let mut fields = vec![("content-type", FORM)];
            if way == "h2 length" {
                fields.push(("content-length", &length));
            }
            h2_request(address, "POST", "/up", &fields, pieces).await
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_body_never_reaches_a_replica_and_an_allowed_one_arrives_whole() {
    let replica = Replica::plain().await;
    let gate = gate(&replica).await;
    for way in ["h1 length", "h1 chunked", "h2 length", "h2"] {
        for size in [200, 10_000, 65_536, 300_000, 3_000_000] {
            let before = (replica.touched(), replica.seen().len());
            let refused = upload(way, gate.tls, &text(size, "forbidden-mark")).await;
            assert_eq!(refused.status, 403, "{way}, {size}: {}", refused.text());
            assert_eq!(
                (replica.touched(), replica.seen().len()),
                before,
                "{way}, {size}: not a byte, not a connection"
            );

            let body = text(size, "welcome");
            let passed = upload(way, gate.tls, &body).await;
            assert_eq!(passed.status, 200, "{way}, {size}: {}", passed.text());
            let seen = replica.seen().pop().unwrap();
            assert_eq!(Sha256::digest(&seen.body), Sha256::digest(&body), "{way}, {size}");
            assert_eq!(seen.header("content-length"), Some(body.len().to_string().as_str()));
            assert_eq!(seen.header("transfer-encoding"), None, "one framing: ours");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_32_mib_upload_passes_the_rules_in_bounded_memory() {
    let replica = Replica::start(|seen| Answer::ok(seen.body.len().to_string())).await;
    let gate = Gate::start(&[replica.address], "[waf]\nmax_body = \"33MiB\"\n").await;
    let before = gate.memory("VmHWM");
    let mut body = b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"notes.bin\"\r\n\
        Content-Type: application/octet-stream\r\n\r\n"
        .to_vec();
    // Bytes of every value, in no text's order.
    body.extend((0..32u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8));
    body.extend_from_slice(b"\r\n--b--\r\n");
    let mut h1 = H1::tls(gate.tls).await;
    for _ in 0..3 {
        let reply = h1.post("/api/documents/upload", "multipart/form-data; boundary=b", &body).await;
        assert_eq!((reply.status, reply.text()), (200, body.len().to_string()));
    }
    let grown = (gate.memory("VmHWM") - before) / 1024;
    println!("three uploads of 32 MiB, one after the other: peak {grown} MiB above the start");
    assert!(grown < 100, "{grown} MiB");
    assert_eq!(gate.metric("gatehouse_held_bytes").await, 0.0, "the budget is given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_declared_too_large_is_refused_at_once() {
    let replica = Replica::plain().await;
    let gate = gate(&replica).await;
    let head = "POST /up HTTP/1.1\r\nhost: gate.test\r\ncontent-length: 10737418240\r\n\r\n";
    let reply = H1::tls(gate.tls).await.send(head).await;
    assert_eq!(reply.status, 413);
    let reply =
        h2_request(gate.tls, "POST", "/up", &[("content-length", "10737418240")], vec![Bytes::from_static(b"x")]);
    assert_eq!(reply.await.status, 413);
    assert_eq!(replica.touched(), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_budget_for_held_bodies_is_shared_and_given_back() {
    let replica = Replica::plain().await;
    let gate = Gate::start(&[replica.address], "[waf]\nmax_body = \"1MiB\"\nheld_total = \"1MiB\"\n").await;
    let body = text(700_000, "");
    let head = |body: &[u8]| {
        format!(
            "POST /up HTTP/1.1\r\nhost: gate.test\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
    };
    let mut first = H1::plain(gate.plain).await;
    first.write(head(&body).as_bytes()).await.unwrap();
    first.write(&body[..600_000]).await.unwrap();
    crate::harness::until("the first body to be held", async || gate.metric("gatehouse_held_bytes").await > 600_000.0)
        .await;
    let mut second = H1::plain(gate.plain).await;
    let mut bytes = head(&body).into_bytes();
    bytes.extend_from_slice(&body);
    let refused = second.send(bytes).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    assert_eq!(first.send(&body[600_000..]).await.status, 200);
    assert_eq!(H1::plain(gate.plain).await.post("/up", "text/plain", &body).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn continue_is_said_only_to_what_is_wanted() {
    let replica = Replica::plain().await;
    let gate = gate(&replica).await;
    let mut h1 = H1::tls(gate.tls).await;
    let head = "POST /up HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\nexpect: 100-continue\r\n\
        content-type: text/plain\r\ncontent-length: 5\r\n\r\n";
    h1.write(head.as_bytes()).await.unwrap();
    let interim = h1.read_past(b"\r\n\r\n").await;
    assert!(interim.starts_with(b"HTTP/1.1 100 "), "{}", String::from_utf8_lossy(&interim));
    assert_eq!(h1.send("hello").await.status, 200);
    assert_eq!(replica.seen().pop().unwrap().header("expect"), None);

    let too_large = head.replace("content-length: 5", "content-length: 999999999");
    let mut h1 = H1::tls(gate.tls).await;
    h1.write(too_large.as_bytes()).await.unwrap();
    let first = h1.read_past(b"\r\n\r\n").await;
    assert!(first.starts_with(b"HTTP/1.1 413 "), "{}", String::from_utf8_lossy(&first));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_rules_off_bodies_stream_within_their_routes_limit() {
    let replica = Replica::start(|seen| Answer::ok(seen.body.len().to_string())).await;
    let more = "[waf]\nenabled = false\n[[route]]\nname = \"small\"\npath = \"/small/\"\nmax_body = \"100KiB\"\n";
    let gate = Gate::start(&[replica.address], more).await;
    for way in ["h1 length", "h1 chunked", "h2 length", "h2"] {
        let body = text(3_000_000, "end");
        let passed = upload(way, gate.tls, &body).await;
        assert_eq!((passed.status, passed.text()), (200, body.len().to_string()), "{way}");
        assert_eq!(Sha256::digest(&replica.seen().pop().unwrap().body), Sha256::digest(&body), "{way}");
    }
    let body = text(300_000, "");
    let declared = H1::tls(gate.tls).await.post("/small/x", "text/plain", &body).await;
    assert_eq!(declared.status, 413);
    let pieces = body.chunks(50_000).map(Bytes::copy_from_slice).collect();
    let undeclared = h2_request(gate.tls, "POST", "/small/x", &[("content-type", "text/plain")], pieces).await;
    assert_eq!(undeclared.status, 413, "cut off where the limit is reached");
    assert!(replica.seen().iter().all(|seen| seen.target() == "/up"), "no whole request under the limited route");
}
