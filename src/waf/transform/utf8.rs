//! `utf8toUnicode`: each multi-byte UTF-8 sequence becomes `%uHHHH`.

use std::borrow::Cow;

/// Lower-case hexadecimal, at least four digits; above U+FFFF five, of which a following `urlDecodeUni` reads four and
/// leaves the fifth. ASCII and bytes that begin no sequence stay. Overlong forms and surrogates are read as a lenient
/// decoder would read them (`C0 AF` gives `%u002f`), for that decoder may be the one behind us.
pub(super) fn to_unicode(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let Some(first) = value.iter().position(|byte| !byte.is_ascii()) else { return value };
    let (before, rest) = value.split_at(first);
    if (0..rest.len()).all(|at| rest.get(at..).and_then(sequence).is_none()) {
        return value;
    }
    let mut out = Vec::with_capacity(value.len().saturating_mul(2));
    out.extend_from_slice(before);
    let mut rest = rest;
    while !rest.is_empty() {
        let ascii = rest.iter().position(|byte| !byte.is_ascii()).unwrap_or(rest.len());
        let (plain, behind) = rest.split_at(ascii);
        out.extend_from_slice(plain);
        rest = match sequence(behind) {
            Some((code, length)) => {
                escape(code, &mut out);
                behind.get(length..).unwrap_or_default()
            }
            None => {
                out.extend(behind.first());
                behind.get(1..).unwrap_or_default()
            }
        };
    }
    Cow::Owned(out)
}

/// Writes `%u` and the digits of a code point, at least four.
fn escape(code: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"%u");
    let digits = (u32::BITS - code.leading_zeros()).div_ceil(4).max(4);
    for place in (0..digits).rev() {
        let [.., low] = (code >> (4 * place)).to_be_bytes();
        out.push(super::hex::digit(low & 15));
    }
}

/// The code point and length of the multi-byte sequence that `rest` begins with.
fn sequence(rest: &[u8]) -> Option<(u32, usize)> {
    let lead = *rest.first()?;
    let (bits, following) = match lead {
        0xC0..=0xDF => (lead & 0x1F, 1),
        0xE0..=0xEF => (lead & 0x0F, 2),
        0xF0..=0xF7 => (lead & 0x07, 3),
        _ => return None,
    };
    let mut code = u32::from(bits);
    for ahead in 1..=following {
        let byte = *rest.get(ahead)?;
        if byte & 0xC0 != 0x80 {
            return None;
        }
        code = (code << 6) | u32::from(byte & 0x3F);
    }
    (code <= 0x10_FFFF).then_some((code, following.saturating_add(1)))
}
