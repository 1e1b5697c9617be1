//! `utf8toUnicode`: each multi-byte UTF-8 sequence becomes `%uHHHH`.

use std::borrow::Cow;

/// Lower-case hexadecimal, at least four digits; above U+FFFF five, of which a following `urlDecodeUni` reads four and
/// leaves the fifth. ASCII and bytes that begin no sequence stay. Overlong forms and surrogates are read as a lenient
/// decoder would read them (`C0 AF` gives `%u002f`), for that decoder may be the one behind us.
pub(super) fn to_unicode(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let Some(first) = value.iter().position(|byte| !byte.is_ascii()) else { return value };
    let (before, mut rest) = value.split_at(first);
    let mut out = Vec::new();
    // What has been read since the last sequence, from the start of `rest`.
    let mut plain = 0;
    while let Some(tail) = rest.get(plain..) {
        let Some(skipped) = tail.windows(2).position(begins) else { break };
        plain += skipped;
        let Some((code, length)) = rest.get(plain..).and_then(sequence) else {
            plain += 1;
            continue;
        };
        if out.is_empty() {
            out.reserve(value.len().saturating_mul(2));
            out.extend_from_slice(before);
        }
        let (kept, behind) = rest.split_at(plain);
        match kept {
            [] => {}
            [one] => out.push(*one),
            more => out.extend_from_slice(more),
        }
        escape(code, &mut out);
        rest = behind.get(length..).unwrap_or_default();
        plain = 0;
    }
    if out.is_empty() {
        return value;
    }
    out.extend_from_slice(rest);
    Cow::Owned(out)
}

/// Whether a sequence may begin so. Without a branch, for which bytes come nobody can foresee.
fn begins(pair: &[u8]) -> bool {
    let [lead, next] = pair else { return false };
    (lead.wrapping_sub(0xC0) < 0x38) & (next & 0xC0 == 0x80)
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
