//! `removeComments`, `removeCommentsChar`, `replaceComments`.
//!
//! A comment that closes leaves nothing behind in `removeComments` and one space in `replaceComments`; one that never
//! closes leaves one space in both. The reference copies the byte after `*/` unread, so that a second comment right
//! behind the first survives and a value that ends with a comment gains a NUL; an attacker could use either to dodge
//! a pattern, and neither is done here, but for a value that is nothing but comments: it becomes that NUL.

use super::in_place::InPlace;
use memchr::memmem;
use std::borrow::Cow;

/// Cuts `/*...*/` and `<!--...-->`; `--` and `#` cut all that follows and leave a space.
pub(super) fn remove(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let Some(first) = next_mark(&value, opening) else { return value };
    let mut cursor = InPlace::from(value, first);
    while cursor.peek(0).is_some() {
        let rest = cursor.rest();
        if rest.starts_with(b"/*") || rest.starts_with(b"<!--") {
            let open = if rest.starts_with(b"/*") { 2 } else { 4 };
            match closing(rest.get(open..).unwrap_or_default()) {
                Some(length) => cursor.skip(open.saturating_add(length)),
                None => {
                    cursor.replace(usize::MAX, b' ');
                    break;
                }
            }
        } else if rest.starts_with(b"--") || rest.starts_with(b"#") {
            cursor.replace(usize::MAX, b' ');
            break;
        } else {
            cursor.keep_to(next_mark(rest, opening));
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
    memchr::memchr2_iter(b'*', b'-', text).find_map(|at| {
        let rest = text.get(at..)?;
        let closes = [&b"*/"[..], b"-->"].into_iter().find(|closing| rest.starts_with(closing))?;
        at.checked_add(closes.len())
    })
}

/// Drops the marks themselves: `/*`, `*/`, `<!--`, `-->`, `--`, `#`.
pub(super) fn remove_marks(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let Some(first) = next_mark(&value, mark) else { return value };
    let mut cursor = InPlace::from(value, first);
    while !cursor.rest().is_empty() {
        match mark(cursor.rest()) {
            Some(length) => cursor.skip(length),
            None => cursor.keep_to(next_mark(cursor.rest(), mark)),
        }
    }
    cursor.finish()
}

/// `/*...*/` becomes one space, an unterminated one too.
pub(super) fn replace(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let Some(first) = memmem::find(&value, b"/*") else { return value };
    let mut cursor = InPlace::from(value, first);
    while let Some(inside) = cursor.rest().get(2..) {
        let length = memmem::find(inside, b"*/").map_or(usize::MAX, |at| at.saturating_add(4));
        cursor.replace(length, b' ');
        cursor.keep_to(memmem::find(cursor.rest(), b"/*"));
    }
    cursor.finish()
}

/// The length of a mark that stands here.
fn mark(rest: &[u8]) -> Option<usize> {
    // Longest first: `-->` before `--`.
    [&b"<!--"[..], b"-->", b"/*", b"*/", b"--", b"#"].iter().find(|mark| rest.starts_with(mark)).map(|mark| mark.len())
}

/// The length of what begins a comment here.
fn opening(rest: &[u8]) -> Option<usize> {
    [&b"/*"[..], b"<!--", b"--", b"#"].iter().find(|opening| rest.starts_with(opening)).map(|opening| opening.len())
}

/// Where the next of them stands.
fn next_mark(text: &[u8], stands: fn(&[u8]) -> Option<usize>) -> Option<usize> {
    let pairs = text.windows(2).enumerate().filter(|(_, pair)| may_begin(pair)).map(|(at, _)| at);
    pairs.chain(text.len().checked_sub(1)).find(|at| text.get(*at..).and_then(stands).is_some())
}

/// Whether one of them may begin with these two bytes. Without a branch, for which bytes come nobody can foresee.
fn may_begin(pair: &[u8]) -> bool {
    let &[one, two] = pair else { return false };
    (one == b'#')
        | ((one == b'/') & (two == b'*'))
        | ((one == b'*') & (two == b'/'))
        | ((one == b'-') & (two == b'-'))
        | ((one == b'<') & (two == b'!'))
}
