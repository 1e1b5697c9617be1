use super::super::settings::Settings;
use super::super::status::Statuses;
use super::*;
use crate::balance::{Ask, Outcome};
use crate::telemetry::Metrics;
use crate::units::Span;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A replica that answers each path with fixed bytes, unknown ones with 404, and keeps what it was asked.
struct Scripted {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
    answers: Arc<Mutex<HashMap<&'static str, String>>>,
}

fn answer(status: &str, content_type: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

async fn scripted(answers: &[(&'static str, String)]) -> Scripted {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let answers = Arc::new(Mutex::new(answers.iter().cloned().collect::<HashMap<_, _>>()));
    let (seen, script) = (Arc::clone(&asked), Arc::clone(&answers));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            let head = String::from_utf8(head).unwrap();
            let Some(path) = head.split(' ').nth(1) else { continue };
            assert!(head.contains("host: 127.0.0.1:"), "{head}");
            seen.lock().unwrap().push(path.to_owned());
            let reply = script.lock().unwrap().get(path).cloned();
            let reply = reply.unwrap_or_else(|| answer("404 Not Found", "application/json", "{}"));
            let _ = stream.write_all(reply.as_bytes()).await;
        }
    });
    Scripted { address, asked, answers }
}

fn pool(replicas: &str, change: impl FnOnce(&mut Settings)) -> Arc<Pool> {
    let mut settings = Settings { replicas: replicas.parse().unwrap(), ..Settings::default() };
    settings.health.interval = Span::millis(20);
    settings.health.timeout = Span::millis(500);
    change(&mut settings);
    let metrics = Arc::new(Metrics::new().unwrap());
    Arc::new(Pool::build("default", &settings, Path::new("."), None, &metrics, Instant::now()).unwrap())
}

fn first(pool: &Pool) -> Arc<Replica> {
    pool.replicas()[0].0.clone()
}

/// Has the first replica fail to be connected to.
fn fails_to_connect(pool: &Arc<Pool>) {
    let others: Vec<_> = pool.replicas().iter().skip(1).map(|(replica, _)| replica.id()).collect();
    let now = Instant::now();
    let ask = Ask { now, tried: &others, key: 0, cookie: None, idempotent: true, dice: 0 };
    pool.try_acquire(ask).unwrap().report(Outcome::ConnectFailed, now);
    assert!(!first(pool).is_healthy());
}

async fn probe_once(pool: &Pool, round: u32) -> bool {
    let replica = first(pool);
    pool.probe(&replica, round).await;
    replica.is_healthy()
}

async fn until(what: impl Fn() -> bool) {
    let waited = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), waited).await.expect("did not come about");
}

#[tokio::test]
async fn an_answer_is_read_by_status_type_and_body() {
    let json = |body: &str| answer("200 OK", "application/json", body);
    let page = || answer("200 OK", "Text/HTML; charset=utf-8", "<!doctype html>");
    let starting = || answer("503 Service Unavailable", "application/json", "{\"ready\":false}");
    let ready = r#"{"ready":true,"status":"ok"}"#;
    let huge = format!("{{\"ready\":true,\"x\":\"{}\"}}", "x".repeat(MAX_BODY));
    for (name, answers, expect, healthy, asked) in [
        ("ready", vec![("/ready", json("{}"))], None, true, vec!["/ready"]),
        ("starting", vec![("/ready", starting()), ("/health", json("{}"))], None, false, vec!["/ready"]),
        ("no /ready", vec![("/health", json("{}"))], None, true, vec!["/ready", "/health"]),
        ("no /ready, starting", vec![("/health", starting())], None, false, vec!["/ready", "/health"]),
        ("page for all", vec![("/ready", page()), ("/health", json("{}"))], None, true, vec!["/ready", "/health"]),
        ("only pages", vec![("/ready", page()), ("/health", page())], None, false, vec!["/ready", "/health"]),
        ("nothing", vec![], None, false, vec!["/ready", "/health"]),
        ("redirect", vec![("/ready", answer("302 Found", "text/plain", ""))], None, false, vec!["/ready"]),
        ("json holds", vec![("/ready", json(ready))], Some("ready"), true, vec!["/ready"]),
        ("json differs", vec![("/ready", json(r#"{"ready":"true"}"#))], Some("ready"), false, vec!["/ready"]),
        ("no json", vec![("/ready", json("yes"))], Some("ready"), false, vec!["/ready"]),
        ("too much", vec![("/ready", json(&huge))], Some("ready"), false, vec!["/ready"]),
        ("garbage", vec![("/ready", "\x16\x03\x01 no http\r\n\r\n".into())], None, false, vec!["/ready"]),
    ] {
        let replica = scripted(&answers).await;
        let pool = pool(&replica.address, |settings| {
            settings.health.expect_json = expect.map(|key| [(key.to_owned(), serde_json::Value::Bool(true))].into());
        });
        assert_eq!(probe_once(&pool, 1).await, healthy, "{name}");
        assert_eq!(*replica.asked.lock().unwrap(), asked, "{name}");
    }
}

#[tokio::test]
async fn the_fallback_is_remembered_and_given_up_when_it_fails() {
    let ok = || answer("200 OK", "application/json", "{}");
    let replica = scripted(&[("/health", ok())]).await;
    let pool = pool(&replica.address, |_| {});
    for round in 1..4 {
        assert!(probe_once(&pool, round).await);
    }
    assert_eq!(*replica.asked.lock().unwrap(), ["/ready", "/health", "/health", "/health"]);
    // The first path appears: found at the next round that tries it.
    replica.answers.lock().unwrap().insert("/ready", ok());
    replica.asked.lock().unwrap().clear();
    assert!(probe_once(&pool, RETRY_FIRST).await && probe_once(&pool, RETRY_FIRST + 1).await);
    assert_eq!(*replica.asked.lock().unwrap(), ["/ready", "/ready"]);
}

#[tokio::test]
async fn a_silent_replica_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pool = pool(&listener.local_addr().unwrap().to_string(), |s| s.health.timeout = Span::millis(50));
    let started = Instant::now();
    assert!(!probe_once(&pool, 1).await);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn status_type_and_life_are_what_is_configured() {
    let json = |status: &str| answer(status, "application/json; charset=utf-8", "{}");
    for (name, answers, change, state) in [
        ("another status", vec![("/ready", json("204 No Content"))], "status", "up"),
        ("an unwanted status", vec![("/ready", json("200 OK"))], "status", "unready"),
        ("the type", vec![("/ready", json("200 OK"))], "type", "up"),
        ("another type", vec![("/ready", answer("200 OK", "text/plain", "ok"))], "type", "unready"),
        ("alive, not ready", vec![("/ready", json("503 Busy")), ("/live", json("200 OK"))], "live", "unready"),
        ("not even alive", vec![("/ready", json("503 Busy")), ("/live", json("500 Oh"))], "live", "down"),
        ("not ready, alive for all we know", vec![("/ready", json("503 Busy"))], "", "unready"),
        ("ready is alive", vec![("/ready", json("200 OK"))], "live", "up"),
    ] {
        let replica = scripted(&answers).await;
        let pool = pool(&replica.address, |settings| match change {
            "status" => settings.health.status = Statuses::of(&[(204, 206), (299, 299)]),
            "type" => settings.health.content_type = "application/json".into(),
            "live" => settings.health.live_path = "/live".into(),
            _ => {}
        });
        probe_once(&pool, 1).await;
        assert_eq!(first(&pool).state(Instant::now()), state, "{name}");
    }
    let gone = pool("127.0.0.1:9", |_| {});
    probe_once(&gone, 1).await;
    assert_eq!(first(&gone).state(Instant::now()), "down");
}

#[tokio::test]
async fn the_loop_takes_out_and_brings_back() {
    let ok = answer("200 OK", "application/json", "{}");
    let (one, two) = (scripted(&[("/ready", ok.clone())]).await, scripted(&[("/ready", ok.clone())]).await);
    let pool = pool(&format!("{},{}", one.address, two.address), |_| {});
    let running = tokio::spawn({
        let pool = pool.clone();
        async move { pool.run().await }
    });

    until(|| one.asked.lock().unwrap().len() > 1).await;
    one.answers.lock().unwrap().remove("/ready");
    until(|| pool.healthy() == 1).await;
    let ask = Ask { now: Instant::now(), tried: &[], key: 0, cookie: None, idempotent: true, dice: 0 };
    assert_eq!(pool.try_acquire(ask).unwrap().replica().name().to_string(), two.address);
    one.answers.lock().unwrap().insert("/ready", ok);
    until(|| pool.healthy() == 2).await;
    running.abort();
}

#[tokio::test]
async fn a_failed_connection_is_followed_by_a_probe_at_once() {
    let ok = answer("200 OK", "application/json", "{}");
    let (one, two) = (scripted(&[("/ready", ok.clone())]).await, scripted(&[("/ready", ok)]).await);
    let pool = pool(&format!("{},{}", one.address, two.address), |s| s.health.interval = Span::secs(3600));
    let running = tokio::spawn({
        let pool = pool.clone();
        async move { pool.run().await }
    });
    until(|| one.asked.lock().unwrap().len() == 1 && two.asked.lock().unwrap().len() == 1).await;
    fails_to_connect(&pool);
    until(|| first(&pool).is_healthy()).await;
    running.abort();
}

#[tokio::test]
async fn without_probes_only_failed_replicas_are_tried_again() {
    let (one, two) = (scripted(&[]).await, scripted(&[]).await);
    let pool = pool(&format!("{},{}", one.address, two.address), |s| s.health.enabled = false);
    fails_to_connect(&pool);
    let running = tokio::spawn({
        let pool = pool.clone();
        async move { pool.run().await }
    });
    until(|| first(&pool).is_healthy()).await;
    assert!(one.asked.lock().unwrap().is_empty() && two.asked.lock().unwrap().is_empty());
    running.abort();
}
