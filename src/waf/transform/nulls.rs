//! `removeNulls` and `replaceNulls`.

use super::in_place::without;
use std::borrow::Cow;

/// Drops every 0x00.
pub(super) fn remove(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    without(value, |byte| byte == 0)
}

/// Every 0x00 becomes a space.
pub(super) fn replace(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(0, &value) else { return value };
    let mut owned = value.into_owned();
    for byte in owned.iter_mut().skip(first) {
        *byte = if *byte == 0 { b' ' } else { *byte };
    }
    Cow::Owned(owned)
}
