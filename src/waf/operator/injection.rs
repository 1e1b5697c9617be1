//! `@detectSQLi` and `@detectXSS`.
//!
//! The detectors are a port of libinjection behind a trait of our own, so that another can take its place. A detector
//! that panics has met bytes its author did not foresee: the panic ends here and counts as a match, for a value that
//! breaks a parser of attacks is no value to let pass.
//!
//! Before a detector runs, one pass looks for a byte without which it cannot find anything. Cost of a full run: a few
//! microseconds for a short value, some ten per KiB.

use super::{captures::Captures, words};
use crate::byteset::ByteSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

/// Something that recognises one kind of injection in a value.
trait Detector {
    /// Whether a value of these bytes alone can be told clean at once.
    fn is_plain(bytes: ByteSet) -> bool;
    /// Whether a value of another kind can.
    fn is_harmless(value: &[u8]) -> bool;
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

/// SQL. One word is one token, and no single word or number is an injection; digits before letters may be two
/// (`1union`).
struct Sql;

impl Detector for Sql {
    fn is_plain(bytes: ByteSet) -> bool {
        static LETTERS: LazyLock<ByteSet> = LazyLock::new(|| ByteSet::of_those(|b| b.is_ascii_alphabetic()));
        static DIGITS: LazyLock<ByteSet> = LazyLock::new(|| ByteSet::of_those(|b| b.is_ascii_digit()));
        bytes.within(*LETTERS) || bytes.within(*DIGITS)
    }

    fn is_harmless(value: &[u8]) -> bool {
        words::are_all(value)
    }

    fn detect(value: &[u8]) -> Option<Fingerprint> {
        let Some(calm) = words::without_deep_dots(value) else { return Some(Fingerprint::Value) };
        let found = libinjectionrs::detect_sqli(&calm);
        if !found.is_injection() {
            return None;
        }
        let tokens = found.fingerprint.and_then(|tokens| tokens.as_bytes().try_into().ok());
        Some(Fingerprint::Tokens(tokens.unwrap_or_default()))
    }
}

/// HTML. Without `<` no tag and no comment can begin, without `=` no attribute has a value.
struct Html;

impl Detector for Html {
    fn is_plain(bytes: ByteSet) -> bool {
        !bytes.contains(b'<') && !bytes.contains(b'=')
    }

    fn is_harmless(_: &[u8]) -> bool {
        false
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

/// Whether a value of these bytes cannot be SQL.
pub(super) fn cannot_be_sql(bytes: ByteSet) -> bool {
    Sql::is_plain(bytes)
}

/// Whether a value of these bytes cannot be script.
pub(super) fn cannot_be_html(bytes: ByteSet) -> bool {
    Html::is_plain(bytes)
}

fn run<D: Detector>(value: &[u8], want: bool, captures: &mut Captures) -> bool {
    if D::is_plain(ByteSet::of(value)) || D::is_harmless(value) {
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

    /// The short cuts may only skip what the detector would have let pass.
    #[test]
    fn the_short_cuts_hide_nothing() {
        let words = [
            "SELECT",
            "UNION",
            "NULL",
            "sleep",
            "WAITFOR",
            "x",
            "OR",
            "TRUE",
            "DROP",
            "EXEC",
            "INTO",
            "binary",
            "USER",
            "onload",
            "script",
            "e",
            "IS",
            ".",
            ".",
            "1",
            "_",
            "json",
            "dbms_lock",
            "0x1f",
            " ",
            " ",
            " ",
            " ",
            ",",
            "-",
            "-",
            ":",
            "/",
            "=",
            "*",
            "+",
            "<",
            "12.5",
            "7",
            "1e3",
            "0b1",
            "natural",
            "join",
            "group",
            "by",
            "at",
            "time",
            "a",
            "b",
            "n",
            "q",
            "u",
            "2026-11-26",
            "9f2c7d1e",
            "9union",
            "Jane",
            "Smith",
            "the",
            "of",
            "%",
            "~",
            "\u{e9}",
            "\u{a0}",
            "current",
            "date",
            "\t",
            "in",
            "boolean",
            "mode",
            "web-7f3a91c2",
            "a@b.c",
            "#",
            "?",
            ";",
            "f",
            "d",
        ];
        let (mut seed, mut short_cuts) = (3, 0);
        let picks: Vec<u8> = (0..u8::try_from(words.len()).unwrap()).collect();
        for round in 0..120_000 {
            let picks = noise(&mut seed, &picks, 1 + round % 12);
            let name: String = picks.iter().map(|&pick| words[usize::from(pick)]).collect();
            if Sql::is_plain(ByteSet::of(name.as_bytes())) || Sql::is_harmless(name.as_bytes()) {
                short_cuts += 1;
                assert_eq!(Sql::detect(name.as_bytes()), None, "{name}");
            }
            if round % 6 > 0 {
                continue;
            }
            let text: Vec<u8> = noise(&mut seed, b"on loadsrctyle'\"`/>!-?&;:x\n\0#[]iffhref", round % 40);
            assert!(Html::is_plain(ByteSet::of(&text)));
            assert_eq!(Html::detect(&text), None, "{}", text.escape_ascii());
        }
        assert!(short_cuts > 15_000, "{short_cuts}");
    }
}
