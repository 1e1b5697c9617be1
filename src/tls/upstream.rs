//! TLS towards replicas: whom the gate believes, and what it shows of itself.
//!
//! In go the settings of one pool and the files they name; out comes what each connection of that pool begins from.
//! TLS 1.3 or 1.2; a replica's certificate is held against the system's authorities, or against those of one file, and
//! against the name (or address) that the pool says or the replica is configured by (RFC 9525 section 6.1).
//!
//! Cost: the files are read when a configuration is loaded, never for a connection. Fails closed: a replica that cannot
//! prove who it is gets nothing of a request.

use super::{Pair, pem, store};
use crate::fault::Fault;
use crate::units;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use serde::{Deserialize, Deserializer, Serialize, de};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// `[upstream.tls]`, or `tls = true` for all of it at its default: TLS towards the replicas.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamTls {
    /// Whether replicas are spoken to over TLS. One written as `https://host:port` says so too.
    pub enabled: bool,
    /// PEM: the authorities that replicas' certificates must come from. Unset: the system's.
    #[serde(deserialize_with = "units::unless_empty", skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// PEM: the certificate shown to replicas that ask for one, with the chain behind it.
    #[serde(deserialize_with = "units::unless_empty", skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// PEM: its private key.
    #[serde(deserialize_with = "units::unless_empty", skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// The name that is asked for (SNI) and that the certificate must be for; empty: each replica's host as configured.
    pub server_name: String,
    /// Takes any certificate from anybody, so that whoever stands in between can read and change everything.
    pub insecure_accept_any_certificate: bool,
}

/// Reads `true`, `false` or the whole table.
///
/// # Errors
/// What is neither.
pub fn switch_or_table<'de, D: Deserializer<'de>>(input: D) -> Result<UpstreamTls, D::Error> {
    struct Visit;
    impl<'de> de::Visitor<'de> for Visit {
        type Value = UpstreamTls;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("true, false or a table")
        }
        fn visit_bool<E: de::Error>(self, enabled: bool) -> Result<UpstreamTls, E> {
            Ok(UpstreamTls { enabled, ..UpstreamTls::default() })
        }
        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<UpstreamTls, A::Error> {
            UpstreamTls::deserialize(de::value::MapAccessDeserializer::new(map))
        }
    }
    input.deserialize_any(Visit)
}

/// What a connection to a replica offers by ALPN (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// `http/1.1` alone.
    Http1,
    /// `h2` alone.
    Http2,
    /// `h2`, else `http/1.1`.
    Either,
}

/// What the connections of one pool begin from.
pub struct Outbound {
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    either: Arc<ClientConfig>,
    authorities: Option<Vec<CertificateDer<'static>>>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    server_name: Option<ServerName<'static>>,
    verifies: bool,
    files: Vec<PathBuf>,
    warnings: Vec<Fault>,
    print: [u8; 32],
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("files", &self.files).field("verifies", &self.verifies).finish_non_exhaustive()
    }
}

impl Outbound {
    /// Reads and checks everything that the settings name; relative paths start at `base`.
    ///
    /// # Errors
    /// Every fault, keys below `tls`: files that cannot be read or hold no certificate, a key that is not the
    /// certificate's, a certificate that is not valid at `now`, a name that is none.
    pub fn build(settings: &UpstreamTls, base: &Path, now: SystemTime) -> Result<Self, Vec<Fault>> {
        let (mut faults, mut warnings, mut files) = (Vec::new(), Vec::new(), Vec::new());
        let mut print = Sha256::new();
        print.update(format!("{} {}", settings.server_name, settings.insecure_accept_any_certificate));

        let authorities = settings.ca.as_ref().map(|ca| base.join(ca));
        let mut roots = RootCertStore::empty();
        let mut own = None;
        if let Some(path) = &authorities {
            files.push(path.clone());
            match own_authorities(path, &mut roots) {
                Ok(certificates) => own = Some(certificates),
                Err(fault) => faults.push(fault),
            }
        } else if !settings.insecure_accept_any_certificate {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                let mend = "install the system's ca-certificates, or name a file with the replicas' authority";
                faults.push(Fault::key("tls.ca", "there is no certificate to trust", mend));
            }
        }
        own.iter().flatten().for_each(|der| print.update(der));

        let identity = match (&settings.cert, &settings.key) {
            (None, None) => None,
            (Some(cert), Some(key)) => {
                let pair = Pair { cert: base.join(cert), key: base.join(key), ocsp: None };
                files.extend([pair.cert.clone(), pair.key.clone()]);
                match own_identity(&pair, now, &mut warnings) {
                    Ok(identity) => Some(identity),
                    Err(found) => {
                        faults.extend(found);
                        None
                    }
                }
            }
            (cert, _) => {
                let (key, other) = if cert.is_some() { ("tls.cert", "key") } else { ("tls.key", "cert") };
                let mend = format!("add {other}, or remove this one");
                faults.push(Fault::key(key, "a certificate is shown with its key, and one of them is missing", mend));
                None
            }
        };
        if let Some((_, chain, key)) = &identity {
            chain.iter().for_each(|der| print.update(der));
            print.update(key.secret_der());
        }

        let server_name = match settings.server_name.as_str() {
            "" => None,
            name => match ServerName::try_from(name.to_owned()) {
                Ok(name) => Some(name),
                Err(_) => {
                    let mend = "write a host name or an address, without a port";
                    faults.push(Fault::key("tls.server_name", format!("{name:?} is no name of a server"), mend));
                    None
                }
            },
        };
        if settings.insecure_accept_any_certificate {
            let what = "replicas' certificates are not checked: whoever stands in between reads and changes everything";
            let mend = "name their authority in ca, and remove this";
            warnings.push(Fault::key("tls.insecure_accept_any_certificate", what, mend));
        }
        if !faults.is_empty() {
            return Err(faults);
        }

        let certified = identity.as_ref().map(|(certified, ..)| Arc::clone(certified));
        let verifies = !settings.insecure_accept_any_certificate;
        let config = |alpn: &[&[u8]]| config(&roots, certified.as_ref(), verifies, alpn);
        let configs = config(&[b"http/1.1"]).and_then(|http1| {
            let http2 = config(&[b"h2"])?;
            Ok((http1, http2, config(&[b"h2", b"http/1.1"])?))
        });
        let (http1, http2, either) =
            configs.map_err(|error| vec![Fault::key("tls", format!("cannot be used: {error}"), "")])?;
        Ok(Self {
            http1,
            http2,
            either,
            authorities: own,
            identity: identity.map(|(_, chain, key)| (chain, key)),
            server_name,
            verifies,
            files,
            warnings,
            print: print.finalize().into(),
        })
    }

    /// What a handshake that offers this begins from.
    pub fn config(&self, offer: Offer) -> &Arc<ClientConfig> {
        match offer {
            Offer::Http1 => &self.http1,
            Offer::Http2 => &self.http2,
            Offer::Either => &self.either,
        }
    }

    /// The name that is asked for and held against the certificate, for a replica at this host; `None` where the host is
    /// neither a name nor an address.
    pub fn server_name(&self, host: &str) -> Option<ServerName<'static>> {
        self.server_name.clone().or_else(|| ServerName::try_from(host.to_owned()).ok())
    }

    /// The authorities of the pool's own file; `None`: the system's.
    pub fn authorities(&self) -> Option<&[CertificateDer<'static>]> {
        self.authorities.as_deref()
    }

    /// The certificate that is shown, its chain with it, and its key.
    pub fn identity(&self) -> Option<(&[CertificateDer<'static>], &PrivateKeyDer<'static>)> {
        self.identity.as_ref().map(|(chain, key)| (chain.as_slice(), key))
    }

    /// Whether certificates are checked at all.
    pub fn verifies(&self) -> bool {
        self.verifies
    }

    /// The files that were read.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// What works but should not stay so.
    pub fn warnings(&self) -> &[Fault] {
        &self.warnings
    }

    /// Whether a connection begun from `other` is as good as one begun from this.
    pub fn is_like(&self, other: &Self) -> bool {
        self.print == other.print && self.authorities.is_some() == other.authorities.is_some()
    }
}

/// Reads the authorities of a file, each of which must be one that can be built on.
fn own_authorities(path: &Path, roots: &mut RootCertStore) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let mut certificates = Vec::new();
    for (line, der) in pem::chain(path, "tls.ca")? {
        roots.add(der.clone()).map_err(|error| {
            let what = format!("this certificate cannot be an authority: {error}");
            Fault::file(path, (line, 0), "", what, "put the certificate of the replicas' authority here")
        })?;
        certificates.push(der);
    }
    Ok(certificates)
}

type Identity = (Arc<CertifiedKey>, Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Reads what the gate shows of itself.
fn own_identity(pair: &Pair, now: SystemTime, warnings: &mut Vec<Fault>) -> Result<Identity, Vec<Fault>> {
    let key = pem::private_key(&pair.key, "tls.key");
    let certified = store::load_client(pair, "tls", now, warnings);
    match (certified, key) {
        (Ok(certified), Ok(key)) => {
            let chain = certified.cert.clone();
            Ok((Arc::new(certified), chain, key))
        }
        (certified, key) => {
            let mut faults = certified.err().unwrap_or_default();
            faults.extend(key.err());
            faults.dedup();
            Err(faults)
        }
    }
}

fn config(
    roots: &RootCertStore,
    identity: Option<&Arc<CertifiedKey>>,
    verifies: bool,
    alpn: &[&[u8]],
) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let believing = if verifies {
        versions.with_root_certificates(roots.clone())
    } else {
        versions.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    };
    let mut config = match identity {
        Some(certified) => {
            believing.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::clone(certified))))
        }
        None => believing.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

/// Believes whoever has the key to the certificate that they show.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    fn made(dir: &Path, name: &str) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["a.test".to_owned()]).unwrap().self_signed(&key).unwrap();
        std::fs::write(dir.join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn faults(settings: &UpstreamTls, dir: &Path) -> Vec<String> {
        match Outbound::build(settings, dir, SystemTime::now()) {
            Ok(_) => Vec::new(),
            Err(faults) => faults.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn each_fault_names_its_file_or_key() {
        let dir = tempfile::tempdir().unwrap();
        made(dir.path(), "a");
        made(dir.path(), "b");
        std::fs::write(dir.path().join("cut.pem"), "\n-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap();
        std::fs::write(dir.path().join("odd.pem"), "x\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
            .unwrap();
        let good = UpstreamTls { ca: Some("a.pem".into()), ..UpstreamTls::default() };
        assert_eq!(faults(&good, dir.path()), Vec::<String>::new());
        let pair = |cert: &str, key: &str| UpstreamTls {
            cert: Some(cert.into()).filter(|path: &PathBuf| !path.as_os_str().is_empty()),
            key: Some(key.into()).filter(|path: &PathBuf| !path.as_os_str().is_empty()),
            ..good.clone()
        };
        for (settings, part) in [
            (UpstreamTls { ca: Some("none.pem".into()), ..UpstreamTls::default() }, "tls.ca: cannot read"),
            (UpstreamTls { ca: Some("cut.pem".into()), ..UpstreamTls::default() }, "cut.pem:2:1: "),
            (UpstreamTls { ca: Some("odd.pem".into()), ..UpstreamTls::default() }, "odd.pem:2: this certificate"),
            (UpstreamTls { server_name: "a b".into(), ..good.clone() }, "tls.server_name: "),
            (pair("a.pem", ""), "tls.cert: a certificate is shown with its key"),
            (pair("", "a.key"), "tls.key: a certificate is shown with its key"),
            (pair("a.pem", "b.key"), "a.pem: the key in"),
            (pair("a.pem", "none.key"), "tls.key: cannot read"),
        ] {
            let found = faults(&settings, dir.path());
            assert!(found.len() == 1 && found[0].contains(part), "{part}: {found:?}");
        }
        assert_eq!(faults(&pair("a.pem", "a.key"), dir.path()), Vec::<String>::new());
    }

    #[test]
    fn what_is_the_same_is_told_from_what_changed() {
        let dir = tempfile::tempdir().unwrap();
        made(dir.path(), "a");
        let settings = UpstreamTls { ca: Some("a.pem".into()), ..UpstreamTls::default() };
        let build = |settings: &UpstreamTls| Outbound::build(settings, dir.path(), SystemTime::now()).unwrap();
        let one = build(&settings);
        assert!(one.is_like(&build(&settings)));
        assert!(!one.is_like(&build(&UpstreamTls { server_name: "b.test".into(), ..settings.clone() })));
        made(dir.path(), "a");
        assert!(!one.is_like(&build(&settings)), "another authority in the same file");
        assert_eq!(one.server_name("10.0.0.1"), ServerName::try_from("10.0.0.1").ok());
        assert_eq!(one.server_name("no name"), None);
        let open = build(&UpstreamTls { insecure_accept_any_certificate: true, ..UpstreamTls::default() });
        assert!(!open.verifies() && open.warnings().len() == 1);
    }

    #[test]
    fn a_switch_is_read_as_a_table() {
        #[derive(Deserialize)]
        struct Holder {
            #[serde(deserialize_with = "switch_or_table")]
            tls: UpstreamTls,
        }
        let read = |text: &str| toml::from_str::<Holder>(text).map(|holder| holder.tls);
        assert!(read("tls = true").unwrap().enabled && !read("tls = false").unwrap().enabled);
        assert_eq!(read("[tls]\nenabled = true\nca = 'x'").unwrap().ca, Some("x".into()));
        assert_eq!(read("tls = { ca = '' }").unwrap(), UpstreamTls::default());
        assert!(read("tls = 3").is_err() && read("[tls]\nnames = 1").is_err());
    }
}
