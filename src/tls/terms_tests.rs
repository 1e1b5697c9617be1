//! What listeners offer and ask, over handshakes in memory.

use super::terminator::cryptography;
use super::tests::{Authority, DAY, build, configured, handshake};
use super::*;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize};
use rustls::{
    ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

fn drawn() -> Arc<Tickets> {
    Tickets::build(&TicketSettings::default(), Path::new(""), None).unwrap()
}

fn asking(mode: Demand, ca: &str, crl: &[&str]) -> ClientCertificates {
    ClientCertificates {
        mode,
        ca: ca.into(),
        crl: crl.iter().map(Into::into).collect(),
        identity: Identity::CommonName,
    }
}

/// A terminator and its configuration, with the certificate `a` of `authority`.
fn server(
    authority: &Authority,
    tickets: &Arc<Tickets>,
    min_version: MinVersion,
    asks: &ClientCertificates,
) -> (Terminator, Arc<ServerConfig>) {
    let terms = Terms { min_version, alpn: &[Protocol::H2, Protocol::Http11], client_certificates: asks };
    let terminator = Terminator::build(terms, tickets, authority.dir.path(), SystemTime::now()).unwrap();
    let config = terminator.config(&Arc::new(Resolver::new(authority.set(&["a"]))));
    (terminator, config)
}

/// A client that trusts `authority` and shows the certificate `name` that it issued.
fn client(authority: &Authority, version: &'static SupportedProtocolVersion, name: Option<&str>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.issuer.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(cryptography(MinVersion::Tls12))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match name {
        Some(name) => {
            let pem = authority.read(&format!("{name}.pem"));
            let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect();
            let key = PrivateKeyDer::from_pem_slice(authority.read(&format!("{name}.key")).as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
        None => builder.with_no_client_auth(),
    })
}

const TLS12: &SupportedProtocolVersion = &rustls::version::TLS12;
const TLS13: &SupportedProtocolVersion = &rustls::version::TLS13;

#[test]
fn tls12_is_spoken_where_it_is_asked_for_with_modern_suites_alone() {
    let authority = Authority::new();
    authority.issue("a", &["a.example"], |_| ());
    let off = ClientCertificates::default();
    let (_, config) = server(&authority, &drawn(), MinVersion::Tls12, &off);
    let old = client(&authority, TLS12, None);
    let (first, _) = handshake(&old, &config, "a.example").unwrap();
    assert_eq!(first.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    assert_eq!(handshake(&old, &config, "a.example").unwrap().0.handshake_kind(), Some(HandshakeKind::Resumed));
    let (new, _) = handshake(&client(&authority, TLS13, None), &config, "a.example").unwrap();
    assert_eq!(new.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    for suite in &cryptography(MinVersion::Tls12).cipher_suites {
        let name = suite.suite().as_str().unwrap();
        let modern = name.starts_with("TLS13_") || name.starts_with("TLS_ECDHE_");
        assert!(modern && (name.contains("GCM") || name.contains("CHACHA20")), "{name}");
    }
    let (_, strict) = server(&authority, &drawn(), MinVersion::Tls13, &off);
    assert!(handshake(&old, &strict, "a.example").is_err());
}

#[test]
fn a_client_is_asked_for_a_certificate_of_the_listeners_authority() {
    let authority = Authority::new();
    authority.issue("a", &["a.example"], |_| ());
    authority.issue("alice", &[], |_| ());
    authority.write("ca.pem", &authority.issuer.pem());
    let stranger = Authority::new();
    stranger.issue("alice", &[], |_| ());
    for file in ["alice.pem", "alice.key"] {
        authority.write(&format!("stranger-{file}"), &stranger.read(file));
    }
    for (mode, version) in
        [(Demand::Required, TLS13), (Demand::Required, TLS12), (Demand::Optional, TLS13), (Demand::Optional, TLS12)]
    {
        let tickets = drawn();
        let asks = asking(mode, "ca.pem", &[]);
        let (terminator, config) = server(&authority, &tickets, MinVersion::Tls12, &asks);
        let (_, taken) = handshake(&client(&authority, version, Some("alice")), &config, "a.example").unwrap();
        let read = terminator.identify(taken.peer_certificates().unwrap(), SystemTime::now()).unwrap();
        assert_eq!(read.user.as_deref(), Some("alice"));
        let without = handshake(&client(&authority, version, None), &config, "a.example");
        assert_eq!(without.is_ok(), mode == Demand::Optional, "{mode:?}");
        let wrong = handshake(&client(&authority, version, Some("stranger-alice")), &config, "a.example");
        assert!(wrong.is_err(), "{mode:?}: one that nobody here vouches for is worse than none");
    }
}

#[test]
fn a_session_is_resumed_with_its_certificate_and_only_where_the_same_is_asked() {
    let authority = Authority::new();
    authority.issue("a", &["a.example"], |_| ());
    authority.issue("alice", &[], |_| ());
    authority.write("ca.pem", &authority.issuer.pem());
    let tickets = drawn();
    let asks = asking(Demand::Required, "ca.pem", &[]);
    for version in [TLS13, TLS12] {
        let (terminator, asking) = server(&authority, &tickets, MinVersion::Tls12, &asks);
        let (_, open) = server(&authority, &tickets, MinVersion::Tls12, &ClientCertificates::default());
        let alice = client(&authority, version, Some("alice"));
        handshake(&alice, &asking, "a.example").unwrap();
        let (_, resumed) = handshake(&alice, &asking, "a.example").unwrap();
        assert_eq!(resumed.handshake_kind(), Some(HandshakeKind::Resumed));
        let chain = resumed.peer_certificates().unwrap();
        assert_eq!(terminator.identify(chain, SystemTime::now()).unwrap().user.as_deref(), Some("alice"));
        assert!(terminator.identify(chain, SystemTime::now() + 1_000_000 * DAY).is_none(), "but not beyond its end");

        // A ticket of a listener that asks for nothing is no way around one that does.
        let nobody = client(&authority, version, None);
        handshake(&nobody, &open, "a.example").unwrap();
        assert_eq!(handshake(&nobody, &open, "a.example").unwrap().1.handshake_kind(), Some(HandshakeKind::Resumed));
        assert!(handshake(&nobody, &asking, "a.example").is_err());
    }
}

#[test]
fn revoked_certificates_are_refused_and_tickets_do_not_outlive_the_list() {
    let authority = Authority::new();
    authority.issue("a", &["a.example"], |_| ());
    authority.issue("alice", &[], |params| params.serial_number = Some(7_u64.into()));
    authority.issue("bob", &[], |params| params.serial_number = Some(8_u64.into()));
    authority.write("ca.pem", &authority.issuer.pem());
    authority.revoke("none.pem", &[], 2_040);
    authority.revoke("alice.crl", &[7], 2_040);
    authority.revoke("old.pem", &[], 2_025);
    let tickets = drawn();
    let (_, before) =
        server(&authority, &tickets, MinVersion::Tls13, &asking(Demand::Required, "ca.pem", &["none.pem"]));
    let alice = client(&authority, TLS13, Some("alice"));
    handshake(&alice, &before, "a.example").unwrap();
    let (revoking, after) =
        server(&authority, &tickets, MinVersion::Tls13, &asking(Demand::Required, "ca.pem", &["alice.crl"]));
    assert!(handshake(&alice, &after, "a.example").is_err(), "nor by the ticket from before");
    assert!(handshake(&client(&authority, TLS13, Some("bob")), &after, "a.example").is_ok());
    assert_eq!(revoking.files().len(), 2, "both are watched");
    let (late, config) =
        server(&authority, &tickets, MinVersion::Tls13, &asking(Demand::Required, "ca.pem", &["old.pem"]));
    assert!(late.warnings()[0].to_string().contains("was to be replaced by "), "{:?}", late.warnings());
    assert!(handshake(&client(&authority, TLS13, Some("bob")), &config, "a.example").is_err(), "closed");
}

#[test]
fn terms_that_cannot_be_kept_are_refused_with_their_place() {
    let authority = Authority::new();
    authority.write("ca.pem", &authority.issuer.pem());
    authority.write("text.pem", "nothing");
    authority.write("not-a-list.crl", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n");
    let fault = |alpn: &[Protocol], asks: ClientCertificates| {
        let terms = Terms { min_version: MinVersion::Tls13, alpn, client_certificates: &asks };
        let faults = Terminator::build(terms, &drawn(), authority.dir.path(), SystemTime::now()).unwrap_err();
        faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let h2 = [Protocol::H2];
    for (shown, part) in [
        (fault(&[], ClientCertificates::default()), "alpn: no protocol is left"),
        (fault(&h2, asking(Demand::Required, "", &[])), "client_certificates.ca: no authority is named"),
        (fault(&h2, asking(Demand::Optional, "absent", &[])), "client_certificates.ca: cannot read "),
        (fault(&h2, asking(Demand::Optional, "text.pem", &[])), "text.pem: there is no certificate in this file"),
        (fault(&h2, asking(Demand::Optional, "ca.pem", &["absent"])), "client_certificates.crl[0]: cannot read "),
        (fault(&h2, asking(Demand::Optional, "ca.pem", &["text.pem"])), "text.pem: there is no revocation list"),
        (fault(&h2, asking(Demand::Optional, "ca.pem", &["not-a-list.crl"])), "this is not a certificate revocation"),
    ] {
        assert!(shown.contains(part), "{shown}\nlacks {part}");
    }
}

/// RSA, ECDSA and Ed25519 beside each other for one name: a client gets what it can verify.
#[test]
fn keys_of_every_kind_serve_and_the_client_chooses() {
    let authority = Authority::new();
    for (file, key) in [
        ("rsa", KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap()),
        ("p384", KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap()),
        ("ed25519", KeyPair::generate_for(&PKCS_ED25519).unwrap()),
    ] {
        let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, file);
        let certificate = params.signed_by(&key, &authority.issuer).unwrap();
        authority.write(&format!("{file}.pem"), &certificate.pem());
        authority.write(&format!("{file}.key"), &key.serialize_pem());
    }
    authority.issue("p256", &["a.example"], |_| ());
    let files = ["ed25519", "p384", "rsa", "p256"];
    let set = build(&configured(&files), &authority.dir, SystemTime::now()).unwrap();
    let der = |file: &str| CertificateDer::from_pem_slice(authority.read(&format!("{file}.pem")).as_bytes()).unwrap();
    for (offered, file) in [
        (&[SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256][..], "rsa"),
        (&[SignatureScheme::RSA_PSS_SHA256], "rsa"),
        (&[SignatureScheme::ECDSA_NISTP256_SHA256], "p256"),
        (&[SignatureScheme::ECDSA_NISTP384_SHA384, SignatureScheme::ECDSA_NISTP256_SHA256], "p384"),
        (&[SignatureScheme::ED25519, SignatureScheme::ECDSA_NISTP256_SHA256], "ed25519"),
    ] {
        assert_eq!(set.choose(Some("a.example"), offered).unwrap().cert[0], der(file), "{offered:?}");
    }
    for file in files {
        let set = build(&configured(&[file]), &authority.dir, SystemTime::now()).unwrap();
        let terms = Terms {
            min_version: MinVersion::Tls12,
            alpn: &[Protocol::Http11],
            client_certificates: &ClientCertificates::default(),
        };
        let terminator = Terminator::build(terms, &drawn(), Path::new(""), SystemTime::now()).unwrap();
        let config = terminator.config(&Arc::new(Resolver::new(set)));
        for version in [TLS12, TLS13] {
            handshake(&client(&authority, version, None), &config, "a.example")
                .unwrap_or_else(|error| panic!("{file}: {error}"));
        }
    }
}
