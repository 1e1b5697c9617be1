//! Who a client is by its certificate: the authorities that may say so, what they revoked, and the name that counts.
//!
//! The chain is verified in the handshake (RFC 5280 section 6, by rustls-webpki): a certificate for client authentication,
//! issued under one of the authorities, within its dates, on none of the revocation lists. Where lists are given, each
//! authority in the chain needs one that is not outdated: what cannot be known to be good is refused.

use super::pem;
use crate::facts::ClientCertificate;
use crate::fault::Fault;
use crate::units;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

/// Longest name that can be a user's, in bytes.
const MAX_NAME: usize = 128;

/// Whether a listener asks its clients for certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Demand {
    /// It does not ask.
    #[default]
    Off,
    /// It asks; a client may have none, but not a bad one.
    Optional,
    /// A client without one gets no connection.
    Required,
}

/// Which of a certificate's names is the user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// The subject's common name.
    #[default]
    CommonName,
    /// The first e-mail address among the alternative names.
    Email,
    /// The first URI among them, as a SPIFFE identifier is.
    Uri,
    /// The first DNS name among them.
    Dns,
}

/// `client_certificates` of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientCertificates {
    /// Whether clients are asked for one.
    pub mode: Demand,
    /// PEM: the certificates of the authorities that are believed.
    pub ca: PathBuf,
    /// Revocation lists, PEM or DER; with any, each authority of a chain needs one.
    #[serde(deserialize_with = "units::list")]
    pub crl: Vec<PathBuf>,
    /// Which name is the user's.
    pub identity: Identity,
}

/// What is made of `client_certificates`: nothing where clients are not asked.
pub(super) struct Authorities {
    pub(super) verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// A digest of the demand, the authorities and the lists.
    pub(super) context: [u8; 32],
    pub(super) files: Vec<PathBuf>,
    pub(super) warnings: Vec<Fault>,
}

impl ClientCertificates {
    /// Reads authorities and lists; relative paths start at `base`, keys of faults below `client_certificates`.
    pub(super) fn load(
        &self,
        provider: &Arc<CryptoProvider>,
        base: &Path,
        now: SystemTime,
    ) -> Result<Authorities, Vec<Fault>> {
        let mut digest = Sha256::new();
        digest.update([self.mode as u8]);
        if self.mode == Demand::Off {
            return Ok(Authorities {
                verifier: None,
                context: digest.finalize().into(),
                files: Vec::new(),
                warnings: Vec::new(),
            });
        }
        if self.ca.as_os_str().is_empty() {
            let mend = "name a PEM file with the certificates of the authorities to believe";
            return Err(vec![Fault::key("ca", "no authority is named that could vouch for clients", mend)]);
        }
        let (mut faults, mut warnings) = (Vec::new(), Vec::new());
        let ca = base.join(&self.ca);
        let mut roots = RootCertStore::empty();
        for (line, der) in pem::chain(&ca, "ca").map_err(|fault| vec![fault])? {
            chunk(&mut digest, &der);
            if roots.add(der).is_err() {
                let what = "this is not a certificate that can vouch for others";
                faults.push(Fault::file(&ca, (line, 0), "", what, "put the authority's own certificate here"));
            }
        }
        let mut lists = Vec::new();
        let mut files = vec![ca];
        for (i, path) in self.crl.iter().enumerate() {
            let path = base.join(path);
            match pem::revocations(&path, &format!("crl[{i}]")) {
                Ok(found) => {
                    for list in &found {
                        chunk(&mut digest, list);
                        check_list(&path, list, now, &mut faults, &mut warnings);
                    }
                    lists.extend(found);
                }
                Err(fault) => faults.push(fault),
            }
            files.push(path);
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .with_crls(lists)
            .enforce_revocation_expiration();
        if self.mode == Demand::Optional {
            builder = builder.allow_unauthenticated();
        }
        let verifier = builder.build().map_err(|error| {
            vec![Fault::key("", format!("clients cannot be verified with these files: {error}"), "")]
        })?;
        Ok(Authorities { verifier: Some(verifier), context: digest.finalize().into(), files, warnings })
    }
}

fn chunk(digest: &mut Sha256, bytes: &[u8]) {
    digest.update(bytes.len().to_be_bytes());
    digest.update(bytes);
}

fn check_list(path: &Path, der: &[u8], now: SystemTime, faults: &mut Vec<Fault>, warnings: &mut Vec<Fault>) {
    let Ok(([], list)) = CertificateRevocationList::from_der(der) else {
        let mend = "fetch it anew from the authority, as PEM or DER";
        faults.push(Fault::file(path, (0, 0), "", "this is not a certificate revocation list", mend));
        return;
    };
    if let Some(next) = list.next_update()
        && now > super::store::time(next.timestamp())
    {
        let what =
            format!("the revocation list was to be replaced by {next}: no certificate of this authority is taken");
        warnings.push(Fault::file(path, (0, 0), "", what, "fetch the new one"));
    }
}

/// What the first certificate of a verified chain says of its holder at `now`; `None` where it has ended, as it may have
/// since the session began that is resumed.
pub(super) fn read(chain: &[CertificateDer<'_>], identity: Identity, now: SystemTime) -> Option<ClientCertificate> {
    let der = chain.first()?;
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let not_after = super::store::time(certificate.validity().not_after.timestamp());
    if now > not_after {
        return None;
    }
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let mut alternative = alternative.iter().flat_map(|extension| &extension.value.general_names);
    let name = match identity {
        Identity::CommonName => certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok()),
        Identity::Email => alternative.find_map(|name| match name {
            GeneralName::RFC822Name(text) => Some(*text),
            _ => None,
        }),
        Identity::Uri => alternative.find_map(|name| match name {
            GeneralName::URI(text) => Some(*text),
            _ => None,
        }),
        Identity::Dns => alternative.find_map(|name| match name {
            GeneralName::DNSName(text) => Some(*text),
            _ => None,
        }),
    };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Some(ClientCertificate {
        user: name.filter(|name| may_name_a_user(name)).map(Into::into),
        subject: certificate.subject().to_string().into(),
        issuer: certificate.issuer().to_string().into(),
        serial: hex(certificate.raw_serial()).into(),
        sha256: hex(&Sha256::digest(der)).into(),
        not_after,
    })
}

/// Visible ASCII, with spaces inside: what a header can carry and a log cannot mistake.
fn may_name_a_user(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
        && name.trim_matches(' ').len() == name.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};
    use std::time::Duration;

    fn certificate(common_name: &str, names: Vec<SanType>) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names = names;
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn the_name_that_the_setting_says_is_the_users() {
        let der = certificate(
            "Alice Example",
            vec![
                SanType::DnsName("a.example".try_into().unwrap()),
                SanType::Rfc822Name("alice@example.com".try_into().unwrap()),
                SanType::URI("spiffe://example.com/alice".try_into().unwrap()),
            ],
        );
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for (identity, name) in [
            (Identity::CommonName, "Alice Example"),
            (Identity::Email, "alice@example.com"),
            (Identity::Uri, "spiffe://example.com/alice"),
            (Identity::Dns, "a.example"),
        ] {
            let read = read(std::slice::from_ref(&der), identity, now).unwrap();
            assert_eq!(read.user.as_deref(), Some(name));
            assert_eq!(&*read.subject, "O=Example, CN=Alice Example");
            assert_eq!(*read.sha256, Sha256::digest(&der).iter().map(|b| format!("{b:02x}")).collect::<String>());
        }
        let bare = certificate("x", Vec::new());
        assert_eq!(read(std::slice::from_ref(&bare), Identity::Email, now).unwrap().user, None, "no such name");
        let late = SystemTime::UNIX_EPOCH + Duration::from_secs(2_208_988_801);
        assert!(read(&[der], Identity::CommonName, late).is_none(), "ended since the session began");
        assert!(read(&[CertificateDer::from(vec![1, 2])], Identity::CommonName, now).is_none());
        assert!(read(&[], Identity::CommonName, now).is_none());
    }

    #[test]
    fn names_that_no_header_can_carry_are_nobodys() {
        for (name, may) in [
            ("alice", true),
            ("Alice B. Example", true),
            ("", false),
            (" alice", false),
            ("alice\r\nx: y", false),
            ("al\0ice", false),
            ("Ålice", false),
        ] {
            assert_eq!(may_name_a_user(name), may, "{name:?}");
        }
        assert!(may_name_a_user(&"a".repeat(128)) && !may_name_a_user(&"a".repeat(129)));
    }
}
