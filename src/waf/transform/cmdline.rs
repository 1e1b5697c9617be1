//! `cmdLine`: undoes what a shell lets pass inside a command word.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::LazyLock;

/// Drops `\ " ' ^` (a dropped byte does not end a run of blanks); each run of blank, tab, CR, LF, `,` and `;` becomes
/// one space; that space is dropped before `/` and `(`; ASCII letters become lower-case.
pub(super) fn normalize(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let Some(first) = first_change(&value) else { return value };
    let mut state = usize::from(first.checked_sub(1).and_then(|before| value.get(before)) == Some(&b' '));
    let mut buffer = value.into_owned();
    let mut write = first;
    let steps: &[Step; 2 * STATE] = &STEPS;
    let bytes = Cell::from_mut(buffer.as_mut_slice()).as_slice_of_cells();
    // Without a branch, for which bytes come nobody can foresee: what is not kept is overwritten by what follows. Each
    // byte that is read writes one at most, so what is written never overtakes what is read.
    for byte in bytes.iter().skip(first).map(Cell::get) {
        let step = steps.get((state * STATE) | usize::from(byte)).copied().unwrap_or_default();
        write = write.wrapping_sub(usize::from(step.back));
        if let Some(slot) = bytes.get(write) {
            slot.set(step.byte);
        }
        write = write.wrapping_add(usize::from(step.ahead));
        state = usize::from(step.behind_space);
    }
    buffer.truncate(write);
    Cow::Owned(buffer)
}

/// Steps of one state: behind a space of a run of blanks, or not.
const STATE: usize = 256;

/// What becomes of a byte.
#[derive(Debug, Clone, Copy, Default)]
struct Step {
    /// 1: the space that has been written before it goes.
    back: u8,
    byte: u8,
    /// 0: it is not kept.
    ahead: u8,
    behind_space: u8,
}

static STEPS: LazyLock<[Step; 2 * STATE]> = LazyLock::new(|| {
    std::array::from_fn(|number| {
        let byte = u8::try_from(number % STATE).unwrap_or(0);
        let behind_space = u8::from(number >= STATE);
        let kept = Step { back: 0, byte: byte.to_ascii_lowercase(), ahead: 1, behind_space: 0 };
        match byte {
            b'/' | b'(' => Step { back: behind_space, ..kept },
            b' ' | b'\t' | b'\r' | b'\n' | b',' | b';' => {
                Step { back: 0, byte: b' ', ahead: 1 - behind_space, behind_space: 1 }
            }
            b'\\' | b'"' | b'\'' | b'^' => Step { ahead: 0, behind_space, ..kept },
            _ => kept,
        }
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
