//! The files of `config/`, run as they are.

use crate::harness::{Answer, Gate, H1, Replica, Seen, h2_request};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::process::Command;
use std::time::Duration;

const SCRIPT: &str = "/?q=%3Cscript%3Ealert(1)%3C/script%3E";

/// Ready, and answers in text.
async fn archon() -> Replica {
    Replica::start(|seen| match seen.target() {
        "/ready" | "/health" => Answer::with(&[("content-type", "application/json")], "{\"ready\":true}"),
        "/mcp/" | "/api/stream/x" => {
            let hour = Duration::from_secs(3600);
            Answer::Chunks("text/event-stream", vec![(Duration::ZERO, "data: one\n\n"), (hour, "data: two\n\n")])
        }
        _ => Answer::ok("archon"),
    })
    .await
}

/// The last request for a target; probes come in between.
fn last(replica: &Replica, target: &str) -> Seen {
    replica.seen().into_iter().rfind(|seen| seen.target() == target).unwrap()
}

/// Whether a server could take a target for one below `/internal`: one that decodes it first and then tidies it up, be
/// it with slashes of either kind, path parameters, or an end at NUL.
fn means_internal(target: &str) -> bool {
    let path = target.split(['?', '#']).next().unwrap().as_bytes();
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < path.len() {
        let code = path.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if path[at] == b'%' => {
                decoded.push(byte);
                at += 3;
            }
            _ => {
                decoded.push(path[at]);
                at += 1;
            }
        }
    }
    let text = String::from_utf8_lossy(&decoded).replace('\\', "/");
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part.split([';', '\0']).next().unwrap() {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.first() == Some(&"internal")
}

#[test]
fn the_oracle_knows_the_spellings() {
    for target in ["/internal", "/%69nternal/x", "/a/%2e%2e/internal", "/\\internal;x/y", "//internal?x"] {
        assert!(means_internal(target), "{target}");
    }
    for target in ["/internals", "/api/internal", "/?internal", "/x/internal"] {
        assert!(!means_internal(target), "{target}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn archon_never_hears_of_an_internal_path() {
    let replica = archon().await;
    let gate = Gate::shipped("archon.toml", &[replica.address], &[("GATEHOUSE_LIMITS", "off")]).await;
    let spellings = [
        "/internal",
        "/internal/",
        "/internal?x",
        "/internal/credentials/agents",
        "//internal/x",
        "///internal/x",
        "/./internal/x",
        "/.//internal/x",
        "/a/../internal/x",
        "/a/b/../../internal/x",
        "/../internal/x",
        "/%69nternal/x",
        "/%69%6e%74%65%72%6e%61%6c/x",
        "/intern%61l/x",
        "/a/%2e%2e/internal/x",
        "/a/.%2e/internal/x",
        "/a/%2E./internal/x",
        "/a%2f..%2finternal/x",
        "/%2finternal/x",
        "/internal%2fx",
        "/internal%2Fx",
        "/internal%5cx",
        "/\\internal/x",
        "/a\\..\\internal\\x",
        "/internal;a=b/x",
        "/;/internal/x",
        "/a/..;/internal/x",
        "/a/..;x=y/internal/x",
        "/internal%00/x",
        "/%00/../internal/x",
        "/internal%3f/x",
        "/internal%23/x",
        "/api/../internal/x",
        "/assets/../internal/x",
        "/mcp/../internal/x",
        "/socket.io/../internal/x",
        "/%c0%af/internal/x",
        "/a/%c0%ae%c0%ae/internal/x",
        "/%ef%bd%89nternal/x",
        "/internal/../internal/x",
        "/internal/x/..",
        "http://gate.test/internal/x",
        "http://gate.test//internal/x",
        "HTTP://gate.test/internal/x",
        "http://gate.test/a/../internal/x",
        "/\tinternal/x",
        "/ internal/x",
        "internal/x",
    ];
    for target in spellings {
        for method in ["GET", "POST", "OPTIONS", "PROPFIND"] {
            let mut h1 = H1::plain(gate.plain).await;
            let reply = h1
                .send(format!(
                    "{method} {target} HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\ncontent-length: 0\r\n\r\n"
                ))
                .await;
            // What is plainly below /internal is refused as such, whatever else is wrong with the request.
            let plain = target.starts_with("/internal/") || target == "/internal";
            assert!(!plain || reply.status >= 400, "{method} {target}: {}", reply.status);
        }
        if target.starts_with('/') && !target.contains([' ', '\t', '\\']) {
            h2_request(gate.tls, "GET", target, &[], Vec::new()).await;
        }
    }
    let heard: Vec<_> = replica.seen().iter().map(|seen| seen.target().to_owned()).collect();
    let internal: Vec<_> = heard.iter().filter(|target| means_internal(target)).collect();
    assert!(internal.is_empty(), "{internal:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn archon_gets_its_streams_uploads_and_signed_bodies_as_they_are() {
    let replica = archon().await;
    let gate = Gate::shipped("archon.toml", &[replica.address], &[]).await;
    for target in ["/mcp/", "/api/stream/x"] {
        let mut h1 = H1::tls(gate.tls).await;
        let head = format!("GET {target} HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\n\r\n");
        h1.write(head.as_bytes()).await.unwrap();
        h1.read_past(b"data: one\n\n").await;
    }

    // Signed: white space, escapes and key order are part of the signature.
    let signed = br#"{ "b" :1,  "a":"\u00e9 & <b> -- \/", "ref":"refs/heads/main" }
"#;
    let reply = H1::tls(gate.tls).await.post("/webhooks/github", "application/json", signed).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(last(&replica, "/webhooks/github").body, signed);

    let mut form = b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\
        Content-Type: application/octet-stream\r\n\r\n"
        .to_vec();
    form.extend((0..40u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8));
    form.extend_from_slice(b"\r\n--b--\r\n");
    let reply = H1::tls(gate.tls).await.post("/api/documents/upload", "multipart/form-data; boundary=b", &form).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(Sha256::digest(&last(&replica, "/api/documents/upload").body), Sha256::digest(&form));

    let asked = H1::tls(gate.tls).await.get("/webhooks/github", "").await;
    assert_eq!((asked.status, asked.header("allow")), (405, Some("POST")));
    let elsewhere = "POST /api/tasks HTTP/1.1\r\nhost: gate.test\r\ncontent-type: application/json\r\n\
        content-length: 40000000\r\n\r\n";
    assert_eq!(H1::tls(gate.tls).await.send(elsewhere).await.status, 413, "such bodies come to the upload alone");
    assert!(replica.seen().iter().all(|seen| seen.target() != "/api/tasks"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_required_key_comes_from_the_environment() {
    let replica = archon().await;
    let key = "a-key-of-sixteen-or-more";
    for (own, expected) in [("", 401), (key, 200)] {
        let more = [("GATEHOUSE_AUTH", "required"), ("GATEHOUSE_API_KEY", own)];
        let gate = Gate::shipped("archon.toml", &[replica.address], &more).await;
        let mut h1 = H1::tls(gate.tls).await;
        assert_eq!(h1.get("/api/x", &format!("x-api-key: {key}\r\n")).await.status, expected);
        assert_eq!(h1.get("/api/x", "").await.status, 401);
        assert_eq!(h1.get("/api/x", "authorization: Bearer not-known-to-anybody\r\n").await.status, 401);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn archons_variables_do_what_they_say() {
    let replica = archon().await;
    let optional = Gate::shipped("archon.toml", &[replica.address], &[]).await;
    let passed = H1::tls(optional.tls).await.get("/api/x", "authorization: Bearer of-somebody-else\r\n").await;
    assert_eq!(passed.status, 200);
    assert_eq!(last(&replica, "/api/x").header("authorization"), Some("Bearer of-somebody-else"));
    let count = async |gate: &Gate| {
        let mut h1 = H1::tls(gate.tls).await;
        let mut limited = 0;
        for _ in 0..300 {
            limited += usize::from(h1.get("/assets/x", "").await.status == 429);
        }
        limited
    };
    assert!(count(&optional).await > 100, "a burst of 100, then 20 a second");
    let unlimited = Gate::shipped("archon.toml", &[replica.address], &[("GATEHOUSE_LIMITS", "off")]).await;
    assert_eq!(count(&unlimited).await, 0);
    assert_eq!(H1::tls(unlimited.tls).await.get(SCRIPT, "").await.status, 403, "the rules stay on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_conformance_file_is_about_one_thing() {
    let replica = Replica::start(|seen| match seen.target() {
        "/ready" => Answer::with(&[("content-type", "application/json")], "{}"),
        _ => Answer::with(&[("content-type", "text/plain"), ("cache-control", "max-age=60")], "one"),
    })
    .await;
    for (name, attack, caches, limits, other) in [
        ("conformance/proxy.toml", 200, false, false, 405),
        ("conformance/cache.toml", 200, true, false, 200),
        ("conformance/edge.toml", 403, true, true, 405),
    ] {
        let gate = Gate::shipped(name, &[replica.address], &[("GATEHOUSE_THREADS", "1")]).await;
        assert_eq!(H1::plain(gate.plain).await.get(SCRIPT, "").await.status, attack, "{name}");
        let mut h1 = H1::tls(gate.tls).await;
        h1.get("/a", "").await;
        let second = h1.get("/a", "").await;
        let hit = second.header("cache-status").is_some_and(|status| status.contains("hit"));
        assert_eq!(hit, caches, "{name}: {}", second.head);
        let odd = "PROPFIND /b HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\n\r\n";
        assert_eq!(H1::tls(gate.tls).await.send(odd).await.status, other, "{name}");
        let mut limited = 0;
        for _ in 0..110 {
            limited += usize::from(h1.get("/a", "").await.status == 429);
        }
        assert_eq!(limited > 0, limits, "{name}");
        let piece = vec![Bytes::from_static(b"a=1")];
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let reply = h2_request(gate.tls, "POST", "/", &form, piece).await;
        assert_eq!(reply.status, if limits { 429 } else { 200 }, "{name}: {}", reply.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_core_rule_set_detects_by_default_and_records_everything() {
    let Ok(rules) = std::env::var("GATEHOUSE_CRS_DIR") else {
        println!("skipped: GATEHOUSE_CRS_DIR is not set");
        return;
    };
    let replica = Replica::plain().await;
    for (mode, status) in [("DetectionOnly", 200), ("On", 403)] {
        let more = [("GATEHOUSE_CRS_DIR", rules.as_str()), ("GATEHOUSE_WAF_MODE", mode)];
        let gate = Gate::shipped("conformance/crs.toml", &[replica.address], &more).await;
        let reply = H1::plain(gate.plain).await.get("/?q=1%27%20UNION%20SELECT%20password%20FROM%20users--", "").await;
        assert_eq!(reply.status, status, "{mode}");
        let event = gate.event(&reply).await;
        let ids: Vec<_> = event["rules"].as_array().unwrap().iter().filter_map(|rule| rule["id"].as_u64()).collect();
        assert!(ids.iter().any(|id| (942_000..943_000).contains(id)), "{mode}: {ids:?}");
        let plain = H1::plain(gate.plain).await.get("/", "").await;
        assert_eq!(plain.status, 200);
        assert_eq!(gate.event(&plain).await["action"], "pass", "every transaction is recorded");
    }
}

#[test]
fn every_file_passes_the_check() {
    let config = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let dir = tempfile::TempDir::new().unwrap();
    for name in [
        "gatehouse.toml",
        "demo.toml",
        "archon.toml",
        "grpc.toml",
        "conformance/proxy.toml",
        "conformance/cache.toml",
        "conformance/edge.toml",
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_gatehouse"))
            .args(["check", "--config"])
            .arg(config.join(name))
            .env("GATEHOUSE_STATE_DIR", dir.path().join("state"))
            .env("GATEHOUSE_AUDIT_FILE", dir.path().join("audit.jsonl"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
