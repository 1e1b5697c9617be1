//! Clients that take more than their share: each is bounded, and the next client is served.

use crate::harness::{Answer, Fate, Frames, Gate, H1, Replica, frames, tls_stream, until, within};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const GET: &[(&[u8], &[u8])] = &[
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"gate.test"),
    (b":path", b"/"),
    (b"user-agent", b"suite"),
];

/// Waits until no client is connected over TLS; the most memory seen meanwhile, in KiB.
async fn most_until_let_go(gate: &Gate) -> u64 {
    let mut most = 0;
    until("all to be let go", async || {
        most = most.max(gate.memory("VmRSS"));
        gate.metric("gatehouse_connections{listener=\"tls\"}").await == 0.0
    })
    .await;
    most
}

async fn still_serves(gate: &Gate) {
    assert_eq!(H1::tls(gate.tls).await.get("/", "").await.status, 200, "the next client");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_counted_and_those_over_the_limit_closed() {
    let replica = Replica::plain().await;
    // The section stands at the end, where the harness has put its own first.
    let gate = Gate::start_with(&[replica.address], "", |dir| {
        let path = dir.path().join("gate.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("[server]\n", "[server]\nmax_connections_per_address = 4\n")).unwrap();
    })
    .await;
    let mut open = Vec::new();
    for _ in 0..4 {
        let mut h1 = H1::tls(gate.tls).await;
        assert_eq!(h1.get("/", "").await.status, 200);
        open.push(h1);
    }
    let mut fifth = H1::plain(gate.plain).await;
    assert!(fifth.is_closed().await, "closed without a word");
    assert_eq!(open[0].get("/", "").await.status, 200, "those that are in stay");
    drop(open);
    until("room", async || H1::try_get(gate.plain, "/").await.is_some_and(|reply| reply.status == 200)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_in_the_middle_gives_everything_back() {
    let replica = Replica::start(|seen| match seen.target() {
        "/slow" => Answer::Late(Duration::from_secs(3600), Box::new(Answer::ok("never"))),
        "/large" => Answer::ok(vec![b'x'; 8 << 20]),
        _ => Answer::ok("hello"),
    })
    .await;
    let gate = Gate::start(&[replica.address], "").await;
    let mut left = Vec::new();
    for _ in 0..20 {
        let mut upload = H1::tls(gate.tls).await;
        let head =
            "POST /up HTTP/1.1\r\nhost: gate.test\r\ncontent-type: text/plain\r\ncontent-length: 1000000\r\n\r\n";
        upload.write(format!("{head}{}", "x".repeat(500_000)).as_bytes()).await.unwrap();
        left.push(upload);
        for target in ["/slow", "/large"] {
            let mut h1 = H1::tls(gate.tls).await;
            let head = format!("GET {target} HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\n\r\n");
            h1.write(head.as_bytes()).await.unwrap();
            left.push(h1);
        }
        let mut frames = Frames::open(gate.tls, &[]).await;
        frames.headers(1, GET, true).await.unwrap();
    }
    until("bodies to be held", async || gate.metric("gatehouse_held_bytes").await > 5_000_000.0).await;
    drop(left);
    until("everything to be given back", async || {
        gate.metric("gatehouse_held_bytes").await == 0.0
            && gate.metric("gatehouse_connections{listener=\"tls\"}").await == 0.0
    })
    .await;
    assert!(replica.seen().iter().all(|seen| seen.target() != "/up"), "half a body is passed to nobody");
    still_serves(&gate).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_nothing_costs_little_and_is_let_go() {
    let replica = Replica::start(|seen| match seen.target() {
        "/large" => Answer::ok(vec![b'x'; 64 << 20]),
        _ => Answer::ok("hello"),
    })
    .await;
    let gate = Gate::start(&[replica.address], "[timeouts]\nsend_idle = \"2s\"\n[cache]\nenabled = false\n").await;
    still_serves(&gate).await;
    let before = gate.memory("VmRSS");
    let mut deaf = Vec::new();
    for _ in 0..10 {
        let mut h1 = H1::tls(gate.tls).await;
        h1.write(b"GET /large HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\n\r\n").await.unwrap();
        deaf.push(h1);
    }
    until("all to be asked for", async || replica.seen().iter().filter(|s| s.target() == "/large").count() == 10).await;
    let grown = most_until_let_go(&gate).await.saturating_sub(before) / 1024;
    println!("ten deaf readers of 64 MiB each: {grown} MiB more");
    assert!(grown < 64, "{grown} MiB");
    still_serves(&gate).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_response_that_is_not_read_nothing_is_held() {
    const DEAF: u64 = 100;
    let replica = Replica::start(|seen| match seen.target() {
        "/large" => Answer::ok(vec![b'x'; 1 << 20]),
        _ => Answer::ok("hello"),
    })
    .await;
    let gate = Gate::start(&[replica.address], "[cache]\nenabled = false\n[waf]\nenabled = false\n").await;
    still_serves(&gate).await;
    let mut deaf = Vec::new();
    for _ in 0..DEAF {
        let mut h1 = H1::tls(gate.tls).await;
        assert_eq!(h1.get("/", "").await.status, 200);
        deaf.push(h1);
    }
    // Open connections, with what they cost by themselves.
    let before = gate.memory("VmRSS");
    for h1 in &mut deaf {
        h1.write(b"GET /large HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\n\r\n").await.unwrap();
    }
    let waiting = async || gate.metric("gatehouse_held_response_bytes").await;
    until("all to be waited for", async || waiting().await >= (DEAF * 16 * 1024) as f64).await;
    let each = gate.memory("VmRSS").saturating_sub(before) / DEAF;
    println!("a response that is not read: {each} KiB");
    // The exchange itself, and what the allocator keeps of the buffers of those under way; it was 200.
    assert!(each < 64, "{each} KiB each");
    still_serves(&gate).await;
    drop(deaf);
    until("it to be given back", async || waiting().await == 0.0).await;
}

/// Opens streams, each followed by a frame that ends it, until the gate ends the connection; how many at most.
async fn churn(client: &mut Frames, kind: u8, payload: &[u8]) -> u32 {
    let mut opened = 0;
    for i in 0..20_000u32 {
        let stream = 2 * i + 1;
        if client.headers(stream, GET, true).await.is_err() || client.send(kind, 0, stream, payload).await.is_err() {
            break;
        }
        opened += 1;
    }
    client.ended().await;
    opened
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_streams_opened_and_reset_end_the_connection() {
    let replica = Replica::start(|_| Answer::Late(Duration::from_millis(200), Box::new(Answer::ok("hello")))).await;
    let gate = Gate::start(&[replica.address], "").await;
    let mut client = Frames::open(gate.tls, &[]).await;
    let opened = churn(&mut client, frames::RST_STREAM, &8u32.to_be_bytes()).await;
    let asked = replica.seen().len();
    println!("ended after at most {opened} streams opened and reset; the replica saw {asked}");
    assert!(asked < 2_000, "{asked}");
    still_serves(&gate).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_streams_beyond_the_limit_are_refused() {
    let replica = Replica::start(|_| Answer::Late(Duration::from_secs(2), Box::new(Answer::ok("hello")))).await;
    let gate = Gate::start(&[replica.address], "[cache]\nenabled = false\n").await;
    let mut client = Frames::open(gate.tls, &[]).await;
    for i in 0..200u32 {
        client.headers(2 * i + 1, GET, true).await.unwrap();
    }
    let mut refused = 0;
    let count = async {
        while let Some((kind, _, _, payload)) = client.next().await {
            // REFUSED_STREAM: nothing of it was done (RFC 9113 section 8.7).
            refused += usize::from(kind == frames::RST_STREAM && payload == [0, 0, 0, 7]);
            if kind == frames::HEADERS {
                break;
            }
        }
    };
    within("an answer", count).await;
    assert!(refused >= 72, "{refused} of 200 refused");
    assert!(replica.seen().len() <= 128);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_floods_of_what_costs_nothing_to_send_stay_bounded() {
    let replica = Replica::plain().await;
    let gate = Gate::start(&[replica.address], "[timeouts]\nhead = \"3s\"\nkeepalive = \"3s\"\n").await;
    still_serves(&gate).await;
    let before = gate.memory("VmRSS");

    // A field block that never ends (CONTINUATION), 64 MiB of it.
    let mut endless = Frames::open(gate.tls, &[]).await;
    let flood = async {
        endless.send(frames::HEADERS, frames::END_STREAM, 1, &frames::block(GET)).await?;
        let piece = frames::block(&[(b"x-a", &[b'x'; 16_000])]);
        for _ in 0..4_000 {
            endless.send(frames::CONTINUATION, 0, 1, &piece).await?;
        }
        std::io::Result::Ok(())
    };
    assert!(within("the end of it", flood).await.is_err(), "cut off");

    // Fields that are small on the wire and large when read: one entry of the table, named over and over.
    let mut bomb = Frames::open(gate.tls, &[]).await;
    let mut block = frames::block(GET);
    block.extend([0x40, 3, b'x', b'-', b'b', 0x7f, 0x80 + 0x21, 0x1e]);
    block.extend([b'x'; 127 + 0x21 + 128 * 0x1e]);
    block.extend([0xbe; 10_000]);
    bomb.send(frames::HEADERS, frames::END_HEADERS | frames::END_STREAM, 1, &block).await.unwrap();
    assert!(bomb.fate(1).await.is_refusal());

    // Questions that want an answer, from somebody who reads none.
    for (kind, payload) in [(frames::PING, &[0u8; 8][..]), (frames::SETTINGS, &[0, 3, 0, 0, 0, 100])] {
        let mut asking = Frames::open(gate.tls, &[]).await;
        let flood = async {
            for _ in 0..200_000 {
                asking.send(kind, 0, 0, payload).await?;
            }
            std::io::Result::Ok(())
        };
        // Either it is cut off, or it is not read any more: both are bounds.
        let _ = tokio::time::timeout(Duration::from_secs(4), flood).await;
    }
    let grown = gate.memory("VmHWM").saturating_sub(before) / 1024;
    println!("after the floods: peak {grown} MiB above the start");
    assert!(grown < 64, "{grown} MiB");
    assert_eq!(replica.touched().0, 1, "the one good request alone");
    still_serves(&gate).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_readers_that_open_no_window_hold_little_and_are_let_go() {
    let replica = Replica::start(|seen| match seen.target() {
        "/large" => Answer::ok(vec![b'x'; 4 << 20]),
        _ => Answer::ok("hello"),
    })
    .await;
    // Straight, and where the cache might have taken it.
    for cache in ["[cache]\nenabled = false\n", ""] {
        let times = format!("[timeouts]\nsend_idle = \"2s\"\nkeepalive = \"2s\"\n{cache}");
        let gate = Gate::start(&[replica.address], &times).await;
        still_serves(&gate).await;
        let before = gate.memory("VmRSS");
        // SETTINGS_INITIAL_WINDOW_SIZE 0: no byte of a body may be sent.
        let mut client = Frames::open(gate.tls, &[(4, 0)]).await;
        let large: Vec<(&[u8], &[u8])> =
            GET.iter().map(|(n, v)| (*n, if *n == b":path" { b"/large" } else { *v })).collect();
        for i in 0..100u32 {
            client.headers(2 * i + 1, &large, true).await.unwrap();
        }
        let grown = most_until_let_go(&gate).await.saturating_sub(before) / 1024;
        println!("a hundred streams of 4 MiB without a window: {grown} MiB more, {cache:?}");
        // Of a few streams the window that is judged and what the rules made of it; of the others what is under way.
        assert!(grown < 256, "{grown} MiB, {cache:?}");
        still_serves(&gate).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_streams_that_the_client_has_us_reset_end_the_connection() {
    let replica = Replica::start(|_| Answer::Late(Duration::from_millis(200), Box::new(Answer::ok("hello")))).await;
    let gate = Gate::start(&[replica.address], "").await;
    let mut client = Frames::open(gate.tls, &[]).await;
    // A window of more than 2^31 - 1 is an error of its stream (RFC 9113 section 6.9.1): we have to reset it.
    let opened = churn(&mut client, frames::WINDOW_UPDATE, &[0x7f, 0xff, 0xff, 0xff]).await;
    let asked = replica.seen().len();
    println!("ended after at most {opened} streams; the replica saw {asked}");
    assert!(asked < 2_000, "{asked}");
    still_serves(&gate).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_frames_that_ask_for_nothing_end_the_connection() {
    let replica = Replica::plain().await;
    let gate = Gate::start(&[replica.address], "").await;
    for (what, kind, payload) in [
        ("PING", frames::PING, &[0u8; 8][..]),
        ("SETTINGS", frames::SETTINGS, &[]),
        ("PRIORITY", frames::PRIORITY, &[0, 0, 0, 0, 1]),
    ] {
        let mut client = Frames::open(gate.tls, &[]).await;
        let stream = u32::from(kind == frames::PRIORITY);
        for _ in 0..20_000 {
            if client.send(kind, 0, stream, payload).await.is_err() {
                break;
            }
        }
        println!("{what}");
        client.ended().await;
    }
    still_serves(&gate).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_data_after_content_length_0_is_refused() {
    let replica = Replica::plain().await;
    let gate = Gate::start(&[replica.address], "[waf]\nenabled = false\n").await;
    let post: Vec<(&[u8], &[u8])> =
        GET.iter().map(|(n, v)| (*n, if *n == b":method" { b"POST" } else { *v })).collect();
    let with = |length: &'static [u8]| [&post[..], &[(&b"content-length"[..], length)]].concat();
    for (length, body, good) in [(&b"0"[..], &b"hello"[..], false), (b"0", b"", true), (b"5", b"hello", true)] {
        let mut client = Frames::open(gate.tls, &[]).await;
        client.headers(1, &with(length), false).await.unwrap();
        client.send(frames::DATA, frames::END_STREAM, 1, body).await.unwrap();
        let fate = client.fate(1).await;
        assert_eq!(!fate.is_refusal(), good, "{fate:?}");
    }
    let bodies: Vec<_> = replica.seen().iter().map(|seen| seen.body.len()).collect();
    assert_eq!(bodies, [0, 5]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_ends_after_its_last_request() {
    let replica = Replica::plain().await;
    let more = "[cache]\nenabled = false\n[timeouts]\nkeepalive = \"1s\"\n";
    let gate = Gate::start_with(&[replica.address], more, |dir| {
        let path = dir.path().join("gate.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("[server]\n", "[server]\nmax_requests_per_connection = 3\n")).unwrap();
    })
    .await;
    let mut h1 = H1::tls(gate.tls).await;
    for n in 1..=3 {
        let reply = h1.get("/", "").await;
        assert_eq!((reply.status, reply.header("connection") == Some("close")), (200, n == 3), "request {n}");
    }
    within("its end", h1.is_closed()).await;
    let mut client = Frames::open(gate.tls, &[]).await;
    for n in 0..3 {
        client.headers(2 * n + 1, GET, true).await.unwrap();
        assert_eq!(client.fate(2 * n + 1).await, Fate::Status(200));
    }
    client.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saturated_gate_refuses_by_priority_and_says_when_to_come_back() {
    let replica = Replica::start(|seen| match seen.target() {
        "/slow" => Answer::Late(Duration::from_secs(3600), Box::new(Answer::ok("never"))),
        _ => Answer::ok("hello"),
    })
    .await;
    let more = "[overload]\nmax_requests = 4\nretry_after = \"7s\"\n[cache]\nenabled = false\n\
        [[route]]\nname = \"health\"\npath = \"/health\"\npriority = \"high\"\n\
        [[route]]\nname = \"extra\"\npath = \"/extra\"\npriority = \"low\"\n";
    let gate = Gate::start(&[replica.address], more).await;
    let mut busy = Vec::new();
    for (n, expected) in [(2.0, [200, 200, 200]), (3.0, [200, 200, 503]), (4.0, [200, 503, 503])] {
        while gate.metric("gatehouse_requests_in_flight").await < n {
            let mut h1 = H1::tls(gate.tls).await;
            h1.write(b"GET /slow HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\n\r\n").await.unwrap();
            let before = busy.len() as f64;
            until("it to be taken in", async || gate.metric("gatehouse_requests_in_flight").await > before).await;
            busy.push(h1);
        }
        for (target, status) in ["/health", "/", "/extra"].into_iter().zip(expected) {
            let mut h1 = H1::tls(gate.tls).await;
            let reply = h1.get(target, "").await;
            assert_eq!(reply.status, status, "{target} beside {n}");
            assert_eq!(reply.header("retry-after"), (status == 503).then_some("7"));
            // An answer arrives a moment before its request is over.
            until("it to be over", async || gate.metric("gatehouse_requests_in_flight").await == n).await;
        }
    }
    assert_eq!(gate.metric("gatehouse_shed_total{cause=\"requests\"}").await, 3.0);
    assert_eq!(H1::try_get(gate.admin, "/livez").await.unwrap().status, 200, "the admin listener is apart");
    drop(busy);
    until("room", async || H1::tls(gate.tls).await.get("/", "").await.status == 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_of_1_mb_over_http2_is_refused() {
    let replica = Replica::plain().await;
    let gate = Gate::start(&[replica.address], "").await;
    let mut client = Frames::open(gate.tls, &[]).await;
    let large = frames::block(&[(b"x-a", &vec![b'x'; 1 << 20])]);
    let mut pieces = large.chunks(16_000);
    let sent = async {
        let mut first = frames::block(GET);
        first.extend_from_slice(pieces.next().unwrap());
        // A frame may have 16 KiB (RFC 9113 section 4.2).
        client.send(frames::HEADERS, frames::END_STREAM, 1, &first).await?;
        while let Some(piece) = pieces.next() {
            let end = if pieces.len() == 0 { frames::END_HEADERS } else { 0 };
            client.send(frames::CONTINUATION, end, 1, piece).await?;
        }
        std::io::Result::Ok(())
    };
    let _ = sent.await;
    let fate = client.fate(1).await;
    assert!(matches!(fate, Fate::Status(431) | Fate::Reset | Fate::Ended), "{fate:?}");
    assert_eq!(replica.touched(), (0, 0));
    still_serves(&gate).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_new_users_does_not_grow_the_limiter() {
    let replica = Replica::plain().await;
    let more = "[client]\ntrusted = \"127.0.0.1\"\n[limits]\nmax_keys = 1000\n[limits.default]\nrate = \"2/h\"\n";
    let gate = Gate::start(&[replica.address], more).await;
    let mut h1 = H1::plain(gate.plain).await;
    for i in 0..3_000u32 {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + i);
        let reply = h1.get("/", &format!("x-forwarded-for: {address}\r\n")).await;
        assert!(matches!(reply.status, 200 | 429), "{}", reply.status);
    }
    let keys = gate.metric("gatehouse_limit_keys{policy=\"default\"}").await;
    assert!((500.0..=1_100.0).contains(&keys), "{keys} buckets");
    let shared = gate.metric("gatehouse_limit_overflows_total{policy=\"default\"}").await;
    assert!(shared >= 1_900.0, "{shared} requests without a bucket of their own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_every_socket_and_at_every_stage() {
    let replica = Replica::plain().await;
    let gate =
        Gate::start(&[replica.address], "[timeouts]\nhandshake = \"1s\"\nhead = \"1s\"\nkeepalive = \"1s\"\n").await;
    let noise: Vec<u8> = (0..4_000u32).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
    for round in 0..20 {
        let noise = &noise[round * 97..];
        for address in [gate.tls, gate.plain, gate.admin] {
            let mut raw = TcpStream::connect(address).await.unwrap();
            let _ = raw.write_all(noise).await;
        }
        for alpn in ["h2", "http/1.1"] {
            let mut tls = tls_stream(gate.tls, alpn).await;
            let _ = tls.write_all(noise).await;
            let mut frames = Frames::open(gate.tls, &[]).await;
            let _ = frames.send(noise[0], noise[1], 1, &noise[2..200]).await;
        }
    }
    still_serves(&gate).await;
    assert_eq!(replica.seen().len(), 1);
    assert!(!gate.log().contains("panicked"), "{}", gate.log());
}
