//! TLS towards clients: version 1.3 unless a listener says otherwise, certificates chosen by server name and exchanged live.
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

mod development;
pub mod hello;
mod identity;
mod pem;
mod staple;
mod store;
mod terminator;
mod tickets;

pub use identity::{ClientCertificates, Demand, Identity};
pub use store::{CertificateSet, Expiry, Resolver};
pub use terminator::{MinVersion, Protocol, Terminator, Terms};
pub use tickets::{TicketSettings, Tickets};

use crate::units;
use rustls::crypto::CryptoProvider;
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

#[cfg(test)]
mod terms_tests;
#[cfg(test)]
mod tests;
