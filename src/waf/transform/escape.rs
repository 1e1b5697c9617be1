//! The backslash decoders: `jsDecode`, `escapeSeqDecode`, `cssDecode`.

use super::in_place::{InPlace, hex_digit, hex_pair, is_space, narrow};
use std::borrow::Cow;

/// JavaScript: `\uHHHH` (low byte, full-width forms narrowed), `\xHH`, octal up to `\377`, the letters; any other
/// `\c` gives c, a lone last `\` stays.
pub(super) fn javascript(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    rewrite(value, |cursor, next| {
        if next == b'u'
            && let Some(high) = hex_pair(cursor.peek(2), cursor.peek(3))
            && let Some(low) = hex_pair(cursor.peek(4), cursor.peek(5))
        {
            return cursor.replace(6, narrow(high, low));
        }
        if next == b'x'
            && let Some(byte) = hex_pair(cursor.peek(2), cursor.peek(3))
        {
            return cursor.replace(4, byte);
        }
        if let Some((number, digits)) = octal(cursor) {
            // `\400` and above is a character of two digits and a digit.
            return match u8::try_from(number) {
                Ok(byte) => cursor.replace(digits.saturating_add(1), byte),
                Err(_) => cursor.replace(3, low_byte(number >> 3)),
            };
        }
        cursor.replace(2, control(next).unwrap_or(next));
    })
}

/// C: `\xHH`, octal of one to three digits (low byte), the letters, `\\ \? \' \"`; any other `\c` gives c, a lone
/// last `\` stays.
pub(super) fn ansi_c(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    rewrite(value, |cursor, next| {
        if matches!(next, b'x' | b'X')
            && let Some(byte) = hex_pair(cursor.peek(2), cursor.peek(3))
        {
            return cursor.replace(4, byte);
        }
        if let Some((number, digits)) = octal(cursor) {
            return cursor.replace(digits.saturating_add(1), low_byte(number));
        }
        cursor.replace(2, control(next).unwrap_or(next));
    })
}

/// CSS 2: `\` and one to six hexadecimal digits (the last two make the byte, full-width forms are narrowed) with one
/// blank behind them; `\` and a newline vanish; any other `\c` gives c; a lone last `\` is dropped.
pub(super) fn css(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(b'\\', &value) else { return value };
    let mut cursor = InPlace::from(value, first);
    while let Some(byte) = cursor.peek(0) {
        if byte != b'\\' {
            cursor.keep_to(memchr::memchr(b'\\', cursor.rest()));
            continue;
        }
        let digits: usize = (1..=6).take_while(|&ahead| cursor.peek(ahead).and_then(hex_digit).is_some()).count();
        match (digits, cursor.peek(1)) {
            (0, None) => cursor.skip(1),
            (0, Some(b'\n')) => cursor.skip(2),
            (0, Some(next)) => cursor.replace(2, next),
            _ => {
                let code = (1..=digits)
                    .filter_map(|ahead| cursor.peek(ahead).and_then(hex_digit))
                    .fold(0u32, |code, digit| (code << 4) | u32::from(digit));
                let [_, plane, high, low] = code.to_be_bytes();
                // Leading zeros do not hide a full-width form; another plane is no full-width form.
                let byte = if plane == 0 { narrow(high, low) } else { low };
                let blank = usize::from(cursor.peek(digits.saturating_add(1)).is_some_and(is_space));
                cursor.replace(digits.saturating_add(1).saturating_add(blank), byte);
            }
        }
    }
    cursor.finish()
}

/// Walks from backslash to backslash; `decode` sees the byte behind one and moves the cursor.
fn rewrite(value: Cow<'_, [u8]>, decode: fn(&mut InPlace, u8)) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(b'\\', &value) else { return value };
    if first.saturating_add(1) == value.len() {
        return value;
    }
    let mut cursor = InPlace::from(value, first);
    while let Some(byte) = cursor.peek(0) {
        match cursor.peek(1) {
            Some(next) if byte == b'\\' => decode(&mut cursor, next),
            None => cursor.keep(1),
            _ => cursor.keep_to(memchr::memchr(b'\\', cursor.rest())),
        }
    }
    cursor.finish()
}

/// One to three octal digits behind the backslash: their value and their count.
fn octal(cursor: &InPlace) -> Option<(u16, usize)> {
    let digits = (1..=3).map_while(|ahead| cursor.peek(ahead).filter(|byte| matches!(byte, b'0'..=b'7')));
    let (number, count) = digits
        .fold((0u16, 0usize), |(number, count), digit| ((number << 3) | u16::from(digit & 7), count.saturating_add(1)));
    (count > 0).then_some((number, count))
}

fn low_byte(number: u16) -> u8 {
    number.to_be_bytes()[1]
}

fn control(letter: u8) -> Option<u8> {
    Some(match letter {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0C,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0B,
        _ => return None,
    })
}
