//! OCSP responses (RFC 6960) read from files, to be stapled to handshakes (RFC 6066 section 8, RFC 8446 section 4.4.2.1).
//!
//! The gate fetches nothing: whoever renews the file is the operator's. What is stapled was checked as a client would: it
//! is for this certificate (serial number, issuer's name and key), says *good*, is in force, and is signed by the issuer or
//! by a responder that the issuer certified for it. A response that says otherwise, or that has run out, is left out with a
//! warning, and clients ask the responder themselves; what is no response to this certificate is a fault.
//!
//! *Bounds.* Read when the configuration is loaded; files of at most a mebibyte. A handshake compares one moment.

use super::pem;
use super::provider;
use crate::fault::Fault;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rustls_pki_types::CertificateDer;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::time::{Duration, SystemTime};
use webpki::EndEntityCert;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// How far a responder's clock may be ahead of ours.
const SKEW: Duration = Duration::from_secs(300);

// Identifier octets of DER (ITU-T X.690 section 8.1.2).
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const ENUMERATED: u8 = 0x0A;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0]`, primitive and constructed.
const PLAIN_0: u8 = 0x80;
const FIELD_0: u8 = 0xA0;

const SHA1: &[u8] = &[0x2B, 0x0E, 0x03, 0x02, 0x1A];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];

/// A response that may be stapled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Staple {
    /// The response in DER.
    pub(super) response: Vec<u8>,
    /// Its last second.
    pub(super) until: SystemTime,
}

/// Reads a response for the first certificate of `chain`, DER; `key` is the setting that names the file. What is no fault
/// and yet cannot be stapled is a warning.
pub(super) fn read(
    path: &Path,
    key: &str,
    chain: &[(usize, CertificateDer<'static>)],
    now: SystemTime,
) -> Result<Result<Staple, Fault>, Fault> {
    let response = pem::bytes(path, key)?;
    let fault = |what: String, mend: &str| Fault::file(path, (0, 0), "", what, mend);
    let [(_, leaf), (_, issuer), ..] = chain else {
        let mend = "write the issuer's certificate behind the server's in its file";
        return Err(fault("who may answer for the certificate is not known".into(), mend));
    };
    let none = || fault("this is no OCSP response that answers".into(), "write the responder's answer in DER");
    let parsed = Response::read(&response).ok_or_else(none)?;
    let mend = "fetch the response for this certificate, as with `openssl ocsp -issuer … -cert … -url … -respout FILE`";
    let Some(answer) = parsed.answers.iter().find(|answer| answer.is_for(leaf, issuer)) else {
        return Err(fault("this response is for another certificate".into(), mend));
    };
    if !parsed.is_signed_for(issuer, now) {
        return Err(fault("this response is not signed by the certificate's issuer".into(), mend));
    }
    let shown = |at: SystemTime| jiff::Timestamp::try_from(at).map_or_else(|_| "?".into(), |at| format!("{at:.0}"));
    let what = match answer.until {
        _ if !answer.good => "the response does not say that the certificate is good".to_owned(),
        _ if answer.from > now + SKEW => format!("the response is in force from {} only", shown(answer.from)),
        Some(until) if until < now => format!("the response ran out on {}", shown(until)),
        Some(until) => return Ok(Ok(Staple { response, until })),
        None => "the response does not say until when it is in force".to_owned(),
    };
    Ok(Err(fault(format!("{what}: it is not stapled"), "fetch a new one")))
}

/// Takes elements of DER off the front of some bytes.
struct Walk<'a>(&'a [u8]);

impl<'a> Walk<'a> {
    /// The content of the next element, if that has this identifier.
    fn next(&mut self, identifier: u8) -> Option<&'a [u8]> {
        self.whole(identifier).map(|(content, _)| content)
    }

    /// The same, and the element as it stands.
    fn whole(&mut self, identifier: u8) -> Option<(&'a [u8], &'a [u8])> {
        let (first, rest) = self.0.split_first()?;
        let (length, rest) = rest.split_first()?;
        let (length, rest) = match usize::from(*length) {
            short @ ..0x80 => (short, rest),
            long => {
                let (bytes, rest) = rest.split_at_checked(long & 0x7F)?;
                // More than four bytes of length are no file of ours; none would be an indefinite length.
                if bytes.is_empty() || bytes.len() > 4 {
                    return None;
                }
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
        };
        let (content, rest) = rest.split_at_checked(length)?;
        if *first != identifier {
            return None;
        }
        let (whole, _) = self.0.split_at_checked(self.0.len() - rest.len())?;
        self.0 = rest;
        Some((content, whole))
    }

    fn inside(&mut self, identifier: u8) -> Option<Walk<'a>> {
        self.next(identifier).map(Walk)
    }

    /// Steps over one element, whatever it is.
    fn skip(&mut self) -> Option<u8> {
        let identifier = *self.0.first()?;
        self.next(identifier).map(|_| identifier)
    }
}

/// Something signed: `SEQUENCE { what, algorithm, BIT STRING }`, as a response and a certificate are.
struct Signed<'a> {
    what: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    /// Also what stands within `what`, and behind the signature.
    fn read(walk: &mut Walk<'a>) -> Option<(Self, Walk<'a>)> {
        let (inside, what) = walk.whole(SEQUENCE)?;
        let algorithm = walk.next(SEQUENCE)?;
        let (unused, signature) = walk.next(BIT_STRING)?.split_first()?;
        (*unused == 0).then_some((Self { what, algorithm, signature }, Walk(inside)))
    }

    /// Whether the key of this certificate made the signature.
    fn is_by(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok(signer) = EndEntityCert::try_from(certificate) else { return false };
        let algorithms = provider().signature_verification_algorithms;
        algorithms
            .all
            .iter()
            .filter(|algorithm| algorithm.signature_alg_id().as_ref() == self.algorithm)
            .any(|algorithm| signer.verify_signature(*algorithm, self.what, self.signature).is_ok())
    }
}

/// A whole response.
struct Response<'a> {
    signed: Signed<'a>,
    /// Certificates of the responder.
    responders: Vec<&'a [u8]>,
    answers: Vec<Answer<'a>>,
}

/// What is said of one certificate.
struct Answer<'a> {
    hash: &'a [u8],
    name_hash: &'a [u8],
    key_hash: &'a [u8],
    serial: &'a [u8],
    good: bool,
    from: SystemTime,
    until: Option<SystemTime>,
}

impl<'a> Response<'a> {
    /// RFC 6960 section 4.2.1.
    fn read(der: &'a [u8]) -> Option<Self> {
        let mut response = Walk(der).inside(SEQUENCE)?;
        if response.next(ENUMERATED)? != [0] {
            return None;
        }
        let mut bytes = response.inside(FIELD_0)?.inside(SEQUENCE)?;
        // id-pkix-ocsp-basic
        if bytes.next(OID)? != [0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01] {
            return None;
        }
        let mut basic = Walk(bytes.next(OCTET_STRING)?).inside(SEQUENCE)?;
        let (signed, mut data) = Signed::read(&mut basic)?;
        let mut responders = Vec::new();
        if let Some(mut certificates) = basic.inside(FIELD_0).and_then(|mut field| field.inside(SEQUENCE)) {
            while let Some((_, certificate)) = certificates.whole(SEQUENCE) {
                responders.push(certificate);
            }
        }
        // An explicit version, who answers, and when.
        if data.0.first() == Some(&FIELD_0) {
            data.skip()?;
        }
        data.skip()?;
        data.next(GENERALIZED_TIME)?;
        let mut list = data.inside(SEQUENCE)?;
        let mut answers = Vec::new();
        while !list.0.is_empty() {
            answers.push(Answer::read(list.inside(SEQUENCE)?)?);
        }
        Some(Self { signed, responders, answers })
    }

    /// Whether it is signed by the issuer, or by one whom the issuer certified to answer (RFC 6960 section 4.2.2.2).
    fn is_signed_for(&self, issuer: &CertificateDer<'_>, now: SystemTime) -> bool {
        if self.signed.is_by(issuer) {
            return true;
        }
        self.responders.iter().any(|responder| {
            let certified = Walk(responder).inside(SEQUENCE).and_then(|mut walk| Signed::read(&mut walk));
            let Some((certified, _)) = certified else { return false };
            let Ok((_, certificate)) = X509Certificate::from_der(responder) else { return false };
            let answers = certificate.extended_key_usage().ok().flatten().is_some_and(|usage| usage.value.ocsp_signing);
            let validity = certificate.validity();
            let valid = super::store::time(validity.not_before.timestamp()) <= now
                && now <= super::store::time(validity.not_after.timestamp());
            answers && valid && certified.is_by(issuer) && self.signed.is_by(&CertificateDer::from(*responder))
        })
    }
}

impl<'a> Answer<'a> {
    fn read(mut walk: Walk<'a>) -> Option<Self> {
        let mut id = walk.inside(SEQUENCE)?;
        let hash = id.inside(SEQUENCE)?.next(OID)?;
        let (name_hash, key_hash) = (id.next(OCTET_STRING)?, id.next(OCTET_STRING)?);
        let serial = id.next(INTEGER)?;
        let good = walk.skip()? == PLAIN_0;
        let from = time(walk.next(GENERALIZED_TIME)?)?;
        let until = match walk.inside(FIELD_0) {
            Some(mut field) => Some(time(field.next(GENERALIZED_TIME)?)?),
            None => None,
        };
        Some(Self { hash, name_hash, key_hash, serial, good, from, until })
    }

    /// RFC 6960 section 4.1.1: the serial number, and digests of the issuer's name and key.
    fn is_for(&self, leaf: &CertificateDer<'_>, issuer: &CertificateDer<'_>) -> bool {
        let (Ok((_, leaf)), Ok((_, issuer))) = (X509Certificate::from_der(leaf), X509Certificate::from_der(issuer))
        else {
            return false;
        };
        let same = |bytes: &[u8], digest: &[u8]| match self.hash {
            SHA1 => Sha1::digest(bytes).as_slice() == digest,
            SHA256 => Sha256::digest(bytes).as_slice() == digest,
            _ => false,
        };
        leaf.raw_serial() == self.serial
            && same(leaf.issuer().as_raw(), self.name_hash)
            && same(&issuer.public_key().subject_public_key.data, self.key_hash)
    }
}

/// `YYYYMMDDHHMMSSZ` (RFC 5280 section 4.1.2.5.2).
fn time(text: &[u8]) -> Option<SystemTime> {
    let text = std::str::from_utf8(text).ok()?;
    let at = TimeZone::UTC.to_timestamp(DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?).ok()?;
    Some(super::store::time(at.as_second()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
        SigningKey,
    };
    use std::time::UNIX_EPOCH;

    fn element(identifier: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let length = match u8::try_from(content.len()) {
            Ok(short @ ..0x80) => vec![short],
            _ => [&[0x82][..], &u16::try_from(content.len()).unwrap().to_be_bytes()].concat(),
        };
        [&[identifier][..], &length, &content].concat()
    }

    struct World {
        issuer: CertifiedIssuer<'static, KeyPair>,
        chain: Vec<(usize, CertificateDer<'static>)>,
        dir: tempfile::TempDir,
    }

    /// What is said, and by whom.
    struct Said<'a> {
        status: &'a [u8],
        from: &'a str,
        until: Option<&'a str>,
        sha256: bool,
        serial: u8,
    }

    const GOOD: Said<'_> = Said {
        status: &[PLAIN_0, 0],
        from: "20260101000000Z",
        until: Some("20260108000000Z"),
        sha256: false,
        serial: 9,
    };

    impl World {
        fn new() -> Self {
            let mut params = CertificateParams::new([]).unwrap();
            params.distinguished_name.push(DnType::CommonName, "Authority");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
            let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
            params.serial_number = Some(9_u64.into());
            let leaf = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
            let chain = vec![(1, leaf.der().clone()), (20, issuer.der().clone())];
            Self { issuer, chain, dir: tempfile::tempdir().unwrap() }
        }

        fn responder(&self, change: impl FnOnce(&mut CertificateParams)) -> (CertificateDer<'static>, KeyPair) {
            let mut params = CertificateParams::new([]).unwrap();
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
            change(&mut params);
            let key = KeyPair::generate().unwrap();
            (params.signed_by(&key, &self.issuer).unwrap().der().clone(), key)
        }

        fn response(&self, said: &Said<'_>, key: &KeyPair, certificates: &[&[u8]]) -> Vec<u8> {
            let (_, issuer) = X509Certificate::from_der(&self.chain[1].1).unwrap();
            let key_bits = &issuer.public_key().subject_public_key.data;
            let name = issuer.subject().as_raw();
            let digest = |b: &[u8]| if said.sha256 { Sha256::digest(b).to_vec() } else { Sha1::digest(b).to_vec() };
            let algorithm = element(SEQUENCE, &[&element(OID, &[if said.sha256 { SHA256 } else { SHA1 }])]);
            let id = element(
                SEQUENCE,
                &[
                    &algorithm,
                    &element(OCTET_STRING, &[&digest(name)]),
                    &element(OCTET_STRING, &[&digest(key_bits)]),
                    &element(INTEGER, &[&[said.serial]]),
                ],
            );
            let time = |text: &str| element(GENERALIZED_TIME, &[text.as_bytes()]);
            let until = said.until.map(|text| element(FIELD_0, &[&time(text)])).unwrap_or_default();
            let answer = element(SEQUENCE, &[&id, said.status, &time(said.from), &until]);
            let by_key = element(0xA2, &[&element(OCTET_STRING, &[&[7; 20]])]);
            let data = element(SEQUENCE, &[&by_key, &time("20260101000000Z"), &element(SEQUENCE, &[&answer])]);
            // ecdsa-with-SHA256
            let by = element(SEQUENCE, &[&element(OID, &[&[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02]])]);
            let signature = element(BIT_STRING, &[&[0], &key.sign(&data).unwrap()]);
            let certificates = match certificates {
                [] => Vec::new(),
                list => element(FIELD_0, &[&element(SEQUENCE, list)]),
            };
            let basic = element(SEQUENCE, &[&data, &by, &signature, &certificates]);
            let kind = element(OID, &[&[0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01]]);
            let bytes = element(SEQUENCE, &[&kind, &element(OCTET_STRING, &[&basic])]);
            element(SEQUENCE, &[&element(ENUMERATED, &[&[0]]), &element(FIELD_0, &[&bytes])])
        }

        /// What comes of a response at noon of 4 January 2026.
        fn read(&self, response: &[u8]) -> Result<Staple, String> {
            let path = self.dir.path().join("ocsp.der");
            std::fs::write(&path, response).unwrap();
            let noon = UNIX_EPOCH + Duration::from_secs(1_767_528_000);
            match read(&path, "ocsp", &self.chain, noon) {
                Ok(Ok(staple)) => Ok(staple),
                Ok(Err(warning)) => Err(format!("warning: {warning}")),
                Err(fault) => Err(format!("fault: {fault}")),
            }
        }
    }

    #[test]
    fn a_good_response_is_stapled_until_it_runs_out() {
        let world = World::new();
        let (delegate, delegates) = world.responder(|_| ());
        for response in [
            world.response(&GOOD, world.issuer.key(), &[]),
            world.response(&Said { sha256: true, ..GOOD }, world.issuer.key(), &[]),
            world.response(&GOOD, &delegates, &[&delegate]),
        ] {
            let staple = world.read(&response).unwrap();
            assert_eq!(staple, Staple { response, until: UNIX_EPOCH + Duration::from_secs(1_767_830_400) });
        }
    }

    #[test]
    fn a_handshake_shows_the_response_while_it_is_in_force() {
        use crate::tls::{CertificateSet, Pair, Settings};
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
        params.serial_number = Some(9_u64.into());
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &issuer).unwrap();
        let chain = vec![(1, leaf.der().clone()), (20, issuer.der().clone())];
        let world = World { issuer, chain, dir: tempfile::tempdir().unwrap() };
        let response = world.response(&GOOD, world.issuer.key(), &[]);
        let write = |file: &str, bytes: &[u8]| std::fs::write(world.dir.path().join(file), bytes).unwrap();
        write("a.pem", format!("{}{}", leaf.pem(), world.issuer.pem()).as_bytes());
        write("a.key", key.serialize_pem().as_bytes());
        write("a.ocsp", &response);
        let pair = Pair { cert: "a.pem".into(), key: "a.key".into(), ocsp: Some("a.ocsp".into()) };
        let settings = Settings { certificates: vec![pair], ..Settings::default() };
        let build = |at: SystemTime| CertificateSet::build(&settings, world.dir.path(), Path::new("state"), at);
        let noon = UNIX_EPOCH + Duration::from_secs(1_767_528_000);
        let set = build(noon).unwrap();
        assert_eq!(set.files().len(), 3, "the response's file is watched too");
        let schemes = [rustls::SignatureScheme::ECDSA_NISTP256_SHA256];
        let shown = |set: &CertificateSet, at: SystemTime| {
            set.in_force(set.choose(Some("a.example"), &schemes).unwrap(), || at).ocsp.clone()
        };
        let week = Duration::from_secs(7 * 86_400);
        assert_eq!(shown(&set, noon), Some(response));
        assert_eq!(shown(&set, noon + week), None, "not a second longer than it is in force");
        assert!(set.due(noon).is_empty());
        assert!(set.due(noon + week)[0].contains("no longer stapled"));
        let late = build(noon + week).unwrap();
        assert_eq!(shown(&late, noon + week), None);
        assert!(late.warnings().iter().any(|warning| warning.to_string().contains("a.ocsp: the response ran out on ")));
        write("a.ocsp", b"garbage");
        let shown = build(noon).unwrap_err()[0].to_string();
        assert!(shown.contains("a.ocsp: this is no OCSP response"), "{shown}");
    }

    #[test]
    fn what_is_out_of_date_or_not_good_is_left_out() {
        let world = World::new();
        let revoked = element(0xA1, &[&element(GENERALIZED_TIME, &[b"20260101000000Z"])]);
        for (said, part) in [
            (Said { until: Some("20260104115959Z"), ..GOOD }, "ran out on 2026-01-04T11:59:59Z"),
            (Said { until: None, ..GOOD }, "does not say until when"),
            (Said { from: "20260104120501Z", ..GOOD }, "in force from 2026-01-04T12:05:01Z only"),
            (Said { status: &revoked, ..GOOD }, "does not say that the certificate is good"),
            (Said { status: &[0x82, 0], ..GOOD }, "does not say that the certificate is good"),
        ] {
            let shown = world.read(&world.response(&said, world.issuer.key(), &[])).unwrap_err();
            assert!(shown.starts_with("warning: ") && shown.contains(part), "{shown}\nlacks {part}");
        }
        let ahead = Said { from: "20260104120459Z", ..GOOD };
        assert!(world.read(&world.response(&ahead, world.issuer.key(), &[])).is_ok(), "clocks differ");
    }

    #[test]
    fn what_is_no_response_to_this_certificate_is_a_fault() {
        let world = World::new();
        let other = World::new();
        let (plain, plains) = world.responder(|params| params.extended_key_usages.clear());
        let (late, lates) = world.responder(|params| params.not_after = rcgen::date_time_ymd(2026, 1, 2));
        let (theirs, their_key) = other.responder(|_| ());
        let good = world.response(&GOOD, world.issuer.key(), &[]);
        for (response, part) in [
            (world.response(&Said { serial: 8, ..GOOD }, world.issuer.key(), &[]), "for another certificate"),
            (other.response(&GOOD, other.issuer.key(), &[]), "for another certificate"),
            (world.response(&GOOD, other.issuer.key(), &[]), "not signed by the certificate's issuer"),
            (world.response(&GOOD, &plains, &[&plain]), "not signed by the certificate's issuer"),
            (world.response(&GOOD, &lates, &[&late]), "not signed by the certificate's issuer"),
            (world.response(&GOOD, &their_key, &[&theirs]), "not signed by the certificate's issuer"),
            // tryLater
            (element(SEQUENCE, &[&element(ENUMERATED, &[&[3]])]), "no OCSP response that answers"),
            (b"text".to_vec(), "no OCSP response that answers"),
        ] {
            let shown = world.read(&response).unwrap_err();
            assert!(shown.starts_with("fault: ") && shown.contains(part), "{shown}\nlacks {part}");
        }
        for end in 0..good.len() {
            assert!(world.read(&good[..end]).unwrap_err().starts_with("fault: "), "{end}");
        }
        let alone = read(Path::new("/nowhere"), "ocsp", &world.chain, UNIX_EPOCH).unwrap_err().to_string();
        assert!(alone.starts_with("ocsp: cannot read "), "{alone}");
    }
}
