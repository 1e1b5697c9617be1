//! `lowercase` and `uppercase`: ASCII letters only, so no byte of a multi-byte character changes.

use std::borrow::Cow;

pub(super) fn lowercase(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    change(value, u8::is_ascii_uppercase, <[u8]>::make_ascii_lowercase)
}

pub(super) fn uppercase(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    change(value, u8::is_ascii_lowercase, <[u8]>::make_ascii_uppercase)
}

fn change(value: Cow<'_, [u8]>, changes: fn(&u8) -> bool, convert: fn(&mut [u8])) -> Cow<'_, [u8]> {
    let Some(first) = value.iter().position(changes) else { return value };
    let mut owned = value.into_owned();
    convert(owned.get_mut(first..).unwrap_or_default());
    Cow::Owned(owned)
}
