//! `md5`, `sha1` (raw bytes) and `length` (decimal text). The digests compare values; nothing relies on their strength.

use md5::{Digest as _, Md5};
use sha1::Sha1;
use std::borrow::Cow;

/// 16 raw bytes.
pub(super) fn md5(value: &[u8]) -> Cow<'static, [u8]> {
    Cow::Owned(Md5::digest(value).to_vec())
}

/// 20 raw bytes.
pub(super) fn sha1(value: &[u8]) -> Cow<'static, [u8]> {
    Cow::Owned(Sha1::digest(value).to_vec())
}

/// The number of bytes as decimal text.
pub(super) fn length(value: &[u8]) -> Cow<'static, [u8]> {
    Cow::Owned(value.len().to_string().into_bytes())
}
