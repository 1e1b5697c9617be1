//! `normalizePath` and `normalizePathWin`.

use super::in_place::InPlace;
use std::borrow::Cow;

/// Drops empty and `.` segments, resolves `..` (never above the root; leading `..` of a relative path stay) and keeps
/// a trailing slash.
pub(super) fn normalize(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    if !has_dots_or_empty(&value) {
        return value;
    }
    let absolute = value.first() == Some(&b'/');
    let trailing = value.last() == Some(&b'/');
    let root = usize::from(absolute);
    let mut cursor = InPlace::from(value, root);
    // Segments that a `..` can take back: written ones that are no `..` themselves.
    let mut depth = 0usize;
    while cursor.peek(0).is_some() {
        let length = memchr::memchr(b'/', cursor.rest()).unwrap_or(cursor.rest().len());
        match cursor.rest().get(..length).unwrap_or_default() {
            b"" | b"." => cursor.skip(length),
            b".." if depth > 0 => {
                depth = depth.saturating_sub(1);
                cursor.skip(length);
                let written = cursor.written();
                let parent = memchr::memrchr(b'/', written).unwrap_or(0).max(root);
                cursor.retract_to(parent);
            }
            b".." if absolute => cursor.skip(length),
            segment => {
                if segment != b".." {
                    depth = depth.saturating_add(1);
                }
                if cursor.written().len() > root {
                    // One slash was read between this segment and the one before it.
                    cursor.put(b'/');
                }
                cursor.keep(length);
            }
        }
        cursor.skip(1);
    }
    if trailing && cursor.written().len() > root {
        cursor.put(b'/');
    }
    cursor.finish()
}

/// As [`normalize`] after every `\` has become `/`.
pub(super) fn normalize_windows(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(b'\\', &value) else { return normalize(value) };
    let mut owned = value.into_owned();
    for byte in owned.iter_mut().skip(first) {
        if *byte == b'\\' {
            *byte = b'/';
        }
    }
    normalize(Cow::Owned(owned))
}

/// Whether any segment but the one before the first slash or behind the last is empty, or any is `.` or `..`.
fn has_dots_or_empty(value: &[u8]) -> bool {
    let mut start = 0;
    for end in memchr::memchr_iter(b'/', value).chain([value.len()]) {
        let segment = value.get(start..end).unwrap_or_default();
        let inner = start > 0 && end < value.len();
        if matches!(segment, b"." | b"..") || (segment.is_empty() && inner) {
            return true;
        }
        start = end.saturating_add(1);
    }
    false
}
