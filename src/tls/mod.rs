//! TLS towards clients: version 1.3 only, certificates chosen by server name and exchanged live.
//!
//! Decides before anything of HTTP exists. In go certificate and key files; out comes one `rustls` configuration for all
//! listeners and all of the process's life, in which the only thing that changes is what [`Resolver`] points at. A reload
//! builds a whole [`CertificateSet`] aside and swaps it in; a handshake ends on the set it began with.
//!
//! *What is offered.* TLS 1.3 alone (RFC 8446; RFC 9325 section 3.1.1 allows 1.2, we have no client that needs it), with
//! the key exchange X25519MLKEM768 preferred (draft-ietf-tls-ecdhe-mlkem), so that what is recorded today stays closed
//! to a quantum computer, then X25519, P-256 and P-384. ALPN `h2`, then `http/1.1` (RFC 7301). Session tickets under keys
//! that live in this process's memory only and change every six hours; a ticket is good for twelve. No 0-RTT: what is
//! replayed there (RFC 8446 section 8) would have to be judged by the method's idempotency, which clients do not keep.
//!
//! *Bounds.* Tickets are stateless, so sessions hold no memory. A handshake costs one look-up by name, no I/O, no lock.
//! How long a handshake may take is the listener's to say.
//!
//! *Open or closed.* Closed: a pair that is unreadable, does not match, has expired or comes in the wrong order refuses the
//! load. A name that no certificate is for gets the first one, which an honest client then refuses itself.

mod development;
mod pem;
mod store;

pub use store::{CertificateSet, Expiry, Resolver};

use crate::units;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

/// The `[tls]` section.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Certificates with their keys; the first is for clients that name no server or one that no certificate is for. Empty,
    /// or with empty paths only: a development certificate is made under the state directory.
    pub certificates: Vec<Pair>,
    /// Makes a development certificate at a configured place where neither the certificate nor the key exists.
    pub create_missing: bool,
    /// What a development certificate is for besides `localhost`, `*.localhost`, `127.0.0.1`, `::1` and the machine's name:
    /// host names and addresses, as an array or one text with commas. Some clients take no wildcard directly below a
    /// top-level name: for those write `app.localhost` here.
    #[serde(deserialize_with = "units::list")]
    pub names: Vec<String>,
}

/// One certificate chain and its private key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pair {
    /// PEM: the server's own certificate first, then each one that signed the one before; the root may be left out.
    pub cert: PathBuf,
    /// PEM: the private key (PKCS#8, PKCS#1 or SEC1), not encrypted, readable for the gate alone.
    pub key: PathBuf,
}

/// The cryptography every listener uses: the TLS 1.3 suites of AWS-LC and the groups above, in order of preference.
fn provider() -> Arc<CryptoProvider> {
    use aws_lc_rs::{cipher_suite, kx_group};
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        ..aws_lc_rs::default_provider()
    })
}

/// The configuration for all TLS listeners. To be made once: its ticket keys are what lets clients resume.
///
/// # Errors
///
/// Only where the random generator fails.
pub fn server_config(resolver: Arc<Resolver>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.max_early_data_size = 0;
    config.send_half_rtt_data = false;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests;
