//! `@detectSQLi` and `@detectXSS`.
//!
//! The detectors are a port of libinjection behind a trait of our own, so that another can take its place. A detector
//! that panics has met bytes its author did not foresee: the panic ends here and counts as a match, for a value that
//! breaks a parser of attacks is no value to let pass.
//!
//! Before a detector runs, one pass looks for a byte without which it cannot find anything. Cost of a full run: a few
//! microseconds for a short value, some ten per KiB.

use super::captures::Captures;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Something that recognises one kind of injection in a value.
trait Detector {
    /// Whether a value made of such bytes alone can be told clean at once.
    fn is_plain(byte: u8) -> bool;
    /// What was recognised: the fingerprint for the audit log.
    fn detect(value: &[u8]) -> Option<Fingerprint>;
}

/// A short text that names the shape of an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fingerprint {
    /// Up to eight token types, then zeros.
    Tokens([u8; 8]),
    /// The shape has no name: the value itself is what was found.
    Value,
}

/// SQL. One word of letters is one token, and no single word is an injection; digits split words (`1union`).
struct Sql;

impl Detector for Sql {
    fn is_plain(byte: u8) -> bool {
        byte.is_ascii_alphabetic()
    }

    fn detect(value: &[u8]) -> Option<Fingerprint> {
        let found = libinjectionrs::detect_sqli(value);
        if !found.is_injection() {
            return None;
        }
        let tokens = found.fingerprint.and_then(|tokens| tokens.as_bytes().try_into().ok());
        Some(Fingerprint::Tokens(tokens.unwrap_or_default()))
    }
}

/// HTML. Without a bracket, a quote, a slash or a blank no tag and no second attribute can begin.
struct Html;

impl Detector for Html {
    fn is_plain(byte: u8) -> bool {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
    }

    fn detect(value: &[u8]) -> Option<Fingerprint> {
        libinjectionrs::detect_xss(value).is_injection().then_some(Fingerprint::Value)
    }
}

/// Whether the value is SQL injected into a statement. With `want`, group 0 is the fingerprint.
pub(super) fn sql(value: &[u8], want: bool, captures: &mut Captures) -> bool {
    run::<Sql>(value, want, captures)
}

/// Whether the value is script injected into a page. With `want`, group 0 is the value.
pub(super) fn html(value: &[u8], want: bool, captures: &mut Captures) -> bool {
    run::<Html>(value, want, captures)
}

fn run<D: Detector>(value: &[u8], want: bool, captures: &mut Captures) -> bool {
    if value.iter().all(|&byte| D::is_plain(byte)) {
        return false;
    }
    let found = match catch_unwind(AssertUnwindSafe(|| D::detect(value))) {
        Ok(Some(found)) => found,
        Ok(None) => return false,
        Err(_) => Fingerprint::Value,
    };
    if want {
        match found {
            Fingerprint::Tokens(tokens) => captures.push(tokens.split(|&byte| byte == 0).next()),
            Fingerprint::Value => captures.push(Some(value)),
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::vectors::noise;

    #[test]
    fn attacks_and_prose() {
        let mut captures = Captures::new();
        for attack in [&b"1' OR '1'='1"[..], b"1 UNION SELECT 1,2", b"1;DROP TABLE users--"] {
            captures.clear();
            assert!(sql(attack, true, &mut captures), "{}", attack.escape_ascii());
            let fingerprint = captures.get(0).unwrap();
            assert!(
                (2..=5).contains(&fingerprint.len()) && !fingerprint.contains(&0),
                "{}",
                fingerprint.escape_ascii()
            );
        }
        for attack in [&b"<script>alert(1)</script>"[..], b"x\" onload=alert(1)", b"<a href=javascript:a()>"] {
            captures.clear();
            assert!(html(attack, true, &mut captures), "{}", attack.escape_ascii());
            assert_eq!(captures.get(0), Some(attack));
        }
        for prose in [&b""[..], b"hello world", b"O'Neil", b"a < b", b"select one"] {
            assert!(
                !sql(prose, false, &mut captures) && !html(prose, false, &mut captures),
                "{}",
                prose.escape_ascii()
            );
        }
    }

    /// The short cut may only skip what the detector would have let pass.
    #[test]
    fn the_short_cut_hides_nothing() {
        let words = [
            "SELECT", "UNION", "NULL", "sleep", "WAITFOR", "x", "OR", "TRUE", "DROP", "EXEC", "INTO", "binary", "USER",
            "onload", "script", "e", "IS",
        ];
        let mut seed = 3;
        for round in 0..4000 {
            let picks = noise(&mut seed, &(0..17).collect::<Vec<u8>>(), 1 + round % 4);
            let word: String = picks.iter().map(|&pick| words[usize::from(pick)]).collect();
            assert_eq!(Sql::detect(word.as_bytes()), None, "{word}");
            let word = noise(&mut seed, b"abcdefghijklmnopqrstuvwxyzABCXN0123456789._-", 1 + round % 30);
            assert_eq!(Html::detect(&word), None, "{}", word.escape_ascii());
            let letters: Vec<u8> = word.into_iter().filter(u8::is_ascii_alphabetic).collect();
            assert_eq!(Sql::detect(&letters), None, "{}", letters.escape_ascii());
        }
    }
}
