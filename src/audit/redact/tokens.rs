//! Finds what looks like a secret by itself: credentials, tokens, keys of well-known services, private keys, cards.

use super::view::View;
use std::ops::Range;

/// Beginnings of well-known keys, and how many characters at least follow.
const PREFIXES: &[(&[u8], usize)] = &[
    (b"sk-", 16),
    (b"sk_live_", 16),
    (b"sk_test_", 16),
    (b"rk_live_", 16),
    (b"pk_live_", 16),
    (b"whsec_", 16),
    (b"gsk_", 20),
    (b"xai-", 20),
    (b"ghp_", 20),
    (b"gho_", 20),
    (b"ghu_", 20),
    (b"ghs_", 20),
    (b"ghr_", 20),
    (b"github_pat_", 20),
    (b"glpat-", 16),
    (b"xoxa-", 10),
    (b"xoxb-", 10),
    (b"xoxp-", 10),
    (b"xoxr-", 10),
    (b"xoxs-", 10),
    (b"xapp-", 10),
    (b"akia", 16),
    (b"asia", 16),
    (b"aiza", 30),
    (b"ya29.", 20),
    (b"npm_", 30),
    (b"pypi-", 30),
    (b"hf_", 20),
    (b"dop_v1_", 20),
    (b"shpat_", 20),
    (b"sbp_", 30),
    (b"sg.", 40),
    (b"age-secret-key-1", 20),
    // A JSON object in base64url, so the head of a JSON Web Token (RFC 7519), whole or cut.
    (b"eyj", 12),
];

/// The longest user part of a URL that is looked at.
const MAX_USERINFO: usize = 256;

/// Adds the spans of all that looks like a secret.
pub(super) fn find(view: &View<'_>, spans: &mut Vec<Range<usize>>) {
    let mut at = 0;
    let mut before = None;
    while let Some(byte) = view.at(at) {
        let starts = !before.is_some_and(|b: u8| b.is_ascii_alphanumeric() || b == b'_');
        let found = match byte {
            b'-' if starts && before != Some(b'-') => private_key(view, at),
            b':' => userinfo(view, at),
            b'0'..=b'9' if starts => card(view, at),
            b'a'..=b'z' | b'A'..=b'Z' if starts => known_key(view, at).or_else(|| credentials(view, at)),
            _ => None,
        };
        match found {
            Some(span) => {
                at = span.end.max(at + 1);
                spans.push(span);
            }
            None => at += 1,
        }
        before = at.checked_sub(1).and_then(|last| view.at(last));
    }
}

fn starts_with(view: &View<'_>, at: usize, what: &[u8]) -> bool {
    view.bytes().get(at..at + what.len()).is_some_and(|text| text.eq_ignore_ascii_case(what))
}

/// How many characters of a token stand from `at`.
fn token_len(view: &View<'_>, at: usize, more: &[u8]) -> usize {
    let token = |b: &u8| b.is_ascii_alphanumeric() || more.contains(b);
    view.bytes().get(at..).map_or(0, |rest| rest.iter().take_while(|b| token(b)).count())
}

fn known_key(view: &View<'_>, at: usize) -> Option<Range<usize>> {
    let (prefix, least) = PREFIXES.iter().find(|(prefix, _)| starts_with(view, at, prefix))?;
    let len = token_len(view, at + prefix.len(), b"-_.");
    (len >= *least).then_some(at..at + prefix.len() + len)
}

/// `Bearer token` and `Basic base64` (RFC 6750 section 2.1, RFC 7617 section 2), in running text too.
fn credentials(view: &View<'_>, at: usize) -> Option<Range<usize>> {
    let (scheme, least) = if starts_with(view, at, b"bearer") {
        (6, 6)
    } else if starts_with(view, at, b"basic") {
        (5, 8)
    } else {
        return None;
    };
    let mut start = at + scheme;
    let spaces = (start..start + 4).take_while(|at| matches!(view.at(*at), Some(b' ' | b'\t' | b'+'))).count();
    if spaces == 0 {
        return None;
    }
    start += spaces;
    let len = token_len(view, start, b"-._~+/=");
    let token = view.bytes().get(start..start + len)?;
    // A word of prose has neither digits nor capitals within, nor any of the other characters.
    let word = token.iter().skip(1).all(|b| b.is_ascii_lowercase() || *b == b'.');
    let prose = word && !token.get(..len.saturating_sub(1)).is_some_and(|t| t.contains(&b'.'));
    (len >= least && !prose).then_some(start..start + len)
}

/// `scheme://user:password@host`: the user part (RFC 3986 section 3.2.1).
fn userinfo(view: &View<'_>, at: usize) -> Option<Range<usize>> {
    if !starts_with(view, at, b"://") {
        return None;
    }
    let start = at + 3;
    let rest = view.bytes().get(start..)?;
    let end = rest.iter().take(MAX_USERINFO).position(|b| matches!(b, b'/' | b'?' | b'#') || b.is_ascii_whitespace());
    let authority = rest.get(..end.unwrap_or_else(|| rest.len().min(MAX_USERINFO)))?;
    let len = authority.iter().rposition(|b| *b == b'@')?;
    (len > 0).then_some(start..start + len)
}

/// A PEM block of a private key (RFC 7468), to its end mark or the text's end.
fn private_key(view: &View<'_>, at: usize) -> Option<Range<usize>> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    const END: &[u8] = b"-----END ";
    if !starts_with(view, at, BEGIN) {
        return None;
    }
    let label = view.bytes().get(at + BEGIN.len()..)?;
    let label = label.get(..label.len().min(64))?;
    let dashes = super::find(label, b"-----")?;
    super::find_caseless(label.get(..dashes)?, b"PRIVATE KEY")?;
    let len = view.bytes().len();
    let Some(mark) = view.bytes().get(at + BEGIN.len()..).and_then(|rest| super::find_caseless(rest, END)) else {
        return Some(at..len);
    };
    let close = at + BEGIN.len() + mark + END.len();
    let tail = view.bytes().get(close..)?;
    let tail = tail.get(..tail.len().min(64))?;
    Some(at..super::find(tail, b"-----").map_or(len, |dashes| close + dashes + 5))
}

/// A payment card number (ISO/IEC 7812): digits, in groups or not, of a known issuer and length, that pass Luhn's check.
fn card(view: &View<'_>, at: usize) -> Option<Range<usize>> {
    /// Longest number with separators that is looked at.
    const MAX: usize = 40;
    let text = view.bytes().get(at..)?;
    let text = text.get(..text.len().min(MAX))?;
    let mut digits: Vec<u8> = Vec::with_capacity(20);
    let mut end = 0;
    for (offset, byte) in text.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                digits.push(byte - b'0');
                end = offset + 1;
            }
            // One separator between two digits.
            b' ' | b'-' if end == offset => {}
            _ => break,
        }
    }
    let follows = view.at(at + end);
    let whole = !follows.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    (whole && issued(&digits) && luhn(&digits)).then_some(at..at + end)
}

/// Whether a known issuer gives out numbers that begin so, of that length.
fn issued(digits: &[u8]) -> bool {
    let Some(lead) = digits.get(..4) else { return false };
    let lead = lead.iter().fold(0_u16, |sum, digit| sum * 10 + u16::from(*digit));
    match lead {
        4000..=4999 => matches!(digits.len(), 13 | 16 | 19),
        5100..=5599 | 2221..=2720 => digits.len() == 16,
        3400..=3499 | 3700..=3799 => digits.len() == 15,
        3000..=3059 | 3600..=3699 | 3800..=3999 => (14..=19).contains(&digits.len()),
        6011 | 6440..=6599 | 3528..=3589 | 6200..=6299 => (16..=19).contains(&digits.len()),
        5000..=5099 | 5600..=5899 | 6300..=6399 | 6700..=6799 => (13..=19).contains(&digits.len()),
        _ => false,
    }
}

fn luhn(digits: &[u8]) -> bool {
    let doubled = |digit: u8| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let sum: u32 =
        digits.iter().rev().enumerate().map(|(n, d)| u32::from(if n % 2 == 1 { doubled(*d) } else { *d })).sum();
    sum.is_multiple_of(10)
}
