//! Faults that other proxies and firewalls had, each standing for its kind: two readings of one message, paths that a
//! rule does not recognise, bodies that nobody reads, limits past which nothing is looked at.

use crate::harness::{Answer, Gate, H1, Replica, until};
use std::io::Write as _;

const GET: &str = "host: gate.test\r\nuser-agent: suite\r\naccept: */*\r\n";

fn post(kind: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST /a HTTP/1.1\r\n{GET}content-type: {kind}\r\n{more}content-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_let_through_is_refused_and_what_they_refused_passes() {
    let replica = Replica::plain().await;
    let rules =
        "SecRule REQUEST_FILENAME \"@rx ^/{1,2}drop/.*\\.php$\" \"id:7,phase:1,deny,status:403,log,msg:'drop'\"\n";
    let more = "[waf]\nrules = \"own.conf\"\n[[route]]\nname = \"shut\"\npath = \"/shut/\"\nrefuse = true\n";
    let gate = Gate::start_with(&[replica.address], more, |dir| {
        std::fs::write(dir.path().join("own.conf"), rules).unwrap();
    })
    .await;
    let json = "application/json";
    let form = "application/x-www-form-urlencoded";
    let attack = "1 UNION ALL SELECT login,secret FROM members-- -";
    let many: String = "k=v&".repeat(30_000);
    let upload = |name: &str| {
        format!(
            "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"{name}\"\r\nContent-Type: image/png\r\n\r\nx\r\n--b--\r\n"
        )
    };
    let mime = "multipart/form-data;boundary=----geckoformboundary77;charset=UTF-8";
    let gecko = "------geckoformboundary77\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n------geckoformboundary77--\r\n";
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\n{GET}\r\n").into_bytes();
    // What, what is sent, statuses that are right.
    let cases: Vec<(&str, Vec<u8>, &[u16])> = vec![
        (
            "an empty name among the fields",
            format!("GET /a HTTP/1.1\r\n{GET}: dropped\r\nx-role: guest\r\n\r\n").into(),
            &[400],
        ),
        ("absolute form of a closed path", get("http://gate.test/shut/a"), &[403]),
        ("two slashes are no authority", get("//drop/pics/run.php?x=1"), &[403]),
        ("one slash", get("/drop/run.php"), &[403]),
        (
            "an encoded question mark is of the path",
            get("/docs/help%3Fq=%3Cscript%3Ealert(7)%3C/script%3E"),
            &[403, 400],
        ),
        ("an encoded percent sign is of the path", get("/a%2f%2e%2e%2fshut/x"), &[400, 403]),
        (
            "a compressed body",
            post(json, "content-encoding: gzip\r\n", &gzip(format!("{{\"q\":\"{attack}\"}}").as_bytes())),
            &[403, 415, 400],
        ),
        (
            "a compressed body of no type",
            post("application/octet-stream", "content-encoding: gzip\r\n", &gzip(format!("q={attack}").as_bytes())),
            &[403, 415, 400],
        ),
        (
            "a transfer coding that compresses",
            format!("POST /a HTTP/1.1\r\n{GET}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n").into(),
            &[400, 501],
        ),
        (
            "two charsets",
            post("application/json; charset=utf-8; charset=utf-7", "", b"{\"u\":\"+ACcAfAB8ACcAMQ-\"}"),
            &[403, 415, 400],
        ),
        ("utf-7", post("application/json; charset=utf-7", "", b"{\"u\":\"x\"}"), &[403, 415, 400]),
        (
            "the first of two keys",
            post(json, "", format!("{{\"t\":\"{attack}\",\"t\":\"boots\"}}").as_bytes()),
            &[403, 400],
        ),
        (
            "the last of two keys",
            post(json, "", format!("{{\"t\":\"boots\",\"t\":\"{attack}\"}}").as_bytes()),
            &[403, 400],
        ),
        (
            "a name with white space within",
            post("multipart/form-data; boundary=b", "", upload("holiday. php").as_bytes()),
            &[403],
        ),
        ("more arguments than are read", post(form, "", format!("{many}z={attack}").as_bytes()), &[400, 403, 413]),
        ("60,000 open brackets", post(json, "", "[".repeat(60_000).as_bytes()), &[400, 403, 413]),
        ("60,000 open braces", post(json, "", "{\"a\":".repeat(60_000).as_bytes()), &[400, 403, 413]),
        ("the word boundary in a boundary", post(mime, "", gecko.as_bytes()), &[200]),
        (
            "a JSON name that looks like a file",
            post(json, "", b"{\"profile\":\"night shift\",\"theme\":\"dark\"}"),
            &[200],
        ),
        (
            "a length with a sign",
            [format!("POST /a HTTP/1.1\r\n{GET}content-length: +5\r\n\r\n").as_bytes(), b"hello"].concat(),
            &[400],
        ),
        (
            "LF in a chunk extension",
            format!("POST /a HTTP/1.1\r\n{GET}transfer-encoding: chunked\r\n\r\n4;n=a\nb\r\nwxyz\r\n0\r\n\r\n").into(),
            &[400],
        ),
    ];
    for (what, bytes, right) in cases {
        let (_, before) = replica.touched();
        let reply = H1::plain(gate.plain).await.send(&bytes).await;
        assert!(right.contains(&reply.status), "{what}: {} {}", reply.status, reply.text());
        assert_eq!(replica.touched().1 > before, reply.status == 200, "{what}: what the replica got");
        assert_eq!(H1::plain(gate.plain).await.get("/health", "").await.status, 200, "after {what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_that_nobody_answered_pipes_nothing_through() {
    let replica = Replica::plain().await;
    for websocket in [false, true] {
        let more = format!(
            "[[route]]\nname = \"shut\"\npath = \"/shut/\"\nrefuse = true\n\
             [[route]]\nname = \"open\"\npath = \"/open/\"\nwebsocket = {websocket}\n"
        );
        let gate = Gate::start(&[replica.address], &more).await;
        for upgrade in ["chat/9", "websocket", "h2c", "TLS/1.2", "WebSocket, chat"] {
            let before = replica.seen().len();
            let mut h1 = H1::plain(gate.plain).await;
            let first = format!(
                "GET /open/a HTTP/1.1\r\n{GET}connection: Upgrade\r\nupgrade: {upgrade}\r\nsec-websocket-version: 13\r\n\
                 sec-websocket-key: Z2F0ZWhvdXNlLWNhc2UtMg==\r\n\r\n"
            );
            let second = format!("GET /shut/keys HTTP/1.1\r\n{GET}connection: close\r\n\r\n");
            let reply = h1.send(format!("{first}{second}")).await;
            assert_ne!(reply.status, 101, "{upgrade}");
            h1.is_closed().await;
            let seen = replica.seen();
            let heard: Vec<_> = seen.iter().skip(before).map(|seen| seen.target()).collect();
            assert!(heard.iter().all(|target| *target == "/open/a"), "{upgrade}: {heard:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_cannot_name_away_what_the_gate_sets() {
    let replica = Replica::plain().await;
    let gate = Gate::start(&[replica.address], "[cache]\nenabled = false\n").await;
    let names = ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Request-Id", "Host", "Content-Length"];
    for name in names {
        for connection in [format!("close, {name}"), format!("{name}, keep-alive"), name.to_ascii_lowercase()] {
            let before = replica.seen().len();
            let bytes = post("text/plain", &format!("connection: {connection}\r\n"), b"hello");
            let reply = H1::plain(gate.plain).await.send(&bytes).await;
            if reply.status == 400 {
                assert_eq!(replica.seen().len(), before);
                continue;
            }
            assert_eq!(reply.status, 200, "{connection}");
            let seen = replica.seen().pop().unwrap();
            for set in ["x-forwarded-for", "x-forwarded-proto", "x-request-id", "host"] {
                assert!(seen.header(set).is_some(), "{connection}: {set} in {}", seen.head);
            }
            assert_eq!(seen.body, b"hello", "{connection}");
        }
    }
}

/// Every refusal has its line: many at once, on connections of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_refusal_goes_unrecorded() {
    let replica = Replica::start(|_| Answer::ok("x")).await;
    let gate = Gate::start(&[replica.address], "").await;
    let each: usize = if std::env::var_os("GATEHOUSE_LONG").is_some() { 4_000 } else { 150 };
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let address = gate.plain;
            tokio::spawn(async move {
                let mut h1 = H1::plain(address).await;
                for n in 0..each {
                    let target = format!("/{client}/{n}?q=%27%20or%201=1--&r=%3Cscript%3Ealert(1)%3C/script%3E");
                    let fields =
                        "cookie: sid=Zk3v9Qw1x7; theme=dark\r\nreferer: https://gate.test/?token=abc1234567\r\n";
                    assert_eq!(h1.get(&target, fields).await.status, 403);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let wanted = 8 * each;
    until("every event", async || {
        gate.metric("gatehouse_audit_events_total{outcome=\"written\"}").await >= wanted as f64
    })
    .await;
    let blocked = gate.events().iter().filter(|event| event["action"] == "block").count();
    assert_eq!((blocked, gate.metric("gatehouse_audit_events_total{outcome=\"lost\"}").await), (wanted, 0.0));
    println!("{wanted} refusals, {blocked} lines");
}
