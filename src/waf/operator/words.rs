//! Values that `@detectSQLi` need not look at: words and numbers with ordinary punctuation between them.
//!
//! The detector turns a value into a few letters, one for each token, and looks them up among 8,367 shapes of attacks.
//! No shape is made of barewords, numbers, operators, commas, colons and dots alone: every one holds a keyword, a
//! string, a bracket, a comment or a variable. So a value of nothing but those is no attack, and neither is one that
//! begins with more barewords than a shape has letters. What counts as a keyword is read from the detector's own table.
//! Whatever is not plain to see (quotes, brackets, two operators in a row) goes to the detector.

use crate::hashing::Set;
use libinjectionrs::sqli::sqli_data::{CharType, SQL_KEYWORDS, get_char_type};
use std::borrow::Cow;
use std::sync::LazyLock;

/// The detector reads at most five tokens that it does not fold, and barewords are never folded. More are not needed.
const ENOUGH_WORDS: usize = 7;
/// Longest word that is looked up; the table has none as long.
const LONGEST: usize = 48;
/// Longest run of letters and digits, beginning with a digit, whose parts are looked up.
const LONGEST_MIXED: usize = 40;

/// Most bytes that looking up the parts of words may copy.
const MOST_COPIED: usize = 16 << 20;

/// All words of the table, and the first words of its phrases, in upper case.
static WORDS: LazyLock<Set<&'static [u8]>> = LazyLock::new(|| {
    let words = SQL_KEYWORDS.iter().filter(|keyword| keyword.token_type != b'F').map(|keyword| keyword.word);
    words.flat_map(|word| [word, word.split(' ').next().unwrap_or(word)]).map(str::as_bytes).collect()
});

/// Whether a value is made so, or begins with enough words.
pub(super) fn are_all(value: &[u8]) -> bool {
    // The detector reads a value with quotes once more for each kind, as if it stood behind one.
    if value.iter().any(|byte| matches!(byte, b'\'' | b'"')) {
        return false;
    }
    let (mut at, mut words_only, mut words) = (0, true, 0);
    while let Some(byte) = value.get(at).copied() {
        let rest = value.get(at..).unwrap_or_default();
        at += match get_char_type(byte) {
            CharType::White => 1,
            CharType::Word
            | CharType::BString
            | CharType::EString
            | CharType::NQString
            | CharType::QString
            | CharType::UString
            | CharType::XString => {
                let length = rest.iter().position(|byte| ends_a_word(*byte)).unwrap_or(rest.len());
                let Some(word) = rest.get(..length).filter(|word| is_bare(word)) else { return false };
                words += 1;
                if words_only && words == ENOUGH_WORDS {
                    return true;
                }
                word.len()
            }
            CharType::Number => {
                words_only = false;
                let Some(length) = number(rest) else { return false };
                length
            }
            CharType::Comma => {
                words_only = false;
                1
            }
            CharType::Op1 | CharType::Op2 | CharType::Unary | CharType::Dash | CharType::Slash => {
                words_only = false;
                let alone = rest.get(1).is_none_or(|next| !is_operator(*next));
                if !alone || !matches!(byte, b'+' | b'-' | b'*' | b'/' | b'%' | b'=' | b'<' | b'>' | b':') {
                    return false;
                }
                1
            }
            _ => return false,
        };
    }
    true
}

/// The value, with dots that mean nothing to the detector written as letters; `None` for one that would still take it
/// too long, which no honest value does: kilobytes of backticks with hardly anything between them.
///
/// At each dot (or backtick) of a word the detector looks up all that stands before it, so a long word full of dots
/// costs the square of its length: seconds for 100 kB. Nothing longer than [`LONGEST`] is in the table, and a word so
/// long is a bareword whatever it holds; so a dot that far behind any place where a word can begin may be any letter.
pub(super) fn without_deep_dots(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut calm = Cow::Borrowed(value);
    // Where the present run of bytes that can be one word begins, and what the detector will copy.
    let (mut run, mut copied) = (0, 0usize);
    // Where a word may have begun at the latest, and behind which dots the last three parts of it begin.
    let (mut start, mut parts) = (0, [0; 3]);
    for (at, byte) in value.iter().enumerate() {
        if ends_a_word(*byte) || *byte < 0x20 {
            (run, start, parts) = (at + 1, at + 1, [at + 1; 3]);
        } else if byte.is_ascii_digit() {
            // What begins with digits is a number, and a word begins behind it.
            start = at + 1;
        } else if *byte == b'`' {
            // Where a word could begin, it begins a name in backticks, and a word may follow that.
            start = at + 1;
            copied += at - run;
        } else if *byte == b'.' {
            copied += at - run;
            let ends_a_token = |from: usize| from == at || value.get(from..at).is_some_and(is_known);
            if parts.into_iter().chain([start]).any(ends_a_token) {
                start = at + 1;
            } else if at - start > LONGEST
                && let Some(dot) = calm.to_mut().get_mut(at)
            {
                *dot = b'x';
                copied -= at - run;
            }
            parts = [parts[1], parts[2], at + 1];
        }
    }
    (copied <= MOST_COPIED).then_some(calm)
}

fn is_operator(byte: u8) -> bool {
    use CharType::{Bang, Dash, Hash, Op1, Op2, Slash, Unary};
    matches!(get_char_type(byte), Bang | Dash | Hash | Op1 | Op2 | Slash | Unary)
}

fn ends_a_word(byte: u8) -> bool {
    static ENDS: LazyLock<[bool; 256]> = LazyLock::new(|| {
        let mut ends = [false; 256];
        for byte in b" []{}<>:\\?=@!#~+-*/&|^%(),';\t\n\x0B\x0C\r\"\xA0\0" {
            if let Some(end) = ends.get_mut(usize::from(*byte)) {
                *end = true;
            }
        }
        ends
    });
    ENDS.get(usize::from(byte)) == Some(&true)
}

/// Whether a word is none of SQL, nor is what stands before a dot in it.
fn is_bare(word: &[u8]) -> bool {
    if word.is_empty() || word.iter().any(|byte| matches!(byte, b'`' | b'$')) {
        return false;
    }
    let dots = word.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at);
    dots.chain([word.len()]).all(|at| !is_known(word.get(..at).unwrap_or_default()))
}

fn is_known(word: &[u8]) -> bool {
    let mut upper = [0u8; LONGEST];
    let Some(upper) = upper.get_mut(..word.len()) else { return false };
    upper.copy_from_slice(word);
    upper.make_ascii_uppercase();
    WORDS.contains(&*upper)
}

/// The length of a number, or of letters and digits that begin with one: however they are cut into numbers and words,
/// no word of SQL is among them. `None` if that is not plain.
fn number(rest: &[u8]) -> Option<usize> {
    let length = rest.iter().position(|byte| ends_a_word(*byte)).unwrap_or(rest.len());
    let run = rest.get(..length)?;
    if run.iter().all(u8::is_ascii_digit) {
        return Some(length);
    }
    let digits = run.iter().position(|byte| !byte.is_ascii_digit())?;
    let decimals = run.get(digits + 1..).unwrap_or_default();
    if digits > 0 && run.get(digits) == Some(&b'.') && decimals.iter().all(u8::is_ascii_digit) {
        return Some(length);
    }
    if length > LONGEST_MIXED || digits == 0 || !run.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
        return None;
    }
    let mut starts = (1..length).filter(|at| run.get(*at).is_some_and(|byte| !byte.is_ascii_digit()));
    let known = starts.any(|at| run.get(at..).is_some_and(is_known));
    (!known).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::vectors::noise;

    #[test]
    fn words_and_numbers() {
        assert!(WORDS.iter().all(|word| word.len() < LONGEST));
        for plain in [
            "json.rows.12.customer",
            "Jane Smith",
            "12.5",
            "2026-11-26",
            "9f2c7d1e-4b8a-4e0c",
            "key=value",
            "a, b, c",
            "Moved team target this plan owner slow while branch in or and select",
            "",
        ] {
            assert!(are_all(plain.as_bytes()), "{plain}");
        }
        for other in [
            "1 or 1",
            "union",
            "select.x",
            "9union",
            "1--",
            "a/*b",
            "O'Neil",
            "a(b)",
            "x;y",
            "natural join x",
            "@a",
            "a&&b",
            "`a`",
            "$1",
            "#",
            "1.2.3",
        ] {
            assert!(!are_all(other.as_bytes()), "{other}");
        }
    }

    /// Dots may only be written as letters where the detector sees no difference.
    #[test]
    fn deep_dots_mean_nothing() {
        let pieces = [
            "a",
            "b1",
            "select",
            "union",
            ".",
            ".",
            ".",
            ".",
            "md5",
            "dbms_lock",
            "1",
            "x",
            "longerword",
            "`",
            "_",
            "from",
            "utl_inaddr",
            "get_host_address",
            "12.5",
            "e",
            "0x1f",
            "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
        ];
        let others = [" ", "--", "'", "(", ")", "=", ",", "or", "1", "/*", "\""];
        let picks: Vec<u8> = (0..u8::try_from(pieces.len()).unwrap()).collect();
        let (mut seed, mut changed, mut found) = (9, 0, 0);
        for round in 0..60_000 {
            let mut text = String::new();
            for pick in noise(&mut seed, &picks, 4 + round % 40) {
                text.push_str(pieces[usize::from(pick)]);
                if noise(&mut seed, b"0123456789abcdefghijklmnopqrstuv", 1) == b"0" {
                    text.push_str(others[usize::from(noise(&mut seed, &picks, 1)[0]) % others.len()]);
                }
            }
            let calm = without_deep_dots(text.as_bytes()).unwrap();
            changed += usize::from(*calm != *text.as_bytes());
            let (one, two) = (libinjectionrs::detect_sqli(text.as_bytes()), libinjectionrs::detect_sqli(&calm));
            found += usize::from(one.is_injection());
            let shape = |result: libinjectionrs::DetectionResult| result.fingerprint.map(|f| f.as_bytes().to_vec());
            assert_eq!(one.is_injection(), two.is_injection(), "{text}");
            assert_eq!(shape(one), shape(two), "{text}");
        }
        assert!(changed > 1_000 && found > 100, "{changed} {found}");
        let long = ".a".repeat(50_000);
        let calm = without_deep_dots(long.as_bytes()).unwrap();
        assert!(calm.iter().filter(|byte| **byte == b'.').count() < LONGEST);
        assert!(without_deep_dots("a`".repeat(50_000).as_bytes()).is_none());
    }

    /// What this module rests on: no shape is made of these tokens alone.
    #[test]
    fn no_shape_is_made_of_words_and_numbers() {
        let shapes = SQL_KEYWORDS.iter().filter(|keyword| keyword.token_type == b'F').map(|keyword| keyword.word);
        let shapes: Vec<&str> = shapes.map(|word| word.get(1..).unwrap()).collect();
        assert!(shapes.len() > 8_000);
        let harmless: Vec<_> = shapes.iter().filter(|shape| shape.chars().all(|c| "N1O,.:".contains(c))).collect();
        assert!(harmless.is_empty(), "{harmless:?}");
        let longest = shapes.iter().map(|shape| shape.len()).max().unwrap();
        assert!(longest < ENOUGH_WORDS - 1, "{longest}");
    }
}
