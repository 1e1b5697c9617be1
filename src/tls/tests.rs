use super::terminator::cryptography;
use super::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, NamedGroup, ProtocolVersion, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// Terms with everything at its default.
fn server_config(resolver: Arc<Resolver>) -> Result<Arc<ServerConfig>, Vec<crate::fault::Fault>> {
    let terms = Terms {
        min_version: MinVersion::default(),
        alpn: &[Protocol::H2, Protocol::Http11],
        client_certificates: &ClientCertificates::default(),
    };
    let tickets = Tickets::build(&TicketSettings::default(), Path::new(""), None)?;
    Ok(Terminator::build(terms, &tickets, Path::new(""), SystemTime::now())?.config(&resolver))
}

pub(super) fn build(settings: &Settings, dir: &TempDir, now: SystemTime) -> Result<CertificateSet, String> {
    CertificateSet::build(settings, dir.path(), &dir.path().join("state"), now)
        .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

pub(super) fn pair(name: &str) -> Pair {
    Pair { cert: format!("{name}.pem").into(), key: format!("{name}.key").into(), ocsp: None }
}

pub(super) fn configured(names: &[&str]) -> Settings {
    Settings { certificates: names.iter().map(|name| pair(name)).collect(), ..Settings::default() }
}

/// An authority, and what it issues into a directory.
pub(super) struct Authority {
    pub(super) dir: TempDir,
    pub(super) issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "Test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { dir: tempfile::tempdir().unwrap(), issuer }
    }

    pub(super) fn issue(&self, file: &str, names: &[&str], change: impl FnOnce(&mut CertificateParams)) {
        let names: Vec<_> = names.iter().map(|name| name.to_string()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, file);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        self.write(&format!("{file}.pem"), &(leaf.pem() + &self.issuer.pem()));
        self.write(&format!("{file}.key"), &key.serialize_pem());
    }

    /// Writes a list that revokes these serial numbers and is to be replaced in a year's first days.
    pub(super) fn revoke(&self, file: &str, serials: &[u64], replaced: i32) {
        let revoked = serials.iter().map(|serial| rcgen::RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: rcgen::date_time_ymd(2024, 1, 2),
            reason_code: None,
            invalidity_date: None,
        });
        let params = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2024, 1, 1),
            next_update: rcgen::date_time_ymd(replaced, 1, 1),
            crl_number: 1_u64.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        self.write(file, &params.signed_by(&self.issuer).unwrap().pem().unwrap());
    }

    pub(super) fn write(&self, file: &str, text: &str) {
        let path = self.dir.path().join(file);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    }

    pub(super) fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(file)).unwrap()
    }

    pub(super) fn set(&self, names: &[&str]) -> CertificateSet {
        build(&configured(names), &self.dir, SystemTime::now()).unwrap()
    }

    pub(super) fn fault(&self, names: &[&str]) -> String {
        build(&configured(names), &self.dir, SystemTime::now()).unwrap_err()
    }

    pub(super) fn client(&self) -> Arc<ClientConfig> {
        client(self.issuer.der(), &["h2", "http/1.1"])
    }
}

pub(super) fn client(root: &CertificateDer<'static>, alpn: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(cryptography(MinVersion::Tls12))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config.resumption = Resumption::in_memory_sessions(8);
    Arc::new(config)
}

/// Carries bytes between two connections until neither has more, and one byte of the server's at the end.
pub(super) fn handshake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    name: &str,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(client.clone(), name).unwrap();
    let mut server = ServerConnection::new(server.clone()).unwrap();
    while client.wants_write() || server.wants_write() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok((client, server))
}

fn leaf_of(connection: &ClientConnection) -> CertificateDer<'static> {
    connection.peer_certificates().unwrap()[0].clone().into_owned()
}

#[test]
fn a_handshake_is_tls13_with_the_hybrid_group_and_the_clients_protocol() {
    let authority = Authority::new();
    authority.issue("a", &["a.example"], |_| ());
    let server = server_config(Arc::new(Resolver::new(authority.set(&["a"])))).unwrap();
    for (offered, chosen) in [
        (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
        (&["http/1.1", "h2"], Some(b"h2")),
        (&["http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let (connection, server) = handshake(&client(authority.issuer.der(), offered), &server, "a.example").unwrap();
        assert_eq!(server.alpn_protocol(), chosen, "{offered:?}");
        assert_eq!(connection.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        let group = connection.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, NamedGroup::X25519MLKEM768);
    }
    assert!(handshake(&client(authority.issuer.der(), &["spdy/3"]), &server, "a.example").is_err());
}

#[test]
fn a_client_without_the_hybrid_group_is_served_with_x25519() {
    let authority = Authority::new();
    authority.issue("a", &["a.example"], |_| ());
    let server = server_config(Arc::new(Resolver::new(authority.set(&["a"])))).unwrap();
    let classical = CryptoProvider { kx_groups: vec![aws_lc_rs::kx_group::X25519], ..(*provider()).clone() };
    let mut roots = RootCertStore::empty();
    roots.add(authority.issuer.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(classical.into())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (connection, _) = handshake(&Arc::new(client), &server, "a.example").unwrap();
    assert_eq!(connection.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519);
}

#[test]
fn sessions_resume_but_without_early_data() {
    let authority = Authority::new();
    authority.issue("a", &["a.example"], |_| ());
    let server = server_config(Arc::new(Resolver::new(authority.set(&["a"])))).unwrap();
    let mut client = Arc::unwrap_or_clone(authority.client());
    client.enable_early_data = true;
    let client = Arc::new(client);
    let (first, _) = handshake(&client, &server, "a.example").unwrap();
    assert_eq!(first.handshake_kind(), Some(HandshakeKind::Full));
    let mut early = ClientConnection::new(client.clone(), "a.example".try_into().unwrap()).unwrap();
    assert!(early.early_data().is_none(), "a ticket must not invite early data");
    let (second, _) = handshake(&client, &server, "a.example").unwrap();
    assert_eq!(second.handshake_kind(), Some(HandshakeKind::Resumed));
}

/// A ClientHello of TLS 1.2 has no `supported_versions` (RFC 8446 appendix D.2); the answer is `protocol_version`.
#[test]
fn a_tls12_client_is_refused() {
    let authority = Authority::new();
    authority.issue("a", &["a.example"], |_| ());
    let server = server_config(Arc::new(Resolver::new(authority.set(&["a"])))).unwrap();
    let extensions = [
        &[0, 10, 0, 4, 0, 2, 0, 0x17][..], // supported_groups: secp256r1
        &[0, 11, 0, 2, 1, 0],              // ec_point_formats: uncompressed
        &[0, 13, 0, 4, 0, 2, 4, 3],        // signature_algorithms: ecdsa_secp256r1_sha256
        &[0, 23, 0, 0],                    // extended_master_secret
    ]
    .concat();
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
    hello.extend([0, 0, 2, 0xC0, 0x2B, 1, 0, 0, length(&extensions)]);
    hello.extend(extensions);
    let mut record = vec![22, 3, 1, 0, length(&hello) + 4, 1, 0, 0, length(&hello)];
    record.extend(hello);

    let mut connection = ServerConnection::new(server).unwrap();
    connection.read_tls(&mut &record[..]).unwrap();
    let error = connection.process_new_packets().unwrap_err();
    assert!(matches!(error, rustls::Error::PeerIncompatible(_)), "{error:?}");
    let mut answer = Vec::new();
    connection.write_tls(&mut answer).unwrap();
    assert_eq!(answer[5..], [2, 70], "a fatal protocol_version alert");
}

#[test]
fn garbage_is_an_error_and_no_more() {
    let authority = Authority::new();
    authority.issue("a", &["a.example"], |_| ());
    let server = server_config(Arc::new(Resolver::new(authority.set(&["a"])))).unwrap();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 100], &[22, 3, 1, 0xFF, 0xFF, 1]] {
        let mut connection = ServerConnection::new(server.clone()).unwrap();
        connection.read_tls(&mut &bytes[..]).unwrap();
        assert!(connection.process_new_packets().is_err(), "{bytes:?}");
    }
}

#[test]
fn certificates_are_chosen_by_name() {
    let authority = Authority::new();
    authority.issue("first", &["first.example"], |_| ());
    authority.issue("exact", &["www.Example.com", "example.com"], |_| ());
    authority.issue("wild", &["*.example.com"], |_| ());
    let set = authority.set(&["first", "exact", "wild"]);
    let offered = [SignatureScheme::ECDSA_NISTP256_SHA256];
    let leaf = |file: &str| CertificateDer::from_pem_slice(authority.read(&format!("{file}.pem")).as_bytes()).unwrap();
    for (name, file) in [
        (Some("www.example.com"), "exact"),
        (Some("WWW.example.COM"), "exact"),
        (Some("example.com"), "exact"),
        (Some("example.com."), "exact"),
        (Some("api.example.com"), "wild"),
        (Some("a.b.example.com"), "first"),
        (Some("com"), "first"),
        (Some(""), "first"),
        (Some("*.example.com"), "wild"),
        (None, "first"),
    ] {
        assert_eq!(set.choose(name, &offered).unwrap().cert[0], leaf(file), "{name:?}");
    }
    assert!(set.choose(None, &[SignatureScheme::RSA_PSS_SHA256]).is_none(), "no key the client could verify");

    let server = server_config(Arc::new(Resolver::new(set))).unwrap();
    let (connection, _) = handshake(&authority.client(), &server, "api.example.com").unwrap();
    assert_eq!(leaf_of(&connection), leaf("wild"));
    assert!(handshake(&authority.client(), &server, "stranger.example").is_err(), "the client refuses the default");
}

#[test]
fn a_swap_holds_for_the_next_handshake() {
    let authority = Authority::new();
    authority.issue("a", &["a.example"], |_| ());
    let resolver = Arc::new(Resolver::new(authority.set(&["a"])));
    let server = server_config(resolver.clone()).unwrap();
    let (before, _) = handshake(&authority.client(), &server, "a.example").unwrap();
    authority.issue("a", &["a.example"], |_| ());
    resolver.swap(authority.set(&["a"]));
    let (after, mut held) = handshake(&authority.client(), &server, "a.example").unwrap();
    assert_ne!(leaf_of(&before), leaf_of(&after));
    assert_eq!(
        leaf_of(&after),
        resolver.current().choose(None, &[SignatureScheme::ECDSA_NISTP256_SHA256]).unwrap().cert[0]
    );
    assert_eq!(held.reader().read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "still open");
}

#[test]
fn pairs_that_cannot_serve_are_refused_with_file_and_mend() {
    let authority = Authority::new();
    let in_days = |days: i64| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let at = Duration::from_secs(now.as_secs().saturating_add_signed(days * 86_400));
        rcgen::date_time_ymd(1970, 1, 1) + at
    };
    authority.issue("a", &["a.example"], |_| ());
    authority.issue("b", &["b.example"], |_| ());
    authority.issue("expired", &["a.example"], |params| params.not_after = in_days(-1));
    authority.issue("future", &["a.example"], |params| params.not_before = in_days(2));
    let (a, a_key, b) = (authority.read("a.pem"), authority.read("a.key"), authority.read("b.pem"));
    let ca = authority.issuer.pem();
    let put = |name: &str, cert: &str, key: &str| {
        authority.write(&format!("{name}.pem"), cert);
        authority.write(&format!("{name}.key"), key);
    };
    put("mixed", &a, &authority.read("b.key"));
    put("reversed", &(ca.clone() + a.strip_suffix(&ca).unwrap()), &a_key);
    put("unordered", &(a.strip_suffix(&ca).unwrap().to_owned() + &b), &a_key);
    put("swapped", &a_key, &a);
    put("damaged", &a, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    put("no_x509", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &a_key);
    let line = a.strip_suffix(&ca).unwrap().lines().count() + 1;
    let ca_lines = ca.lines().count() + 1;
    for (name, expected) in [
        ("expired", vec!["expired.pem:1: the certificate expired on ".to_owned(), "; renew it".into()]),
        ("future", vec!["future.pem:1: the certificate is not valid before ".into(), "clock".into()]),
        ("mixed", vec!["mixed.pem: the key in ".into(), "mixed.key is not this certificate's; name the key".into()]),
        (
            "reversed",
            vec![format!("reversed.pem:{ca_lines}: this certificate (CN"), format!("on line {ca_lines} first")],
        ),
        (
            "unordered",
            vec![format!("unordered.pem:{line}: this certificate (CN"), "did not issue the one before".into()],
        ),
        ("swapped", vec!["swapped.pem: there is no certificate".into(), "swapped.key: there is no private key".into()]),
        ("damaged", vec!["damaged.key: the private key is damaged".into()]),
        ("no_x509", vec!["no_x509.pem:1: this is not an X.509 certificate".into()]),
        ("absent", vec!["certificates[0].cert: cannot read ".into(), "certificates[0].key: cannot read ".into()]),
    ] {
        let fault = authority.fault(&[name]);
        for part in expected {
            assert!(fault.contains(&part), "{name}: {fault}\nlacks {part}");
        }
    }
    let both = authority.fault(&["expired", "a", "mixed"]);
    assert!(both.contains("expired.pem") && both.contains("mixed.pem"), "all faults are reported: {both}");
}

#[test]
fn what_will_break_is_warned_of() {
    let authority = Authority::new();
    let now = SystemTime::now();
    authority.issue("nameless", &[], |_| ());
    let in_ten_days = now.duration_since(SystemTime::UNIX_EPOCH).unwrap() + 10 * DAY;
    authority.issue("soon", &["a.example", "192.0.2.1", "2001:db8::1"], |params| {
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + in_ten_days;
    });
    let key = authority.dir.path().join("soon.key");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    let set = authority.set(&["nameless", "soon"]);
    let warnings: Vec<_> = set.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    for (warning, part) in warnings.iter().zip(["for no name", "expires on ", "every user of this machine"]) {
        assert!(warning.contains(part), "{warning}");
    }
    let expiry = &set.expiries()[1];
    assert_eq!(expiry.names, ["a.example", "192.0.2.1", "2001:db8::1"]);
    let left = expiry.not_after.duration_since(now).unwrap();
    assert!(left > 9 * DAY && left <= 10 * DAY, "{left:?}");
    assert_eq!(set.files().len(), 4);
    let due = set.due(now);
    assert_eq!(due.len(), 1, "{due:?}");
    assert!(due[0].starts_with("the certificate for a.example expires on "), "{due:?}");
}

#[test]
fn a_development_certificate_is_made_kept_and_renewed() {
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let settings = Settings { certificates: vec![Pair::default()], ..Settings::default() };
    let set = build(&settings, &dir, now).unwrap();
    let (cert, key) = (dir.path().join("state/tls/development.pem"), dir.path().join("state/tls/development.key"));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&key), mode(&cert)), (0o600, 0o644));
    assert_eq!(std::fs::read_dir(cert.parent().unwrap()).unwrap().count(), 2, "nothing is left over");
    assert_eq!(set.development(), Some(&*cert));
    assert!(set.warnings().is_empty(), "{:?}", set.warnings());

    let made = std::fs::read(&cert).unwrap();
    let root = CertificateDer::from_pem_slice(&made).unwrap();
    let server = server_config(Arc::new(Resolver::new(set))).unwrap();
    for name in ["localhost", "127.0.0.1", "::1"] {
        handshake(&client(&root, &["h2"]), &server, name).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    let again = |settings: &Settings, after: Duration| {
        build(settings, &dir, now + after).unwrap();
        std::fs::read(&cert).unwrap()
    };
    assert_eq!(again(&settings, 300 * DAY), made, "kept while it lasts");
    let more = Settings { names: vec!["gate.test".into(), "10.1.2.3".into()], ..Settings::default() };
    let renamed = again(&more, Duration::ZERO);
    assert_ne!(renamed, made, "made anew for another name");
    assert_eq!(again(&more, Duration::ZERO), renamed);
    let renewed = again(&more, 365 * DAY);
    assert_ne!(renewed, renamed, "made anew at its end");
    std::fs::write(&key, "garbage").unwrap();
    assert_ne!(again(&more, 365 * DAY), renewed, "made anew when damaged");
    assert_eq!(mode(&key), 0o600);

    let bad = Settings { names: vec!["ok.test".into(), "no name".into()], ..Settings::default() };
    assert!(build(&bad, &dir, now).unwrap_err().starts_with("names[1]: \"no name\" is no name"));
}

#[test]
fn configured_places_are_filled_only_when_empty_and_asked_for() {
    let authority = Authority::new();
    let mut settings = configured(&["sub/new"]);
    assert!(build(&settings, &authority.dir, SystemTime::now()).unwrap_err().contains("cannot read"));
    settings.create_missing = true;
    let set = build(&settings, &authority.dir, SystemTime::now()).unwrap();
    assert_eq!(set.development(), Some(&*authority.dir.path().join("sub/new.pem")));
    let made = authority.read("sub/new.pem");
    build(&settings, &authority.dir, SystemTime::now()).unwrap();
    assert_eq!(authority.read("sub/new.pem"), made, "kept");
    build(&settings, &authority.dir, SystemTime::now() + 365 * DAY).unwrap();
    assert_ne!(authority.read("sub/new.pem"), made, "ours is renewed");

    // Somebody else's files are never written to.
    authority.issue("theirs", &["a.example"], |_| ());
    let (cert, key) = (authority.read("theirs.pem"), authority.read("theirs.key"));
    let mut settings = configured(&["theirs"]);
    settings.create_missing = true;
    assert_eq!(build(&settings, &authority.dir, SystemTime::now()).unwrap().development(), None);
    std::fs::remove_file(authority.dir.path().join("theirs.pem")).unwrap();
    assert!(build(&settings, &authority.dir, SystemTime::now()).unwrap_err().contains("theirs.pem"));
    assert_eq!(authority.read("theirs.key"), key);
    let cut = cert.strip_suffix("CERTIFICATE-----\n").unwrap();
    authority.write("theirs.pem", cut);
    assert!(build(&settings, &authority.dir, SystemTime::now()).is_err());
    assert_eq!(authority.read("theirs.pem"), cut);
}

#[test]
fn a_place_that_cannot_be_written_is_a_fault() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("state"), "a file").unwrap();
    let fault = build(&Settings::default(), &dir, SystemTime::now()).unwrap_err();
    assert!(fault.starts_with("certificates: cannot make a development certificate at "), "{fault}");
}

#[test]
fn settings_read_and_print() {
    let text = "create_missing = true\nnames = \"a.test, 10.0.0.1\"\n[[certificates]]\ncert = \"a\"\nkey = \"b\"\n";
    let settings: Settings = toml::from_str(text).unwrap();
    assert_eq!(settings.names, ["a.test", "10.0.0.1"]);
    assert_eq!(toml::from_str::<Settings>(&toml::to_string(&settings).unwrap()).unwrap(), settings);
    assert!(toml::from_str::<Settings>("[[certificates]]\ncert = \"a\"\nkee = \"b\"\n").is_err());
}

fn acme(names: &[&[&str]]) -> Settings {
    let names = names.iter().map(|names| names.iter().map(|name| (*name).to_owned()).collect()).collect();
    Settings { acme: AcmeSettings { names, terms_agreed: true, ..AcmeSettings::default() }, ..Settings::default() }
}

#[test]
fn what_cannot_be_ordered_is_said_before_anything_is() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("short"), "c2hvcnQ\n").unwrap();
    let eab = |kid: &str, hmac: Option<&str>, file: Option<&str>| {
        let hmac = hmac.map(|hmac| crate::units::Secret::new(hmac.to_owned()));
        Some(Eab { kid: kid.to_owned(), hmac, hmac_file: file.map(Into::into) })
    };
    let long = "A".repeat(43);
    type Change<'a> = Box<dyn Fn(&mut AcmeSettings) + 'a>;
    let cases: Vec<(Change<'_>, &str)> = vec![
        (Box::new(|s| s.names = vec![vec!["*.a.test".into()]]), "acme.names[0][0]: \"*.a.test\" is a wildcard"),
        (
            Box::new(|s| s.names = vec![vec!["a.test".into(), "192.0.2.1".into()]]),
            "acme.names[0][1]: 192.0.2.1 is an addr",
        ),
        (Box::new(|s| s.names = vec![vec!["../a".into()]]), "acme.names[0][0]: \"../a\" is no host name"),
        (Box::new(|s| s.names = vec![Vec::new()]), "acme.names[0]: 0 names"),
        (Box::new(|s| s.terms_agreed = false), "acme.terms_agreed: "),
        (Box::new(|s| s.directory = "http://a.test/".into()), "acme.directory: "),
        (Box::new(|s| s.contact = vec!["ops@a.test".into()]), "acme.contact[0]: "),
        (Box::new(|s| s.retry_min = crate::units::Span::millis(10)), "acme.retry_min: "),
        (Box::new(|s| s.retry_max = crate::units::Span::secs(10)), "acme.retry_max: "),
        (Box::new(|s| s.ca = Some("nowhere.pem".into())), "acme.ca: "),
        (Box::new(|s| s.eab = eab("", Some(&long), None)), "acme.eab.kid: "),
        (Box::new(|s| s.eab = eab("k", None, None)), "acme.eab.hmac: there is no key"),
        (
            Box::new(|s| s.eab = eab("k", Some("c2hvcnQ"), None)),
            "acme.eab.hmac: the key is not base64url of at least 32",
        ),
        (Box::new(|s| s.eab = eab("k", Some("%%%"), None)), "acme.eab.hmac: the key is not base64url"),
        (Box::new(|s| s.eab = eab("k", None, Some("short"))), "acme.eab.hmac_file: the key is not base64url"),
        (Box::new(|s| s.eab = eab("k", None, Some("nowhere"))), "acme.eab.hmac_file: "),
        (Box::new(|s| s.eab = eab("k", Some(&long), Some("short"))), "acme.eab.hmac_file: the key is given twice"),
    ];
    for (change, expected) in cases {
        let mut settings = acme(&[&["a.test"]]);
        change(&mut settings.acme);
        let faults = build(&settings, &dir, SystemTime::now()).unwrap_err();
        assert!(faults.contains(expected) && !faults.contains("c2hvcnQ"), "{faults}");
    }
    // Off, nothing of it is looked at.
    let off = Settings { acme: AcmeSettings { terms_agreed: false, ..AcmeSettings::default() }, ..Settings::default() };
    assert!(build(&off, &dir, SystemTime::now()).is_ok());
    for text in ["0%", "51%", "-1%", "0s", "soon", ""] {
        assert!(text.parse::<RenewBefore>().is_err(), "{text}");
    }
    for text in ["1%", "50%", "30d"] {
        assert_eq!(text.parse::<RenewBefore>().unwrap().to_string(), text);
    }
}

#[test]
fn names_whose_own_certificate_is_missing_are_served_by_what_there_is() {
    let authority = Authority::new();
    let (dir, now) = (&authority.dir, SystemTime::now());
    let settings = acme(&[&["a.test", "b.test"], &["c.test"]]);
    let state = dir.path().join("state");
    let folder = state.join("acme/certificates");
    let store = |file: &Path, names: &[&str], days: u32| {
        std::fs::create_dir_all(&folder).unwrap();
        authority.issue("x", names, |params| {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            let since = (now + DAY * days).duration_since(SystemTime::UNIX_EPOCH).unwrap();
            params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(since.as_secs());
        });
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        std::fs::write(file, read("x.key") + &read("x.pem")).unwrap();
        std::fs::set_permissions(file, PermissionsExt::from_mode(0o600)).unwrap();
    };
    let shown = |set: &CertificateSet, name: &str| {
        let der = set.choose(Some(name), &[SignatureScheme::ECDSA_NISTP256_SHA256]).unwrap().cert[0].to_vec();
        x509_parser::parse_x509_certificate(&der).unwrap().1.subject().to_string()
    };
    let temporary = "CN=Gatehouse temporary certificate";
    let set = build(&settings, dir, now).unwrap();
    assert_eq!([shown(&set, "a.test"), shown(&set, "c.test")], [temporary, temporary]);
    assert!(set.expiries().is_empty() && !state.exists(), "neither counted nor written");

    // One that is stored for other names serves the name that it is for.
    store(&folder.join("old.pem"), &["a.test"], 30);
    let set = build(&settings, dir, now).unwrap();
    assert_eq!([shown(&set, "a.test"), shown(&set, "b.test")], ["CN=x", temporary]);
    assert_eq!(set.expiries().len(), 1);
    // A wildcard of the configuration is better than a temporary one, too.
    authority.issue("wild", &["*.test"], |_| {});
    let both = Settings { certificates: vec![pair("wild")], ..settings.clone() };
    let set = build(&both, dir, now).unwrap();
    assert_eq!([shown(&set, "a.test"), shown(&set, "b.test")], ["CN=x", "CN=wild"]);

    let wanted = settings.acme.wanted(&state);
    store(&wanted[0].file, &["a.test", "b.test"], 30);
    store(&wanted[1].file, &["c.test"], 30);
    std::fs::remove_file(folder.join("old.pem")).unwrap();
    let set = build(&settings, dir, now).unwrap();
    assert_eq!(["a.test", "b.test", "c.test"].map(|name| shown(&set, name)), ["CN=x", "CN=x", "CN=x"]);
    assert!(check(&wanted[0].file, &wanted[0].names, now).is_ok());
    assert!(check(&wanted[1].file, &wanted[0].names, now).is_err(), "for other names");

    // Past its end, or damaged: a warning, and the gate starts.
    let later = now + DAY * 31;
    let set = build(&settings, dir, later).unwrap();
    assert_eq!((shown(&set, "a.test").as_str(), set.warnings().len()), (temporary, 2));
    std::fs::write(&wanted[0].file, "-----BEGIN").unwrap();
    let set = build(&settings, dir, now).unwrap();
    assert_eq!((shown(&set, "a.test").as_str(), set.warnings().len()), (temporary, 1));
    assert!(check(&wanted[0].file, &wanted[0].names, now).is_err());
}

#[test]
fn another_name_directory_or_key_is_another_file_and_order_does_not_matter() {
    let (state, one) = (Path::new("/state"), acme(&[&["b.test", "A.test", "a.test"]]).acme);
    let file = |settings: &AcmeSettings| settings.wanted(state)[0].file.clone();
    assert_eq!(one.wanted(state)[0].names, ["b.test", "a.test"]);
    let same = acme(&[&["b.test", "a.test"]]).acme;
    assert_eq!(file(&one), file(&same));
    for other in [
        acme(&[&["b.test"]]).acme,
        AcmeSettings { directory: "https://other.test/".into(), ..one.clone() },
        AcmeSettings { key_type: KeyType::Rsa2048, ..one.clone() },
    ] {
        assert_ne!(file(&one), file(&other));
    }
    let bound = AcmeSettings { eab: Some(Eab { kid: "k".into(), ..Eab::default() }), ..one.clone() };
    assert_ne!(one.account_file(state), bound.account_file(state));
    let long = format!("{}.test", ["a"; 120].join("."));
    assert!(file(&acme(&[&[&long]]).acme).file_name().unwrap().len() < 140);
}
