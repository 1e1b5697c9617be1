//! `@detectSQLi` and `@detectXSS`.
//!
//! SQL is recognised by a detector of our own ([`super::sql`]), HTML by a port of libinjection behind the same trait. A
//! detector that panics has met bytes its author did not foresee: the panic ends here and counts as a match, for a value
//! that breaks a parser of attacks is no value to let pass.
//!
//! Who knows the bytes of a value asks first whether a detector can find anything in them.

use super::{captures::Captures, sql};
use crate::byteset::ByteSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

/// Something that recognises one kind of injection in a value.
trait Detector {
    /// Whether a value of these bytes alone can be told clean at once.
    fn is_plain(bytes: ByteSet) -> bool;
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

    fn detect(value: &[u8]) -> Option<Fingerprint> {
        sql::detect(value).map(Fingerprint::Tokens)
    }
}

/// HTML. Without `<` no tag and no comment can begin, without `=` no attribute has a value.
struct Html;

impl Detector for Html {
    fn is_plain(bytes: ByteSet) -> bool {
        !bytes.contains(b'<') && !bytes.contains(b'=')
    }

    fn detect(value: &[u8]) -> Option<Fingerprint> {
        memchr::memchr2(b'<', b'=', value)?;
        libinjectionrs::detect_xss(value).is_injection().then_some(Fingerprint::Value)
    }
}

/// Makes what the detector of SQL needs, so that no request waits for it.
pub(super) fn prepare() {
    sql::detect(b"1");
}

/// Whether the value is SQL injected into a statement. With `want`, group 0 is the fingerprint.
pub(super) fn is_sql(value: &[u8], want: bool, captures: &mut Captures) -> bool {
    run::<Sql>(value, want, captures)
}

/// Whether the value is script injected into a page. With `want`, group 0 is the value.
pub(super) fn is_html(value: &[u8], want: bool, captures: &mut Captures) -> bool {
    run::<Html>(value, want, captures)
}

/// What `@detectSQLi` says of the value, for those who weigh it with other signs.
pub(crate) fn reads_as_sql(value: &[u8]) -> bool {
    is_sql(value, false, &mut Captures::new())
}

/// What `@detectXSS` says of the value, for those who weigh it with other signs.
pub(crate) fn reads_as_html(value: &[u8]) -> bool {
    is_html(value, false, &mut Captures::new())
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
            assert!(is_sql(attack, true, &mut captures), "{}", attack.escape_ascii());
            let fingerprint = captures.get(0).unwrap();
            assert!(
                (2..=5).contains(&fingerprint.len()) && !fingerprint.contains(&0),
                "{}",
                fingerprint.escape_ascii()
            );
        }
        for attack in [&b"<script>alert(1)</script>"[..], b"x\" onload=alert(1)", b"<a href=javascript:a()>"] {
            captures.clear();
            assert!(is_html(attack, true, &mut captures), "{}", attack.escape_ascii());
            assert_eq!(captures.get(0), Some(attack));
        }
        for prose in [&b""[..], b"hello world", b"O'Neil", b"a < b", b"select one"] {
            assert!(
                !is_sql(prose, false, &mut captures) && !is_html(prose, false, &mut captures),
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
            let pieces = picks.iter().map(|&pick| words[usize::from(pick)]);
            // Every other value of letters alone, which is what a short cut takes.
            let letters = |word: &&str| round % 2 == 0 || word.bytes().all(|byte| byte.is_ascii_alphabetic());
            let name: String = pieces.filter(letters).collect();
            if Sql::is_plain(ByteSet::of(name.as_bytes())) {
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
