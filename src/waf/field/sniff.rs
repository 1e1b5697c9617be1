//! What a file is by its first bytes, against what its sender says it is.
//!
//! A file that says it is text and is a program, a picture that is none, an XML document that brings a document type
//! definition (and with it entities of its own, the way into XXE): each is refused whatever its name says. Only formats
//! with unmistakable marks are told apart; what is not known contradicts nothing. One look at the first kilobyte, and
//! for XML one pass over the content. Source: the WHATWG MIME Sniffing standard, section 6, for the marks.

use memchr::memmem;

/// Bytes in which a mark that need not come first must stand.
const HEAD: usize = 1024;

/// Marks of programs: they are no document, whatever they are called.
const PROGRAMS: [(&[u8], &str); 8] = [
    (b"\x7fELF", "is a program (ELF)"),
    (b"\xfe\xed\xfa\xce", "is a program (Mach-O)"),
    (b"\xfe\xed\xfa\xcf", "is a program (Mach-O)"),
    (b"\xce\xfa\xed\xfe", "is a program (Mach-O)"),
    (b"\xcf\xfa\xed\xfe", "is a program (Mach-O)"),
    (b"\xca\xfe\xba\xbe", "is a program (Java class or Mach-O)"),
    (b"\0asm", "is a program (WebAssembly)"),
    (b"\xac\xed\x00\x05", "is a serialised Java object"),
];

/// Media types, and the marks one of which their content begins with.
const MARKS: [(&str, &[&[u8]], &str); 9] = [
    ("image/png", &[b"\x89PNG\r\n\x1a\n"], "is no PNG image"),
    ("image/jpeg", &[b"\xff\xd8\xff"], "is no JPEG image"),
    ("image/gif", &[b"GIF87a", b"GIF89a"], "is no GIF image"),
    ("image/webp", &[b"RIFF"], "is no WebP image"),
    ("application/zip", &[b"PK\x03\x04", b"PK\x05\x06"], "is no ZIP archive"),
    ("application/gzip", &[b"\x1f\x8b"], "is no gzip file"),
    (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        &[b"PK\x03\x04"],
        "is no Office document",
    ),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", &[b"PK\x03\x04"], "is no Office document"),
    ("application/msword", &[b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"], "is no Word document"),
];

/// Why content cannot be what it is declared to be: the value of Content-Type, and all bytes. `None` if it can.
pub fn contradicts(declared: &[u8], content: &[u8]) -> Option<&'static str> {
    let essence = declared.split(|b| *b == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    if content.is_empty() {
        return None;
    }
    if let Some((_, what)) = PROGRAMS.iter().find(|(mark, _)| content.starts_with(mark)) {
        return Some(what);
    }
    let head = content.get(..HEAD).unwrap_or(content);
    // The letters alone may begin a text.
    if head.starts_with(b"MZ") && head.contains(&0) {
        return Some("is a program (PE)");
    }
    if let Some((_, marks, what)) = MARKS.iter().find(|(kind, ..)| kind.as_bytes() == essence) {
        return (!marks.iter().any(|mark| content.starts_with(mark))).then_some(what);
    }
    if essence == b"application/pdf" {
        return memmem::find(head, b"%PDF-").is_none().then_some("is no PDF document");
    }
    let xml = essence.ends_with(b"/xml") || essence.ends_with(b"+xml");
    let begins = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content).trim_ascii_start();
    if xml || begins.starts_with(b"<?xml") || begins.starts_with(b"<svg") {
        return definition(content);
    }
    None
}

/// An XML document that defines its own type, or hides in another encoding whether it does.
fn definition(content: &[u8]) -> Option<&'static str> {
    if content.contains(&0) || content.starts_with(b"\xff\xfe") || content.starts_with(b"\xfe\xff") {
        return Some("is XML in an encoding that is not UTF-8");
    }
    let declares = |word: &[u8]| {
        memmem::find_iter(content, b"<!")
            .any(|at| content.get(at + 2..at + 2 + word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word)))
    };
    (declares(b"DOCTYPE") || declares(b"ENTITY")).then_some("is XML with a document type definition")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_against_its_type() {
        for (declared, content, contradicts_it) in [
            ("text/markdown", &b"# Title\n\n```sh\n#!/bin/sh\n```"[..], false),
            ("text/markdown", b"\x7fELF\x02\x01", true),
            ("application/pdf", b"MZ\x90\0\x03", true),
            ("text/plain", b"MZ is a state of mind", false),
            ("application/pdf", b"%PDF-1.7\n", false),
            ("application/pdf", b"\r\n\r\n%PDF-1.4", false),
            ("Application/PDF; x=y", b"<script>", true),
            ("image/png", b"\x89PNG\r\n\x1a\n....", false),
            ("image/png", b"<svg onload=alert(1)>", true),
            ("image/jpeg", b"\xff\xd8\xff\xe0", false),
            ("image/gif", b"GIF89a<script>", false),
            ("image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg'/>", false),
            (
                "image/svg+xml",
                b"<?xml version='1.0'?><!doctype svg [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><svg/>",
                true,
            ),
            ("text/plain", b"\xef\xbb\xbf <?xml version='1.0'?><!DOCTYPE a>", true),
            ("application/xml", b"\xff\xfe<\0a\0", true),
            ("text/html", b"<!DOCTYPE html><p>", false),
            ("", b"", false),
            ("application/octet-stream", b"\0asm\x01", true),
            ("text/plain", b"\xac\xed\x00\x05sr", true),
        ] {
            let found = contradicts(declared.as_bytes(), content);
            assert_eq!(found.is_some(), contradicts_it, "{declared} {}: {found:?}", content.escape_ascii());
        }
    }
}
