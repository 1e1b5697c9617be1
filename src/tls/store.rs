//! The certificates in use, and the choice among them.

use super::{Pair, Settings, development, pem, provider, staple};
use crate::fault::Fault;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// A certificate that ends sooner than this is worth a warning.
const SOON: Duration = Duration::from_secs(14 * 86_400);

/// What a certificate is for and when it ends, for metrics and the admin listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// Its DNS names in lower case and its addresses, in the certificate's order.
    pub names: Vec<String>,
    /// Its last second.
    pub not_after: SystemTime,
}

/// One immutable generation of certificates.
#[derive(Debug)]
pub struct CertificateSet {
    /// In the configuration's order; the first is the default.
    keys: Vec<Arc<CertifiedKey>>,
    /// By DNS name; for `*.example.com` the name is in `wildcard` as `example.com`.
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    wildcard: HashMap<String, Vec<Arc<CertifiedKey>>>,
    expiries: Vec<Expiry>,
    warnings: Vec<Fault>,
    files: Vec<PathBuf>,
    development: Option<PathBuf>,
    staples: Vec<Stapled>,
}

/// A certificate with an OCSP response, and without it for when that has run out.
#[derive(Debug)]
struct Stapled {
    with: Arc<CertifiedKey>,
    without: Arc<CertifiedKey>,
    until: SystemTime,
}

/// One pair that passed every check.
pub(super) struct Loaded {
    pub(super) key: CertifiedKey,
    pub(super) names: Vec<String>,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
    /// How long the OCSP response in `key` may be shown.
    stapled_until: Option<SystemTime>,
    pub(super) warnings: Vec<Fault>,
}

impl CertificateSet {
    /// Reads and checks every pair, making a development certificate where the settings ask for one. Relative paths start
    /// at `base`; what is made for no configured path is kept in `state_dir`/tls.
    ///
    /// # Errors
    ///
    /// Files that cannot be read or are no PEM, a key that is not the certificate's, a chain out of order, a certificate
    /// that has expired or is not valid yet at `now`; for each the file and the mend.
    pub fn build(settings: &Settings, base: &Path, state_dir: &Path, now: SystemTime) -> Result<Self, Vec<Fault>> {
        let (mut faults, mut development) = (Vec::new(), None);
        let names = development::names(&settings.names).unwrap_or_else(|more| {
            faults.extend(more);
            Vec::new()
        });
        let empty = |path: &Path| path.as_os_str().is_empty();
        let configured = settings.certificates.iter().enumerate().filter(|(_, p)| !empty(&p.cert) || !empty(&p.key));
        let mut pairs: Vec<_> = configured.map(|(i, p)| (format!("certificates[{i}]"), p.below(base))).collect();
        faults.extend(settings.acme.faults(base).into_iter().map(|fault| fault.under("acme")));
        let created = pairs.is_empty() && !settings.acme.on();
        if created {
            let dir = state_dir.join("tls");
            let pair = Pair { cert: dir.join("development.pem"), key: dir.join("development.key"), ocsp: None };
            pairs.push(("certificates".into(), pair));
        }
        let mut set = Self {
            keys: Vec::new(),
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            expiries: Vec::new(),
            warnings: Vec::new(),
            files: Vec::new(),
            development: None,
            staples: Vec::new(),
        };
        if !faults.is_empty() {
            return Err(faults);
        }
        for (place, pair) in pairs {
            if created || settings.create_missing {
                match development::ensure(&pair, created, &names, now) {
                    Ok(true) => development = development.or_else(|| Some(pair.cert.clone())),
                    Ok(false) => {}
                    Err(fault) => {
                        faults.push(fault.under(&place));
                        continue;
                    }
                }
            }
            match load(&pair, &place, now) {
                Ok(loaded) => set.add(loaded),
                Err(more) => faults.extend(more),
            }
            set.files.extend([Some(pair.cert), Some(pair.key), pair.ocsp].into_iter().flatten());
        }
        if settings.acme.on() {
            let served = settings.acme.serve(state_dir, now);
            served.stored.into_iter().for_each(|loaded| set.add(loaded));
            set.warnings.extend(served.warnings);
            let bare: Vec<String> = served.missing.into_iter().filter(|name| !set.is_for(name)).collect();
            if !bare.is_empty() {
                match development::temporary(&bare, now) {
                    Ok(key) => drop(set.add_key(&bare, key)),
                    Err(error) => {
                        let what = format!("no temporary certificate can be made: {error}");
                        faults.push(Fault::key("acme.names", what, "set this machine's clock right"));
                    }
                }
            }
        }
        set.development = development;
        if faults.is_empty() { Ok(set) } else { Err(faults) }
    }

    fn add(&mut self, loaded: Loaded) {
        let key = self.add_key(&loaded.names, loaded.key);
        if let Some(until) = loaded.stapled_until {
            let without = Arc::new(CertifiedKey { ocsp: None, ..(*key).clone() });
            self.staples.push(Stapled { with: key, without, until });
        }
        self.expiries.push(Expiry { names: loaded.names, not_after: loaded.not_after });
        self.warnings.extend(loaded.warnings);
    }

    fn add_key(&mut self, names: &[String], key: CertifiedKey) -> Arc<CertifiedKey> {
        let key = Arc::new(key);
        for name in names {
            match name.strip_prefix("*.") {
                Some(parent) => self.wildcard.entry(parent.to_owned()).or_default().push(key.clone()),
                None => self.exact.entry(name.clone()).or_default().push(key.clone()),
            }
        }
        self.keys.push(key.clone());
        key
    }

    /// The certificate for a server name: exact, else a wildcard for one label (RFC 6125 section 6.4.3), else the default.
    /// Of several for one name, as RSA beside ECDSA, the first the client can verify; `None` if it can verify none.
    pub fn choose(&self, name: Option<&str>, offered: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let name = name.unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
        let parent = name.split_once('.').map_or("", |(_, parent)| parent);
        let candidates = self.exact.get(&name).or_else(|| self.wildcard.get(parent)).unwrap_or(&self.keys);
        candidates.iter().find(|candidate| candidate.key.choose_scheme(offered).is_some()).cloned()
    }

    /// The same certificate as it may be shown at `now`: without its OCSP response, once that has run out.
    pub(super) fn in_force(&self, chosen: Arc<CertifiedKey>, now: impl FnOnce() -> SystemTime) -> Arc<CertifiedKey> {
        if chosen.ocsp.is_none() {
            return chosen;
        }
        match self.staples.iter().find(|stapled| Arc::ptr_eq(&stapled.with, &chosen)) {
            Some(stapled) if now() > stapled.until => stapled.without.clone(),
            _ => chosen,
        }
    }

    /// Whether a certificate is for this name, as it is or by a wildcard.
    fn is_for(&self, name: &str) -> bool {
        let parent = name.split_once('.').map_or("", |(_, parent)| parent);
        self.exact.contains_key(name) || self.wildcard.contains_key(parent)
    }

    /// What each certificate is for and when it ends.
    pub fn expiries(&self) -> &[Expiry] {
        &self.expiries
    }

    /// What works but will not stay so, or is less safe than it should be; to be logged after a load.
    pub fn warnings(&self) -> &[Fault] {
        &self.warnings
    }

    /// What needs somebody's hand at `now`: certificates that end soon or have ended, OCSP responses that ran out. One
    /// sentence each; to be said again every day, however long ago the set was loaded.
    pub fn due(&self, now: SystemTime) -> Vec<String> {
        let shown = |at: SystemTime| jiff::Timestamp::try_from(at).map_or_else(|_| "?".into(), |at| format!("{at:.0}"));
        let ending = self.expiries.iter().filter(|expiry| now + SOON > expiry.not_after).map(|expiry| {
            let name = expiry.names.first().map_or("no name", String::as_str);
            format!("the certificate for {name} expires on {}", shown(expiry.not_after))
        });
        let run_out =
            self.staples.iter().filter(|stapled| now > stapled.until).map(|stapled| {
                format!("an OCSP response ran out on {}: it is no longer stapled", shown(stapled.until))
            });
        ending.chain(run_out).collect()
    }

    /// The files that were read: when one changes, the configuration is to be loaded anew.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The first development certificate in use, for clients that are to trust it.
    pub fn development(&self) -> Option<&Path> {
        self.development.as_deref()
    }
}

/// What `rustls` asks for a certificate: points at one set, and can be pointed at another at any time.
#[derive(Debug)]
pub struct Resolver {
    set: ArcSwap<CertificateSet>,
    /// By server name: what an authority is shown while it asks whether the name is ours.
    challenges: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl Resolver {
    /// Begins with this set.
    pub fn new(set: CertificateSet) -> Self {
        Self { set: ArcSwap::from_pointee(set), challenges: Mutex::default() }
    }

    /// From now on handshakes use this set. Connections that are open stay as they are.
    pub fn swap(&self, set: CertificateSet) {
        self.set.store(Arc::new(set));
    }

    /// From now on a client that offers the protocol [`ACME_TLS`] alone and asks for `name` gets this certificate (RFC
    /// 8737 section 3); `None`: none again.
    pub fn challenge(&self, name: &str, key: Option<CertifiedKey>) {
        let mut challenges = self.challenges.lock();
        match key {
            Some(key) => challenges.insert(name.to_ascii_lowercase(), Arc::new(key)),
            None => challenges.remove(&name.to_ascii_lowercase()),
        };
    }

    /// The set in use.
    pub fn current(&self) -> Arc<CertificateSet> {
        self.set.load_full()
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if hello.alpn().is_some_and(|mut offered| offered.next() == Some(super::ACME_TLS) && offered.next().is_none()) {
            // Nobody else speaks this protocol, so without a challenge for the name the handshake fails.
            return self.challenges.lock().get(&hello.server_name()?.to_ascii_lowercase()).cloned();
        }
        let set = self.set.load();
        let chosen = set.choose(hello.server_name(), hello.signature_schemes())?;
        Some(set.in_force(chosen, SystemTime::now))
    }
}

/// Certificates of a file, each with the line it begins on.
type Chain = Vec<(usize, CertificateDer<'static>)>;

/// Reads the two files of a pair.
fn read(pair: &Pair, place: &str) -> Result<(Chain, PrivateKeyDer<'static>), Vec<Fault>> {
    let chain = pem::chain(&pair.cert, &format!("{place}.cert"));
    let key = pem::private_key(&pair.key, &format!("{place}.key"));
    match (chain, key) {
        (Ok(chain), Ok(key)) => Ok((chain, key)),
        (chain, key) => Err([chain.err(), key.err()].into_iter().flatten().collect()),
    }
}

/// The certificates of a chain, read; those that are none are faults.
fn parse<'a>(path: &Path, chain: &'a Chain, faults: &mut Vec<Fault>) -> Vec<(usize, X509Certificate<'a>)> {
    let mut parsed = Vec::with_capacity(chain.len());
    for (line, der) in chain {
        match X509Certificate::from_der(der) {
            Ok(([], certificate)) => parsed.push((*line, certificate)),
            _ => {
                let mend = "copy the file anew from where it was issued";
                faults.push(Fault::file(path, (*line, 0), "", "this is not an X.509 certificate", mend));
            }
        }
    }
    parsed
}

/// Reads one pair and checks what can be checked without a client.
pub(super) fn load(pair: &Pair, place: &str, now: SystemTime) -> Result<Loaded, Vec<Fault>> {
    let (chain, key) = read(pair, place)?;
    let mut faults = Vec::new();
    let parsed = parse(&pair.cert, &chain, &mut faults);
    let Some((leaf_line, leaf)) = parsed.first().filter(|_| faults.is_empty()) else { return Err(faults) };
    let mut warnings = Vec::new();
    check_order(&pair.cert, &parsed, &mut faults);
    check_dates(&pair.cert, &parsed, now, &mut faults, &mut warnings);
    let names = names(leaf);
    if names.is_empty() {
        let mend = "have it issued with subject alternative names: clients ignore the common name";
        warnings.push(Fault::file(&pair.cert, (*leaf_line, 0), "", "the certificate is for no name at all", mend));
    }
    warnings.extend(readable_by_others(&pair.key));

    let (not_before, not_after) =
        (time(leaf.validity().not_before.timestamp()), time(leaf.validity().not_after.timestamp()));
    let chain_der: Vec<CertificateDer<'static>> = chain.iter().map(|(_, der)| der.clone()).collect();
    let stapled = pair.ocsp.as_ref().map(|path| staple::read(path, &format!("{place}.ocsp"), &chain, now));
    let stapled = match stapled {
        Some(Ok(Ok(staple))) => Some(staple),
        Some(Ok(Err(warning))) => {
            warnings.push(warning);
            None
        }
        Some(Err(fault)) => {
            faults.push(fault);
            None
        }
        None => None,
    };
    match certified(chain_der, key, pair, &chain) {
        Ok(mut key) if faults.is_empty() => {
            let stapled_until = stapled.as_ref().map(|staple| staple.until);
            key.ocsp = stapled.map(|staple| staple.response);
            Ok(Loaded { key, names, not_before, not_after, stapled_until, warnings })
        }
        Ok(_) => Err(faults),
        Err(fault) => {
            faults.push(fault);
            Err(faults)
        }
    }
}

/// Reads what the gate shows of itself where it is a client: as [`load`], but for names, which nobody asks of a client.
pub(super) fn load_client(
    pair: &Pair,
    place: &str,
    now: SystemTime,
    warnings: &mut Vec<Fault>,
) -> Result<CertifiedKey, Vec<Fault>> {
    let (chain, key) = read(pair, place)?;
    let mut faults = Vec::new();
    let parsed = parse(&pair.cert, &chain, &mut faults);
    check_order(&pair.cert, &parsed, &mut faults);
    check_dates(&pair.cert, &parsed, now, &mut faults, warnings);
    warnings.extend(readable_by_others(&pair.key));
    let certified = certified(chain.iter().map(|(_, der)| der.clone()).collect(), key, pair, &chain);
    match certified {
        Ok(certified) if faults.is_empty() => Ok(certified),
        certified => {
            faults.extend(certified.err());
            Err(faults)
        }
    }
}

/// Joins chain and key, or says why they are no pair.
fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    pair: &Pair,
    lines: &[(usize, CertificateDer<'static>)],
) -> Result<CertifiedKey, Fault> {
    let key = provider().key_provider.load_private_key(key).map_err(|_| {
        let mend = "use ECDSA on P-256 or P-384, Ed25519, or RSA of 2048 to 8192 bits";
        Fault::file(&pair.key, (0, 0), "", "the private key is damaged or of a kind that is not supported", mend)
    })?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(Error::InconsistentKeys(_)) => {
            let own = |der: &CertificateDer<'static>| {
                CertifiedKey::new(vec![der.clone()], certified.key.clone()).keys_match().is_ok()
            };
            let what = format!("the key in {} is not this certificate's", pair.key.display());
            Err(match lines.iter().skip(1).find(|(_, der)| own(der)) {
                Some((line, _)) => {
                    let mend = format!("put the certificate on line {line} first: the key is that one's");
                    Fault::file(&pair.cert, (1, 0), "", what, mend)
                }
                None => Fault::file(&pair.cert, (0, 0), "", what, "name the key that the certificate was issued for"),
            })
        }
        Err(error) => {
            let what = format!("the certificate cannot be used for TLS: {error}");
            Err(Fault::file(&pair.cert, (0, 0), "", what, "have a version 3 certificate issued"))
        }
    }
}

/// Each certificate must be issued by the one that follows (RFC 8446 section 4.4.2 lets servers be sloppy; clients differ).
fn check_order(path: &Path, chain: &[(usize, X509Certificate<'_>)], faults: &mut Vec<Fault>) {
    for pair in chain.windows(2) {
        if let [(_, certificate), (line, issuer)] = pair
            && certificate.issuer().as_raw() != issuer.subject().as_raw()
        {
            let what = format!("this certificate ({}) did not issue the one before it", issuer.subject());
            let mend = "write the server's certificate first, then each one that signed the one before";
            faults.push(Fault::file(path, (*line, 0), "", what, mend));
        }
    }
}

/// The server's own certificate must be valid now; the others are the clients' business, and only worth a warning.
fn check_dates(
    path: &Path,
    chain: &[(usize, X509Certificate<'_>)],
    now: SystemTime,
    faults: &mut Vec<Fault>,
    warnings: &mut Vec<Fault>,
) {
    for (i, (line, certificate)) in chain.iter().enumerate() {
        let validity = certificate.validity();
        let report = if i == 0 { &mut *faults } else { &mut *warnings };
        if now > time(validity.not_after.timestamp()) {
            let what = format!("the certificate expired on {}", validity.not_after);
            report.push(Fault::file(path, (*line, 0), "", what, "renew it and put the new one here"));
        } else if now < time(validity.not_before.timestamp()) {
            let what = format!("the certificate is not valid before {}", validity.not_before);
            report.push(Fault::file(path, (*line, 0), "", what, "wait until then, or set this machine's clock right"));
        } else if i == 0 && now + SOON > time(validity.not_after.timestamp()) {
            let what = format!("the certificate expires on {}", validity.not_after);
            warnings.push(Fault::file(path, (*line, 0), "", what, "renew it"));
        }
    }
}

/// DNS names in lower case and addresses.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let names = alternative.iter().flat_map(|extension| &extension.value.general_names);
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(dns) => Some(dns.to_ascii_lowercase()),
            GeneralName::IPAddress(octets) => {
                let v4 = <[u8; 4]>::try_from(*octets).map(std::net::IpAddr::from);
                v4.or_else(|_| <[u8; 16]>::try_from(*octets).map(std::net::IpAddr::from)).ok().map(|ip| ip.to_string())
            }
            _ => None,
        })
        .collect()
}

fn readable_by_others(key: &Path) -> Option<Fault> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(key).ok()?.permissions().mode();
    (mode & 0o007 != 0).then(|| {
        let what = format!("every user of this machine may use the private key (mode {:04o})", mode & 0o7777);
        Fault::file(key, (0, 0), "", what, "run `chmod 600` on it")
    })
}

/// Seconds since 1970, which certificates may place before it.
pub(super) fn time(timestamp: i64) -> SystemTime {
    let distance = Duration::from_secs(timestamp.unsigned_abs());
    let time = if timestamp < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Whether the pair at these places is a development certificate good for `names` until `until` at least.
pub(super) fn is_good_development(pair: &Pair, names: &[String], until: SystemTime) -> Option<bool> {
    let chain = pem::chain(&pair.cert, "").ok()?;
    let (_, der) = chain.first()?;
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let ours = certificate.subject().iter_common_name().any(|name| name.as_str() == Ok(development::COMMON_NAME));
    if !ours {
        return None;
    }
    let covered = self::names(&certificate);
    let fits =
        names.iter().all(|name| covered.contains(name)) && time(certificate.validity().not_after.timestamp()) > until;
    Some(fits && load(pair, "", until).is_ok())
}
