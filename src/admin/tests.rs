use super::*;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const TOKEN: &str = "0123456789abcdef0123";

/// A gate that can be ready or not, and reloads well or not.
#[derive(Default)]
struct Gate {
    draining: AtomicBool,
    broken: AtomicBool,
    /// Held by a test to keep a reload running.
    busy: parking_lot::Mutex<()>,
}

impl Source for Gate {
    fn ready(&self) -> Readiness {
        let draining = self.draining.load(Ordering::SeqCst);
        Readiness { reasons: if draining { vec!["draining".into()] } else { Vec::new() } }
    }

    fn status(&self) -> Value {
        json!({"version": "1.2.3"})
    }

    fn shadow(&self) -> Value {
        json!({"candidate": null, "differences": []})
    }

    fn reload(&self) -> Result<Reloaded, Vec<String>> {
        let _busy = self.busy.lock();
        if self.broken.load(Ordering::SeqCst) {
            return Err(vec!["gate.toml:1:1: unknown key".into()]);
        }
        Ok(Reloaded { generation: 2, restart: vec!["audit.file".into()] })
    }

    fn replicas(&self) -> Value {
        json!({"replicas": []})
    }

    fn drain(&self, pool: &str, replica: &str, _on: bool) -> bool {
        (pool, replica) == ("default", "127.0.0.1:8181")
    }

    fn metrics(&self) -> String {
        "gatehouse_build_info 1\n".into()
    }
}

struct Served {
    address: SocketAddr,
    gate: Arc<Gate>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

async fn served(token: Option<&str>) -> Served {
    let settings = Settings { token: token.map(|t| Secret::new(t.into())), ..Settings::default() };
    let admin = Admin::build(&settings, Path::new("")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let gate = Arc::new(Gate::default());
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(serve(listener, admin, gate.clone(), stopped));
    Served { address, gate, stop, task }
}

/// The status and the whole answer to one request.
async fn send(address: SocketAddr, line: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

#[tokio::test]
async fn health_metrics_and_status_are_served() {
    let served = served(None).await;
    for (line, status, part) in [
        ("GET /livez", 200, "ok"),
        ("GET /readyz", 200, r#"{"ready":true,"reasons":[]}"#),
        ("GET /metrics", 200, "gatehouse_build_info 1"),
        ("GET /metrics", 200, "content-type: text/plain; version=0.0.4"),
        ("GET /metrics", 200, "cache-control: no-store"),
        ("GET /api/v1/status", 200, r#"{"version":"1.2.3"}"#),
        ("GET /api/v1/reload", 405, ""),
        ("POST /metrics", 405, ""),
        ("GET /nothing", 404, ""),
    ] {
        let (got, answer) = send(served.address, line, "").await;
        assert_eq!(got, status, "{line}: {answer}");
        assert!(answer.contains(part), "{line}: {answer}");
    }
    served.gate.draining.store(true, Ordering::SeqCst);
    let (status, answer) = send(served.address, "GET /readyz", "").await;
    assert!(status == 503 && answer.contains(r#"{"ready":false,"reasons":["draining"]}"#), "{answer}");
}

#[tokio::test]
async fn a_reload_tells_what_it_did_and_runs_once_at_a_time() {
    let served = served(None).await;
    let (status, answer) = send(served.address, "POST /api/v1/reload", "").await;
    assert!(status == 200 && answer.contains(r#"{"generation":2,"restart":["audit.file"]}"#), "{answer}");
    served.gate.broken.store(true, Ordering::SeqCst);
    let (status, answer) = send(served.address, "POST /api/v1/reload", "").await;
    assert!(status == 422 && answer.contains("gate.toml:1:1: unknown key"), "{answer}");
    served.gate.broken.store(false, Ordering::SeqCst);

    let gate = served.gate.clone();
    let (held, hold) = std::sync::mpsc::sync_channel::<()>(0);
    let (release, released) = std::sync::mpsc::sync_channel::<()>(0);
    let holder = std::thread::spawn(move || {
        let _busy = gate.busy.lock();
        held.send(()).unwrap();
        released.recv().unwrap();
    });
    hold.recv().unwrap();
    let address = served.address;
    let mut first = tokio::spawn(async move { send(address, "POST /api/v1/reload", "").await.0 });
    let mut second = tokio::spawn(async move { send(address, "POST /api/v1/reload", "").await.0 });
    // Whichever comes second is told so while the first one runs.
    let (early, late) = tokio::select! {
        early = &mut first => (early, second),
        early = &mut second => (early, first),
    };
    assert_eq!(early.unwrap(), 409);
    tokio::task::spawn_blocking(move || release.send(()).unwrap()).await.unwrap();
    holder.join().unwrap();
    assert_eq!(late.await.unwrap(), 200);
}

#[tokio::test]
async fn without_the_token_nothing_is_told() {
    let served = served(Some(TOKEN)).await;
    let lines = [
        "GET /livez",
        "GET /readyz",
        "GET /metrics",
        "GET /api/v1/status",
        "POST /api/v1/reload",
        "GET /",
        "PUT /livez",
    ];
    for line in lines {
        for headers in ["", "Authorization: Bearer 0123456789abcdef0124\r\n"] {
            let (status, answer) = send(served.address, line, headers).await;
            assert_eq!(status, 401, "{line}");
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(body.is_empty() && head.contains("www-authenticate: Bearer"), "{answer}");
        }
    }
    let headers = format!("Authorization: Bearer {TOKEN}\r\n");
    assert_eq!(send(served.address, "GET /metrics", &headers).await.0, 200);
    assert_eq!(send(served.address, "POST /api/v1/reload", &headers).await.0, 200);
}

#[tokio::test]
async fn a_page_from_elsewhere_cannot_reload() {
    let served = served(None).await;
    assert_eq!(send(served.address, "POST /api/v1/reload", "Origin: http://evil.test\r\n").await.0, 403);
}

#[tokio::test]
async fn it_stops_when_told() {
    let served = served(None).await;
    assert_eq!(send(served.address, "GET /livez", "").await.0, 200);
    served.stop.send(true).unwrap();
    tokio::time::timeout(Duration::from_secs(4), served.task).await.unwrap().unwrap();
    assert!(TcpStream::connect(served.address).await.is_err());
}

#[test]
fn settings_that_open_the_gate_to_strangers_are_faults() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("good"), format!("{TOKEN}\n")).unwrap();
    std::fs::write(dir.path().join("short"), "abc\n").unwrap();
    for (text, fault) in [
        ("", None),
        ("token = \"\"", None),
        ("address = \"[::1]:9180\"", None),
        ("address = \"0.0.0.0:9180\"\ntoken = \"0123456789abcdef\"", None),
        ("address = \"0.0.0.0:9180\"\ntoken_file = \"good\"", None),
        ("address = \"0.0.0.0:9180\"", Some("token: ")),
        ("address = \"10.0.0.1:9180\"\ntoken = \" \"", Some("token: ")),
        ("token = \"short\"", Some("token: ")),
        ("token = \"0123456789abcdef with spaces\"", Some("token: ")),
        ("token_file = \"short\"", Some("token_file: ")),
        ("token_file = \"missing\"", Some("token_file: ")),
        ("token = \"0123456789abcdef\"\ntoken_file = \"good\"", Some("token_file: ")),
    ] {
        let settings: Settings = toml::from_str(text).unwrap();
        let fault_found = Admin::build(&settings, dir.path()).err().map(|faults| faults[0].to_string());
        assert_eq!(fault_found.is_some(), fault.is_some(), "{text}: {fault_found:?}");
        assert!(fault_found.is_none_or(|found| found.starts_with(fault.unwrap())), "{text}");
    }
    assert!(toml::from_str::<Settings>("adress = \"127.0.0.1:1\"").is_err());
    let secret = Settings { token: Some(Secret::new(TOKEN.into())), ..Settings::default() };
    assert!(!format!("{secret:?}{}", toml::to_string(&secret).unwrap()).contains(TOKEN));
}
