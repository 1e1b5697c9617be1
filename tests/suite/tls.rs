//! TLS and the listeners.

use crate::harness::{Answer, Gate, H1, Replica, h2_request, tls_config, tls_stream, until};
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::ServerName;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

fn make(dir: &Path, name: &str, host: &str) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![host.to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(dir.join(format!("{name}.pem")), certificate.pem()).unwrap();
    std::fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

async fn shown(gate: &Gate, host: &str) -> Vec<u8> {
    let stream = TcpStream::connect(gate.tls).await.unwrap();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let config = tls_config(&[&rustls::version::TLS13], &["http/1.1"]);
    let tls = TlsConnector::from(config).connect(name, stream).await.unwrap();
    tls.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_1_3_alone_with_hybrid_key_exchange_and_both_protocols() {
    let replica = Replica::plain().await;
    let gate = Gate::start(&[replica.address], "").await;
    let old = tls_config(&[&rustls::version::TLS12], &["http/1.1"]);
    let stream = TcpStream::connect(gate.tls).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    assert!(TlsConnector::from(old).connect(name, stream).await.is_err(), "TLS 1.2 is refused");

    let tls = tls_stream(gate.tls, "http/1.1").await;
    let group = tls.get_ref().1.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    drop(tls);
    assert_eq!(H1::tls(gate.tls).await.get("/", "").await.status, 200);
    assert_eq!(h2_request(gate.tls, "GET", "/", &[], Vec::new()).await.status, 200);
    let reply = H1::tls(gate.tls).await.get("/?q=%3Cscript%3Ealert(1)%3C/script%3E", "").await;
    let event = gate.event(&reply).await;
    assert_eq!((event["tls"]["version"].as_str(), event["status"].as_u64()), (Some("1.3"), Some(403)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_chosen_by_name_and_swapped_live() {
    let replica = Replica::plain().await;
    let tls = "[tls]\ncertificates = [{ cert = \"a.pem\", key = \"a.key\" }, { cert = \"b.pem\", key = \"b.key\" }]\n";
    let gate = Gate::start_with(&[replica.address], tls, |dir| {
        make(dir.path(), "a", "a.test");
        make(dir.path(), "b", "*.b.test");
    })
    .await;
    let (a, b) = (shown(&gate, "a.test").await, shown(&gate, "x.b.test").await);
    assert_ne!(a, b);
    assert_eq!(shown(&gate, "unknown.test").await, a, "the first is the default");

    // A pair that does not fit is refused, and the old one stays.
    let before = gate.metric("gatehouse_reloads_total{outcome=\"refused\"}").await;
    make(gate.dir.path(), "c", "a.test");
    std::fs::copy(gate.path("c.key"), gate.path("a.key")).unwrap();
    gate.reloaded("refused", before).await;
    assert!(gate.log().contains("a.key"), "the file is named");
    assert_eq!(shown(&gate, "a.test").await, a);

    // The whole new pair is taken up without a signal.
    std::fs::copy(gate.path("c.pem"), gate.path("a.pem")).unwrap();
    until("the new certificate", async || shown(&gate, "a.test").await != a).await;
    assert_eq!(shown(&gate, "x.b.test").await, b);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_handshake_is_ended_and_hurts_nobody() {
    let replica = Replica::plain().await;
    let gate = Gate::start(&[replica.address], "[timeouts]\nhandshake = \"400ms\"\n").await;
    let mut stalled = TcpStream::connect(gate.tls).await.unwrap();
    stalled.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
    let mut garbage = TcpStream::connect(gate.tls).await.unwrap();
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(H1::tls(gate.tls).await.get("/", "").await.status, 200);
    let count = |outcome: &str| format!("gatehouse_handshakes_total{{outcome=\"{outcome}\"}}");
    until("both to be counted", async || {
        gate.metric(&count("timed_out")).await == 1.0 && gate.metric(&count("failed")).await == 1.0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_development_certificate_is_made_with_a_private_key_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let replica = Replica::plain().await;
    let gate = Gate::start(&[replica.address], "").await;
    let keys: Vec<_> = std::fs::read_dir(gate.path("state/tls"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "key"))
        .collect();
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_listener_redirects_unless_told_to_serve() {
    let replica = Replica::plain().await;
    let port = crate::harness::free_port();
    let more = format!("[[listener]]\naddress = \"127.0.0.1:{port}\"\ntls = false\nhttps_port = 8443\n");
    let gate = Gate::start(&[replica.address], &more).await;
    let reply = H1::plain(([127, 0, 0, 1], port).into()).await.get("/a/b?c=d", "").await;
    assert_eq!((reply.status, reply.header("location")), (308, Some("https://gate.test:8443/a/b?c=d")));
    assert_eq!(H1::plain(gate.plain).await.get("/", "").await.status, 200);
    assert_eq!(replica.seen().len(), 1);
}

/// One request on a connection of its own; how its handshake went.
async fn visit(gate: &Gate, config: &std::sync::Arc<rustls::ClientConfig>) -> rustls::HandshakeKind {
    let stream = TcpStream::connect(gate.tls).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut tls = TlsConnector::from(config.clone()).connect(name, stream).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\nconnection: close\r\n\r\n";
    tls.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    tls.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
    tls.get_ref().1.handshake_kind().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_resumed_also_after_a_hand_over_and_an_unknown_protocol_is_refused() {
    let replica = Replica::plain().await;
    let mut gate = Gate::start(&[replica.address], "").await;
    // One client's settings keep its tickets.
    let config = tls_config(&[&rustls::version::TLS13], &["http/1.1"]);
    let kinds = [visit(&gate, &config).await, visit(&gate, &config).await];
    assert_eq!(kinds[1], rustls::HandshakeKind::Resumed, "{kinds:?}");
    let (code, said) = gate.upgrade(&[]).await;
    assert_eq!(code, Some(0), "{said}");
    gate.ended().await;
    assert_eq!(visit(&gate, &config).await, rustls::HandshakeKind::Resumed, "by the process that took over");
    let stream = TcpStream::connect(gate.tls).await.unwrap();
    let unknown = tls_config(&[&rustls::version::TLS13], &["spdy/3"]);
    let name = ServerName::try_from("localhost").unwrap();
    assert!(TlsConnector::from(unknown).connect(name, stream).await.is_err(), "RFC 7301 section 3.2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_responses_say_what_the_configuration_has_them_say() {
    let fields = [("server", "uvicorn"), ("x-frame-options", "ALLOWALL")];
    let replica = Replica::start(move |_| Answer::with(&fields, "ok")).await;
    let more = "[response]\nhsts = \"365d\"\n[response.headers]\nx-frame-options = \"DENY\"\nserver = \"\"\n\
                [[route]]\nname = \"closed\"\npath = \"/internal/\"\nrefuse = true\n";
    let gate = Gate::start(&[replica.address], more).await;
    for (path, status) in [("/", 200), ("/internal/x", 403), ("/a b", 400)] {
        let secure = H1::tls(gate.tls).await.get(path, "").await;
        assert_eq!((secure.status, secure.header("x-frame-options")), (status, Some("DENY")), "{path}");
        assert_eq!(secure.header("strict-transport-security"), Some("max-age=31536000"), "{path}");
        assert_eq!(secure.header("server"), None, "{path}");
        let plain = H1::plain(gate.plain).await.get(path, "").await;
        assert_eq!((plain.status, plain.header("x-frame-options")), (status, Some("DENY")), "{path}");
        assert_eq!(plain.header("strict-transport-security"), None, "RFC 6797 section 7.2");
    }
}
