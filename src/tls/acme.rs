//! `[tls.acme]`: which certificates are ordered, from whom, and where they are kept. Ordering them is `crate::acme`'s; this
//! only says what is wanted, and reads what is there.
//!
//! One file holds a private key and its chain, so that a rename exchanges both at once:
//!
//! ```text
//! state_dir/acme/                     0700
//!   lock                              held by the one process that orders
//!   account-DIGEST.json               one for each directory and external account
//!   certificates/FIRST_NAME-DIGEST.pem
//!   challenges/TOKEN                  while an order runs: key authorizations, for all who share the directory
//! ```
//!
//! A digest is made of what the file must fit: another directory, name or kind of key is another file. While that one is
//! missing, others that are for some of its names serve, then a temporary certificate that no client trusts.

use super::store::{self, Loaded};
use super::{Pair, development, pem};
use crate::fault::Fault;
use crate::units::{self, Secret, Span};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// Names in one certificate; larger orders are refused by the public authorities.
const MAX_NAMES: usize = 100;
/// Of a host name, so many characters stand in the name of its file.
const FILE_NAME: usize = 100;
/// Shortest HMAC key that is taken, in bytes: RFC 7518 section 3.2 asks for the length of the hash.
const MIN_HMAC: usize = 32;

/// The `[tls.acme]` section: certificates ordered from an ACME authority (RFC 8555).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AcmeSettings {
    /// One certificate a list: the host names it is for. Empty: nothing is ordered.
    pub names: Vec<Vec<String>>,
    /// The authority's directory, an `https` URL.
    pub directory: String,
    /// Says that its terms of service have been read and are agreed to; nothing is ordered without.
    pub terms_agreed: bool,
    /// Whom the authority writes to: `mailto:` URLs, as an array or one text with commas.
    #[serde(deserialize_with = "units::list")]
    pub contact: Vec<String>,
    /// How the authority is shown that a name is ours.
    pub challenge: Challenge,
    /// The kind of private key; a new one is made for every certificate.
    pub key_type: KeyType,
    /// How long before its end a certificate is renewed.
    pub renew_before: RenewBefore,
    /// The wait after the first order that failed; it doubles with each further one.
    pub retry_min: Span,
    /// The longest wait between orders that fail.
    pub retry_max: Span,
    /// The authorities trusted for the directory's own certificate, PEM; none: the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// An account elsewhere that the authority asks for (RFC 8555 section 7.3.4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eab: Option<Eab>,
}

impl Default for AcmeSettings {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            directory: "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
            terms_agreed: false,
            contact: Vec::new(),
            challenge: Challenge::default(),
            key_type: KeyType::default(),
            renew_before: RenewBefore::Percent(33),
            retry_min: Span::secs(300),
            retry_max: Span::secs(12 * 3600),
            ca: None,
            eab: None,
        }
    }
}

/// How the authority is shown that a name is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Challenge {
    /// It fetches a file from port 80 of the name (RFC 8555 section 8.3): a listener without TLS answers.
    #[default]
    #[serde(rename = "http-01")]
    Http01,
    /// It shakes hands on port 443 of the name (RFC 8737): a listener with TLS answers.
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
}

/// The kind of private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyType {
    /// ECDSA on P-256.
    #[default]
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// RSA of 2048 bits, for clients that know nothing else.
    Rsa2048,
}

/// How long before its end a certificate is renewed: `"33%"` of its lifetime, or a time, `"30d"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenewBefore {
    /// Of its lifetime, 1 to 50.
    Percent(u8),
    /// A time; of a certificate that lives less than twice as long, half its lifetime.
    Time(Duration),
}

impl RenewBefore {
    /// For a certificate of this lifetime; never more than half of it, so that no setting makes it order without end.
    pub fn of(self, lifetime: Duration) -> Duration {
        let before = match self {
            Self::Percent(percent) => lifetime / 100 * u32::from(percent),
            Self::Time(time) => time,
        };
        before.min(lifetime / 2)
    }
}

impl FromStr for RenewBefore {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("{text:?} is neither a share of the lifetime (\"1%\" to \"50%\") nor a time (\"30d\")");
        let Some(percent) = text.trim().strip_suffix('%') else {
            let span: Span = text.parse().map_err(|_| fault())?;
            return if span.0.is_zero() { Err(fault()) } else { Ok(Self::Time(span.0)) };
        };
        let percent = percent.trim().parse().ok().filter(|percent| (1..=50).contains(percent));
        percent.map(Self::Percent).ok_or_else(fault)
    }
}

impl fmt::Display for RenewBefore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Time(time) => Span(*time).fmt(f),
        }
    }
}

impl Serialize for RenewBefore {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RenewBefore {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        String::deserialize(input)?.parse().map_err(serde::de::Error::custom)
    }
}

/// An account elsewhere: its identifier and the key that proves it is ours.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Eab {
    /// The key's identifier, as the authority gave it.
    pub kid: String,
    /// The key, base64url, as the authority gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hmac: Option<Secret>,
    /// Or a file that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hmac_file: Option<PathBuf>,
}

impl Eab {
    /// The key, decoded.
    ///
    /// # Errors
    /// Given twice or not at all, a file that cannot be read, no base64, or shorter than the hash.
    pub fn key(&self, base: &Path) -> Result<Vec<u8>, Fault> {
        let given = self.hmac.as_ref().filter(|secret| !secret.expose().is_empty());
        let (key, text) = match (given, &self.hmac_file) {
            (Some(secret), None) => ("hmac", secret.expose().to_owned()),
            (None, Some(file)) => {
                let path = base.join(file);
                let text = std::fs::read_to_string(&path).map_err(|error| {
                    let what = format!("{} cannot be read: {error}", path.display());
                    Fault::key("hmac_file", what, "write the key that the authority gave to that file")
                })?;
                ("hmac_file", text)
            }
            (Some(_), Some(_)) => return Err(Fault::key("hmac_file", "the key is given twice", "keep one of them")),
            (None, None) => {
                return Err(Fault::key("hmac", "there is no key", "write hmac or hmac_file, or remove tls.acme.eab"));
            }
        };
        let text = text.trim().trim_end_matches('=');
        // Some authorities show it in the alphabet of base64 proper.
        let bytes = URL_SAFE_NO_PAD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text));
        bytes.ok().filter(|bytes| bytes.len() >= MIN_HMAC).ok_or_else(|| {
            let what = format!("the key is not base64url of at least {MIN_HMAC} bytes");
            Fault::key(key, what, "copy it whole from where the authority shows it")
        })
    }
}

/// One certificate that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its names, in lower case and in the configuration's order.
    pub names: Vec<String>,
    /// The file that holds its key and chain, once there is one.
    pub file: PathBuf,
}

/// A stored certificate, as far as its renewal depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its first second.
    pub not_before: SystemTime,
    /// Its last.
    pub not_after: SystemTime,
    /// The certificate itself, DER.
    pub der: Vec<u8>,
    /// When it was put there.
    pub since: SystemTime,
}

impl AcmeSettings {
    /// Whether anything is ordered.
    pub fn on(&self) -> bool {
        !self.names.is_empty()
    }

    /// Where everything of it is kept.
    pub fn folder(state_dir: &Path) -> PathBuf {
        state_dir.join("acme")
    }

    /// The certificates that are wanted.
    pub fn wanted(&self, state_dir: &Path) -> Vec<Wanted> {
        let folder = Self::folder(state_dir).join("certificates");
        let tidy = |names: &Vec<String>| {
            let mut seen = HashSet::new();
            let names = names.iter().map(|name| name.to_ascii_lowercase());
            names.filter(|name| seen.insert(name.clone())).collect::<Vec<_>>()
        };
        let wanted = self.names.iter().map(tidy).filter(|names| !names.is_empty());
        wanted
            .map(|names| {
                let mut sorted: Vec<&str> = names.iter().map(String::as_str).collect();
                sorted.sort_unstable();
                let key_type = format!("{:?}", self.key_type);
                let digest = digest([self.directory.as_str(), key_type.as_str()].into_iter().chain(sorted));
                let first: String = names.first().into_iter().flat_map(|name| name.chars()).take(FILE_NAME).collect();
                let file = folder.join(format!("{first}-{digest}.pem"));
                Wanted { names, file }
            })
            .collect()
    }

    /// The file of the account, which belongs to one directory and one external account.
    pub fn account_file(&self, state_dir: &Path) -> PathBuf {
        let kid = self.eab.as_ref().map_or("", |eab| eab.kid.as_str());
        Self::folder(state_dir).join(format!("account-{}.json", digest([self.directory.as_str(), kid])))
    }

    /// Everything that can be wrong without asking the authority.
    pub(super) fn faults(&self, base: &Path) -> Vec<Fault> {
        let mut faults = Vec::new();
        if !self.on() {
            return faults;
        }
        for (i, names) in self.names.iter().enumerate() {
            if names.is_empty() || names.len() > MAX_NAMES {
                let what = format!("{} names in one certificate", names.len());
                faults.push(Fault::key(format!("names[{i}]"), what, format!("write 1 to {MAX_NAMES} host names")));
            }
            for (j, name) in names.iter().enumerate() {
                faults.extend(name_fault(name).map(|(what, mend)| Fault::key(format!("names[{i}][{j}]"), what, mend)));
            }
        }
        if !self
            .directory
            .parse::<http::Uri>()
            .is_ok_and(|uri| uri.scheme_str() == Some("https") && uri.host().is_some_and(|host| !host.is_empty()))
        {
            let what = format!("{:?} is no https URL", self.directory);
            faults.push(Fault::key("directory", what, "write the URL of the authority's ACME directory"));
        }
        if !self.terms_agreed {
            let mend = "read the authority's terms of service, and write terms_agreed = true";
            faults.push(Fault::key("terms_agreed", "no account can be made without agreeing to the terms", mend));
        }
        for (i, contact) in self.contact.iter().enumerate() {
            let address = contact.strip_prefix("mailto:").unwrap_or_default();
            if !address.contains('@') || address.contains(|c: char| !c.is_ascii_graphic() || ",?".contains(c)) {
                let what = format!("{contact:?} is no address to write to");
                faults.push(Fault::key(format!("contact[{i}]"), what, "write \"mailto:ops@example.com\""));
            }
        }
        if self.retry_min.0 < Duration::from_secs(1) {
            faults.push(Fault::key("retry_min", "the authority would be asked without pause", "write at least 1s"));
        }
        if self.retry_max < self.retry_min {
            let what = format!("{} is less than {} (retry_min)", self.retry_max, self.retry_min);
            faults.push(Fault::key("retry_max", what, "raise it"));
        }
        if let Some(ca) = &self.ca
            && let Err(fault) = pem::chain(&base.join(ca), "ca")
        {
            faults.push(fault);
        }
        if let Some(eab) = &self.eab {
            if eab.kid.is_empty() || eab.kid.contains(|c: char| c.is_control()) {
                let mend = "write the identifier the authority gave, or remove tls.acme.eab";
                faults.push(Fault::key("eab.kid", "there is no key identifier", mend));
            }
            faults.extend(eab.key(base).err().map(|fault| fault.under("eab")));
        }
        faults
    }

    /// The certificates to serve now: those stored and valid, and for names whose own is missing any other stored one that
    /// is for them. With what is worth a warning.
    pub(super) fn serve(&self, state_dir: &Path, now: SystemTime) -> Served {
        let mut served = Served::default();
        let (mut missing, mut own) = (Vec::<String>::new(), Vec::new());
        for wanted in self.wanted(state_dir) {
            if wanted.file.exists() {
                match read(&wanted.file, now) {
                    Ok(pair) => served.stored.push(pair),
                    Err(mut faults) => {
                        // Key and chain are one file here, and may have one fault.
                        faults.dedup();
                        served.warnings.extend(faults);
                        missing.extend(wanted.names);
                    }
                }
            } else {
                missing.extend(wanted.names);
            }
            own.push(wanted.file);
        }
        for file in stored(state_dir).into_iter().filter(|file| !own.contains(file)) {
            if missing.is_empty() {
                break;
            }
            if let Ok(pair) = read(&file, now)
                && missing.iter().any(|name| pair.names.contains(name))
            {
                missing.retain(|name| !pair.names.contains(name));
                served.stored.push(pair);
            }
        }
        served.missing = missing;
        served
    }
}

/// What stands for the wanted certificates now.
#[derive(Default)]
pub(super) struct Served {
    pub(super) stored: Vec<Loaded>,
    /// Names that no stored one is for.
    pub(super) missing: Vec<String>,
    /// Stored ones that cannot be used.
    pub(super) warnings: Vec<Fault>,
}

/// A stored certificate with its key, checked as any other.
fn read(file: &Path, now: SystemTime) -> Result<Loaded, Vec<Fault>> {
    store::load(&Pair { cert: file.to_owned(), key: file.to_owned(), ocsp: None }, "acme.names", now)
}

/// Every stored file, the youngest first.
pub fn stored(state_dir: &Path) -> Vec<PathBuf> {
    let folder = AcmeSettings::folder(state_dir).join("certificates");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<(SystemTime, PathBuf)> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pem"))
        .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
        .collect();
    files.sort_by(|a, b| b.cmp(a));
    files.into_iter().map(|(_, path)| path).collect()
}

/// Reads what is stored for `wanted` and sees that it is for all its names.
///
/// # Errors
/// What [`super::CertificateSet::build`] would find in it, or a name that is missing.
pub fn check(file: &Path, names: &[String], now: SystemTime) -> Result<Stored, Vec<Fault>> {
    let loaded = read(file, now)?;
    if let Some(name) = names.iter().find(|name| !loaded.names.contains(name)) {
        let what = format!("the certificate is not for {name}");
        return Err(vec![Fault::file(file, (0, 0), "", what, "the authority left a name out")]);
    }
    let der = loaded.key.cert.first().map_or_else(Vec::new, |der| der.to_vec());
    let since = file.metadata().and_then(|meta| meta.modified()).unwrap_or(now);
    Ok(Stored { not_before: loaded.not_before, not_after: loaded.not_after, der, since })
}

/// Why a name cannot be ordered by these challenges, and the mend.
fn name_fault(name: &str) -> Option<(String, &'static str)> {
    if name.parse::<std::net::IpAddr>().is_ok() {
        return Some((format!("{name} is an address"), "write the host name that clients use"));
    }
    if name.starts_with("*.") {
        let mend = "authorities give wildcards for the DNS challenge alone: write out each host name";
        return Some((format!("{name:?} is a wildcard"), mend));
    }
    development::canonical(name).is_none().then(|| (format!("{name:?} is no host name"), "write a host name"))
}

/// Sixteen hex digits that stand for all of `parts`.
fn digest<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.finalize().iter().take(8).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
