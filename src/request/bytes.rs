//! Classes of bytes, and the field-line syntax that heads and trailers share.

use super::wire::Malformed;
use memchr::memchr;

/// A set of ASCII bytes as a bit map; bytes above 0x7F are in none.
const fn ascii_set(members: &[u8]) -> u128 {
    let mut set = 0_u128;
    let mut rest = members;
    while let [first, tail @ ..] = rest {
        set |= 1 << *first;
        rest = tail;
    }
    set
}

const ALPHANUM: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const TCHAR: u128 = ascii_set(ALPHANUM) | ascii_set(b"!#$%&'*+-.^_`|~");
const UNRESERVED: u128 = ascii_set(ALPHANUM) | ascii_set(b"-._~");

const fn holds(set: u128, byte: u8) -> bool {
    byte < 128 && (set >> byte) & 1 == 1
}

/// `tchar`, what methods and field names are made of (RFC 9110 section 5.6.2).
pub(super) const fn is_tchar(byte: u8) -> bool {
    holds(TCHAR, byte)
}

/// Characters whose percent-encoding means the same as the character (RFC 3986 section 2.3).
pub(super) const fn is_unreserved(byte: u8) -> bool {
    holds(UNRESERVED, byte)
}

/// A token (RFC 9110 section 5.6.2): one or more `tchar`.
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| is_tchar(*b))
}

/// `field-vchar`, SP or HTAB (RFC 9110 section 5.5): no control, no DEL; bytes above 0x7F are opaque data.
const fn is_value_byte(byte: u8) -> bool {
    (byte >= 0x20 && byte != 0x7F) || byte == b'\t'
}

/// Whether a field value holds only what RFC 9110 section 5.5 allows. Without an early exit, so that it vectorises.
pub(super) fn is_value(text: &[u8]) -> bool {
    text.iter().fold(true, |ok, b| ok & is_value_byte(*b))
}

/// Optional white space, SP and HTAB, cut from both ends (RFC 9110 section 5.6.3).
pub(super) fn trim_ows(text: &[u8]) -> &[u8] {
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let start = text.iter().position(|b| !blank(b)).unwrap_or(text.len());
    let end = text.iter().rposition(|b| !blank(b)).map_or(start, |last| last + 1);
    text.get(start..end).unwrap_or_default()
}

/// The members of a comma-separated list, trimmed; empty ones are skipped (RFC 9110 section 5.6.1.2).
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(trim_ows).filter(|member| !member.is_empty())
}

/// Whether a name is `want` (lower-case), also with `_` in the place of `-`, which CGI-like gateways do not tell apart.
pub(super) fn same_for_cgi(name: &[u8], want: &[u8]) -> bool {
    let same = |(a, b): (&u8, &u8)| a.to_ascii_lowercase() == *b || (*a == b'_' && *b == b'-');
    name.len() == want.len() && name.iter().zip(want).all(same)
}

/// The value of a percent triplet's two digits (RFC 3986 section 2.1); `None` if they are no hex digits.
pub(super) fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some((digit(high)? << 4) | digit(low)?)
}

/// Reads one field line, without its CRLF, into name and trimmed value; `at` is the line's place, for the fault.
pub(super) fn field_line(line: &[u8], at: usize) -> Result<(&[u8], &[u8]), Malformed> {
    let bad = |what, offset| Err(Malformed::syntax(what, at + offset));
    if let Some(b' ' | b'\t') = line.first() {
        // RFC 9112 section 5.2: obs-fold, refused; section 2.2: white space before the first field likewise.
        return bad("folded field line", 0);
    }
    let Some((name, value)) = memchr(b':', line).and_then(|i| Some((line.get(..i)?, line.get(i + 1..)?))) else {
        return bad("field line without a colon", 0);
    };
    if !is_token(name) {
        // RFC 9112 section 5.1: no white space between name and colon. RFC 9110 section 5.1: a name is a token.
        let offset = name.iter().position(|b| !is_tchar(*b)).unwrap_or(0);
        return match name.get(offset) {
            None => bad("empty field name", 0),
            Some(b' ' | b'\t') => bad("white space before the colon", offset),
            Some(b'\r') => bad("bare CR", offset),
            Some(0) => bad("NUL in a field name", offset),
            Some(_) => bad("field name is no token", offset),
        };
    }
    if !is_value(value) {
        // RFC 9110 section 5.5: CR, LF and NUL are dangerous; other controls are refused with them.
        let offset = value.iter().position(|b| !is_value_byte(*b)).unwrap_or(0);
        let place = name.len() + 1 + offset;
        return match value.get(offset) {
            Some(b'\r') => bad("bare CR", place),
            Some(0) => bad("NUL in a field value", place),
            _ => bad("control character in a field value", place),
        };
    }
    Ok((name, trim_ows(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_hold_what_the_grammar_says() {
        for b in 0..=255_u8 {
            let delimiter = b"\"(),/:;<=>?@[\\]{}".contains(&b);
            assert_eq!(is_tchar(b), b.is_ascii_graphic() && !delimiter, "{b:#x}");
            assert_eq!(is_unreserved(b), b.is_ascii_alphanumeric() || b"-._~".contains(&b), "{b:#x}");
            assert_eq!(is_value(&[b]), b == b'\t' || (b >= 0x20 && b != 0x7F), "{b:#x}");
        }
    }

    #[test]
    fn field_lines_are_read_or_refused() {
        let good: [(&[u8], &[u8], &[u8]); 4] = [
            (b"Host: a", b"Host", b"a"),
            (b"X:", b"X", b""),
            (b"X: \t ", b"X", b""),
            (b"X:\ta b\xE9 ", b"X", b"a b\xE9"),
        ];
        for (line, name, value) in good {
            assert_eq!(field_line(line, 0).unwrap(), (name, value));
        }
        let bad: [(&[u8], usize); 10] = [
            (b" X: y", 0),
            (b"\tX: y", 0),
            (b"X", 0),
            (b": y", 0),
            (b"X : y", 1),
            (b"X(Y): z", 1),
            (b"X\xE9: z", 1),
            (b"X: a\rb", 4),
            (b"X: a\0b", 4),
            (b"X: \x7F", 3),
        ];
        for (line, offset) in bad {
            assert_eq!(field_line(line, 100).unwrap_err().at, 100 + offset, "{line:?}");
        }
    }

    #[test]
    fn lists_skip_empty_members() {
        assert_eq!(list(b" a ,, b\t,").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(list(b"").count(), 0);
    }
}
