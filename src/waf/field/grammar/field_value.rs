//! `field-value`: of a header field that nobody described (RFC 9110, section 5.5).
//!
//! What clients, proxies and libraries put into fields of their own: tokens, numbers, lists of `name=value`, addresses,
//! quoted strings, JSON. Narrower than the standard: no angle bracket, backtick, backslash, `^` or `|`, no `${` and
//! `$(`, no call, no brace outside of JSON, no dot segment, apostrophes only within words, quotes only around something.
//! What that leaves is words, and for the scorer.

use super::Fit;
use super::plain::{scheme_of_script, utf7, word};
use super::uri::encoding;
use crate::field::text::nameable;

/// Bytes of a value.
const MOST: usize = 4096;

/// Whether a field of any client might have this value.
pub(super) fn fits(value: &[u8]) -> Fit {
    if value.len() > MOST {
        return Err("longer than 4096 bytes");
    }
    let text = std::str::from_utf8(value).map_err(|_| "not UTF-8")?;
    let json = text.starts_with(['{', '[']) && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    characters(text, json)?;
    if value.contains(&b'%') {
        triplets(value)?;
    }
    if scheme_of_script(value) || utf7(value) {
        return Err("a script's address, or UTF-7");
    }
    word(value)
}

/// Every character, with what stands around it.
fn characters(text: &str, json: bool) -> Fit {
    let mut before = None::<char>;
    let mut quoted = false;
    let mut dots = 0usize;
    for (at, c) in text.char_indices() {
        let after = text.get(at + c.len_utf8()..).and_then(|rest| rest.chars().next());
        let letter = |c: Option<char>| c.is_some_and(char::is_alphabetic);
        let sound = match c {
            '<' | '>' | '`' | '\\' | '^' | '|' => false,
            '{' | '}' => json,
            '$' => !matches!(after, Some('(' | '{')),
            '\'' => letter(before) && letter(after),
            '(' => !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, ')' | ']' | '_')),
            '/' => dots < 2 && !(before == Some('/') && after == Some('/')),
            '*' => (before != Some('/') && after != Some('/')) || text.contains("*/*"),
            '"' if json => true,
            // It opens where a value begins, and closes where one ends.
            '"' => {
                quoted = !quoted;
                let edge = if quoted { before } else { after };
                edge.is_none_or(|c| matches!(c, ' ' | '\t' | ',' | ';' | '=' | ':' | '(' | ')' | '/'))
            }
            '\t' | ' '..='~' => true,
            c => nameable(c),
        };
        if !sound {
            return Err("a character that stands in no such value, or not there");
        }
        dots = if c == '.' { dots + 1 } else { 0 };
        before = Some(c);
    }
    if dots == 2 {
        return Err("a dot segment");
    }
    if quoted { Err("a quote that does not close") } else { Ok(()) }
}

/// A `%` is well-formed encoding, of nothing that is not let through itself; or it ends a number.
fn triplets(value: &[u8]) -> Fit {
    const NEVER: [&[u8]; 8] = [b"%27", b"%2e", b"%2f", b"%3c", b"%3e", b"%5c", b"%60", b"%25"];
    if value.windows(2).all(|pair| !matches!(pair, [a, b'%'] if !a.is_ascii_digit()))
        && value.first() != Some(&b'%')
        && value.windows(2).all(|pair| !matches!(pair, [b'%', b] if b.is_ascii_alphanumeric()))
    {
        return Ok(());
    }
    encoding(value)?;
    // An address in an address is encoded too; its slashes follow a scheme.
    let address = value.windows(9).any(|part| part.eq_ignore_ascii_case(b"%3a%2f%2f"));
    let found = value
        .windows(3)
        .any(|part| NEVER.iter().any(|never| part.eq_ignore_ascii_case(never) && !(address && **never == *b"%2f")));
    if found { Err("an encoded character that stands in no such value") } else { Ok(()) }
}
