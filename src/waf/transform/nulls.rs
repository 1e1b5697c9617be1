//! `removeNulls` and `replaceNulls`.

use super::in_place::InPlace;
use std::borrow::Cow;

/// Drops every 0x00.
pub(super) fn remove(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    rewrite(value, |cursor| cursor.skip(1))
}

/// Every 0x00 becomes a space.
pub(super) fn replace(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    rewrite(value, |cursor| cursor.replace(1, b' '))
}

fn rewrite(value: Cow<'_, [u8]>, null: fn(&mut InPlace)) -> Cow<'_, [u8]> {
    let Some(first) = value.iter().position(|&byte| byte == 0) else { return value };
    let mut cursor = InPlace::from(value, first);
    while let Some(byte) = cursor.peek(0) {
        if byte == 0 { null(&mut cursor) } else { cursor.keep(1) }
    }
    cursor.finish()
}
