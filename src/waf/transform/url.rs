//! `urlDecode`, `urlDecodeUni`, `urlEncode`.

use super::best_fit;
use super::in_place::{InPlace, hex_pair, narrow};
use std::borrow::Cow;

/// `+` becomes a space and `%HH` a byte; an invalid sequence stays as it is.
pub(super) fn decode(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    rewrite(value, |_| None)
}

/// As [`decode`], and `%uHHHH` (the form of IIS) becomes one byte: the best fit in ASCII, else the low byte.
pub(super) fn decode_uni(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    rewrite(value, |cursor| {
        if !matches!(cursor.peek(1), Some(b'u' | b'U')) {
            return None;
        }
        let high = hex_pair(cursor.peek(2), cursor.peek(3))?;
        let low = hex_pair(cursor.peek(4), cursor.peek(5))?;
        Some(best_fit::ascii(u16::from_be_bytes([high, low])).unwrap_or_else(|| narrow(high, low)))
    })
}

fn rewrite(value: Cow<'_, [u8]>, wide: fn(&InPlace) -> Option<u8>) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr2(b'%', b'+', &value) else { return value };
    // `50%` is common and decodes to itself: look before a borrowed value is copied.
    if matches!(value, Cow::Borrowed(_)) && !may_decode(value.get(first..).unwrap_or_default()) {
        return value;
    }
    let mut cursor = InPlace::from(value, first);
    while let Some(byte) = cursor.peek(0) {
        match byte {
            b'+' => cursor.replace(1, b' '),
            b'%' => {
                if let Some(byte) = wide(&cursor) {
                    cursor.replace(6, byte);
                } else if let Some(byte) = hex_pair(cursor.peek(1), cursor.peek(2)) {
                    cursor.replace(3, byte);
                } else {
                    cursor.keep(1);
                }
            }
            _ => cursor.keep_to(memchr::memchr2(b'%', b'+', cursor.rest())),
        }
    }
    cursor.finish()
}

fn may_decode(rest: &[u8]) -> bool {
    memchr::memchr2_iter(b'%', b'+', rest).any(|at| match rest.get(at..) {
        Some([b'%', b'u' | b'U', _, ..]) => true,
        Some([b'%', high, low, ..]) => hex_pair(Some(*high), Some(*low)).is_some(),
        Some([b'+', ..]) => true,
        _ => false,
    })
}

/// A space becomes `+`; all but ASCII letters, digits and `*` becomes `%hh`.
pub(super) fn encode(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'*';
    if value.iter().all(|&byte| plain(byte)) {
        return value;
    }
    let mut out = Vec::with_capacity(value.len().saturating_mul(3));
    for &byte in value.iter() {
        match byte {
            b' ' => out.push(b'+'),
            byte if plain(byte) => out.push(byte),
            byte => out.extend([b'%', super::hex::digit(byte >> 4), super::hex::digit(byte & 15)]),
        }
    }
    Cow::Owned(out)
}
