//! `cmdLine`: undoes what a shell lets pass inside a command word.

use std::borrow::Cow;
use std::sync::LazyLock;

/// Drops `\ " ' ^` (a dropped byte does not end a run of blanks); each run of blank, tab, CR, LF, `,` and `;` becomes
/// one space; that space is dropped before `/` and `(`; ASCII letters become lower-case.
pub(super) fn normalize(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let Some(first) = first_change(&value) else { return value };
    let mut pending = first.checked_sub(1).and_then(|before| value.get(before)) == Some(&b' ');
    let mut buffer = value.into_owned();
    // A space before the first change may have to go: take it back and let it be written again.
    let mut write = first.saturating_sub(usize::from(pending));
    // A pending space has been read and not written, so what is written never overtakes what is read.
    let mut put = |buffer: &mut [u8], byte: u8| {
        if let Some(slot) = buffer.get_mut(write) {
            *slot = byte;
        }
        write = write.saturating_add(1);
    };
    for read in first..buffer.len() {
        let byte = buffer.get(read).copied().unwrap_or_default();
        match CLASSES.get(usize::from(byte)).copied().unwrap_or_default() {
            Class::Dropped => {}
            Class::Blank => pending = true,
            class => {
                if pending && class != Class::Tight {
                    put(&mut buffer, b' ');
                }
                pending = false;
                put(&mut buffer, byte.to_ascii_lowercase());
            }
        }
    }
    if pending {
        put(&mut buffer, b' ');
    }
    buffer.truncate(write);
    Cow::Owned(buffer)
}

/// What becomes of a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Class {
    #[default]
    Kept,
    /// Kept, without a space before it.
    Tight,
    Blank,
    Dropped,
}

static CLASSES: LazyLock<[Class; 256]> = LazyLock::new(|| {
    std::array::from_fn(|byte| match u8::try_from(byte) {
        Ok(b'/' | b'(') => Class::Tight,
        Ok(b' ' | b'\t' | b'\r' | b'\n' | b',' | b';') => Class::Blank,
        Ok(b'\\' | b'"' | b'\'' | b'^') => Class::Dropped,
        _ => Class::Kept,
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
