//! The admin listener.

use crate::harness::{Gate, H1, Replica, until};
use std::io::Write;
use std::process::{Command, Stdio};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_say_what_happened_in_prometheus_form() {
    let replica = Replica::plain().await;
    let gate = Gate::start(&[replica.address], "").await;
    let mut h1 = H1::tls(gate.tls).await;
    assert_eq!(h1.get("/", "").await.status, 200);
    assert_eq!(h1.get("/?q=%3Cscript%3Ealert(1)%3C/script%3E", "").await.status, 403);
    let count = |status: u16, action: &str| {
        format!("gatehouse_requests_total{{action=\"{action}\",route=\"default\",status=\"{status}\"}}")
    };
    until("the counts", async || {
        gate.metric(&count(200, "pass")).await == 1.0 && gate.metric(&count(403, "block")).await == 1.0
    })
    .await;
    let text = H1::try_get(gate.admin, "/metrics").await.unwrap().text();
    for name in [
        "gatehouse_request_duration_seconds_bucket",
        "gatehouse_upstream_duration_seconds_count 1",
        "gatehouse_waf_duration_seconds_bucket",
        "gatehouse_rule_hits_total{rule=",
        "gatehouse_refusals_total{mode=\"enforce\",reason=\"request_rules\"} 1",
        "gatehouse_connections{listener=\"tls\"} 1",
        "gatehouse_handshakes_total{outcome=\"done\"} 1",
        "gatehouse_cache_requests_total",
        "gatehouse_replica_healthy",
        "gatehouse_audit_queue_events",
        "gatehouse_certificate_expiry_timestamp_seconds",
        "gatehouse_config_loaded_timestamp_seconds",
        "process_resident_memory_bytes",
    ] {
        assert!(text.contains(name), "{name} is missing:\n{text}");
    }
    let promtool =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut promtool) = promtool else {
        println!("skipped: promtool is not installed");
        return;
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<_> = said.lines().filter(|line| line.contains("gatehouse_")).collect();
    assert!(ours.is_empty(), "{ours:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_and_reload_by_request() {
    let replica = Replica::plain().await;
    let gate = Gate::start(&[replica.address], "").await;
    let status = H1::try_get(gate.admin, "/api/v1/status").await.unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.body).unwrap();
    assert_eq!(status["replicas"][0]["address"], replica.address.to_string());
    assert!(status["rules"].as_u64().unwrap() > 50);
    let generation = status["config"]["generation"].as_u64().unwrap();
    let mut h1 = H1::plain(gate.admin).await;
    let reply =
        h1.send(format!("POST /api/v1/reload HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\n\r\n", gate.admin)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let reloaded: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert!(reloaded["generation"].as_u64().unwrap() > generation, "{reloaded}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_token_the_admin_listener_tells_nothing() {
    let replica = Replica::plain().await;
    let port = crate::harness::free_port();
    let dir = tempfile::TempDir::new().unwrap();
    let text = format!(
        "[server]\nstate_dir = \"state\"\n[[listener]]\naddress = \"127.0.0.1:{}\"\n[admin]\naddress = \"127.0.0.1:{port}\"\n\
         token = \"a-token-that-is-long-enough-to-keep\"\n[upstream]\nreplicas = \"{}\"\n[audit]\nfile = \"audit.log\"\n",
        crate::harness::free_port(),
        replica.address
    );
    std::fs::write(dir.path().join("gate.toml"), text).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_gatehouse"))
        .args(["run", "--config"])
        .arg(dir.path().join("gate.toml"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let admin = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    until("the admin listener", async || H1::try_get(admin, "/livez").await.is_some()).await;
    for target in ["/livez", "/readyz", "/metrics", "/api/v1/status", "/api/v1/shadow", "/anything"] {
        let reply = H1::try_get(admin, target).await.unwrap();
        assert_eq!((reply.status, reply.text().len()), (401, 0), "{target}");
    }
    let fields = "authorization: Bearer a-token-that-is-long-enough-to-keep\r\n";
    assert_eq!(H1::plain(admin).await.get("/livez", fields).await.status, 200);
    child.kill().unwrap();
    child.wait().unwrap();
}
