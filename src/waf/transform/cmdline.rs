//! `cmdLine`: undoes what a shell lets pass inside a command word.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::LazyLock;

/// Drops `\ " ' ^` (a dropped byte does not end a run of blanks); each run of blank, tab, CR, LF, `,` and `;` becomes
/// one space; that space is dropped before `/` and `(`; ASCII letters become lower-case.
pub(super) fn normalize(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let Some(first) = first_change(&value) else { return value };
    let mut pending = usize::from(first.checked_sub(1).and_then(|before| value.get(before)) == Some(&b' '));
    let mut buffer = value.into_owned();
    // A space before the first change may have to go: take it back and let it be written again.
    let mut write = first.saturating_sub(pending);
    let classes: &[u8; 256] = &CLASSES;
    let bytes = Cell::from_mut(buffer.as_mut_slice()).as_slice_of_cells();
    let mut put = |byte: u8, kept: usize| {
        if let Some(slot) = bytes.get(write) {
            slot.set(byte);
        }
        write = write.wrapping_add(kept);
    };
    // Without a branch, for which bytes come nobody can foresee: what is not kept is overwritten by what follows. A
    // pending space has been read and not written, so what is written never overtakes what is read.
    for byte in bytes.iter().skip(first).map(Cell::get) {
        let class = classes.get(usize::from(byte)).copied().unwrap_or(KEPT);
        let kept = usize::from(class & KEPT);
        put(b' ', pending & kept & usize::from(class >> 1));
        put(byte.to_ascii_lowercase(), kept);
        pending = (pending | usize::from(class >> 2)) & (kept ^ 1);
    }
    put(b' ', pending);
    buffer.truncate(write);
    Cow::Owned(buffer)
}

/// The byte is written; else it is dropped.
const KEPT: u8 = 1;
/// A pending space is written before it.
const SPACED: u8 = 2;
/// It is a blank: a space is pending behind it.
const BLANK: u8 = 4;

/// What becomes of a byte.
static CLASSES: LazyLock<[u8; 256]> = LazyLock::new(|| {
    std::array::from_fn(|byte| match u8::try_from(byte) {
        Ok(b'/' | b'(') => KEPT,
        Ok(b' ' | b'\t' | b'\r' | b'\n' | b',' | b';') => BLANK,
        Ok(b'\\' | b'"' | b'\'' | b'^') => 0,
        _ => KEPT | SPACED,
    })
});

fn first_change(value: &[u8]) -> Option<usize> {
    let mut after_space = false;
    value.iter().position(|&byte| {
        let changes = match byte {
            b'\\' | b'"' | b'\'' | b'^' | b'\t' | b'\r' | b'\n' | b',' | b';' | b'A'..=b'Z' => true,
            b' ' | b'/' | b'(' => after_space,
            _ => false,
        };
        after_space = byte == b' ';
        changes
    })
}
