//! Where one request ends and the next begins: every reader has to agree, whatever the client or the replica sends.
//!
//! The oracle is the replica's own reading: it sees the requests that were meant, whole, and nothing else.

use crate::harness::{Answer, Fate, Frames, Gate, H1, Replica, Seen, frames, h2_request};
use bytes::Bytes;

/// Nothing reads bodies: they flow from client to replica as they come.
const STREAMING: &str = "[waf]\nenabled = false\n[cache]\nenabled = false\n";
const HIDDEN: &str = "GET /smuggled HTTP/1.1\r\nhost: gate.test\r\n\r\n";

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n0\r\n\r\n", text.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_is_a_body_whatever_the_method_and_whoever_reads_it() {
    for more in ["", STREAMING] {
        let replica = Replica::plain().await;
        let gate = Gate::start(&[replica.address], more).await;
        for method in ["GET", "HEAD", "OPTIONS", "DELETE", "POST", "PUT", "PATCH"] {
            for chunked in [false, true] {
                let before = replica.seen().len();
                let framing = if chunked {
                    format!("transfer-encoding: chunked\r\n\r\n{}", chunk(HIDDEN))
                } else {
                    format!("content-length: {}\r\n\r\n{HIDDEN}", HIDDEN.len())
                };
                let mut h1 = H1::tls(gate.tls).await;
                let head = format!("{method} /outer HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\n");
                h1.write(format!("{head}content-type: text/plain\r\n{framing}").as_bytes()).await.unwrap();
                let reply = if method == "HEAD" { h1.reply_to_head().await } else { h1.reply().await };
                // The connection to the replica is used again: what was left on it would show now.
                for _ in 0..3 {
                    assert_eq!(H1::tls(gate.tls).await.get("/after", "").await.text(), "hello");
                }
                let what = format!("{method}, chunked: {chunked}, {more:?}");
                let seen = replica.seen();
                let new: Vec<_> = seen.iter().skip(before).collect();
                assert!(new.iter().all(|seen| seen.target() != "/smuggled"), "{what}: {new:?}");
                if reply.status == 200 {
                    assert_eq!(new.len(), 4, "{what}: {new:?}");
                    assert_eq!(String::from_utf8_lossy(&new[0].body), HIDDEN, "{what}: the body arrives as one");
                } else {
                    assert!(reply.status >= 400, "{what}: {}", reply.status);
                    assert_eq!(new.len(), 3, "{what}: {new:?}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunk_extensions_and_trailers_do_not_reach_a_replica() {
    for more in ["", STREAMING] {
        let replica = Replica::plain().await;
        let gate = Gate::start(&[replica.address], more).await;
        let head = "POST /a HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\ncontent-type: text/plain\r\n\
            transfer-encoding: chunked\r\n";
        let mut h1 = H1::tls(gate.tls).await;
        let body = "3;name=value\r\nabc\r\n0\r\nx-trailer: secret\r\n\r\n";
        let reply = h1.send(format!("{head}trailer: x-trailer\r\n\r\n{body}")).await;
        if reply.status == 200 {
            assert_eq!(h1.get("/after", "").await.status, 200, "the connection goes on after the trailers");
        } else {
            assert_eq!(reply.status, 400);
        }
        for seen in replica.seen() {
            assert!(!seen.head.contains("trailer") && !seen.head.contains("secret"), "{}", seen.head);
            assert!(seen.body.is_empty() || seen.body == b"abc", "{seen:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_with_two_readings_are_refused_whoever_reads_bodies() {
    let post = "POST /a HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\ncontent-type: text/plain\r\n";
    let both = |first: &str, second: &str| format!("{post}{first}\r\n{second}\r\n\r\n0\r\n\r\n{HIDDEN}");
    let cases = [
        both("content-length: 6", "transfer-encoding: chunked"),
        both("transfer-encoding: chunked", "content-length: 6"),
        both("transfer-encoding: chunked", "transfer-encoding: identity"),
        both("transfer-encoding: chunked", "transfer-encoding: chunked"),
        both("transfer-encoding: identity", "content-length: 0"),
        both("transfer-encoding: chunked, identity", "x: y"),
        both("transfer-encoding:\x0bchunked", "content-length: 6"),
        both("transfer-encoding : chunked", "content-length: 6"),
        both(" transfer-encoding: chunked", "content-length: 6"),
        both("transfer-encoding: xchunked", "content-length: 6"),
        both("transfer-encoding: \"chunked\"", "content-length: 6"),
        both("transfer_encoding: chunked", "content-length: 6"),
        both("transfer-encoding: chunked\r", "content-length: 6"),
        both("x: a\rtransfer-encoding: chunked", "content-length: 6"),
        both("x: a\ntransfer-encoding: chunked", "content-length: 6"),
        both("x: a\0", "content-length: 6"),
        both("content-length: 6", "content-length: 0"),
        both("content-length: 6", "content-length: 6"),
        both("content-length: 6, 6", "x: y"),
        both("content-length: 0x6", "x: y"),
        both("content-length: 6\t6", "x: y"),
        both("content-length: -6", "x: y"),
        both("content-length: 99999999999999999999999", "x: y"),
        both("content_length: 6", "x: y"),
        both("host: other.test", "content-length: 0"),
        format!("GET http://other.test/a HTTP/1.1\r\nhost: gate.test\r\n\r\n{HIDDEN}"),
        format!("POST /a HTTP/1.0\r\nhost: gate.test\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}"),
        format!("GET /a HTTP/1.1 HTTP/1.1\r\nhost: gate.test\r\n\r\n{HIDDEN}"),
        format!("GET /a HTTP/1.2\r\nhost: gate.test\r\n\r\n{HIDDEN}"),
        format!("GET /a http/1.1\r\nhost: gate.test\r\n\r\n{HIDDEN}"),
        format!("GET  /a HTTP/1.1\r\nhost: gate.test\r\n\r\n{HIDDEN}"),
        format!("GET /a\r\n\r\n{HIDDEN}"),
        format!("GET /a HTTP/1.1\r\nhost: gate.test\r\n: empty\r\n\r\n{HIDDEN}"),
        format!("GET /a HTTP/1.1\r\nhost: gate.test\r\nnocolon\r\n\r\n{HIDDEN}"),
    ];
    for more in ["", STREAMING] {
        let replica = Replica::plain().await;
        let gate = Gate::start(&[replica.address], more).await;
        for bytes in &cases {
            let mut h1 = H1::plain(gate.plain).await;
            let reply = h1.send(bytes).await;
            assert!(matches!(reply.status, 400 | 501 | 505), "{}: {bytes:?}", reply.status);
            assert!(h1.is_closed().await);
        }
        assert_eq!(replica.touched(), (0, 0), "nothing of it was passed on");
        assert_eq!(H1::tls(gate.tls).await.get("/", "").await.status, 200);
    }
}

type Fields = Vec<(&'static [u8], &'static [u8])>;

fn with(more: &[(&'static [u8], &'static [u8])]) -> Fields {
    let mut fields: Fields =
        vec![(b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"gate.test"), (b":path", b"/a")];
    fields.extend_from_slice(more);
    fields
}

fn instead(name: &'static [u8], value: &'static [u8]) -> Fields {
    with(&[]).into_iter().map(|(n, v)| (n, if n == name { value } else { v })).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_requests_that_would_become_two_in_http1_are_refused() {
    let cases: Vec<Fields> = vec![
        with(&[(b"x-a", b"b\r\ntransfer-encoding: chunked")]),
        with(&[(b"x-a", b"b\nx: y")]),
        with(&[(b"x-a", b"b\rc")]),
        with(&[(b"x-a", b"b\0")]),
        with(&[(b"x-a: b\r\nx", b"y")]),
        with(&[(b"x a", b"y")]),
        with(&[(b"x:a", b"y")]),
        with(&[(b"X-Upper", b"y")]),
        with(&[(b"", b"y")]),
        with(&[(b"transfer-encoding", b"chunked")]),
        with(&[(b"connection", b"keep-alive")]),
        with(&[(b"upgrade", b"websocket")]),
        with(&[(b"te", b"gzip")]),
        with(&[(b"content-length", b"3"), (b"content-length", b"4")]),
        with(&[(b"content-length", b"+4")]),
        with(&[(b"host", b"other.test")]),
        with(&[(b":path", b"/b")]),
        with(&[(b"x-a", b"y"), (b":authority", b"other.test")]),
        with(&[(b":evil", b"y")]),
        with(&[(b":status", b"200")]),
        with(&[(b":protocol", b"websocket")]),
        instead(b":path", b"/a HTTP/1.1\r\nhost: x\r\n\r\nGET /smuggled"),
        instead(b":path", b"/a b"),
        instead(b":path", b""),
        instead(b":path", b"a"),
        instead(b":path", b"*"),
        instead(b":path", b"http://other.test/a"),
        instead(b":method", b"GET /smuggled HTTP/1.1\r\nx: "),
        instead(b":method", b"POST "),
        instead(b":method", b"CONNECT"),
        instead(b":authority", b"gate.test\r\nx: y"),
        instead(b":authority", b"user@gate.test"),
        instead(b":authority", b"gate.test/a"),
        instead(b":authority", b""),
        instead(b":scheme", b"https\r\nx: y"),
        instead(b":scheme", b"ftp"),
        with(&[]).into_iter().filter(|(name, _)| *name != b":method").collect(),
        with(&[]).into_iter().filter(|(name, _)| *name != b":path").collect(),
    ];
    for more in ["", STREAMING] {
        let replica = Replica::plain().await;
        let gate = Gate::start(&[replica.address], more).await;
        for fields in &cases {
            let mut client = Frames::open(gate.tls, &[]).await;
            let sent = client.headers(1, fields, true).await;
            let fate = if sent.is_ok() { client.fate(1).await } else { Fate::Ended };
            let shown: Vec<_> = fields.iter().map(|(n, v)| (n.escape_ascii(), v.escape_ascii())).collect();
            assert!(fate.is_refusal(), "{fate:?} for {shown:?}");
        }
        assert_eq!(replica.touched(), (0, 0), "nothing of it was passed on");
        let mut client = Frames::open(gate.tls, &[]).await;
        client.headers(1, &with(&[(b"user-agent", b"suite")]), true).await.unwrap();
        assert_eq!(client.fate(1).await, Fate::Status(200), "the plain form of the same request passes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_bodies_that_differ_from_their_length_leave_no_trace() {
    for more in ["", STREAMING] {
        let replica = Replica::plain().await;
        let gate = Gate::start(&[replica.address], more).await;
        for (length, pieces) in
            [(&b"3"[..], [&b"abcdef"[..], b""]), (b"10", [b"abc", b""]), (b"3", [b"ab", b"cdef"]), (b"0", [b"x", b""])]
        {
            let fields =
                with(&[(b"content-type", b"text/plain"), (b"user-agent", b"suite"), (b"content-length", length)]);
            let mut client = Frames::open(gate.tls, &[]).await;
            client.headers(1, &fields, false).await.unwrap();
            let _ = client.send(frames::DATA, 0, 1, pieces[0]).await;
            let _ = client.send(frames::DATA, frames::END_STREAM, 1, pieces[1]).await;
            let fate = client.fate(1).await;
            let kept = length != b"0" || fate != Fate::Status(200);
            assert!(fate.is_refusal() || !kept, "{fate:?} for {} and {pieces:?}", length.escape_ascii());
            for _ in 0..2 {
                assert_eq!(H1::tls(gate.tls).await.get("/after", "").await.text(), "hello");
            }
        }
        // What says it has no body may have been passed on as that, before its sender contradicted itself.
        let meant = |seen: &&Seen| seen.target() == "/after" || (seen.body.is_empty() && !is_chunked(seen));
        let seen = replica.seen();
        assert!(seen.iter().all(|seen| meant(&seen)), "only whole requests: {seen:?}");
        assert_eq!(seen.iter().filter(|seen| seen.target() == "/after").count(), 8);
    }
}

fn is_chunked(seen: &Seen) -> bool {
    seen.header("transfer-encoding").is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_trailers_do_not_become_fields() {
    let replica = Replica::plain().await;
    let gate = Gate::start(&[replica.address], "").await;
    for trailer in [(&b"x-archon-user"[..], &b"root"[..]), (b":path", b"/smuggled"), (b"x-a", b"b\r\nc: d")] {
        let mut client = Frames::open(gate.tls, &[]).await;
        let fields = with(&[(b"content-type", b"text/plain"), (b"user-agent", b"suite")]);
        client.headers(1, &fields, false).await.unwrap();
        client.send(frames::DATA, 0, 1, b"abc").await.unwrap();
        let _ = client.headers(1, &[trailer], true).await;
        let fate = client.fate(1).await;
        assert!(fate == Fate::Status(200) || fate.is_refusal());
    }
    for seen in replica.seen() {
        assert!(!seen.head.contains("root") && seen.target() == "/a" && seen.body == b"abc", "{seen:?}");
    }
}

/// What a replica may send beyond one well-formed answer, and what of it a client may get.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replicas_odd_answer_is_the_answer_to_no_other_request() {
    for more in ["", STREAMING] {
        let replica = Replica::start(|seen| {
            let evil = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
            match seen.target() {
                "/two" => Answer::Raw(format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok{evil}").into()),
                "/two-chunked" => Answer::Raw(
                    format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{evil}").into(),
                ),
                "/204" => Answer::Raw(format!("HTTP/1.1 204 No Content\r\n\r\n{evil}").into()),
                "/304" => Answer::Raw(format!("HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n{evil}").into()),
                "/both" => Answer::Raw(
                    b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
                        .to_vec(),
                ),
                "/early" => Answer::Raw(
                    b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
                        .to_vec(),
                ),
                "/to-the-end" => Answer::RawThenCloses(b"HTTP/1.1 200 OK\r\n\r\nok".to_vec()),
                _ => Answer::ok("good"),
            }
        })
        .await;
        let gate = Gate::start(&[replica.address], more).await;
        for (target, status, text) in [
            ("/two", 200, "ok"),
            ("/two-chunked", 200, "ok"),
            ("/204", 204, ""),
            ("/304", 304, ""),
            ("/both", 200, "ok"),
            ("/early", 200, "ok"),
            ("/to-the-end", 200, "ok"),
        ] {
            for http2 in [false, true] {
                let reply = if http2 {
                    h2_request(gate.tls, "GET", target, &[], Vec::new()).await
                } else {
                    let mut h1 = H1::tls(gate.tls).await;
                    h1.write(format!("GET {target} HTTP/1.1\r\nhost: gate.test\r\nuser-agent: s\r\n\r\n").as_bytes())
                        .await
                        .unwrap();
                    h1.final_reply().await
                };
                assert_eq!((reply.status, reply.text().as_str()), (status, text), "{target}, h2: {http2}, {more:?}");
                for _ in 0..4 {
                    assert_eq!(H1::tls(gate.tls).await.get("/good", "").await.text(), "good", "after {target}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replicas_malformed_answer_is_502_and_kept_by_nobody() {
    let long = "x".repeat(1 << 20);
    let cases: Vec<(&str, String)> = vec![
        ("no HTTP", "what is this\r\n\r\n".into()),
        ("nothing but a line", "HTTP/1.1 200 OK\r\n".into()),
        ("two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok!".into()),
        ("signed length", "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok".into()),
        ("unasked upgrade", "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n".into()),
        ("a status beyond", "HTTP/1.1 9999 What\r\ncontent-length: 0\r\n\r\n".into()),
        ("a head of 1 MB", format!("HTTP/1.1 200 OK\r\nx-a: {long}\r\ncontent-length: 2\r\n\r\nok")),
        (
            "a chunk that is none, while the head is held",
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n"
                .into(),
        ),
    ];
    let answers: Vec<String> = cases.iter().map(|(_, bytes)| bytes.clone()).collect();
    let replica = Replica::start(move |seen| {
        match seen.target().trim_start_matches('/').parse::<usize>().ok().and_then(|i| answers.get(i)) {
            Some(bytes) => Answer::RawThenCloses(bytes.clone().into_bytes()),
            None => Answer::ok("good"),
        }
    })
    .await;
    let gate = Gate::start(&[replica.address], "").await;
    for (i, (kind, _)) in cases.iter().enumerate() {
        let reply = H1::tls(gate.tls).await.get(&format!("/{i}"), "").await;
        assert_eq!(reply.status, 502, "{kind}: {}", reply.text());
        let reply = h2_request(gate.tls, "GET", &format!("/{i}"), &[], Vec::new()).await;
        assert_eq!(reply.status, 502, "{kind}, h2: {}", reply.text());
        assert_eq!(H1::tls(gate.tls).await.get("/good", "").await.text(), "good", "after {kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_before_the_body_was_sent_ends_both_sides_cleanly() {
    let replica = Replica::start(|_| Answer::ok("good")).await;
    let gate = Gate::start(&[replica.address], STREAMING).await;
    // A client that leaves in the middle of a body that streams: the replica must not take the next request for its rest.
    for _ in 0..5 {
        let mut h1 = H1::tls(gate.tls).await;
        h1.write(b"POST /half HTTP/1.1\r\nhost: gate.test\r\ncontent-length: 1000\r\n\r\nonly this").await.unwrap();
        drop(h1);
        let mut pieces = vec![Bytes::from_static(b"some")];
        pieces.push(Bytes::from_static(b"more"));
        assert_eq!(h2_request(gate.tls, "POST", "/whole", &[], pieces).await.text(), "good");
        assert_eq!(H1::tls(gate.tls).await.get("/after", "").await.text(), "good");
    }
    let seen = replica.seen();
    assert!(seen.iter().all(|seen| matches!(seen.target(), "/whole" | "/after")), "{seen:?}");
    assert!(seen.iter().all(|seen| seen.target() != "/whole" || seen.body == b"somemore"), "{seen:?}");
}
