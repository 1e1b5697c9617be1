//! `base64Encode`, `base64Decode`, `base64DecodeExt`.

use super::in_place::InPlace;
use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;

pub(super) fn encode(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    if value.is_empty() {
        return value;
    }
    Cow::Owned(STANDARD.encode(&value).into_bytes())
}

/// Decodes up to the first byte outside the alphabet, CR and LF passed over, with the one or two bytes that an
/// unfinished last group holds. (libmodsecurity gives an empty value there, which hides an attack.)
pub(super) fn decode(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    groups(value, |byte| match byte {
        b'\r' | b'\n' => Some(Symbol::Ignored),
        _ => sextet(byte).map(Symbol::Bits),
    })
}

/// Decodes what is in the alphabet and passes over all the rest. `-` and `_`, the URL-safe digits, count as digits.
pub(super) fn decode_forgiving(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    groups(value, |byte| {
        Some(match byte {
            b'-' => Symbol::Bits(62),
            b'_' => Symbol::Bits(63),
            _ => sextet(byte).map_or(Symbol::Ignored, Symbol::Bits),
        })
    })
}

enum Symbol {
    Bits(u8),
    Ignored,
}

fn groups(value: Cow<'_, [u8]>, read: fn(u8) -> Option<Symbol>) -> Cow<'_, [u8]> {
    if value.is_empty() {
        return value;
    }
    let mut cursor = InPlace::from(value, 0);
    let (mut bits, mut count) = (0u32, 0u8);
    while let Some(symbol) = cursor.peek(0).and_then(read) {
        cursor.skip(1);
        let Symbol::Bits(sextet) = symbol else { continue };
        bits = (bits << 6) | u32::from(sextet);
        count = count.wrapping_add(1);
        if count == 4 {
            let [_, a, b, c] = bits.to_be_bytes();
            cursor.put(a);
            cursor.put(b);
            cursor.put(c);
            (bits, count) = (0, 0);
        }
    }
    match count {
        2 => cursor.put((bits >> 4).to_be_bytes()[3]),
        3 => {
            let [_, _, a, b] = (bits >> 2).to_be_bytes();
            cursor.put(a);
            cursor.put(b);
        }
        _ => {}
    }
    cursor.finish()
}

fn sextet(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte.wrapping_sub(b'A'),
        b'a'..=b'z' => byte.wrapping_sub(b'a').wrapping_add(26),
        b'0'..=b'9' => byte.wrapping_sub(b'0').wrapping_add(52),
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}
