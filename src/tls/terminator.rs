//! What one listener offers its clients, and asks of them.

use super::identity::{self, ClientCertificates, Identity};
use super::store::Resolver;
use super::tickets::Tickets;
use crate::facts::ClientCertificate;
use crate::fault::Fault;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum MinVersion {
    /// TLS 1.2 (RFC 5246) with forward secrecy and authenticated encryption, for clients that know nothing newer.
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3 (RFC 8446) alone.
    #[default]
    #[serde(rename = "1.3")]
    Tls13,
}

/// A protocol spoken over TLS, by its registered name (RFC 7301 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// HTTP/2.
    #[serde(rename = "h2")]
    H2,
    /// HTTP/1.1.
    #[serde(rename = "http/1.1")]
    Http11,
}

impl Protocol {
    /// The name as it is negotiated.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::H2 => "h2",
            Self::Http11 => "http/1.1",
        }
    }
}

/// A listener's terms, as they are configured.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The oldest version spoken.
    pub min_version: MinVersion,
    /// The protocols offered, the preferred one first.
    pub alpn: &'a [Protocol],
    /// What is asked of clients.
    pub client_certificates: &'a ClientCertificates,
}

/// One generation of a listener's terms, ready for handshakes.
pub struct Terminator {
    /// Complete but for the certificates.
    terms: ServerConfig,
    config: OnceLock<Arc<ServerConfig>>,
    identity: Identity,
    files: Vec<PathBuf>,
    warnings: Vec<Fault>,
}

impl std::fmt::Debug for Terminator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminator").field("alpn", &self.terms.alpn_protocols).finish_non_exhaustive()
    }
}

impl Terminator {
    /// Reads what the terms name; relative paths start at `base`, keys of faults at the listener.
    ///
    /// # Errors
    /// No protocol to offer; authorities or revocation lists that cannot be read or used.
    pub fn build(terms: Terms<'_>, tickets: &Arc<Tickets>, base: &Path, now: SystemTime) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        if terms.alpn.is_empty() {
            let mend = "write [\"h2\", \"http/1.1\"], or one of them";
            faults.push(Fault::key("alpn", "no protocol is left to speak", mend));
        }
        let provider = cryptography(terms.min_version);
        let authorities = terms.client_certificates.load(&provider, base, now).map_err(|found| {
            faults.extend(found.into_iter().map(|fault| fault.under("client_certificates")));
            std::mem::take(&mut faults)
        })?;
        if !faults.is_empty() {
            return Err(faults);
        }
        let versions: &[&SupportedProtocolVersion] = match terms.min_version {
            MinVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            MinVersion::Tls13 => &[&rustls::version::TLS13],
        };
        let asks = authorities.verifier.is_some();
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions);
        let builder = builder.map_err(|error| vec![Fault::key("min_version", error.to_string(), "")])?;
        let mut config = match authorities.verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        }
        .with_cert_resolver(Arc::new(Nothing));
        config.alpn_protocols = terms.alpn.iter().map(|protocol| protocol.as_str().as_bytes().to_vec()).collect();
        config.ticketer = tickets.ticketer(authorities.context);
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.max_early_data_size = 0;
        config.send_half_rtt_data = false;
        // Without it a resumed session of TLS 1.2 is not bound to whoever authenticated in the first (RFC 7627 section 1).
        config.require_ems = asks;
        Ok(Self {
            terms: config,
            config: OnceLock::new(),
            identity: terms.client_certificates.identity,
            files: authorities.files,
            warnings: authorities.warnings,
        })
    }

    /// The configuration for handshakes, with the certificates of `resolver`; the first one asked with stays.
    pub fn config(&self, resolver: &Arc<Resolver>) -> Arc<ServerConfig> {
        let assemble = || {
            let mut config = self.terms.clone();
            config.cert_resolver = resolver.clone();
            Arc::new(config)
        };
        self.config.get_or_init(assemble).clone()
    }

    /// What a client's verified certificates say of it; `None` where the first has ended meanwhile.
    pub fn identify(&self, chain: &[CertificateDer<'_>], now: SystemTime) -> Option<ClientCertificate> {
        identity::read(chain, self.identity, now)
    }

    /// Whether a client that names no protocol may speak HTTP/1.1.
    pub fn speaks_http11(&self) -> bool {
        self.terms.alpn_protocols.iter().any(|name| name == Protocol::Http11.as_str().as_bytes())
    }

    /// The files that were read.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// What works but is not as it should be.
    pub fn warnings(&self) -> &[Fault] {
        &self.warnings
    }
}

/// Stands in until there are certificates.
#[derive(Debug)]
struct Nothing;

impl ResolvesServerCert for Nothing {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

/// The cryptography of a listener, in order of preference: AWS-LC's suites of TLS 1.3 and, where TLS 1.2 is spoken, those
/// of it that RFC 9325 section 4.2 recommends.
pub(super) fn cryptography(min: MinVersion) -> Arc<CryptoProvider> {
    use aws_lc_rs::{cipher_suite, kx_group};
    let mut suites = vec![
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    if min == MinVersion::Tls12 {
        suites.extend([
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ]);
    }
    Arc::new(CryptoProvider {
        cipher_suites: suites,
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        ..aws_lc_rs::default_provider()
    })
}
