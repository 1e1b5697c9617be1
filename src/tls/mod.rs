//! TLS towards clients, and (`upstream`) towards replicas: version 1.3 unless a listener says otherwise, certificates chosen by server name and exchanged live.
//!
//! Decides before anything of HTTP exists. In go certificate and key files and each listener's [`Terms`]; out comes one
//! [`Terminator`] a listener and generation, over one [`Resolver`] for all of the process's life. A reload builds a whole
//! [`CertificateSet`] aside and swaps it in; a handshake ends on the set it began with.
//!
//! *What is offered.* TLS 1.3 alone (RFC 8446), and TLS 1.2 where a listener opts in, with ECDHE and authenticated
//! encryption only (RFC 9325 section 4.2). The key exchange X25519MLKEM768 is preferred (draft-ietf-tls-ecdhe-mlkem), so
//! that what is recorded today stays closed to a quantum computer, then X25519, P-256 and P-384. ALPN `h2`, then
//! `http/1.1` (RFC 7301), or what the listener says; a client that offers others only is refused. Session tickets: see
//! [`Tickets`]. No 0-RTT: what is replayed there (RFC 8446 section 8) would have to be judged by the method's idempotency,
//! which clients do not keep.
//!
//! *What is asked.* Nothing, or a certificate under one of the listener's authorities ([`ClientCertificates`]).
//!
//! *Bounds.* Tickets are stateless, so sessions hold no memory. A handshake costs one look-up by name, no I/O, no lock.
//! How long a handshake may take is the listener's to say.
//!
//! *Open or closed.* Closed: a pair that is unreadable, does not match, has expired or comes in the wrong order refuses the
//! load. A name that no certificate is for gets the first one, which an honest client then refuses itself.

mod acme;
mod development;
pub mod hello;
mod identity;
mod pem;
mod staple;
mod store;
mod terminator;
mod tickets;
mod upstream;

pub use acme::{AcmeSettings, Challenge, Eab, KeyType, RenewBefore, Stored, Wanted, check, stored};
pub use identity::{ClientCertificates, Demand, Identity};
pub use store::{CertificateSet, Expiry, Resolver};
pub use terminator::{MinVersion, Protocol, Terminator, Terms};
pub use tickets::{TicketSettings, Tickets};
pub use upstream::{Offer, Outbound, UpstreamTls, switch_or_table};

use crate::fault::Fault;
use crate::units;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
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
    /// How sessions are resumed.
    pub tickets: TicketSettings,
    /// Certificates ordered from an authority, beside those above.
    pub acme: AcmeSettings,
}

/// One certificate chain and its private key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pair {
    /// PEM: the server's own certificate first, then each one that signed the one before; the root may be left out.
    pub cert: PathBuf,
    /// PEM: the private key (PKCS#8, PKCS#1 or SEC1), not encrypted, readable for the gate alone.
    pub key: PathBuf,
    /// DER: the OCSP response to be stapled, for clients that ask whether the certificate was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ocsp: Option<PathBuf>,
}

impl Pair {
    /// The same with relative paths that start at `base`.
    fn below(&self, base: &Path) -> Self {
        Self {
            cert: base.join(&self.cert),
            key: base.join(&self.key),
            ocsp: self.ocsp.as_ref().filter(|path| !path.as_os_str().is_empty()).map(|path| base.join(path)),
        }
    }
}

/// The cryptography of what is not a listener: what every listener speaks.
fn provider() -> Arc<CryptoProvider> {
    terminator::cryptography(MinVersion::Tls13)
}

/// The protocol of the challenge TLS-ALPN-01 (RFC 8737 section 6.2): a handshake that ends without a byte of data.
pub const ACME_TLS: &[u8] = b"acme-tls/1";

/// The configuration for a client that offers [`ACME_TLS`] alone: an authority, of whom no certificate is asked, whatever
/// the listener asks of others. Without a challenge under way for the name the handshake fails.
///
/// # Errors
/// None that the cryptography of every listener would not have met before.
pub fn challenge_config(resolver: Arc<Resolver>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(terminator::cryptography(MinVersion::Tls12))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// A certificate and its PKCS#8 key, for a handshake.
///
/// # Errors
/// A key that cannot be used.
pub fn certified(certificate: &CertificateDer<'_>, key: Vec<u8>) -> Result<CertifiedKey, rustls::Error> {
    let key = provider().key_provider.load_private_key(PrivatePkcs8KeyDer::from(key).into())?;
    Ok(CertifiedKey::new(vec![certificate.clone().into_owned()], key))
}

/// The configuration for a connection to an authority: TLS 1.3 or 1.2, HTTP/1.1, and the authorities in `ca` trusted, or
/// where there is none the system's.
///
/// # Errors
/// A file that cannot be read or holds no certificate, or a system that has none.
pub fn client_config(ca: Option<&Path>) -> Result<Arc<ClientConfig>, Fault> {
    let mut roots = RootCertStore::empty();
    let certificates: Vec<CertificateDer<'static>> = match ca {
        Some(ca) => pem::chain(ca, "tls.acme.ca")?.into_iter().map(|(_, der)| der).collect(),
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        let mend = "install the system's ca-certificates, or name a file with the authority's";
        return Err(Fault::key("tls.acme.ca", "there is no certificate to trust", mend));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Fault::key("tls.acme", error.to_string(), ""))?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod terms_tests;
#[cfg(test)]
mod tests;
