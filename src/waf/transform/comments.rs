//! `removeComments`, `removeCommentsChar`, `replaceComments`.
//!
//! A comment that closes leaves nothing behind in `removeComments` and one space in `replaceComments`; one that never
//! closes leaves one space in both. The reference copies the byte after `*/` unread, so that a second comment right
//! behind the first survives and a value that ends with a comment gains a NUL; an attacker could use either to dodge
//! a pattern, and neither is done here, but for a value that is nothing but comments: it becomes that NUL.

use super::in_place::InPlace;
use std::borrow::Cow;

/// Cuts `/*...*/` and `<!--...-->`; `--` and `#` cut all that follows and leave a space.
pub(super) fn remove(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let Some(first) = first_mark(&value) else { return value };
    let mut cursor = InPlace::from(value, first);
    while cursor.peek(0).is_some() {
        let rest = cursor.rest();
        if rest.starts_with(b"/*") || rest.starts_with(b"<!--") {
            let opening = if rest.starts_with(b"/*") { 2 } else { 4 };
            match closing(rest.get(opening..).unwrap_or_default()) {
                Some(length) => cursor.skip(opening.saturating_add(length)),
                None => {
                    cursor.replace(usize::MAX, b' ');
                    break;
                }
            }
        } else if rest.starts_with(b"--") || rest.starts_with(b"#") {
            cursor.replace(usize::MAX, b' ');
            break;
        } else {
            cursor.keep(1);
        }
    }
    match cursor.finish() {
        // Nothing but comments: not empty, and so it stays.
        nothing if nothing.is_empty() => Cow::Owned(vec![0]),
        kept => kept,
    }
}

/// Bytes up to and with the first `*/` or `-->`: either closes either, as in the reference.
fn closing(text: &[u8]) -> Option<usize> {
    (0..text.len()).find_map(|at| {
        let rest = text.get(at..)?;
        if rest.starts_with(b"*/") {
            at.checked_add(2)
        } else if rest.starts_with(b"-->") {
            at.checked_add(3)
        } else {
            None
        }
    })
}

/// Drops the marks themselves: `/*`, `*/`, `<!--`, `-->`, `--`, `#`.
pub(super) fn remove_marks(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let Some(first) = (0..value.len()).find(|&at| value.get(at..).and_then(mark).is_some()) else { return value };
    let mut cursor = InPlace::from(value, first);
    while cursor.peek(0).is_some() {
        match mark(cursor.rest()) {
            Some(length) => cursor.skip(length),
            None => cursor.keep(1),
        }
    }
    cursor.finish()
}

/// `/*...*/` becomes one space, an unterminated one too.
pub(super) fn replace(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let Some(first) = value.windows(2).position(|pair| pair == b"/*") else { return value };
    let mut cursor = InPlace::from(value, first);
    while cursor.peek(0).is_some() {
        let rest = cursor.rest();
        if rest.starts_with(b"/*") {
            let inside = rest.get(2..).unwrap_or_default();
            let length = inside.windows(2).position(|pair| pair == b"*/").map_or(usize::MAX, |at| at.saturating_add(4));
            cursor.replace(length, b' ');
        } else {
            cursor.keep(1);
        }
    }
    cursor.finish()
}

fn mark(rest: &[u8]) -> Option<usize> {
    // Longest first: `-->` before `--`.
    [&b"<!--"[..], b"-->", b"/*", b"*/", b"--", b"#"].iter().find(|mark| rest.starts_with(mark)).map(|mark| mark.len())
}

fn first_mark(value: &[u8]) -> Option<usize> {
    (0..value.len()).find(|&at| {
        value
            .get(at..)
            .is_some_and(|rest| [&b"/*"[..], b"<!--", b"--", b"#"].iter().any(|opening| rest.starts_with(opening)))
    })
}
