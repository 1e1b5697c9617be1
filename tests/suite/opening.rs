//! What comes before HTTP: PROXY headers, clients' certificates, fingerprints, tickets.

use crate::harness::{Gate, H1, Replica, free_port, tls_config, tls_config_with, until, within};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{ClientConfig, HandshakeKind};
use rustls_pki_types::ServerName;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A listener of its own with these keys: where it is, and its text.
fn listener(keys: &str) -> (SocketAddr, String) {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    (address, format!("[[listener]]\naddress = \"{address}\"\nplain = \"serve\"\n{keys}\n"))
}

async fn shake(address: SocketAddr, config: &Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    within("a handshake", TlsConnector::from(config.clone()).connect(name, stream)).await
}

/// With `head` sent before anything else.
async fn introduced(address: SocketAddr, head: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head).await.unwrap();
    stream
}

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.2 50000 443\r\n";

fn v2() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0F".to_vec();
    header.extend([192, 0, 2, 8, 198, 51, 100, 2, 0xC3, 0x50, 1, 0xBB]);
    header.extend([4, 0, 0]);
    header
}

fn counted(outcome: &str) -> String {
    format!("gatehouse_proxy_headers_total{{outcome=\"{outcome}\"}}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_peers_header_names_the_client() {
    let replica = Replica::plain().await;
    let (plain, one) = listener("tls = false\nproxy_protocol = \"required\"\nproxy_trusted = \"127.0.0.0/8\"");
    let (tls, two) = listener("proxy_protocol = \"optional\"\nproxy_trusted = \"127.0.0.0/8\"");
    let (refusing, three) = listener("proxy_protocol = \"required\"\nproxy_trusted = \"10.0.0.0/8\"");
    let more = format!(
        "{one}{two}{three}[timeouts]\nhandshake = \"600ms\"\n[audit]\nfile = \"audit.log\"\nrelevant_only = false\n"
    );
    let gate = Gate::start(&[replica.address], &more).await;

    let mut h1 = H1::over(introduced(plain, V1).await);
    let reply = h1.get("/a", "x-forwarded-for: 203.0.113.9\r\n").await;
    assert_eq!(reply.status, 200);
    let event = gate.event(&reply).await;
    assert_eq!((event["source"]["ip"].as_str(), event["source"]["port"].as_u64()), (Some("192.0.2.7"), Some(50_000)));
    assert_eq!(event["client"]["ip"], "192.0.2.7");
    assert_eq!(h1.get("/b", "").await.status, 200, "it holds for the connection");

    // Before TLS, in the same segment or not.
    let config = tls_config(&[&rustls::version::TLS13], &["http/1.1"]);
    let name = ServerName::try_from("localhost").unwrap();
    let stream = introduced(tls, &v2()).await;
    let stream = TlsConnector::from(config.clone()).connect(name, stream).await.unwrap();
    let reply = H1::over(stream).get("/c", "").await;
    assert_eq!(gate.event(&reply).await["source"]["ip"], "192.0.2.8");
    let reply = H1::over(shake(tls, &config).await.unwrap()).get("/d", "").await;
    assert_eq!(gate.event(&reply).await["source"]["ip"], "127.0.0.1", "none, where that is allowed");
    let seen: Vec<_> = replica.seen().iter().map(|s| s.header("x-forwarded-for").unwrap().to_owned()).collect();
    assert_eq!(seen, ["192.0.2.7", "192.0.2.7", "192.0.2.8", "127.0.0.1"]);

    // None, a wrong one, half of one, and one of a stranger: closed, and counted.
    for head in [&b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..], b"PROXY TCP4 1.2.3 4.5.6.7 1 2\r\n", &V1[..20]] {
        assert!(H1::over(introduced(plain, head).await).is_closed().await);
    }
    assert!(H1::over(introduced(refusing, V1).await).is_closed().await);
    for (outcome, count) in
        [("client", 2.0), ("absent", 1.0), ("malformed", 2.0), ("timed_out", 1.0), ("untrusted", 1.0), ("peer", 0.0)]
    {
        until(outcome, async || gate.metric(&counted(outcome)).await == count).await;
    }
    assert_eq!(replica.seen().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_counted_for_the_client_that_the_header_names() {
    let replica = Replica::plain().await;
    let (plain, text) = listener("tls = false\nproxy_protocol = \"required\"\nproxy_trusted = \"127.0.0.0/8\"");
    let gate = Gate::start_with(&[replica.address], &text, |dir| {
        let path = dir.path().join("gate.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, config.replace("[server]\n", "[server]\nmax_connections_per_address = 2\n")).unwrap();
    })
    .await;
    let client = |n: u8| format!("PROXY TCP4 192.0.2.{n} 198.51.100.2 50000 443\r\n").into_bytes();
    let mut open = Vec::new();
    for n in [1, 1, 2, 2, 3] {
        let mut h1 = H1::over(introduced(plain, &client(n)).await);
        assert_eq!(h1.get("/", "").await.status, 200, "{n}");
        open.push(h1);
    }
    assert!(H1::over(introduced(plain, &client(1)).await).is_closed().await, "two of one client are enough");
    let refused = "gatehouse_connections_refused_total{listener=\"plain\"}";
    until("the count", async || gate.metric(refused).await == 1.0).await;
    open.remove(0);
    until("a place", async || {
        let mut stream = introduced(plain, &client(1)).await;
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        let mut answer = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await;
        answer.starts_with(b"HTTP/1.1 200")
    })
    .await;
}

/// An authority of clients.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "Clients");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A client's settings with a certificate for `name`.
    fn client(&self, name: &str, serial: u64) -> Arc<ClientConfig> {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(serial.into());
        let key = KeyPair::generate().unwrap();
        tls_config_with(&params.signed_by(&key, &self.0).unwrap().pem(), &key.serialize_pem())
    }

    fn revoking(&self, serials: &[u64]) -> String {
        let revoked = serials.iter().map(|serial| rcgen::RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: rcgen::date_time_ymd(2024, 1, 2),
            reason_code: None,
            invalidity_date: None,
        });
        let params = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2024, 1, 1),
            next_update: rcgen::date_time_ymd(2090, 1, 1),
            crl_number: 1_u64.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).unwrap().pem().unwrap()
    }
}

/// Whether a client gets an answer. In TLS 1.3 a client learns of its refusal only when it reads.
async fn served(address: SocketAddr, config: &Arc<ClientConfig>) -> bool {
    let Ok(mut stream) = shake(address, config).await else { return false };
    let sent = stream.write_all(b"GET / HTTP/1.1\r\nhost: gate.test\r\nconnection: close\r\n\r\n").await;
    let mut answer = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer);
    sent.is_ok() && within("an answer", read).await.is_ok() && answer.starts_with(b"HTTP/1.1 200")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clients_certificate_makes_it_a_user() {
    let replica = Replica::plain().await;
    let authority = Authority::new();
    let asks = |mode: &str| format!("client_certificates = {{ mode = \"{mode}\", ca = \"ca.pem\", crl = \"ca.crl\" }}");
    let (required, one) = listener(&asks("required"));
    let (optional, two) = listener(&asks("optional"));
    let more = format!("{one}{two}[audit]\nfile = \"audit.log\"\nrelevant_only = false\n");
    let gate = Gate::start_with(&[replica.address], &more, |dir| {
        std::fs::write(dir.path().join("ca.pem"), authority.0.pem()).unwrap();
        std::fs::write(dir.path().join("ca.crl"), authority.revoking(&[])).unwrap();
    })
    .await;
    let (alice, bob) = (authority.client("alice", 0xA1), authority.client("bob", 0xB0));
    let nobody = tls_config(&[&rustls::version::TLS13], &["http/1.1"]);
    for address in [required, optional] {
        let mut h1 = H1::over(shake(address, &alice).await.unwrap());
        let reply = h1.get("/", "x-archon-user: root\r\n").await;
        let event = gate.event(&reply).await;
        assert_eq!(event["gatehouse"]["user"], "cert:alice");
        let client = &event["tls"]["client"];
        assert_eq!((client["subject"].as_str(), client["issuer"].as_str()), (Some("CN=alice"), Some("CN=Clients")));
        assert_eq!(client["x509"]["serial_number"], "00a1");
        assert_eq!(client["hash"]["sha256"].as_str().unwrap().len(), 64);
        assert_eq!(replica.seen().pop().unwrap().header("x-archon-user"), Some("alice"));
    }
    assert!(!served(required, &nobody).await);
    assert!(served(optional, &nobody).await);
    assert_eq!(replica.seen().pop().unwrap().header("x-archon-user"), None);
    let stranger = Authority::new().client("alice", 1);
    assert!(!served(required, &stranger).await && !served(optional, &stranger).await);

    // Revoked: taken up without a restart, and no ticket leads around it.
    assert!(served(required, &alice).await && served(required, &bob).await);
    std::fs::write(gate.path("ca.crl"), authority.revoking(&[0xA1])).unwrap();
    until("the revocation", async || !served(required, &alice).await).await;
    assert!(served(required, &bob).await && !served(optional, &alice).await);

    // What cannot be read changes nothing.
    let before = gate.metric("gatehouse_reloads_total{outcome=\"refused\"}").await;
    std::fs::write(gate.path("ca.crl"), "garbage").unwrap();
    gate.reloaded("refused", before).await;
    assert!(gate.log().contains("ca.crl") && served(required, &bob).await && !served(required, &alice).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_speaks_what_it_is_told_to() {
    let replica = Replica::plain().await;
    let (old, one) = listener("min_version = \"1.2\"\nalpn = [\"http/1.1\"]");
    let (new, two) = listener("alpn = [\"h2\"]");
    let more = format!("{one}{two}[audit]\nfile = \"audit.log\"\nrelevant_only = false\n");
    let gate = Gate::start(&[replica.address], &more).await;
    let tls12 = |alpn: &[&str]| tls_config(&[&rustls::version::TLS12], alpn);
    let stream = shake(old, &tls12(&["h2", "http/1.1"])).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]), "no h2 here");
    let reply = H1::over(stream).get("/", "").await;
    let tls = &gate.event(&reply).await["tls"];
    assert_eq!(tls["version"], "1.2");
    assert!(tls["cipher"].as_str().unwrap().starts_with("TLS_ECDHE_"), "{tls}");
    assert!(tls["client"]["ja4"].as_str().unwrap().starts_with("t12d"), "{tls}");
    assert!(shake(old, &tls12(&["h2"])).await.is_err());
    assert!(shake(gate.tls, &tls12(&["http/1.1"])).await.is_err(), "1.3 alone elsewhere");
    assert!(shake(new, &tls_config(&[&rustls::version::TLS13], &["http/1.1"])).await.is_err());
    // No protocol named is HTTP/1.1, which is not spoken here.
    assert!(!served(new, &tls_config(&[&rustls::version::TLS13], &[])).await);
    assert!(served(gate.tls, &tls_config(&[&rustls::version::TLS13], &[])).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gates_with_one_secret_resume_each_others_sessions() {
    let replica = Replica::plain().await;
    let replicas = [replica.address];
    let tickets = format!(
        "[tls.tickets]\nsecret = \"{}\"\n[audit]\nfile = \"audit.log\"\nrelevant_only = false\n",
        "5a".repeat(32)
    );
    let (one, other) = tokio::join!(Gate::start(&replicas, &tickets), Gate::start(&replicas, &tickets));
    let stranger = Gate::start(&[replica.address], "").await;
    let config = tls_config(&[&rustls::version::TLS13], &["http/1.1"]);
    assert!(served(one.tls, &config).await);
    let stream = shake(other.tls, &config).await.unwrap();
    assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
    let reply = H1::over(stream).get("/", "").await;
    let tls = &other.event(&reply).await["tls"];
    assert_eq!((tls["resumed"].as_bool(), tls["client"]["ja4"].as_str().map(str::len)), (Some(true), Some(36)));
    let stream = shake(stranger.tls, &config).await.unwrap();
    assert_ne!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_know_a_program_by_its_greeting() {
    let replica = Replica::plain().await;
    let more = "[waf]\ncore_rules = false\nrules = \"own.conf\"\n";
    let gate = Gate::start_with(&[replica.address], more, |dir| {
        let rules = "SecRuleEngine On\nSecRule TLS_JA4 \"@rx ^t13d[0-9]{4}h1_\" \"id:1,phase:1,deny,status:403,log\"\n";
        std::fs::write(dir.path().join("own.conf"), rules).unwrap();
    })
    .await;
    let reply = H1::tls(gate.tls).await.get("/", "").await;
    assert_eq!(reply.status, 403);
    let event = gate.event(&reply).await;
    assert_eq!(event["rules"][0]["matched"]["variable"], "TLS_JA4");
    assert_eq!(event["rules"][0]["matched"]["value"], event["tls"]["client"]["ja4"]);
    assert_eq!(crate::harness::h2_request(gate.tls, "GET", "/", &[], Vec::new()).await.status, 200, "another greeting");
    assert_eq!(H1::plain(gate.plain).await.get("/", "").await.status, 200, "none at all");
}
