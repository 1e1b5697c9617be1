//! The policy of fields at work in the gate.

use crate::harness::{Gate, H1, Replica, h2_request, until};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const POLICY: &str = r#"
[policy.unknown]
query = "short(100)"
json = "refuse"

[[operation]]
path = "/api/tasks/{id}"
methods = ["GET", "PUT"]
max_body = "256KiB"
path_fields.id = "uuid"
query.status = "enum(todo, done)"
query.q = "short(200)"
headers.if-none-match = "etag"
[operation.json]
"$.title" = "short(100)"
"$.order" = "integer(0..99)"
"$.text" = "free"
"$.url" = "fetch-url"

[[operation]]
path = "/upload"
methods = ["POST"]
[operation.parts]
file = { name = "file-name(md)", types = ["text/markdown"], content = "free" }

[[operation]]
path = "/hook"
methods = ["POST"]
body = "opaque(1KiB)"
"#;

const SECTION: &str = "[policy]\nfiles = \"fields.toml\"\n";
const ID: &str = "2f1e9c1a-7d2b-4c69-9a5d-0a6a3f1b2c3d";

async fn gate(replica: &Replica, more: &str) -> Gate {
    Gate::start_with(&[replica.address], &format!("{SECTION}{more}"), |dir| {
        std::fs::write(dir.path().join("fields.toml"), POLICY).unwrap();
    })
    .await
}

fn body_of(text: &str) -> Vec<bytes::Bytes> {
    if text.is_empty() { Vec::new() } else { vec![text.to_owned().into()] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_field_is_held_to_what_it_is_for() {
    let replica = Replica::plain().await;
    let gate = gate(&replica, "").await;
    let task = format!("/api/tasks/{ID}");
    let code =
        "```sh\\nrm -rf / ; cat /etc/passwd\\n```\\n' OR 1=1 -- <script>alert(1)</script> {{7*7}} ${jndi:ldap://x}";
    let long = "prose and `code` ".repeat(10_000);
    let json = "application/json";
    // (method, target, type, body, status, the field that a 422 names)
    let table: Vec<(&str, String, &str, String, u16, &str)> = vec![
        ("GET", task.clone(), "", String::new(), 200, ""),
        ("GET", format!("{task}?status=todo&q=union+select+performance&unknown=R%26D"), "", String::new(), 200, ""),
        ("GET", "/api/tasks/7".into(), "", String::new(), 422, "path id"),
        ("GET", "/api/tasks/1%27%20or%201=1--".into(), "", String::new(), 403, ""),
        ("GET", format!("{task}?status=doing"), "", String::new(), 422, "query status"),
        ("GET", format!("{task}?status=%27+or+1=1--+"), "", String::new(), 403, ""),
        ("GET", format!("{task}?q=%2527%2520or%25201%253D1--"), "", String::new(), 403, ""),
        ("GET", format!("{task}?new=%3Cscript%3Ealert(1)%3C/script%3E"), "", String::new(), 403, ""),
        ("DELETE", task.clone(), "", String::new(), 405, ""),
        ("OPTIONS", task.clone(), "", String::new(), 200, ""),
        (
            "PUT",
            task.clone(),
            json,
            format!("{{\"title\":\"Fix: SELECT returns null\",\"order\":3,\"text\":\"{code}\"}}"),
            200,
            "",
        ),
        ("PUT", task.clone(), json, format!("{{\"text\":\"{long}\",\"order\":100}}"), 422, "json json.order"),
        ("PUT", task.clone(), json, "{\"order\":1,\"order\":2}".into(), 400, ""),
        ("PUT", task.clone(), json, "{\"title\":{\"$ne\":null}}".into(), 422, "json json.title"),
        ("PUT", task.clone(), json, "{\"admin\":true}".into(), 422, "json json.admin"),
        ("PUT", task.clone(), json, "{\"url\":\"https://docs.rs/tokio/\"}".into(), 200, ""),
        ("PUT", task.clone(), json, "{\"url\":\"http://2130706433/\"}".into(), 403, ""),
        ("PUT", task.clone(), json, "{\"url\":\"http://169.254.169.254/latest/meta-data/\"}".into(), 403, ""),
        ("PUT", task.clone(), "text/plain", "hello".into(), 415, ""),
        ("PUT", task.clone(), json, format!("{{\"text\":\"{}\"}}", "x".repeat(300_000)), 413, ""),
        ("POST", "/hook".into(), "application/octet-stream", "\0\u{1}<script>' or 1=1--".into(), 200, ""),
        ("POST", "/hook".into(), "application/octet-stream", "x".repeat(1_100), 422, "body body"),
        ("POST", "/other".into(), json, "{\"any\":\"thing\"}".into(), 422, "json json.any"),
    ];
    for (method, target, kind, body, status, field) in table {
        let before = replica.touched().0;
        let fields = if kind.is_empty() { vec![] } else { vec![("content-type", kind)] };
        let reply = h2_request(gate.tls, method, &target, &fields, body_of(&body)).await;
        let shown = body.get(..80).unwrap_or(&body);
        assert_eq!(reply.status, status, "{method} {target} {shown}: {}", reply.text());
        if status != 200 {
            assert_eq!(replica.touched().0, before, "{method} {target} {shown}: the replica heard of it");
        }
        if status == 422 {
            let problem: serde_json::Value = serde_json::from_str(&reply.text()).unwrap();
            assert_eq!(problem["field"], field, "{problem}");
        }
    }
    for (name, kind, content, status) in [
        ("notes (final).md", "text/markdown", "# <script>alert(1)</script>", 200),
        ("notes.pdf", "text/markdown", "x", 422),
        ("../notes.md", "text/markdown", "x", 403),
        ("notes.md", "text/markdown", "\x7fELF\x02", 422),
    ] {
        let body = format!(
            "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: {kind}\r\n\r\n\
             {content}\r\n--b--\r\n"
        );
        let reply = H1::tls(gate.tls).await.post("/upload", "multipart/form-data; boundary=b", body.as_bytes()).await;
        let either = [status, if status == 403 { 422 } else { status }];
        assert!(either.contains(&reply.status), "{name}: {}", reply.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_405_tells_what_the_path_takes() {
    let replica = Replica::plain().await;
    let more = "[[route]]\nname = \"read\"\npath = \"/api/\"\nmethods = [\"GET\", \"HEAD\", \"DELETE\"]\n";
    let (all, less) = (gate(&replica, "").await, gate(&replica, more).await);
    for (gate, method, target, status, allow) in [
        (&all, "DELETE", "/api/tasks/x", 405, Some("GET, HEAD, PUT, OPTIONS")),
        (&all, "GET", "/hook", 405, Some("POST, OPTIONS")),
        (&all, "HEAD", &format!("/api/tasks/{ID}"), 200, None),
        (&all, "OPTIONS", &format!("/api/tasks/{ID}"), 200, None),
        (&all, "OPTIONS", "/api/tasks/x", 422, None),
        (&all, "DELETE", "/other", 200, None),
        // Of the methods of the path those that its route takes.
        (&less, "DELETE", "/api/tasks/x", 405, Some("GET, HEAD")),
        (&less, "PUT", "/api/tasks/x", 405, Some("GET, HEAD, DELETE")),
    ] {
        let before = replica.touched().1;
        let reply = h2_request(gate.tls, method, target, &[], Vec::new()).await;
        assert_eq!((reply.status, reply.header("allow")), (status, allow), "{method} {target}");
        assert_eq!(replica.touched().1 > before, status == 200, "{method} {target}");
    }
    // What is wrong with a path elsewhere does not make of it something else.
    let archon = Gate::shipped("archon.toml", &[replica.address], &[("GATEHOUSE_LIMITS", "off")]).await;
    for (method, target, status, allow) in [
        ("DELETE", "/api/projects/task-counts/", 200, None),
        ("POST", "/api/projects/task-counts", 405, Some("GET, HEAD, DELETE, PUT, PATCH, OPTIONS")),
        ("DELETE", "/api/progress/what%20is%20this", 405, Some("GET, HEAD, OPTIONS")),
        ("PUT", "/api/rag/query", 405, Some("POST, OPTIONS")),
        ("DELETE", "/projects/7", 200, None),
    ] {
        let mut h1 = H1::tls(archon.tls).await;
        let reply = h1
            .send(format!(
                "{method} {target} HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\ncontent-length: 0\r\n\r\n"
            ))
            .await;
        let told: std::collections::BTreeSet<_> = reply.header("allow").unwrap_or_default().split(", ").collect();
        let want: std::collections::BTreeSet<_> = allow.unwrap_or_default().split(", ").collect();
        assert_eq!((reply.status, told), (status, want), "{method} {target}: {}", reply.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_event_says_what_each_field_was_for() {
    let replica = Replica::plain().await;
    let gate = gate(&replica, "[audit]\nfile = \"audit.log\"\nrelevant_only = false\n").await;
    let reply = H1::tls(gate.tls).await.get(&format!("/api/tasks/{ID}?status=doing"), "").await;
    let event = gate.event(&reply).await;
    let fields = event["gatehouse"]["fields"].as_array().unwrap();
    let of = |name: &str| fields.iter().find(|field| field["name"] == name).unwrap();
    assert_eq!((&of("id")["class"], &of("id")["verdict"]), (&"uuid".into(), &"fits".into()));
    assert_eq!(of("status")["class"], "enum(todo, done)");
    assert_eq!(of("status")["verdict"], "misfit");
    assert_eq!(event["gatehouse"]["reason"], "field");
    assert_eq!(event["status"], 422);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn detect_mode_records_and_lets_pass() {
    let replica = Replica::plain().await;
    let gate = gate(&replica, "mode = \"detect\"\n").await;
    for target in ["/api/tasks/7", "/api/tasks/7?status=doing"] {
        let reply = H1::tls(gate.tls).await.get(target, "").await;
        assert_eq!(reply.status, 200, "{target}: {}", reply.text());
        let event = gate.event(&reply).await;
        assert_eq!(event["action"], "pass");
        assert_eq!(event["gatehouse"]["findings"][0]["reason"], "field");
        assert_eq!(event["gatehouse"]["findings"][0]["enforced"], false);
    }
}

/// How often the policy changes under load: the whole figure takes a while.
fn rounds() -> usize {
    if std::env::var_os("GATEHOUSE_LONG").is_some() { 100 } else { 4 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_policy_changes_under_load_and_a_broken_one_changes_nothing() {
    let replica = Replica::plain().await;
    let gate = gate(&replica, "").await;
    let (stop, failed, served) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let (address, stop, failed, served) = (gate.tls, stop.clone(), failed.clone(), served.clone());
            tokio::spawn(async move {
                let mut h1 = H1::tls(address).await;
                let target = format!("/api/tasks/{ID}?status=todo");
                while !stop.load(Ordering::Relaxed) {
                    let reply = h1.get(&target, "").await;
                    served.fetch_add(1, Ordering::Relaxed);
                    failed.fetch_add(usize::from(reply.status != 200), Ordering::Relaxed);
                }
            })
        })
        .collect();
    until("load", async || served.load(Ordering::Relaxed) > 64).await;
    let status =
        async |query: &str| H1::tls(gate.tls).await.get(&format!("/api/tasks/{ID}?status={query}"), "").await.status;
    for round in 0..rounds() {
        let word = ["doing", "review"][round % 2];
        let changed = POLICY.replace("enum(todo, done)", &format!("enum(todo, {word})"));
        std::fs::write(gate.dir.path().join("fields.toml"), changed).unwrap();
        until("the new policy", async || status(word).await == 200).await;
        assert_eq!(status("done").await, 422);
    }
    let before = gate.metric("gatehouse_reloads_total{outcome=\"refused\"}").await;
    std::fs::write(gate.dir.path().join("fields.toml"), POLICY.replace("uuid", "uuuid")).unwrap();
    gate.reloaded("refused", before).await;
    assert!(gate.log().contains("did you mean `uuid`?"), "{}", gate.log());
    assert_eq!(status("todo").await, 200);
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    println!("{} changes, {} requests", rounds(), served.load(Ordering::Relaxed));
    assert_eq!(failed.load(Ordering::Relaxed), 0);
}
