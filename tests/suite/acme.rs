//! Certificates from an ACME authority: one that believes nothing (`harness/authority.rs`).

use crate::harness::{Authority, Behaviour, Gate, H1, Replica, free_port, tls_config, until};
use rustls_pki_types::ServerName;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What a handshake with these protocols offered comes to: the certificate shown, and the protocol chosen.
async fn handshake(address: SocketAddr, host: &str, alpn: &[&str]) -> std::io::Result<(Vec<u8>, Option<Vec<u8>>)> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let tls = TlsConnector::from(tls_config(&[&rustls::version::TLS13], alpn)).connect(name, stream).await?;
    let session = tls.get_ref().1;
    Ok((session.peer_certificates().unwrap()[0].to_vec(), session.alpn_protocol().map(<[u8]>::to_vec)))
}

async fn shown(gate: &Gate, host: &str) -> Vec<u8> {
    handshake(gate.tls, host, &["http/1.1"]).await.unwrap().0
}

fn names(der: &[u8]) -> Vec<String> {
    let (_, certificate) = X509Certificate::from_der(der).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    names.value.general_names.iter().map(|name| name.to_string()).collect()
}

fn subject(der: &[u8]) -> String {
    X509Certificate::from_der(der).unwrap().1.subject().to_string()
}

/// Files of a kind below a gate's state for ACME.
fn files(state: &Path, part: &str, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(state.join("acme").join(part)).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == extension)).collect()
}

fn outcomes(outcome: &str) -> String {
    format!("gatehouse_acme_orders_total{{outcome=\"{outcome}\"}}")
}

async fn issued(gate: &Gate, authority: &Authority, host: &str) -> Vec<u8> {
    until("a certificate of the authority", async || authority.issued(&shown(gate, host).await)).await;
    shown(gate, host).await
}

/// A gate that orders `names`, whose ports 80 and 443 are its own.
async fn start(authority: &Authority, replica: &Replica, names: &str, more: &str) -> Gate {
    let gate = held(authority, replica, names, more).await;
    authority.resolve(gate.plain, gate.tls);
    gate
}

/// The same; the authority waits with its look.
async fn held(authority: &Authority, replica: &Replica, names: &str, more: &str) -> Gate {
    let (settings, ca) = (authority.settings(names, more), authority.ca());
    Gate::start_with(&[replica.address], &settings, |dir| std::fs::write(dir.path().join("ca.pem"), ca).unwrap()).await
}

fn rewrite(gate: &Gate, from: &str, to: &str) {
    let text = std::fs::read_to_string(gate.path("gate.toml")).unwrap();
    assert!(text.contains(from), "{from} is not in\n{text}");
    std::fs::write(gate.path("gate.toml"), text.replace(from, to)).unwrap();
}

async fn reload(gate: &Gate, from: &str, to: &str) {
    let before = gate.metric("gatehouse_reloads_total{outcome=\"applied\"}").await;
    rewrite(gate, from, to);
    gate.reloaded("applied", before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_01_a_first_certificate_is_issued_while_a_temporary_one_serves() {
    let replica = Replica::plain().await;
    let authority = Authority::start(Behaviour::default()).await;
    let port = free_port();
    // The names' port 80 redirects whatever else comes.
    let more = format!(
        "contact = \"mailto:ops@a.test\"\n[[listener]]\naddress = \"127.0.0.1:{port}\"\ntls = false\nhttps_port = 443\n"
    );
    let gate = held(&authority, &replica, "[[\"A.test\", \"www.a.test\"]]", &more).await;
    let redirecting = SocketAddr::from(([127, 0, 0, 1], port));
    until("the order", async || authority.orders() == 1).await;
    assert_eq!(subject(&shown(&gate, "a.test").await), "CN=Gatehouse temporary certificate");
    assert_eq!(H1::tls(gate.tls).await.get("/", "").await.status, 200, "traffic flows meanwhile");
    let seen = replica.seen().len();
    // Unknown tokens, and what is none, are answered here and nowhere else.
    for token in ["nonesuch", "..%2f..%2faccount.json", "%2e%2e", "a/b", ""] {
        for address in [gate.plain, redirecting] {
            let reply = H1::plain(address).await.get(&format!("/.well-known/acme-challenge/{token}"), "").await;
            assert_eq!(reply.status, 404, "{token}");
        }
    }
    let reply = H1::plain(redirecting).await.get("/.well-known/acme-challengeX", "").await;
    assert_eq!(reply.status, 308);

    authority.resolve(redirecting, gate.tls);
    let der = issued(&gate, &authority, "a.test").await;
    assert_eq!(names(&der), ["DNSName(a.test)", "DNSName(www.a.test)"]);
    assert_eq!(shown(&gate, "www.a.test").await, der);
    assert_eq!((authority.orders(), authority.accounts()), (1, vec![serde_json::json!(["mailto:ops@a.test"])]));
    assert_eq!(replica.seen().len(), seen, "no challenge reached a replica");
    until("it to be counted", async || gate.metric(&outcomes("issued")).await == 1.0).await;
    until("its end to be told", async || {
        gate.metric("gatehouse_certificate_expiry_timestamp_seconds{name=\"a.test\"}").await > 0.0
            && gate.metric("gatehouse_acme_next_order_timestamp_seconds{name=\"a.test\"}").await > 0.0
    })
    .await;

    // For the gate's user alone, and nothing left over.
    let state = gate.path("state");
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state.join("acme")), 0o700);
    let kept = [files(&state, "certificates", "pem"), files(&state, "", "json")].concat();
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept.iter().all(|path| mode(path) == 0o600));
    assert_eq!(std::fs::read_dir(state.join("acme/challenges")).unwrap().count(), 0);
    assert!(files(&state, "certificates", "json").is_empty());
    assert!(!gate.log().contains("PRIVATE KEY"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_alpn_01_is_shown_to_a_client_that_offers_nothing_else() {
    let replica = Replica::plain().await;
    let authority = Authority::start(Behaviour::default()).await;
    let gate =
        held(&authority, &replica, "[[\"a.test\", \"b.test\"]]", "challenge = \"tls-alpn-01\"\nkey_type = \"rsa2048\"")
            .await;
    let alone = async |host: &str| handshake(gate.tls, host, &["acme-tls/1"]).await;
    until("both challenges to be shown", async || alone("a.test").await.is_ok() && alone("b.test").await.is_ok()).await;
    assert!(alone("c.test").await.is_err(), "another name has no challenge");
    // Whoever offers more gets what every client gets.
    let (der, alpn) = handshake(gate.tls, "a.test", &["acme-tls/1", "http/1.1"]).await.unwrap();
    assert_eq!(subject(&der), "CN=Gatehouse temporary certificate");
    assert_eq!(alpn.as_deref(), Some(&b"http/1.1"[..]));

    authority.resolve(gate.plain, gate.tls);
    let offers_rsa = issued(&gate, &authority, "b.test").await;
    let (_, certificate) = X509Certificate::from_der(&offers_rsa).unwrap();
    assert_eq!(certificate.public_key().algorithm.algorithm.to_id_string(), "1.2.840.113549.1.1.1");
    until("the challenges to be withdrawn", async || alone("a.test").await.is_err()).await;
    assert_eq!(H1::tls(gate.tls).await.get("/", "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_certificate_serves_from_the_first_handshake_and_a_check_orders_nothing() {
    let replica = Replica::plain().await;
    let authority = Authority::start(Behaviour::default()).await;
    let first = start(&authority, &replica, "[[\"a.test\"]]", "").await;
    let der = issued(&first, &authority, "a.test").await;
    let state = first.path("state");
    let ca = authority.ca();
    let settings = authority.settings("[[\"a.test\"]]", "");
    let mut second = Gate::start_with(&[replica.address], &settings, |dir| {
        std::fs::write(dir.path().join("ca.pem"), ca).unwrap();
        copy(&state, &dir.path().join("state"));
    })
    .await;
    assert_eq!(shown(&second, "a.test").await, der);
    assert_eq!(authority.orders(), 1);
    drop(first);

    // Nothing is there, and still nobody is asked.
    second.signal("TERM");
    assert_eq!(second.ended().await, Some(0));
    std::fs::remove_dir_all(second.path("state")).unwrap();
    let asked = authority.requests().len();
    let output = Command::new(env!("CARGO_BIN_EXE_gatehouse"))
        .args(["check", "--config"])
        .arg(second.path("gate.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!second.path("state/acme").exists());
    assert_eq!(authority.requests().len(), asked);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.path().is_file() {
            // Not the control socket.
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// How often certificates are exchanged under load, and by how many clients.
fn load() -> (usize, usize) {
    if std::env::var_os("GATEHOUSE_LONG").is_some() { (20, 64) } else { (2, 16) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_under_load_fail_no_request() {
    let (swaps, clients) = load();
    let replica = Replica::plain().await;
    // Two thirds of its life are over when it is issued.
    let lifetime = (Duration::from_secs(20_000), Duration::from_secs(7_000));
    let authority = Authority::start(Behaviour { lifetime, advises: Some((-20, -10)), ..Behaviour::default() }).await;
    let gate = Arc::new(start(&authority, &replica, "[[\"localhost\"]]", "retry_min = \"1s\"").await);
    let (stop, failed, done) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let shared = Arc::new((stop, failed, done));
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..clients {
        let (gate, shared) = (gate.clone(), shared.clone());
        tasks.spawn(async move {
            let (stop, failed, done) = &*shared;
            while !stop.load(Ordering::Relaxed) {
                let mut connection = H1::tls(gate.tls).await;
                // Some keep their connection over several exchanges, some shake hands each time.
                for _ in 0..=client % 4 * 10 {
                    let good = connection.get("/", "").await.status == 200;
                    failed.fetch_add(usize::from(!good), Ordering::Relaxed);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    let mut seen = std::collections::HashSet::new();
    let mut last = Vec::new();
    while seen.len() <= swaps {
        until("another certificate", async || {
            last = shown(&gate, "localhost").await;
            authority.issued(&last) && seen.insert(last.clone())
        })
        .await;
    }
    shared.0.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let (failed, done) = (shared.1.load(Ordering::Relaxed), shared.2.load(Ordering::Relaxed));
    println!("{swaps} exchanges under {clients} clients: {done} requests, {failed} failed");
    assert!(failed == 0 && done > clients, "{failed} of {done} failed");
    assert!(authority.order(1).1.is_some(), "a renewal says what it replaces");
    assert_eq!(authority.accounts().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_external_account_is_bound_by_its_key_which_nobody_is_shown() {
    use base64::Engine as _;
    let replica = Replica::plain().await;
    let key: Vec<u8> = (0..32).collect();
    let external = Some(("kid-1".to_owned(), key.clone()));
    let authority = Authority::start(Behaviour { external, ..Behaviour::default() }).await;
    let wrong = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode([7_u8; 32]);
    let gate = start(&authority, &replica, "[[\"a.test\"]]", "retry_min = \"10m\"").await;
    until("the refusal", async || gate.log().contains("tls.acme.eab")).await;
    reload(
        &gate,
        "terms_agreed = true",
        &format!("terms_agreed = true\neab = {{ kid = \"kid-1\", hmac = \"{wrong}\" }}"),
    )
    .await;
    until("the other refusal", async || gate.log().contains("the binding is not by our key")).await;
    assert!(authority.accounts().is_empty());
    // A change of the settings is tried at once, whatever failed before.
    std::fs::write(gate.path("eab.txt"), base64::engine::general_purpose::URL_SAFE.encode(&key) + "\n").unwrap();
    reload(&gate, &format!("hmac = \"{wrong}\""), "hmac_file = \"eab.txt\"").await;
    issued(&gate, &authority, "a.test").await;
    assert_eq!((gate.metric(&outcomes("failed")).await, gate.metric(&outcomes("issued")).await), (2.0, 1.0));

    rewrite(&gate, "hmac_file = \"eab.txt\"", &format!("hmac = \"{wrong}\""));
    let output = Command::new(env!("CARGO_BIN_EXE_gatehouse"))
        .args(["check", "--effective", "--config"])
        .arg(gate.path("gate.toml"))
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr, gate.log().into_bytes()].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("kid-1") && !said.contains(&wrong), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_leave_what_serves_and_wait_as_long_as_they_are_told() {
    let replica = Replica::plain().await;
    let (limited, now) = (Some(7200), || jiff::Timestamp::now().as_second());
    let before = now();
    let authority = Authority::start(Behaviour { limited, bad_nonces: 2, ..Behaviour::default() }).await;
    let gate = start(&authority, &replica, "[[\"a.test\"]]", "retry_min = \"10m\"").await;
    let state = gate.path("state");
    let record = || {
        let file = files(&state, "certificates", "json").pop()?;
        serde_json::from_slice::<serde_json::Value>(&std::fs::read(file).ok()?).ok()
    };
    let forget = || std::fs::remove_file(files(&state, "certificates", "json").pop().unwrap()).unwrap();
    let said = async |words: &str| {
        until(words, async || record().is_some_and(|r| r["error"].to_string().contains(words))).await
    };
    // Bad nonces are nobody's fault; a limit is kept to.
    said("too many orders").await;
    let waits = record().unwrap()["next"].as_i64().unwrap();
    assert!((before + 7200..=now() + 7200).contains(&waits), "{waits}");
    assert_eq!(gate.metric(&outcomes("rate_limited")).await, 1.0);
    until("the status", async || {
        let status = H1::try_get(gate.admin, "/api/v1/status").await.unwrap().text();
        status.contains("too many orders")
    })
    .await;

    // Removing the record means: now.
    authority.behave(|b| (b.limited, b.broken) = (None, 1));
    forget();
    said("500").await;
    assert_eq!(gate.metric(&outcomes("failed")).await, 1.0);
    let waits = record().unwrap()["next"].as_i64().unwrap() - now();
    assert!((400..=760).contains(&waits), "{waits}");

    authority.behave(|b| b.disbelieves = true);
    forget();
    said("a.test: API error: we do not believe it").await;
    assert_eq!(gate.metric(&outcomes("challenge_failed")).await, 1.0);

    authority.behave(|b| (b.disbelieves, b.issues_for) = (false, Some("other.test")));
    forget();
    said("not for a.test").await;
    assert_eq!(subject(&shown(&gate, "a.test").await), "CN=Gatehouse temporary certificate");
    assert!(files(&state, "certificates", "pem").is_empty());
    assert_eq!(std::fs::read_dir(state.join("acme/challenges")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(state.join("acme/certificates")).unwrap().count(), 1, "nothing half written is left");

    // An account that the authority forgot is made anew, with the attempt after.
    authority.forget_accounts();
    authority.behave(|b| (b.issues_for, b.slow) = (None, Duration::from_millis(20)));
    forget();
    said("accountDoesNotExist").await;
    forget();
    issued(&gate, &authority, "a.test").await;
    assert_eq!(authority.accounts().len(), 2);
    assert!(record().is_none());
    assert_eq!(H1::tls(gate.tls).await.get("/", "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_orders_what_is_missing_while_the_old_certificate_serves() {
    let replica = Replica::plain().await;
    let authority = Authority::start(Behaviour::default()).await;
    let gate = start(&authority, &replica, "[[\"a.test\"]]", "").await;
    let old = issued(&gate, &authority, "a.test").await;
    // Another reload leaves it in use and orders nothing.
    reload(&gate, "drain = \"10s\"", "drain = \"10s\"\nmax_connections = 5000").await;
    assert_eq!((shown(&gate, "a.test").await == old, authority.orders()), (true, 1));

    authority.hold();
    reload(&gate, "[[\"a.test\"]]", "[[\"a.test\", \"b.test\"], [\"c.test\"]]").await;
    assert_eq!(shown(&gate, "a.test").await, old, "until the new one is there");
    assert_eq!(subject(&shown(&gate, "c.test").await), "CN=Gatehouse temporary certificate");
    authority.resolve(gate.plain, gate.tls);
    let both = issued(&gate, &authority, "b.test").await;
    assert_eq!(names(&both), ["DNSName(a.test)", "DNSName(b.test)"]);
    assert_eq!(shown(&gate, "a.test").await, both);
    let other = issued(&gate, &authority, "c.test").await;
    assert_eq!((names(&other), authority.orders()), (vec!["DNSName(c.test)".to_owned()], 3));

    // Back again: what is stored is used, nothing is ordered.
    reload(&gate, "[[\"a.test\", \"b.test\"], [\"c.test\"]]", "[[\"a.test\"]]").await;
    assert_eq!((shown(&gate, "a.test").await == old, authority.orders()), (true, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_gates_that_share_their_state_one_orders_and_any_answers() {
    let replica = Replica::plain().await;
    let authority = Authority::start(Behaviour::default()).await;
    let shared = TempDir::new().unwrap();
    let (settings, ca) = (authority.settings("[[\"a.test\"]]", ""), authority.ca());
    let gate = async || {
        Gate::start_with(&[replica.address], &settings, |dir| {
            std::fs::write(dir.path().join("ca.pem"), &ca).unwrap();
            std::os::unix::fs::symlink(shared.path(), dir.path().join("state")).unwrap();
        })
        .await
    };
    let one = gate().await;
    until("its order", async || authority.orders() == 1).await;
    let other = gate().await;
    // The authority's request reaches the one that did not order.
    authority.resolve(other.plain, other.tls);
    let der = issued(&one, &authority, "a.test").await;
    until("the other to use it too", async || shown(&other, "a.test").await == der).await;
    assert_eq!((authority.orders(), authority.accounts().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_acme_the_path_of_challenges_is_the_replicas() {
    let replica = Replica::plain().await;
    let gate = Gate::start(&[replica.address], "").await;
    let reply = H1::plain(gate.plain).await.get("/.well-known/acme-challenge/token", "").await;
    assert_eq!((reply.status, replica.seen().len()), (200, 1));
    assert!(handshake(gate.tls, "localhost", &["acme-tls/1"]).await.is_err());
    assert!(!gate.path("state/acme").exists());
}
