//! `cmdLine`: undoes what a shell lets pass inside a command word.

use super::in_place::InPlace;
use std::borrow::Cow;

/// Drops `\ " ' ^` (a dropped byte does not end a run of blanks); each run of blank, tab, CR, LF, `,` and `;` becomes
/// one space; that space is dropped before `/` and `(`; ASCII letters become lower-case.
pub(super) fn normalize(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let Some(first) = first_change(&value) else { return value };
    let mut pending = first.checked_sub(1).and_then(|before| value.get(before)) == Some(&b' ');
    // A space before the first change may have to go: take it back and let it be written again.
    let mut cursor = InPlace::from(value, first);
    if pending {
        cursor.retract_to(first.saturating_sub(1));
    }
    while let Some(byte) = cursor.peek(0) {
        cursor.skip(1);
        match byte {
            b'\\' | b'"' | b'\'' | b'^' => {}
            b' ' | b'\t' | b'\r' | b'\n' | b',' | b';' => pending = true,
            _ => {
                if pending && !matches!(byte, b'/' | b'(') {
                    cursor.put(b' ');
                }
                pending = false;
                cursor.put(byte.to_ascii_lowercase());
            }
        }
    }
    if pending {
        cursor.put(b' ');
    }
    cursor.finish()
}

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
