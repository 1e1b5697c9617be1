//! `removeWhitespace`, `compressWhitespace`, `trim`, `trimLeft`, `trimRight`.

use super::in_place::{is_space, without};
use std::borrow::Cow;
use std::cell::Cell;
use std::sync::LazyLock;

/// Drops blanks, and as libmodsecurity does 0xA0 and 0xC2, the two bytes of a no-break space. 0xC2 alone goes too:
/// a decoder behind us that drops invalid bytes would join what it separates.
pub(super) fn remove(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    // Looked up, for two ranges and two bytes take longer to compare.
    static DROPPED: LazyLock<[bool; 256]> = LazyLock::new(|| {
        std::array::from_fn(|byte| u8::try_from(byte).is_ok_and(|b| is_space(b) || matches!(b, 0xA0 | 0xC2)))
    });
    let table: &[bool; 256] = &DROPPED;
    without(value, |byte| table.get(usize::from(byte)) == Some(&true))
}

/// A run of blanks becomes one space. 0xA0 stays.
pub(super) fn compress(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let mut after_space = false;
    let changes = |&byte: &u8| {
        let changes = is_space(byte) && (byte != b' ' || after_space);
        after_space = is_space(byte);
        changes
    };
    let Some(first) = value.iter().position(changes) else { return value };
    let mut after_space = first.checked_sub(1).and_then(|before| value.get(before)) == Some(&b' ');
    let mut buffer = value.into_owned();
    let mut write = first;
    let bytes = Cell::from_mut(buffer.as_mut_slice()).as_slice_of_cells();
    for byte in bytes.iter().skip(first).map(Cell::get) {
        let space = is_space(byte);
        if let Some(slot) = bytes.get(write) {
            slot.set(if space { b' ' } else { byte });
        }
        write = write.wrapping_add(usize::from(!(space & after_space)));
        after_space = space;
    }
    buffer.truncate(write);
    Cow::Owned(buffer)
}

/// Which ends `trim` cuts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ends {
    Left,
    Right,
    Both,
}

/// Cuts blanks at the ends. A borrowed value stays borrowed.
pub(super) fn trim(value: Cow<'_, [u8]>, ends: Ends) -> Cow<'_, [u8]> {
    let solid = |byte: &u8| !is_space(*byte);
    let start = match ends {
        Ends::Right => 0,
        Ends::Left | Ends::Both => value.iter().position(solid).unwrap_or(value.len()),
    };
    let end = match ends {
        Ends::Left => value.len(),
        // All blank: both cursors meet at the end.
        Ends::Right | Ends::Both => value.iter().rposition(solid).map_or(start, |last| last.saturating_add(1)),
    };
    if start == 0 && end == value.len() {
        return value;
    }
    match value {
        Cow::Borrowed(bytes) => Cow::Borrowed(bytes.get(start..end).unwrap_or_default()),
        Cow::Owned(mut bytes) => {
            bytes.truncate(end);
            bytes.drain(..start);
            Cow::Owned(bytes)
        }
    }
}
