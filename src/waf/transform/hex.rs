//! `hexEncode`, `hexDecode`, `sqlHexDecode`.

use super::in_place::{InPlace, hex_pair};
use std::borrow::Cow;

/// Two lower-case digits for every byte.
pub(super) fn encode(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    if value.is_empty() {
        return value;
    }
    Cow::Owned(value.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte & 15)]).collect())
}

/// The digit for a number below 16.
pub(super) fn digit(number: u8) -> u8 {
    if number < 10 { b'0'.wrapping_add(number) } else { b'a'.wrapping_add(number.wrapping_sub(10)) }
}

/// A byte for every pair; a lone last character is dropped. What is no digit is folded by the arithmetic that makes
/// digits of letters (`0z` gives 0x23), as the reference vectors want it: nothing is ever skipped.
pub(super) fn decode(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    if value.is_empty() {
        return value;
    }
    let fold = |byte: u8| {
        if byte >= b'A' { (byte & 0xDF).wrapping_sub(b'A').wrapping_add(10) } else { byte.wrapping_sub(b'0') }
    };
    let mut cursor = InPlace::from(value, 0);
    while let (Some(high), Some(low)) = (cursor.peek(0), cursor.peek(1)) {
        cursor.replace(2, fold(high).wrapping_mul(16).wrapping_add(fold(low)));
    }
    cursor.finish()
}

/// `0x` and at least one pair of digits become bytes, as a SQL server reads them; a lone last digit stays.
pub(super) fn decode_sql(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let begins =
        |four: &[u8]| matches!(four, [b'0', b'x' | b'X', high, low] if hex_pair(Some(*high), Some(*low)).is_some());
    let Some(first) = value.windows(4).position(begins) else { return value };
    let mut cursor = InPlace::from(value, first);
    while cursor.peek(0).is_some() {
        if !cursor.rest().get(..4).is_some_and(begins) {
            cursor.keep(1);
            continue;
        }
        cursor.skip(2);
        while let Some(byte) = hex_pair(cursor.peek(0), cursor.peek(1)) {
            cursor.replace(2, byte);
        }
    }
    cursor.finish()
}
