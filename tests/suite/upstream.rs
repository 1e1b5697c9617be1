//! The way to replicas: TLS, HTTP/2, gRPC, and what a body or a cookie has to do with it.

use crate::harness::{
    Answer, Exchange, Gate, H1, Issuer, Origin, Replica, h2_request, shows, tls_stream, until, within,
};
use bytes::Bytes;
use h2::client::SendRequest;
use http::HeaderMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Keys of `[upstream]` that come first, and a section of it.
fn tls(protocol: &str, keys: &str) -> String {
    format!("protocol = \"{protocol}\"\nmax_retries = 0\n[upstream.tls]\nenabled = true\n{keys}")
}

/// By the cache's way, but never from the cache.
async fn get(gate: &Gate, target: &str) -> crate::harness::Reply {
    H1::tls(gate.tls).await.get(target, "cache-control: no-cache\r\n").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_replica_that_proves_who_it_is_gets_a_request() {
    let (right, wrong) = (Issuer::new("right"), Issuer::new("wrong"));
    for (what, issued, name, why) in [
        ("its own authority", right.issue("archon.test", 2099), "archon.test", None),
        ("its address", right.issue("127.0.0.1", 2099), "", None),
        ("another authority", wrong.issue("archon.test", 2099), "archon.test", Some("UnknownIssuer")),
        ("run out", right.issue("archon.test", 2020), "archon.test", Some("xpired")),
        ("another name", right.issue("other.test", 2099), "archon.test", Some("not valid for name")),
    ] {
        for (protocol, alpn) in [("http1", "http/1.1"), ("http2", "h2"), ("auto", "h2")] {
            let origin = Origin::hello(Some(shows(&issued, None, &[alpn]))).await;
            let keys = format!("ca = \"ca.pem\"\nserver_name = \"{name}\"\n");
            let gate = Gate::start_with(&[origin.address], &tls(protocol, &keys), |dir| {
                std::fs::write(dir.path().join("ca.pem"), right.pem()).unwrap();
            })
            .await;
            // Both ways to a replica: the straight one, and the cache's.
            for target in ["/a?x", "/b"] {
                let fields = if target == "/a?x" { "authorization: Basic eDp5\r\n" } else { "" };
                let reply = H1::tls(gate.tls).await.get(target, fields).await;
                match why {
                    None => {
                        assert_eq!((reply.status, reply.text()), (200, "hello".into()), "{what} {protocol} {target}")
                    }
                    Some(why) => {
                        assert_eq!(reply.status, 502, "{what} {protocol} {target}");
                        let event = gate.event(&reply).await.to_string();
                        assert!(event.contains(why), "{what} {protocol} {target}: {event}");
                    }
                }
            }
            let failed = format!(
                "gatehouse_replica_requests_total{{outcome=\"tls_failed\",pool=\"default\",replica=\"{}\"}}",
                origin.address
            );
            if why.is_some() {
                assert_eq!(origin.connections(), 0, "{what}");
                until("the count", async || gate.metric(&failed).await >= 1.0).await;
                assert!(gate.log().contains("replica is not believed"), "{what}");
            } else {
                assert_eq!(gate.metric(&failed).await, 0.0);
                let asked = (!name.is_empty()).then(|| name.to_owned());
                assert!(origin.names().iter().all(|shown| *shown == asked), "{:?}", origin.names());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_authority_is_taken_up_and_an_unreadable_one_is_not() {
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let issued = new.issue("127.0.0.1", 2099);
    let origin = Origin::hello(Some(shows(&issued, None, &["h2", "http/1.1"]))).await;
    let gate = Gate::start_with(&[origin.address], &tls("auto", "ca = \"ca.pem\"\n"), |dir| {
        std::fs::write(dir.path().join("ca.pem"), old.pem()).unwrap();
    })
    .await;
    assert_eq!(get(&gate, "/").await.status, 502);
    std::fs::write(gate.path("ca.pem"), "-----BEGIN CERTIFICATE-----\nnothing\n").unwrap();
    gate.reloaded("refused", 0.0).await;
    assert!(gate.log().contains("ca.pem:1:1: "), "the place is named");
    std::fs::write(gate.path("ca.pem"), new.pem()).unwrap();
    until("the new authority", async || get(&gate, "/").await.status == 200).await;
    // What was begun under an authority is not used under another one.
    std::fs::write(gate.path("ca.pem"), old.pem()).unwrap();
    until("the old authority", async || get(&gate, "/").await.status == 502).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gate_shows_its_certificate_and_skips_checks_only_when_told() {
    let (authority, clients) = (Issuer::new("authority"), Issuer::new("clients"));
    let issued = authority.issue("elsewhere.test", 2099);
    let own = clients.issue("gate", 2099);
    for (protocol, shown, status) in
        [("http1", true, 200), ("http2", true, 200), ("http1", false, 502), ("http2", false, 502)]
    {
        let origin = Origin::hello(Some(shows(&issued, Some(&clients), &["h2", "http/1.1"]))).await;
        let mut keys = "insecure_accept_any_certificate = true\n".to_owned();
        if shown {
            keys.push_str("cert = \"own.pem\"\nkey = \"own.key\"\n");
        }
        let gate = Gate::start_with(&[origin.address], &tls(protocol, &keys), |dir| {
            std::fs::write(dir.path().join("own.pem"), &own.cert).unwrap();
            std::fs::write(dir.path().join("own.key"), &own.key).unwrap();
        })
        .await;
        let reply = H1::tls(gate.tls).await.get("/", "authorization: Basic eDp5\r\n").await;
        assert_eq!(reply.status, status, "{protocol} {shown}");
        assert_eq!(get(&gate, "/cached").await.status, status, "{protocol} {shown}, the cache's way");
        assert!(gate.log().contains("insecure_accept_any_certificate"), "it is said in the log");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_go_the_same_way() {
    let authority = Issuer::new("authority");
    let issued = authority.issue("127.0.0.1", 2099);
    const PROBES: &str = "[upstream.health]\ninterval = \"100ms\"\npath = \"/ready\"\n";
    for (protocol, alpn) in [("http1", "http/1.1"), ("http2", "h2")] {
        let origin = Origin::hello(Some(shows(&issued, None, &[alpn]))).await;
        let more = format!("{}{PROBES}", tls(protocol, "ca = \"ca.pem\"\n"));
        let gate = Gate::start_with(&[origin.address], &more, |dir| {
            std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
        })
        .await;
        until("probes", async || origin.connections() > 3).await;
        assert_eq!(get(&gate, "/").await.status, 200, "{protocol}");
        std::fs::write(gate.path("ca.pem"), Issuer::new("other").pem()).unwrap();
        until("a replica that is not believed", async || get(&gate, "/").await.status == 503).await;
    }
}

/// A client's connection to the gate in HTTP/2.
async fn h2(gate: &Gate) -> SendRequest<Bytes> {
    let (client, connection) = h2::client::handshake(tls_stream(gate.tls, "h2").await).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_share_connections_within_bounds() {
    let origin = Origin::start(None, |mut x: Exchange| async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let body = x.body().await;
        x.head(&[("content-length", &body.len().to_string())], false).send_data(body.into(), true).unwrap();
    })
    .await;
    let gate = Gate::start(&[origin.address], "protocol = \"http2\"\nmax_streams = 8\n").await;
    let all: Vec<_> = (0..40)
        .map(|i| {
            let address = gate.tls;
            tokio::spawn(async move {
                let text = format!("{{\"n\":{i}}}");
                let reply = H1::tls(address).await.post("/x", "application/json", text.as_bytes()).await;
                assert_eq!((reply.status, reply.text()), (200, text));
            })
        })
        .collect();
    for one in all {
        one.await.unwrap();
    }
    let connections = origin.connections();
    assert!((1..=8).contains(&connections), "{connections} for 40 requests, 8 a connection");
    assert_eq!(origin.seen().len(), 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rfc9113_8_7_what_a_replica_did_not_look_at_is_asked_again_even_a_post() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let origin = Origin::start(None, move |mut x: Exchange| {
        let first = count.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            if first {
                x.respond.send_reset(h2::Reason::REFUSED_STREAM);
                return;
            }
            let body = x.body().await;
            x.head(&[], false).send_data(body.into(), true).unwrap();
        }
    })
    .await;
    let gate = Gate::start(&[origin.address], "protocol = \"http2\"\n").await;
    let reply = H1::tls(gate.tls).await.post("/x", "application/json", b"{\"a\":1}").await;
    assert_eq!((reply.status, reply.text()), (200, "{\"a\":1}".into()));
    assert_eq!(asked.load(Ordering::Relaxed), 2);

    // Reset for another reason, it may have been done.
    let origin = Origin::start(None, |mut x: Exchange| async move {
        x.respond.send_reset(h2::Reason::INTERNAL_ERROR);
    })
    .await;
    let gate = Gate::start(&[origin.address], "protocol = \"http2\"\n").await;
    let reply = H1::tls(gate.tls).await.post("/x", "application/json", b"{\"a\":1}").await;
    assert_eq!((reply.status, origin.seen().len()), (502, 1));
}

/// HTTP/2 by hand: takes one request and says in a GOAWAY that it looked at none (RFC 9113 section 6.8).
async fn goes_away(mut stream: tokio::net::TcpStream) {
    let frame = |kind: u8, payload: &[u8]| {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, 0, 0, 0, 0, 0]);
        frame.extend_from_slice(payload);
        frame
    };
    stream.write_all(&frame(4, &[])).await.unwrap();
    let mut seen = vec![0; 24];
    stream.read_exact(&mut seen).await.unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await.unwrap();
        if head[3] == 1 {
            stream.write_all(&frame(7, &[0; 8])).await.unwrap();
            let _ = stream.read_to_end(&mut seen).await;
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rfc9113_6_8_what_a_goaway_leaves_out_is_asked_again_on_another_connection() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let replica = tokio::spawn(async move {
        tokio::spawn(goes_away(listener.accept().await.unwrap().0));
        let mut server = h2::server::handshake(listener.accept().await.unwrap().0).await.unwrap();
        while let Some(Ok((request, mut respond))) = server.accept().await {
            let fields = request.headers().clone();
            let mut body = respond.send_response(http::Response::new(()), false).unwrap();
            let text = format!("{:?}", fields.get("content-length").unwrap());
            body.send_data(text.into(), true).unwrap();
        }
    });
    let gate = Gate::start(&[address], "protocol = \"http2\"\n").await;
    let reply = H1::tls(gate.tls).await.post("/x", "application/json", b"{\"a\":1}").await;
    assert_eq!((reply.status, reply.text()), (200, "\"7\"".into()));
    replica.abort();
}

/// A message of gRPC: not compressed, its length, itself.
fn message(text: &[u8]) -> Bytes {
    let mut out = vec![0];
    out.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
    out.extend_from_slice(text);
    out.into()
}

const CALLS: &str = "[[route]]\nname = \"calls\"\npath = \"/echo.Echo/\"\nmethods = [\"POST\"]\ngrpc = true\n";

fn call(path: &str) -> http::request::Builder {
    http::Request::post(format!("https://gate.test{path}"))
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers")
        .header("user-agent", "grpc-suite/1")
}

/// Sends back each message at once, and ends the call with a status when the client has ended.
async fn echo(mut x: Exchange) {
    match x.request.uri().path() {
        "/echo.Echo/Refuse" => {
            // "Trailers-Only": one head, and nothing behind it.
            x.head(&[("content-type", "application/grpc"), ("grpc-status", "5"), ("grpc-message", "no")], true);
        }
        "/echo.Echo/Never" => std::future::pending().await,
        "/echo.Echo/Breaks" => {
            let mut body = x.head(&[("content-type", "application/grpc")], false);
            body.send_data(message(b"half"), false).unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            body.send_reset(h2::Reason::INTERNAL_ERROR);
        }
        _ => {
            let mut body = x.head(&[("content-type", "application/grpc")], false);
            while let Some(piece) = x.piece().await {
                body.send_data(piece, false).unwrap();
            }
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            trailers.insert("x-detail", "kept".parse().unwrap());
            body.send_trailers(trailers).unwrap();
        }
    }
}

/// A call of one message: the head, what came of messages, and the trailers.
async fn unary(
    client: &mut SendRequest<Bytes>,
    request: http::request::Builder,
) -> (HeaderMap, u16, Vec<u8>, Option<HeaderMap>) {
    let exchange = async {
        let (response, mut body) = client.send_request(request.body(()).unwrap(), false).unwrap();
        let _ = body.send_data(message(b"hi"), true);
        let (parts, mut stream) = response.await.unwrap().into_parts();
        let alone = stream.is_end_stream();
        let mut got = Vec::new();
        while let Some(Ok(piece)) = stream.data().await {
            let _ = stream.flow_control().release_capacity(piece.len());
            got.extend_from_slice(&piece);
        }
        let trailers = stream.trailers().await.ok().flatten();
        assert_eq!(alone, got.is_empty() && trailers.is_none(), "a head that is all there is says so");
        (parts.headers, parts.status.as_u16(), got, trailers)
    };
    within("a call", exchange).await
}

fn status(fields: &HeaderMap) -> Option<&str> {
    fields.get("grpc-status").map(|value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_calls_stream_both_ways_and_end_with_their_trailers() {
    let origin = Origin::start(None, echo).await;
    let gate = Gate::start(&[origin.address], &format!("protocol = \"http2\"\n{CALLS}")).await;
    let mut client = h2(&gate).await;
    // Each message is answered before the next is sent: nothing is held either way.
    let conversation = async {
        let request = call("/echo.Echo/Chat").header("grpc-timeout", "20S").body(()).unwrap();
        let (response, mut body) = client.send_request(request, false).unwrap();
        body.send_data(message(b"0"), false).unwrap();
        let (parts, mut stream) = response.await.unwrap().into_parts();
        assert_eq!((parts.status.as_u16(), parts.headers["content-type"].as_bytes()), (200, &b"application/grpc"[..]));
        for n in 0..20_u8 {
            let mut got = Vec::new();
            while got.len() < 6 {
                let piece = stream.data().await.unwrap().unwrap();
                let _ = stream.flow_control().release_capacity(piece.len());
                got.extend_from_slice(&piece);
            }
            assert_eq!(got, message(&[b'0' + n]));
            tokio::time::sleep(Duration::from_millis(5)).await;
            if n < 19 {
                body.send_data(message(&[b'1' + n]), false).unwrap();
            }
        }
        body.send_data(Bytes::new(), true).unwrap();
        assert!(stream.data().await.is_none());
        stream.trailers().await.unwrap().unwrap()
    };
    let trailers = within("a conversation", conversation).await;
    assert_eq!((status(&trailers), trailers["x-detail"].as_bytes()), (Some("0"), &b"kept"[..]));
    let seen = origin.seen().pop().unwrap();
    assert_eq!((seen["te"].as_bytes(), seen["grpc-timeout"].as_bytes()), (&b"trailers"[..], &b"20S"[..]));
    assert_eq!(seen["content-type"].as_bytes(), b"application/grpc+proto");

    let (_, http, got, trailers) = unary(&mut client, call("/echo.Echo/Say")).await;
    assert_eq!((http, got.as_slice(), status(&trailers.unwrap())), (200, &message(b"hi")[..], Some("0")));
    let (head, http, got, trailers) = unary(&mut client, call("/echo.Echo/Refuse")).await;
    assert_eq!((http, status(&head), got.len(), trailers), (200, Some("5"), 0, None));
    // A call that breaks in the middle ends as one.
    let (_, _, got, trailers) = unary(&mut client, call("/echo.Echo/Breaks")).await;
    assert_eq!((got.as_slice(), status(&trailers.unwrap())), (&message(b"half")[..], Some("14")));
    assert_eq!(origin.connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_gate_refuses_of_grpc_is_told_as_a_grpc_status() {
    let origin = Origin::start(None, echo).await;
    let more = format!(
        "protocol = \"http2\"\nmax_retries = 0\n{CALLS}limit = \"few\"\nmax_body = \"1KiB\"\n\
         [[route]]\nname = \"closed\"\npath = \"/shut.Shut/\"\nrefuse = true\n\
         [limits]\n[limits.policies.few]\nrate = \"4/h\"\nburst = 4\n"
    );
    let gate = Gate::start(&[origin.address], &more).await;
    let mut client = h2(&gate).await;
    // Its own deadline: the call is given up, and the replica's stream with it.
    let (head, http, _, _) = unary(&mut client, call("/echo.Echo/Never").header("grpc-timeout", "200m")).await;
    assert_eq!((http, status(&head)), (200, Some("4")));
    let (head, ..) = unary(&mut client, call("/shut.Shut/X")).await;
    assert_eq!(status(&head), Some("7"));
    // Other content is no call, and is told so in HTTP.
    let reply =
        h2_request(gate.tls, "POST", "/echo.Echo/Say", &[("content-type", "application/json")], vec!["{}".into()])
            .await;
    assert_eq!(reply.status, 415);
    let attack = call("/echo.Echo/Say?q=1%27%20UNION%20SELECT%20password%20FROM%20users--");
    let (head, http, ..) = unary(&mut client, attack).await;
    assert_eq!((http, status(&head)), (200, Some("7")), "the rules see the head");
    let mut last = HeaderMap::new();
    for _ in 0..5 {
        last = unary(&mut client, call("/echo.Echo/Refuse")).await.0;
    }
    assert_eq!((status(&last), last["content-type"].as_bytes()), (Some("8"), &b"application/grpc"[..]));
    assert!(last.contains_key("grpc-message") && last.contains_key("x-request-id"));
    // A call over which nobody says anything ends, and says nothing about its replica.
    let more = format!("protocol = \"http2\"\nread_timeout = \"400ms\"\n{CALLS}");
    let gate = Gate::start(&[origin.address], &more).await;
    let silent = async {
        let (response, mut body) =
            h2(&gate).await.send_request(call("/echo.Echo/Chat").body(()).unwrap(), false).unwrap();
        body.send_data(message(b"hi"), false).unwrap();
        let mut stream = response.await.unwrap().into_body();
        while let Some(Ok(piece)) = stream.data().await {
            let _ = stream.flow_control().release_capacity(piece.len());
        }
        stream.trailers().await.unwrap().unwrap()
    };
    assert_eq!(status(&within("the end of a silent call", silent).await), Some("4"));
    let late = format!(
        "gatehouse_replica_requests_total{{outcome=\"timed_out\",pool=\"default\",replica=\"{}\"}}",
        origin.address
    );
    assert_eq!(gate.metric(&late).await, 0.0);
    let gone = origin.address;
    drop(origin);
    let gate = Gate::start(&[gone], &format!("protocol = \"http2\"\n{CALLS}")).await;
    let (head, http, ..) = unary(&mut h2(&gate).await, call("/echo.Echo/Say")).await;
    assert_eq!((http, status(&head)), (200, Some("14")));
}

const STREAMED: &str = "[[route]]\nname = \"up\"\npath = \"/up\"\ninspect = false\nmax_body = \"1MiB\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_nothing_reads_flows_and_may_not_stall() {
    let replica = Replica::start(|seen| Answer::ok(seen.body.len().to_string())).await;
    let origin = Origin::start(None, |mut x: Exchange| async move {
        let size = x.body().await.len().to_string();
        x.head(&[], false).send_data(size.into(), true).unwrap();
    })
    .await;
    for (address, protocol) in [(replica.address, "http1"), (origin.address, "http2")] {
        let more = format!("protocol = \"{protocol}\"\n{STREAMED}[timeouts]\nbody_idle = \"400ms\"\n");
        let gate = Gate::start(&[address], &more).await;
        let body = vec![b'x'; 700_000];
        let reply = H1::tls(gate.tls).await.post("/up", "application/octet-stream", &body).await;
        assert_eq!((reply.status, reply.text()), (200, "700000".into()), "{protocol}");
        let pieces: Vec<Bytes> = body.chunks(10_000).map(Bytes::copy_from_slice).collect();
        let reply = h2_request(gate.tls, "POST", "/up", &[], pieces).await;
        assert_eq!((reply.status, reply.text()), (200, "700000".into()), "{protocol}");
        let chunked = "POST /up HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\ntransfer-encoding: chunked\r\n\r\n";
        let mut h1 = H1::tls(gate.tls).await;
        let reply = h1.send(format!("{chunked}5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")).await;
        assert_eq!((reply.status, reply.text()), (200, "11".into()), "{protocol}");
        assert_eq!(h1.send(format!("{chunked}1\r\nx\r\n0\r\n\r\n")).await.text(), "1", "{protocol}: kept open");
        // Larger than the route allows, without having said so.
        let mut large = chunked.as_bytes().to_vec();
        for _ in 0..40 {
            large.extend(b"8000\r\n");
            large.extend(vec![b'x'; 0x8000]);
            large.extend(b"\r\n");
        }
        assert_eq!(H1::tls(gate.tls).await.send(large).await.status, 413, "{protocol}");
        // Stalled, by HTTP/1 and HTTP/2.
        let reply = H1::tls(gate.tls).await.send(format!("{chunked}5\r\nhello\r\n")).await;
        assert_eq!(reply.status, 408, "{protocol}");
        let fields = [("content-length", "100")];
        let reply = h2_request(gate.tls, "POST", "/up", &fields, vec![Bytes::from_static(b"hello")]).await;
        assert_eq!(reply.status, 408, "{protocol}");
        // By the cache's way, which the base goes.
        let get = "GET /up HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\ncontent-length: 100\r\n\r\nhello";
        assert_eq!(H1::tls(gate.tls).await.send(get).await.status, 408, "{protocol}");
        // Broken framing is the client's fault.
        let reply = H1::tls(gate.tls).await.send(format!("{chunked}5\r\nhelloX\r\n")).await;
        assert_eq!(reply.status, 400, "{protocol}");
    }
    assert!(
        replica.seen().iter().all(|seen| [700_000, 11, 1].contains(&seen.body.len())),
        "no half body is a whole one"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_waits_to_be_asked_for_its_body_is() {
    let replica = Replica::start(|seen| Answer::ok(seen.body.clone())).await;
    let gate = Gate::start(&[replica.address], STREAMED).await;
    let mut h1 = H1::tls(gate.tls).await;
    let head = "POST /up HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
    h1.write(head.as_bytes()).await.unwrap();
    h1.read_past(b"HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(h1.send("body").await.text(), "body");
    assert_eq!(replica.seen()[0].header("expect"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rfc8297_early_hints_reach_clients_of_http_1_1() {
    let early = b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nset-cookie: a=b\r\n\r\n\
        HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let replica = Replica::start(|_| Answer::Raw(early.to_vec())).await;
    let origin = Origin::start(None, |mut x: Exchange| async move {
        let hint = http::Response::builder().status(103).header("link", "</a.css>; rel=preload").header("x-a", "b");
        x.respond.send_informational(hint.body(()).unwrap()).unwrap();
        x.head(&[], false).send_data(Bytes::from_static(b"ok"), true).unwrap();
    })
    .await;
    let route = "[[route]]\nname = \"all\"\npath = \"/\"\ncache = false\n";
    for (address, protocol) in [(replica.address, "http1"), (origin.address, "http2")] {
        let gate = Gate::start(&[address], &format!("protocol = \"{protocol}\"\n{route}")).await;
        let mut h1 = H1::tls(gate.tls).await;
        let hint = h1.get("/", "").await;
        assert_eq!((hint.status, hint.header("link")), (103, Some("</a.css>; rel=preload")), "{protocol}");
        assert_eq!((hint.header("set-cookie"), hint.header("x-a")), (None, None), "links alone");
        let reply = h1.reply().await;
        assert_eq!((reply.status, reply.text()), (200, "ok".into()));
        let old = "GET / HTTP/1.0\r\nhost: gate.test\r\nuser-agent: suite\r\n\r\n";
        assert_eq!(H1::tls(gate.tls).await.send(old).await.status, 200, "not to HTTP/1.0 (RFC 9110 section 15.2)");
        assert_eq!(h2_request(gate.tls, "GET", "/", &[], Vec::new()).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_affinity_cookie_stays_between_client_and_gate() {
    let replica = Replica::plain().await;
    let gate = Gate::start(&[replica.address], "[upstream.affinity]\ncookie = \"stay\"\n").await;
    let reply = get(&gate, "/").await;
    let cookie = reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    assert!(cookie.starts_with("stay="));
    let both = format!("cookie: a=1; {cookie}; b=2\r\n");
    H1::tls(gate.tls).await.get("/one", &both).await;
    H1::tls(gate.tls).await.get("/two", &format!("cookie: {cookie}\r\n")).await;
    h2_request(gate.tls, "GET", "/three", &[("cookie", "a=1"), ("cookie", &cookie)], Vec::new()).await;
    let cookie = |target: &str| {
        let seen = replica.seen().into_iter().find(|seen| seen.target() == target).unwrap();
        seen.header("cookie").map(str::to_owned)
    };
    assert_eq!(cookie("/one").as_deref(), Some("a=1; b=2"));
    assert_eq!(cookie("/two"), None);
    assert_eq!(cookie("/three").as_deref(), Some("a=1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_replica_is_overtaken_within_the_budget() {
    let slow = Replica::start(|_| Answer::Late(Duration::from_secs(3), Box::new(Answer::ok("slow")))).await;
    let fast = Replica::start(|_| Answer::ok("fast")).await;
    let replicas = [slow.address, fast.address];
    let route = "[[route]]\nname = \"all\"\npath = \"/\"\ncache = false\n";
    let hedge = |after: &str, share: &str| {
        format!(
            "[upstream.hedge]\nafter = \"{after}\"\nmax_share = {share}\n[upstream.ejection]\nenabled = false\n{route}"
        )
    };
    let gate = Gate::start(&replicas, &hedge("50ms", "1.0")).await;
    let begun = std::time::Instant::now();
    for _ in 0..6 {
        assert_eq!(H1::tls(gate.tls).await.get("/", "").await.text(), "fast");
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(gate.metric("gatehouse_pool_hedges_total{outcome=\"won\",pool=\"default\"}").await, 3.0);
    let overtaken = format!(
        "gatehouse_replica_requests_total{{outcome=\"overtaken\",pool=\"default\",replica=\"{}\"}}",
        slow.address
    );
    assert_eq!(gate.metric(&overtaken).await, 3.0);
    // What may not be asked twice, or has a body, is not.
    let mut texts = Vec::new();
    for _ in 0..2 {
        texts.push(H1::tls(gate.tls).await.post("/x", "application/json", b"{}").await.text());
    }
    texts.sort();
    assert_eq!(texts, ["fast", "slow"]);

    let gate = Gate::start(&replicas, &hedge("50ms", "0.05")).await;
    let mut texts = Vec::new();
    for _ in 0..2 {
        texts.push(H1::tls(gate.tls).await.get("/", "").await.text());
    }
    texts.sort();
    assert_eq!(texts, ["fast", "slow"], "two requests pay for no hedge");
    assert_eq!(gate.metric("gatehouse_pool_hedges_total{outcome=\"over_budget\",pool=\"default\"}").await, 1.0);

    let gate = Gate::start(&replicas, route).await;
    H1::tls(gate.tls).await.get("/", "").await;
    H1::tls(gate.tls).await.get("/", "").await;
    assert_eq!(gate.metric("gatehouse_pool_hedges_total{outcome=\"over_budget\",pool=\"default\"}").await, 0.0, "off");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_goes_over_tls_too() {
    let authority = Issuer::new("authority");
    let issued = authority.issue("127.0.0.1", 2099);
    // The replica takes HTTP/2 as well: a handshake needs HTTP/1.1.
    let origin = Origin::hello(Some(shows(&issued, None, &["h2", "http/1.1"]))).await;
    let more =
        format!("{}[[route]]\nname = \"ws\"\npath = \"/ws\"\nwebsocket = true\n", tls("auto", "ca = \"ca.pem\"\n"));
    let gate = Gate::start_with(&[origin.address], &more, |dir| {
        std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
    })
    .await;
    let handshake = "GET /ws HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\nconnection: Upgrade\r\n\
        upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let reply = H1::tls(gate.tls).await.send(handshake).await;
    assert_eq!((reply.status, reply.text()), (200, "hello".into()), "its plain answer is relayed");
    std::fs::write(gate.path("ca.pem"), Issuer::new("other").pem()).unwrap();
    until("a replica that is not believed", async || H1::tls(gate.tls).await.send(handshake).await.status == 502).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_read_nothing_hold_up_neither_the_others_nor_much_memory() {
    const LARGE: usize = 64 * 1024 * 1024;
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let origin = Origin::start(None, move |mut x: Exchange| {
        let count = Arc::clone(&count);
        async move {
            let mut body = x.head(&[], false);
            let mut left = if x.request.uri().path() == "/large" { LARGE } else { 5 };
            while left > 0 {
                body.reserve_capacity(left.min(16 * 1024));
                let Some(Ok(room)) = std::future::poll_fn(|cx| body.poll_capacity(cx)).await else { return };
                let n = room.min(left);
                left -= n;
                count.fetch_add(n, Ordering::Relaxed);
                if body.send_data(vec![b'x'; n].into(), left == 0).is_err() {
                    return;
                }
            }
        }
    })
    .await;
    let route = "[[route]]\nname = \"all\"\npath = \"/\"\ncache = false\ninspect = false\n";
    let gate = Gate::start(&[origin.address], &format!("protocol = \"http2\"\n{route}")).await;
    let before = gate.memory("VmRSS");
    let mut deaf = Vec::new();
    for _ in 0..8 {
        let mut h1 = H1::tls(gate.tls).await;
        h1.write(b"GET /large HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\n\r\n").await.unwrap();
        deaf.push(h1);
    }
    let mut last = 0;
    until("all to stall", async || {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = sent.load(Ordering::Relaxed);
        now > 0 && now == std::mem::replace(&mut last, now)
    })
    .await;
    for _ in 0..20 {
        assert_eq!(H1::tls(gate.tls).await.get("/small", "").await.text(), "xxxxx");
    }
    assert_eq!(origin.connections(), 1, "all on one connection");
    let sent = sent.load(Ordering::Relaxed);
    // Most of what left is in the sockets' buffers of the eight.
    assert!(sent < LARGE * 8 / 4, "{sent} bytes left for clients that read nothing");
    let grown = gate.memory("VmRSS").saturating_sub(before);
    println!("{sent} bytes sent, {grown} KiB more in use");
    assert!(grown < 32 * 1024, "{grown} KiB");
}
