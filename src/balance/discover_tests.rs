use super::super::endpoint::Replicas;
use super::super::settings::Settings;
use super::*;
use crate::telemetry::Metrics;
use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use parking_lot::Mutex;
use std::net::Ipv4Addr;
use tokio::net::UdpSocket;

#[test]
fn a_file_reads_as_lines_as_toml_and_as_json() {
    let read = |name: &str, text: &str| {
        let endpoints = parse(Path::new(name), text);
        endpoints.map(|all| all.iter().map(|e| format!("{} {}", e.name(), e.weight())).collect::<Vec<_>>())
    };
    for (name, text) in [
        ("replicas", "# ours\n10.0.0.1:80\n\n  b.test:81 weight=3  # the large one\n"),
        ("replicas.toml", "replicas = ['10.0.0.1:80', 'b.test:81 weight=3']"),
        ("replicas.json", r#"{"replicas": ["10.0.0.1:80", "b.test:81 weight=3"]}"#),
    ] {
        assert_eq!(read(name, text).unwrap(), ["10.0.0.1:80 1", "b.test:81 3"], "{name}");
    }
    assert!(read("replicas", "").unwrap().is_empty());
    let fault = read("replicas", "10.0.0.1:80\nb.test\n").unwrap_err().to_string();
    assert!(fault.starts_with("replicas:2: \"b.test\" is no replica"), "{fault}");
    for (name, text) in [
        ("a.toml", "replicas = 7"),
        ("a.toml", "other = []"),
        ("a.json", "["),
        ("a.json", r#"{"replicas": ["x"]}"#),
        ("a", "10.0.0.1:80 weight=0"),
    ] {
        assert!(read(name, text).is_err(), "{name} {text}");
    }
    assert!(read("a", &"10.0.0.1:80\n".repeat(257)).is_err());
}

fn pool(base: &Path, change: impl FnOnce(&mut Settings), previous: Option<&Pool>) -> Result<Arc<Pool>, Vec<Fault>> {
    let mut settings = Settings { replicas: Replicas(Vec::new()), ..Settings::default() };
    change(&mut settings);
    let metrics = Arc::new(Metrics::new().unwrap());
    Pool::build("default", &settings, base, previous, &metrics, Instant::now()).map(Arc::new)
}

fn addresses(pool: &Pool) -> Vec<String> {
    pool.replicas().iter().map(|(replica, weight)| format!("{} {weight}", replica.address())).collect()
}

#[tokio::test]
async fn a_file_that_changes_changes_the_replicas_and_a_broken_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("replicas");
    let from_file = |s: &mut Settings| s.discover.file = Some("replicas".into());
    assert!(pool(dir.path(), from_file, None).is_err(), "a file that is not there");
    std::fs::write(&path, "127.0.0.1:1\n127.0.0.1:2 weight=2\n").unwrap();
    let pool = pool(dir.path(), from_file, None).unwrap();
    assert_eq!(addresses(&pool), ["127.0.0.1:1 1", "127.0.0.1:2 2"]);
    let lookup = Lookup::new(&pool.settings.discover);
    let kept = pool.replicas()[1].0.clone();
    let now = Instant::now();
    let ask = super::super::Ask { now, tried: &[], key: 0, cookie: None, idempotent: true, dice: 0 };
    let held: Vec<_> = (0..3).map(|_| pool.try_acquire(ask).unwrap()).collect();

    std::fs::write(&path, "127.0.0.1:2 weight=2\n127.0.0.1:33\n").unwrap();
    pool.look(&lookup).await;
    assert_eq!(addresses(&pool), ["127.0.0.1:2 2", "127.0.0.1:33 1"]);
    assert!(Arc::ptr_eq(&pool.replicas()[0].0, &kept), "with all its state");
    let gone = held.iter().find(|lease| lease.replica().address().port() == 1).unwrap();
    assert_eq!(gone.replica().in_flight(), 1, "one that is gone keeps what it has");

    for broken in ["", "127.0.0.1", "# nobody at all\n"] {
        std::fs::write(&path, broken).unwrap();
        pool.look(&lookup).await;
        assert_eq!(addresses(&pool), ["127.0.0.1:2 2", "127.0.0.1:33 1"], "{broken:?}");
    }
    std::fs::remove_file(&path).unwrap();
    pool.look(&lookup).await;
    assert_eq!(addresses(&pool).len(), 2);
}

/// With their times to live in seconds.
type Records = HashMap<(String, RecordType), Vec<(u32, RData)>>;

/// A name server that answers as it is told; what it is not told does not exist.
struct NameServer {
    address: SocketAddr,
    records: Arc<Mutex<Records>>,
    /// Answers with a failure of its own.
    failing: Arc<Mutex<bool>>,
    asked: Arc<Mutex<usize>>,
}

async fn name_server() -> NameServer {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = NameServer {
        address: socket.local_addr().unwrap(),
        records: Arc::default(),
        failing: Arc::default(),
        asked: Arc::default(),
    };
    let (records, failing, asked) = (server.records.clone(), server.failing.clone(), server.asked.clone());
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((n, from)) = socket.recv_from(&mut buffer).await {
            let Ok(request) = Message::from_vec(&buffer[..n]) else { continue };
            let query = request.queries[0].clone();
            *asked.lock() += 1;
            let mut response = Message::response(request.metadata.id, request.metadata.op_code);
            response.metadata.message_type = MessageType::Response;
            response.metadata.recursion_available = true;
            response.add_query(query.clone());
            let key = (query.name().to_ascii().to_lowercase(), query.query_type());
            let known = records.lock().get(&key).cloned();
            match known {
                _ if *failing.lock() => response.metadata.response_code = ResponseCode::ServFail,
                Some(known) => {
                    for (ttl, data) in known {
                        response.add_answer(Record::from_rdata(query.name().clone(), ttl, data));
                    }
                }
                None => response.metadata.response_code = ResponseCode::NXDomain,
            }
            let _ = socket.send_to(&response.to_vec().unwrap(), from).await;
        }
    });
    server
}

impl NameServer {
    fn addresses(&self, name: &str, ttl: u32, last: &[u8]) {
        let data = last.iter().map(|last| (ttl, RData::A(A(Ipv4Addr::new(10, 0, 0, *last))))).collect();
        self.records.lock().insert((name.to_owned(), RecordType::A), data);
    }

    fn service(&self, name: &str, ttl: u32, targets: &[(u16, u16, &str)]) {
        let record = |(priority, weight, target): &(u16, u16, &str)| {
            (ttl, RData::SRV(SRV::new(*priority, *weight, 80, Name::from_ascii(target).unwrap())))
        };
        self.records.lock().insert((name.to_owned(), RecordType::SRV), targets.iter().map(record).collect());
    }
}

/// Makes everything due that has a time to live.
fn time_passes(pool: &Pool, time: Duration) {
    let mut discovery = pool.discovery.lock();
    discovery.served_due -= time;
    discovery.names.values_mut().for_each(|name| name.due -= time);
}

#[tokio::test]
async fn names_are_asked_for_again_when_their_time_is_over() {
    let server = name_server().await;
    server.addresses("archon.test.", 20, &[1, 2]);
    let at = |s: &mut Settings| {
        s.replicas = Replicas(vec!["archon.test:80 weight=2".into(), "10.0.0.9:80".into()]);
        s.discover.nameserver = Some(server.address);
    };
    let pool = pool(Path::new("."), at, None).unwrap();
    assert_eq!(addresses(&pool), ["10.0.0.9:80 1"], "the system does not know it");
    let lookup = Lookup::new(&pool.settings.discover);
    pool.look(&lookup).await;
    assert_eq!(addresses(&pool), ["10.0.0.1:80 2", "10.0.0.2:80 2", "10.0.0.9:80 1"]);

    server.addresses("archon.test.", 20, &[2, 3]);
    let asked = *server.asked.lock();
    time_passes(&pool, Duration::from_secs(15));
    pool.look(&lookup).await;
    assert_eq!(*server.asked.lock(), asked, "not yet");
    time_passes(&pool, Duration::from_secs(5));
    pool.look(&lookup).await;
    assert_eq!(addresses(&pool), ["10.0.0.2:80 2", "10.0.0.3:80 2", "10.0.0.9:80 1"]);

    // A generation after this one begins with what is known.
    let next = super::tests::pool(Path::new("."), at, Some(&pool)).unwrap();
    assert_eq!(addresses(&next), addresses(&pool));
    // No answer, and an answer that there is nobody, change nothing.
    *server.failing.lock() = true;
    time_passes(&pool, Duration::from_secs(20));
    pool.look(&lookup).await;
    assert_eq!(addresses(&pool).len(), 3);
    *server.failing.lock() = false;
    server.records.lock().clear();
    time_passes(&pool, Duration::from_secs(20));
    pool.look(&lookup).await;
    assert_eq!(addresses(&pool).len(), 3);
}

#[tokio::test]
async fn rfc2782_a_service_gives_its_first_priority_with_weights() {
    let server = name_server().await;
    server.service("_http._tcp.test.", 20, &[(1, 30, "b.test."), (1, 10, "a.test."), (2, 1, "c.test.")]);
    for (name, last) in [("a.test.", 1), ("b.test.", 2), ("c.test.", 3)] {
        server.addresses(name, 20, &[last]);
    }
    let at = |s: &mut Settings| {
        s.discover.srv = "_http._tcp.test".into();
        s.discover.nameserver = Some(server.address);
    };
    let pool = pool(Path::new("."), at, None).unwrap();
    let lookup = Lookup::new(&pool.settings.discover);
    pool.look(&lookup).await;
    assert_eq!(addresses(&pool), ["10.0.0.1:80 10", "10.0.0.2:80 30"]);
    server.service("_http._tcp.test.", 20, &[(2, 65535, "c.test."), (2, 0, "a.test.")]);
    time_passes(&pool, Duration::from_secs(20));
    pool.look(&lookup).await;
    assert_eq!(addresses(&pool), ["10.0.0.1:80 1", "10.0.0.3:80 1000"]);
    // "." is "not here": nobody, and who was there stays.
    server.service("_http._tcp.test.", 20, &[(0, 0, ".")]);
    time_passes(&pool, Duration::from_secs(20));
    pool.look(&lookup).await;
    assert_eq!(addresses(&pool).len(), 2);
}

#[test]
fn times_and_names_are_checked() {
    let settings = DiscoverSettings {
        srv: "a..b".into(),
        min_ttl: Span::secs(10),
        max_ttl: Span::secs(5),
        ..DiscoverSettings::default()
    };
    assert_eq!(settings.faults().len(), 2);
    assert!(DiscoverSettings { srv: "_http._tcp.a.test.".into(), ..DiscoverSettings::default() }.faults().is_empty());
}

/// An API server that lists one slice, then tells of what comes through the channel, as Kubernetes does.
#[cfg(feature = "kubernetes")]
async fn api_server(mut events: tokio::sync::mpsc::Receiver<String>) -> SocketAddr {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(client.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            let path = "GET /apis/discovery.k8s.io/v1/namespaces/agents/endpointslices?";
            assert!(head.starts_with(path) && head.contains("kubernetes.io%2Fservice-name%3Darchon"), "{head}");
            if !head.contains("watch=true") {
                let list = serde_json::json!({
                    "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSliceList",
                    "metadata": {"resourceVersion": "1"}, "items": [slice("a", &["10.0.0.1", "10.0.0.2"])],
                });
                let list = list.to_string();
                let length = list.len();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
                     connection: close\r\n\r\n{list}"
                );
                client.write_all(answer.as_bytes()).await.unwrap();
                continue;
            }
            let begin = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
            client.write_all(begin.as_bytes()).await.unwrap();
            while let Some(event) = events.recv().await {
                let chunk = format!("{:x}\r\n{event}\n\r\n", event.len() + 1);
                client.write_all(chunk.as_bytes()).await.unwrap();
            }
        }
    });
    address
}

#[cfg(feature = "kubernetes")]
fn slice(name: &str, addresses: &[&str]) -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": name, "namespace": "agents", "resourceVersion": "2"},
        "endpoints": addresses.iter().map(|a| serde_json::json!({"addresses": [a]})).collect::<Vec<_>>(),
        "ports": [{"name": "http", "port": 8181}],
    })
}

#[cfg(feature = "kubernetes")]
#[tokio::test]
async fn pods_of_a_service_come_and_go() {
    let (tell, events) = tokio::sync::mpsc::channel(4);
    let server = api_server(events).await;
    let pool = pool(Path::new("."), |s| s.discover.kubernetes.service = "archon".to_owned(), None).unwrap();
    assert!(addresses(&pool).is_empty(), "nobody has said anything yet");
    let settings = pool.settings.discover.kubernetes.clone();
    let config = kube::Config::new(format!("http://{server}").parse().unwrap());
    let api = kube::Api::namespaced(kube::Client::try_from(config).unwrap(), "agents");
    let until = async |wanted: &[&str]| {
        for _ in 0..500 {
            if addresses(&pool) == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{wanted:?} of {:?}", addresses(&pool));
    };
    let mut slices = kubernetes::Slices::default();
    let follow = pool.follow(api, &settings, &mut slices);
    let story = async {
        until(&["10.0.0.1:8181 1", "10.0.0.2:8181 1"]).await;
        let event = |kind: &str, slice| serde_json::json!({"type": kind, "object": slice}).to_string();
        tell.send(event("ADDED", slice("b", &["10.0.1.1"]))).await.unwrap();
        until(&["10.0.0.1:8181 1", "10.0.0.2:8181 1", "10.0.1.1:8181 1"]).await;
        tell.send(event("MODIFIED", slice("a", &["10.0.0.2"]))).await.unwrap();
        until(&["10.0.0.2:8181 1", "10.0.1.1:8181 1"]).await;
        tell.send(event("DELETED", slice("b", &["10.0.1.1"]))).await.unwrap();
        until(&["10.0.0.2:8181 1"]).await;
        tell.send(event("MODIFIED", slice("a", &[]))).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        until(&["10.0.0.2:8181 1"]).await;
    };
    tokio::select! {
        () = follow => panic!("a watch goes on"),
        () = story => {}
    }
}

#[test]
fn kubernetes_needs_a_build_with_it() {
    let mut settings = DiscoverSettings::default();
    settings.kubernetes.service = "archon".to_owned();
    assert_eq!(settings.faults().is_empty(), cfg!(feature = "kubernetes"));
}
