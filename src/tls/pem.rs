//! PEM files (RFC 7468), read so that a fault can name the line.
//!
//! Text between sections is ignored, as OpenSSL does. Contents of key files are never repeated in a fault.

use crate::fault::Fault;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use std::io::Read;
use std::path::Path;

/// Largest file, in bytes; a chain of ten certificates has some twenty thousand.
const MAX_FILE: u64 = 1 << 20;

/// One `-----BEGIN …-----` to its `-----END …-----`.
struct Section {
    label: String,
    /// Of its first line, from 1.
    line: usize,
    text: String,
}

/// Reads a certificate chain: each certificate with the line it begins on, at least one.
pub(super) fn chain(path: &Path, key: &str) -> Result<Vec<(usize, CertificateDer<'static>)>, Fault> {
    let mut chain = Vec::new();
    for section in sections(path, key)? {
        if section.label == "CERTIFICATE" {
            let certificate = CertificateDer::from_pem_slice(section.text.as_bytes());
            chain.push((section.line, certificate.map_err(|_| undecodable(path, &section))?));
        }
    }
    if chain.is_empty() {
        let mend =
            "write a PEM file with -----BEGIN CERTIFICATE----- in it; from DER: `openssl x509 -inform der -in FILE`";
        return Err(Fault::file(path, (0, 0), "", "there is no certificate in this file", mend));
    }
    Ok(chain)
}

/// Reads the first private key of a file.
pub(super) fn private_key(path: &Path, key: &str) -> Result<PrivateKeyDer<'static>, Fault> {
    for section in sections(path, key)? {
        // The older form says so in a header line within the section.
        if section.label == "ENCRYPTED PRIVATE KEY" || section.text.contains("Proc-Type: 4,ENCRYPTED") {
            let mend =
                "decrypt it with `openssl pkey -in FILE -out PLAIN` and protect the file: mode 0600, the gate's user";
            return Err(Fault::file(path, (section.line, 0), "", "the private key is encrypted", mend));
        }
        if section.label.ends_with("PRIVATE KEY") {
            return PrivateKeyDer::from_pem_slice(section.text.as_bytes()).map_err(|_| undecodable(path, &section));
        }
    }
    let mend = "write a PEM file with -----BEGIN PRIVATE KEY----- in it; from DER: `openssl pkey -inform der -in FILE`";
    Err(Fault::file(path, (0, 0), "", "there is no private key in this file", mend))
}

/// Reads revocation lists: one in DER, or those in PEM, at least one.
pub(super) fn revocations(path: &Path, key: &str) -> Result<Vec<CertificateRevocationListDer<'static>>, Fault> {
    let bytes = bytes(path, key)?;
    // A DER sequence; no text begins so.
    if bytes.first() == Some(&0x30) {
        return Ok(vec![bytes.into()]);
    }
    let mut lists = Vec::new();
    for section in split(&String::from_utf8_lossy(&bytes), path)? {
        if section.label == "X509 CRL" {
            let list = CertificateRevocationListDer::from_pem_slice(section.text.as_bytes());
            lists.push(list.map_err(|_| undecodable(path, &section))?);
        }
    }
    if lists.is_empty() {
        let mend = "write a file in DER, or in PEM with -----BEGIN X509 CRL----- in it";
        return Err(Fault::file(path, (0, 0), "", "there is no revocation list in this file", mend));
    }
    Ok(lists)
}

fn undecodable(path: &Path, section: &Section) -> Fault {
    let inner = section.text.lines().enumerate().skip(1);
    let base64 = |line: &str| line.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/= \t\r".contains(&b));
    let bad = inner.filter(|(_, line)| !line.starts_with("-----END")).find(|(_, line)| !base64(line));
    let line = section.line + bad.map_or(0, |(offset, _)| offset);
    let what = format!("what stands between BEGIN and END {} is not base64", section.label);
    Fault::file(path, (line, 0), "", what, "copy the file anew from where it was issued")
}

fn sections(path: &Path, key: &str) -> Result<Vec<Section>, Fault> {
    split(&String::from_utf8_lossy(&bytes(path, key)?), path)
}

/// A whole file of bounded size.
pub(super) fn bytes(path: &Path, key: &str) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        let mend = match error.kind() {
            std::io::ErrorKind::PermissionDenied => "make it readable for the user the gate runs as",
            _ => "write the path of a file that is there; a relative one starts at the configuration file",
        };
        return Err(Fault::key(key, format!("cannot read {}: {error}", path.display()), mend));
    }
    if bytes.len() as u64 > MAX_FILE {
        let what = format!("{} is larger than {MAX_FILE} bytes", path.display());
        return Err(Fault::key(key, what, "is this the right file?"));
    }
    Ok(bytes)
}

fn split(text: &str, path: &Path) -> Result<Vec<Section>, Fault> {
    let marker = |line: &str, kind: &str| {
        line.trim_end().strip_prefix(kind).and_then(|rest| rest.strip_suffix("-----")).map(str::to_owned)
    };
    let unfinished = |section: &Section| {
        let what = format!("-----BEGIN {}----- has no -----END {0}-----", section.label);
        Fault::file(path, (section.line, 1), "", what, "the file was cut off: copy it anew from where it was issued")
    };
    let (mut sections, mut open) = (Vec::new(), None::<Section>);
    for (line, number) in text.lines().zip(1_usize..) {
        if let Some(label) = marker(line, "-----BEGIN ") {
            if let Some(section) = open {
                return Err(unfinished(&section));
            }
            open = Some(Section { label, line: number, text: String::new() });
        } else if line.starts_with("-----BEGIN") {
            let mend = "the file was cut off or edited: copy it anew from where it was issued";
            return Err(Fault::file(path, (number, 1), "", "this -----BEGIN line is not whole", mend));
        }
        if let Some(section) = &mut open {
            section.text.push_str(line.trim_end());
            section.text.push('\n');
            if marker(line, "-----END ").is_some_and(|label| label == section.label) {
                sections.extend(open.take());
            }
        }
    }
    match open {
        Some(section) => Err(unfinished(&section)),
        None => Ok(sections),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    const GOOD: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    #[test]
    fn sections_are_found_with_their_lines() {
        let file = file(format!("subject=/CN=x\r\n{GOOD}\n{}", GOOD.replace('\n', "\r\n")).as_bytes());
        let chain = chain(file.path(), "cert").unwrap();
        assert_eq!(
            chain.iter().map(|(line, der)| (*line, der.as_ref())).collect::<Vec<_>>(),
            [(2, &[0_u8, 0, 0][..]), (6, &[0, 0, 0][..])]
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let cut = GOOD.replace("-----END CERTIFICATE-----\n", "");
        for (text, line, part) in [
            (String::new(), 0, "no certificate in this file"),
            ("\u{30}\u{82}\u{1}binary".into(), 0, "no certificate in this file"),
            (cut.clone(), 1, "has no -----END CERTIFICATE-----"),
            (format!("\n{cut}{GOOD}"), 2, "has no -----END CERTIFICATE-----"),
            (format!("{GOOD}-----BEGIN CERTIF"), 4, "-----BEGIN line is not whole"),
            (GOOD.replace("AAAA", "AAAA\nA!AA"), 3, "is not base64"),
            (GOOD.replace("AAAA", "AAAAA"), 1, "is not base64"),
        ] {
            let file = file(text.as_bytes());
            let shown = chain(file.path(), "cert").unwrap_err().to_string();
            let place = if line == 0 { ": ".into() } else { format!(":{line}:") };
            assert!(shown.starts_with(&format!("{}{place}", file.path().display())), "{shown}");
            assert!(shown.contains(part), "{shown}");
        }
    }

    #[test]
    fn keys_that_cannot_be_used_say_why() {
        for (text, part) in [
            (GOOD.to_owned(), "no private key"),
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n".into(), "encrypted"),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"
                    .into(),
                "encrypted",
            ),
            ("-----BEGIN PRIVATE KEY-----\nSECRET?\n-----END PRIVATE KEY-----\n".into(), "not base64"),
        ] {
            let file = file(text.as_bytes());
            let shown = private_key(file.path(), "key").unwrap_err().to_string();
            assert!(shown.contains(part) && !shown.contains("SECRET"), "{shown}");
        }
        let parameters = "-----BEGIN EC PARAMETERS-----\nAAAA\n-----END EC PARAMETERS-----\n";
        let file =
            file(format!("{parameters}-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----").as_bytes());
        assert!(matches!(private_key(file.path(), "key"), Ok(PrivateKeyDer::Sec1(_))));
        assert!(
            private_key(Path::new("/nowhere"), "certificates[0].key").unwrap_err().to_string().starts_with("certif")
        );
    }
}
