//! Audit events.

use crate::harness::{Gate, H1, Replica};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_recorded_with_its_rules_and_without_secrets() {
    let replica = Replica::plain().await;
    let gate = Gate::start(&[replica.address], "").await;
    let secrets = "authorization: Bearer secret-bearer-1\r\ncookie: sid=secret-cookie-2\r\nx-api-key: secret-api-key-3\r\n\
        referer: https://gate.test/?token=secret-referer-4\r\n";
    let target = "/login?password=secret-query-5&q=1%27%20UNION%20SELECT%20password%20FROM%20users--";
    let reply = H1::tls(gate.tls).await.get(target, secrets).await;
    assert_eq!(reply.status, 403);
    assert!(!reply.text().contains("UNION") && !reply.text().contains("rule"), "nothing that helps: {}", reply.text());
    let event = gate.event(&reply).await;
    assert_eq!((event["action"].as_str(), event["status"].as_u64()), (Some("block"), Some(403)));
    assert_eq!(event["client"]["ip"], "127.0.0.1");
    let rules = event["rules"].as_array().unwrap();
    assert!(rules.iter().any(|rule| {
        rule["id"].is_u64()
            && rule["msg"].is_string()
            && rule["matched"]["variable"].as_str().is_some_and(|v| v.starts_with("ARGS"))
    }));
    assert_eq!(event["request"]["headers"]["user-agent"], "suite");
    let text = std::fs::read_to_string(gate.path("audit.log")).unwrap();
    for secret in ["secret-bearer", "secret-cookie", "secret-api-key", "secret-referer", "secret-query"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_text_leave_the_file_text() {
    let replica = Replica::plain().await;
    let gate = Gate::start(&[replica.address], "[audit]\nfile = \"audit.log\"\nrelevant_only = false\n").await;
    let mut h1 = H1::tls(gate.tls).await;
    let reply = h1.send(b"GET / HTTP/1.1\r\nhost: gate.test\r\nuser-agent: \xff\xfe\"\\\x80\r\n\r\n").await;
    let event = gate.event(&reply).await;
    assert!(event["request"]["headers"]["user-agent"].as_str().unwrap().contains("\\xFF\\xFE"), "{event}");
    let bytes = std::fs::read(gate.path("audit.log")).unwrap();
    assert!(std::str::from_utf8(&bytes).is_ok() && bytes.ends_with(b"\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_are_recorded_only_where_asked_for_and_a_stop_loses_none() {
    let replica = Replica::plain().await;
    let gate = Gate::start(&[replica.address], "").await;
    let mut h1 = H1::tls(gate.tls).await;
    assert_eq!(h1.get("/", "").await.status, 200);
    let refused = h1.get("/?q=%3Cscript%3Ealert(1)%3C/script%3E", "").await;
    gate.event(&refused).await;
    assert_eq!(gate.events().len(), 1, "the refusal alone");

    let mut gate = Gate::start(&[replica.address], "[audit]\nfile = \"audit.log\"\nrelevant_only = false\n").await;
    let mut h1 = H1::tls(gate.tls).await;
    for _ in 0..200 {
        assert_eq!(h1.get("/", "").await.status, 200);
    }
    gate.signal("TERM");
    assert_eq!(gate.ended().await, Some(0));
    assert_eq!(gate.events().len(), 200);
}
