//! `htmlEntityDecode`: numeric references with any number of digits, and five names.
//!
//! Digits are never counted: a limit on them, as newer references have, is evaded by padding with zeros. The result is
//! one byte, the low byte of the number.

use super::in_place::{InPlace, hex_digit};
use std::borrow::Cow;

const NAMES: [(&[u8], u8); 5] = [(b"quot", b'"'), (b"amp", b'&'), (b"lt", b'<'), (b"gt", b'>'), (b"nbsp", 0xA0)];

pub(super) fn decode(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let mut at = 0;
    let first = loop {
        let rest = value.get(at..).unwrap_or_default();
        let Some(ahead) = memchr::memchr(b'&', rest) else { return value };
        at = at.saturating_add(ahead);
        if value.get(at..).and_then(entity).is_some() {
            break at;
        }
        at = at.saturating_add(1);
    };
    let mut cursor = InPlace::from(value, first);
    while !cursor.rest().is_empty() {
        match entity(cursor.rest()) {
            Some((byte, length)) => cursor.replace(length, byte),
            None => {
                cursor.keep(1);
                cursor.keep_to(memchr::memchr(b'&', cursor.rest()));
            }
        }
    }
    cursor.finish()
}

/// The byte that the reference at the start of `rest` stands for, and the reference's length, `;` included.
fn entity(rest: &[u8]) -> Option<(u8, usize)> {
    let body = rest.strip_prefix(b"&")?;
    let (byte, length) = match body {
        [b'#', b'x' | b'X', digits @ ..] => {
            let count = digits.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            let digits = digits.get(..count).filter(|digits| !digits.is_empty())?;
            let byte = digits.iter().fold(0u8, |byte, &digit| (byte << 4) | hex_digit(digit).unwrap_or(0));
            (byte, count.saturating_add(2))
        }
        [b'#', digits @ ..] => {
            let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let digits = digits.get(..count).filter(|digits| !digits.is_empty())?;
            // Modulo 256 all along: the low byte of a number of any length.
            let step = |byte: u8, &digit: &u8| byte.wrapping_mul(10).wrapping_add(digit.wrapping_sub(b'0'));
            (digits.iter().fold(0u8, step), count.saturating_add(1))
        }
        _ => {
            let count = body.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
            let name = body.get(..count)?;
            let &(_, byte) = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
            (byte, count)
        }
    };
    let semicolon = usize::from(body.get(length) == Some(&b';'));
    Some((byte, length.saturating_add(semicolon).saturating_add(1)))
}
