use super::*;
use proptest::prelude::*;

const H: &str = "Host: a.test\r\n";

fn get(fields: &str) -> Vec<u8> {
    format!("GET /x HTTP/1.1\r\n{H}{fields}\r\n").into_bytes()
}

fn run(head: &[u8]) -> Result<Framing, Malformed> {
    check(head, &HeadLimits::default())
}

const PLAIN: Framing = Framing { start: 0, body: Body::None, expects_continue: false, keep_alive: true, upgrade: None };
const WS: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n\
                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[test]
fn heads_with_one_reading_pass() {
    let length = |n| Framing { body: Body::Length(n), ..PLAIN };
    for (head, want) in [
        (get(""), PLAIN),
        (get("X-A: caf\u{e9}\r\nX-B:\r\nX-C: \t \r\n"), PLAIN),
        (get("Content-Length: 5\r\n"), length(5)),
        (get("content-length:0\r\n"), length(0)),
        (get("Content-Length: 18446744073709551615\r\n"), length(u64::MAX)),
        (get("Transfer-Encoding: Chunked\r\n"), Framing { body: Body::Chunked, ..PLAIN }),
        (get("Connection: close\r\n"), Framing { keep_alive: false, ..PLAIN }),
        (get("Connection: keep-alive, ,CLOSE\r\n"), Framing { keep_alive: false, ..PLAIN }),
        (get("Expect: 100-Continue\r\nContent-Length: 5\r\n"), Framing { expects_continue: true, ..length(5) }),
        (get("Expect: 100-continue\r\n"), PLAIN),
        (get(WS), Framing { upgrade: Some(Upgrade::WebSocket), ..PLAIN }),
        (get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"), PLAIN),
        (get("Connection: Upgrade\r\nUpgrade: chat/9\r\n"), PLAIN),
        (get("Upgrade: websocket\r\n"), PLAIN),
        (get("Connection: X-Hop\r\nX-Hop: 1\r\n"), PLAIN),
        (b"GET / HTTP/1.0\r\nHost: a\r\n\r\n".to_vec(), Framing { keep_alive: false, ..PLAIN }),
        (b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n".to_vec(), PLAIN),
        (b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), Framing { start: 4, ..PLAIN }),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), PLAIN),
        (b"GET http://A.test/x HTTP/1.1\r\nHost: a.test:80\r\n\r\n".to_vec(), PLAIN),
        (b"GET HTTPS://a.test?q HTTP/1.1\r\nHost: a.test\r\n\r\n".to_vec(), PLAIN),
        (b"GET //x//y?q=<\"'>{}|^` HTTP/1.1\r\nHost: [::1]:80\r\n\r\n".to_vec(), PLAIN),
        (b"M-SEARCH /x HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), PLAIN),
    ] {
        assert_eq!(run(&head), Ok(want), "{}", head.escape_ascii());
        assert_eq!(find_end(&head, 0), Some(head.len()));
    }
}

#[test]
fn rfc9112_3_request_lines_with_two_readings_are_refused() {
    for line in [
        "GET /x",
        "GET /x HTTP/0.9",
        "GET /x HTTP/1.2",
        "GET /x HTTP/2.0",
        "GET /x http/1.1",
        "GET /x HTTP/1.1x",
        "GET /x HTTP/1.10",
        "GET /x HTTP/1.1 ",
        "GET /x HTTP/1.1\r",
        "GET  /x HTTP/1.1",
        "GET /x  HTTP/1.1",
        " GET /x HTTP/1.1",
        "GET\t/x\tHTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET /a\tb HTTP/1.1",
        "GET /a\x7F HTTP/1.1",
        "GET /a\x01 HTTP/1.1",
        "GET /a\0 HTTP/1.1",
        "GET /a\rb HTTP/1.1",
        "GET /caf\u{e9} HTTP/1.1",
        "GET /x#frag HTTP/1.1",
        "GET x HTTP/1.1",
        "GET @evil/x HTTP/1.1",
        "GET \\x HTTP/1.1",
        "GET * HTTP/1.1",
        "GET a.test:80 HTTP/1.1",
        "GET file:///etc/passwd HTTP/1.1",
        "GET http:/x HTTP/1.1",
        "GET http:///x HTTP/1.1",
        "GET http://u:p@a.test/x HTTP/1.1",
        "GET http://b.test/x HTTP/1.1",
        "GET http://a.test:81/x HTTP/1.1",
        "GET http://a.test\\x HTTP/1.1",
        "GE(T /x HTTP/1.1",
        "G\u{e9}T /x HTTP/1.1",
        "PRI * HTTP/2.0",
        "\x16\x03\x01\x02\x01\x01",
    ] {
        let head = format!("{line}\r\n{H}\r\n");
        assert_eq!(run(head.as_bytes()).unwrap_err().reason, Reason::Malformed, "{}", line.escape_debug());
    }
    assert_eq!(run(b"\r\n\r\n").unwrap_err().what, "head has no end");
    assert_eq!(run(b"\r\n\r\n\r\n\r\n\r\n").unwrap_err().what, "no request line");
    assert_eq!(run(b"").unwrap_err().what, "head has no end");
}

#[test]
fn rfc9112_5_field_lines_with_two_readings_are_refused() {
    for fields in [
        "X-A: a\r\n b: c\r\n",
        "X-A: a\r\n\tb\r\n",
        "X-A : b\r\n",
        "X-A\t: b\r\n",
        "X-A\r\n",
        ": b\r\n",
        "X(A): b\r\n",
        "X-\u{e9}: b\r\n",
        "X\0A: b\r\n",
        "X-A: a\0b\r\n",
        "X-A: a\rb\r\n",
        "X-A: a\x01b\r\n",
        "X-A: a\x7Fb\r\n",
        "X: y\nTransfer-Encoding: chunked\r\n",
        "X: y\rTransfer-Encoding: chunked\r\n",
        "X: y\n\r\n",
        "X: y\r\r\n",
    ] {
        assert_eq!(run(&get(fields)).unwrap_err().reason, Reason::Malformed, "{}", fields.escape_debug());
    }
    // The first field may not be folded either.
    assert!(run(format!("GET / HTTP/1.1\r\n X: y\r\n{H}\r\n").as_bytes()).is_err());
    assert_eq!(run(b"GET / HTTP/1.1\nHost: a\n\n").unwrap_err().what, "bare LF");
    assert_eq!(run(b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\n\n").unwrap_err().what, "bare LF");
}

#[test]
fn rfc9112_3_2_host_is_there_once_and_is_a_host() {
    for hosts in [
        "",
        "Host: a\r\nHost: b\r\n",
        "Host: a\r\nhost: a\r\n",
        "Host:\r\n",
        "Host: a, b\r\n",
        "Host: a b\r\n",
        "Host: a@b\r\n",
        "Host: a/b\r\n",
        "Host: a:80:x\r\n",
        "Host: a:\r\n",
        "Host: a:99999\r\n",
    ] {
        for version in ["1.0", "1.1"] {
            let head = format!("GET / HTTP/{version}\r\n{hosts}\r\n");
            assert_eq!(run(head.as_bytes()).unwrap_err().reason, Reason::Malformed, "{}", head.escape_debug());
        }
    }
}

#[test]
fn rfc9112_6_the_body_has_one_length() {
    use Reason::{Malformed as Bad, UnknownTransferCoding as Coding};
    for (fields, reason) in [
        ("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", Bad),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", Bad),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", Bad),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", Bad),
        ("Content-Length: 5, 5\r\n", Bad),
        ("Content-Length: 5,\r\n", Bad),
        ("Content-Length: +5\r\n", Bad),
        ("Content-Length: -5\r\n", Bad),
        ("Content-Length: 0x5\r\n", Bad),
        ("Content-Length: 5.0\r\n", Bad),
        ("Content-Length: 1 5\r\n", Bad),
        ("Content-Length: 5a\r\n", Bad),
        ("Content-Length: 5_0\r\n", Bad),
        ("Content-Length: 005\r\n", Bad),
        ("Content-Length: \u{661}5\r\n", Bad),
        ("Content-Length:\r\n", Bad),
        ("Content-Length: 18446744073709551616\r\n", Bad),
        ("Content-Length: 99999999999999999999999999\r\n", Bad),
        ("Content-Length : 5\r\n", Bad),
        ("Content_Length: 5\r\n", Bad),
        ("Transfer_Encoding: chunked\r\n", Bad),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Bad),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n", Bad),
        ("Transfer-Encoding: chunked, chunked\r\n", Bad),
        ("Transfer-Encoding: chunked, gzip\r\n", Bad),
        ("Transfer-Encoding: , chunked\r\n", Bad),
        ("Transfer-Encoding: chunked;q=1\r\n", Bad),
        ("Transfer-Encoding: \x0bchunked\r\n", Bad),
        ("Transfer-Encoding:\r\n", Bad),
        ("Transfer-Encoding\u{85}: chunked\r\n", Bad),
        ("Transfer-Encoding: xchunked\r\n", Coding),
        ("Transfer-Encoding: identity\r\n", Coding),
        ("Transfer-Encoding: gzip, chunked\r\n", Coding),
    ] {
        let fault = run(&get(fields)).unwrap_err();
        assert_eq!(fault.reason, reason, "{}", fields.escape_debug());
        assert!(fault.reason.closes());
    }
    let old = format!("POST / HTTP/1.0\r\n{H}Transfer-Encoding: chunked\r\n\r\n");
    assert_eq!(run(old.as_bytes()).unwrap_err().what, "Transfer-Encoding in HTTP/1.0");
}

#[test]
fn connection_upgrade_and_expect_are_held_to_their_clauses() {
    for fields in [
        "Connection: close, Host\r\n",
        "Connection: Content-Length\r\nContent-Length: 5\r\n",
        "Connection: Authorization\r\n",
        "Connection: a b\r\n",
        "Expect: junk\r\n",
        "Expect: y 100-continue\r\n",
        "Expect: 100-continue, 100-continue\r\n",
        "Expect: 100-continue\r\nExpect: 100-continue\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 1337\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
        "Sec-WebSocket-Key: short\r\n",
        &format!("{WS}Content-Length: 5\r\n"),
        &format!("{WS}Transfer-Encoding: chunked\r\n"),
    ] {
        assert_eq!(run(&get(fields)).unwrap_err().reason, Reason::Malformed, "{}", fields.escape_debug());
    }
    let post = format!("POST /x HTTP/1.1\r\n{H}{WS}\r\n");
    assert!(run(post.as_bytes()).is_err());
}

#[test]
fn methods_that_are_not_forwarded_and_sizes_have_their_own_status() {
    let status = |head: &str| run(head.as_bytes()).unwrap_err().reason.status();
    assert_eq!(status("CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n"), 405);
    assert_eq!(status("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"), 405);
    assert_eq!(status(&format!("{} / HTTP/1.1\r\n{H}\r\n", "A".repeat(4096))), 400);
    assert_eq!(status(&format!("GET /{} HTTP/1.1\r\n{H}\r\n", "a".repeat(9000))), 414);
    assert_eq!(status(&format!("GET / HTTP/1.1\r\n{H}X: {}\r\n\r\n", "a".repeat(40_000))), 431);
    assert_eq!(status(&format!("GET / HTTP/1.1\r\n{H}{}\r\n", "X: y\r\n".repeat(128))), 431);
    assert!(run(format!("GET / HTTP/1.1\r\n{H}{}\r\n", "X: y\r\n".repeat(127)).as_bytes()).is_ok());

    let limits = HeadLimits::default();
    let long = [b"GET /".as_slice(), &[b'a'; 40_000]].concat();
    assert_eq!(too_large(&long, &limits).reason.status(), 414);
    let wide = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'a'; 40_000]].concat();
    assert_eq!(too_large(&wide, &limits).reason.status(), 431);
}

#[test]
fn the_end_is_found_wherever_the_bytes_are_cut() {
    for (bytes, end) in [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest".as_slice(), Some(27)),
        (b"\r\nGET / HTTP/1.1\r\n\r\n", Some(20)),
        (b"GET / HTTP/1.1\nHost: a\n\nX", Some(24)),
        (b"GET / HTTP/1.1\r\nX: 1\n\r\nX", Some(23)),
        (b"GET / HTTP/1.1\r\nX: 1\r\n\nX", Some(23)),
        (b"\n\nX", Some(2)),
        (b"\r\n\r\n\r\n\r\n", None),
        (b"\r\n\r\n\r\n\r\n\r\nX", Some(10)),
        (b"\r\r\n\r\n", Some(5)),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", None),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r", None),
        (b"\r\n", None),
        (b"", None),
    ] {
        assert_eq!(find_end(bytes, 0), end, "{}", bytes.escape_ascii());
        // Arriving in two parts changes nothing: the first is seen, then the whole from there on.
        for cut in 0..bytes.len() {
            let found = find_end(&bytes[..cut], 0).or_else(|| find_end(bytes, cut));
            assert_eq!(found, end, "{} cut at {cut}", bytes.escape_ascii());
        }
    }
}

#[test]
fn whatever_was_sent_can_be_shown() {
    let head = b"\r\nGET  /a b\tHTTP/9 \nHost : a\r\n folded: x\r\nnonsense\r\n: v\r\n\r\nX: not me\r\n";
    let raw = lenient(head);
    assert_eq!((raw.method, raw.target, raw.version), (b"GET".as_slice(), b"/a b".as_slice(), b"HTTP/9".as_slice()));
    let want: [(&[u8], &[u8]); 4] = [(b"Host", b"a"), (b"", b"folded: x"), (b"", b"nonsense"), (b"", b"v")];
    assert_eq!(raw.headers, want);
    assert_eq!(lenient(b""), RawHead::default());
    assert_eq!(lenient(b"GET /x").target, b"/x");
    assert_eq!(lenient(&b"a: b\n".repeat(1000)).headers.len(), MAX_LENIENT_FIELDS);
}

/// Bytes that look enough like a head to reach every branch.
fn headish() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b" ".to_vec()),
        Just(b":".to_vec()),
        Just(b"GET / HTTP/1.1\r\n".to_vec()),
        Just(b"OPTIONS * HTTP/1.0\r\n".to_vec()),
        Just(b"GET http://a.test/ HTTP/1.1\r\n".to_vec()),
        Just(b"Host: a.test\r\n".to_vec()),
        Just(b"Content-Length: 1\r\n".to_vec()),
        Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
        Just(b"Connection: upgrade\r\n".to_vec()),
        Just(WS.as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..6),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// Nothing panics, and what is admitted reads the same with a reader that shares no code: one request line, CRLF
    /// everywhere, no control bytes, at most one statement of length.
    #[test]
    fn admitted_heads_have_one_reading(bytes in headish()) {
        let _ = lenient(&bytes);
        let _ = too_large(&bytes, &HeadLimits::default());
        let head = &bytes[..find_end(&bytes, 0).unwrap_or(bytes.len())];
        if let Ok(framing) = run(head) {
            let text: String = head[framing.start..].iter().map(|b| char::from(*b)).collect();
            let body = text.strip_suffix("\r\n\r\n").unwrap();
            let lines: Vec<&str> = body.split("\r\n").collect();
            prop_assert!(!body.replace("\r\n", "").contains(['\r', '\n', '\0']));
            prop_assert!(lines.iter().all(|line| !line.is_empty() && !line.starts_with([' ', '\t'])));
            prop_assert_eq!(lines[0].split(' ').count(), 3);
            let named = |name: &str| {
                lines[1..].iter().filter(|l| l.to_ascii_lowercase().replace('_', "-").starts_with(&format!("{name}:"))).count()
            };
            prop_assert_eq!(named("host"), 1);
            let (cl, te) = (named("content-length"), named("transfer-encoding"));
            let want = match framing.body { Body::None => (0, 0), Body::Length(_) => (1, 0), Body::Chunked => (0, 1) };
            prop_assert_eq!((cl, te), want);
            let raw = lenient(head);
            prop_assert_eq!(raw.headers.len(), lines.len() - 1);
        }
    }
}
