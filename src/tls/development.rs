//! A certificate for machines that have none: self-signed, so that a client must be told to trust it.

use super::{Pair, store};
use crate::fault::Fault;
use rcgen::{
    Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};
use rustls::sign::CertifiedKey;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How our own certificates are told from others: only these are ever overwritten.
pub(super) const COMMON_NAME: &str = "Gatehouse development certificate";

/// Browsers take no certificate for longer than 398 days.
const LIFETIME: Duration = Duration::from_secs(365 * 86_400);
/// One that is left for less than this is made anew.
const REMAINING: Duration = Duration::from_secs(86_400);

/// Every name a development certificate is for: the fixed ones, this machine's, and `extra`, in lower case.
pub(super) fn names(extra: &[String]) -> Result<Vec<String>, Vec<Fault>> {
    let mut names: Vec<String> = ["localhost", "*.localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    names.extend(canonical(machine.trim()));
    let mut faults = Vec::new();
    for (i, name) in extra.iter().enumerate() {
        match canonical(name) {
            Some(name) => names.push(name),
            None => {
                let mend = "write a host name, \"*.\" and a host name, or an address";
                faults.push(Fault::key(format!("names[{i}]"), format!("{name:?} is no name for a certificate"), mend));
            }
        }
    }
    names.sort_unstable();
    names.dedup();
    if faults.is_empty() { Ok(names) } else { Err(faults) }
}

/// An address or DNS name as certificates write it.
pub(super) fn canonical(name: &str) -> Option<String> {
    if let Ok(address) = name.parse::<std::net::IpAddr>() {
        return Some(address.to_string());
    }
    let host = name.strip_prefix("*.").unwrap_or(name);
    let label = |label: &str| {
        let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        inner && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    (name.len() <= 253 && host.split('.').all(label)).then(|| name.to_ascii_lowercase())
}

/// Sees to it that a pair exists. Makes one where both files are missing, and anew where ours is about to end, does not
/// cover the names or, in a place that is `ours` alone, is damaged. Says whether the pair is a development certificate.
///
/// Two processes that start at once make one pair: the directory is locked meanwhile.
pub(super) fn ensure(pair: &Pair, ours: bool, names: &[String], now: SystemTime) -> Result<bool, Fault> {
    let failed = |error: &dyn std::fmt::Display| {
        let what = format!("cannot make a development certificate at {}: {error}", pair.cert.display());
        Fault::key("", what, "make the directory writable for the gate, or configure a certificate")
    };
    let parent = |path: &Path| match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
        _ => ".".into(),
    };
    // A place that is not ours is only touched where nothing stands.
    if !ours && (pair.cert.exists() || pair.key.exists()) {
        match store::is_good_development(pair, names, now + REMAINING) {
            Some(false) => {}
            other => return Ok(other.is_some()),
        }
    }
    for path in [&pair.cert, &pair.key] {
        DirBuilder::new().recursive(true).create(parent(path)).map_err(|error| failed(&error))?;
    }
    let lock = File::open(parent(&pair.cert)).map_err(|error| failed(&error))?;
    lock.lock().map_err(|error| failed(&error))?;
    if store::is_good_development(pair, names, now + REMAINING) == Some(true) {
        return Ok(true);
    }
    let (certificate, key) = make(COMMON_NAME, names, now).map_err(|error| failed(&error))?;
    // The key first: a certificate without its key would be taken for somebody else's.
    write(&pair.key, &key.serialize_pem(), 0o600).map_err(|error| failed(&error))?;
    write(&pair.cert, &certificate.pem(), 0o644).map_err(|error| failed(&error))?;
    Ok(true)
}

/// A certificate that lives in memory alone, for names whose own is still to come.
pub(super) fn temporary(names: &[String], now: SystemTime) -> Result<CertifiedKey, Box<dyn std::error::Error>> {
    let (certificate, key) = make("Gatehouse temporary certificate", names, now)?;
    Ok(super::certified(certificate.der(), key.serialize_der())?)
}

/// A new certificate and its key.
fn make(
    common_name: &str,
    names: &[String],
    now: SystemTime,
) -> Result<(Certificate, KeyPair), Box<dyn std::error::Error>> {
    let hour_ago = now.duration_since(SystemTime::UNIX_EPOCH)?.saturating_sub(Duration::from_secs(3600));
    let at = |after: Duration| {
        let seconds = Duration::from_secs(after.as_secs());
        rcgen::date_time_ymd(1970, 1, 1).checked_add(seconds.try_into().ok()?)
    };
    let mut params = CertificateParams::new(names)?;
    params.not_before = at(hour_ago).ok_or("the clock is beyond all calendars")?;
    params.not_after = at(hour_ago + LIFETIME).ok_or("the clock is beyond all calendars")?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    Ok((params.self_signed(&key)?, key))
}

/// Writes a file whole or not at all; nobody can open it meanwhile with more rights than `mode` gives.
fn write(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    // Left over from a process of the same number that was killed here.
    let _ = std::fs::remove_file(&temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    let moved = written.and_then(|()| std::fs::rename(&temporary, path));
    if moved.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    moved
}
