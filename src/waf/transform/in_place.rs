//! The cursor pair that the decoders write with: what comes out is never longer than what went in, so a value is
//! rewritten in its own buffer, and a borrowed one is copied once, at the first byte that changes.

use std::borrow::Cow;
use std::cell::Cell;

/// A buffer that is read at one place and written at an earlier one.
#[derive(Debug)]
pub(super) struct InPlace {
    buffer: Vec<u8>,
    read: usize,
    write: usize,
}

impl InPlace {
    /// Starts at byte `at`; what lies before it stays as it is.
    pub(super) fn from(value: Cow<'_, [u8]>, at: usize) -> Self {
        let buffer = value.into_owned();
        let at = at.min(buffer.len());
        Self { buffer, read: at, write: at }
    }

    /// The byte `ahead` places from the read cursor.
    pub(super) fn peek(&self, ahead: usize) -> Option<u8> {
        self.buffer.get(self.read.checked_add(ahead)?).copied()
    }

    /// What is still to be read.
    pub(super) fn rest(&self) -> &[u8] {
        self.buffer.get(self.read..).unwrap_or_default()
    }

    /// Passes over `count` bytes without writing them.
    pub(super) fn skip(&mut self, count: usize) {
        self.read = self.read.saturating_add(count).min(self.buffer.len());
    }

    /// Writes `byte`. Callers have read at least as many bytes as they write, so nothing unread is lost; a byte too
    /// many is dropped rather than grown.
    pub(super) fn put(&mut self, byte: u8) {
        debug_assert!(self.write < self.read, "a decoder wrote more than it read");
        if self.write < self.read
            && let Some(slot) = self.buffer.get_mut(self.write)
        {
            *slot = byte;
            self.write = self.write.saturating_add(1);
        }
    }

    /// Reads `read` bytes and writes `byte` for them.
    pub(super) fn replace(&mut self, read: usize, byte: u8) {
        self.skip(read);
        self.put(byte);
    }

    /// Copies the next `count` bytes as they are.
    pub(super) fn keep(&mut self, count: usize) {
        let end = self.read.saturating_add(count).min(self.buffer.len());
        let length = end.saturating_sub(self.read);
        self.buffer.copy_within(self.read..end, self.write);
        self.read = end;
        self.write = self.write.saturating_add(length);
    }

    /// Copies what comes before `place` of the rest, or all of the rest: runs between places that matter are moved as
    /// one.
    pub(super) fn keep_to(&mut self, place: Option<usize>) {
        let all = self.buffer.len().saturating_sub(self.read);
        self.keep(place.unwrap_or(all));
    }

    /// What has been written, the untouched beginning included.
    pub(super) fn written(&self) -> &[u8] {
        self.buffer.get(..self.write).unwrap_or_default()
    }

    /// Takes back what was written from byte `length` on.
    pub(super) fn retract_to(&mut self, length: usize) {
        self.write = self.write.min(length);
    }

    /// The rewritten value.
    pub(super) fn finish(mut self) -> Cow<'static, [u8]> {
        self.buffer.truncate(self.write);
        Cow::Owned(self.buffer)
    }
}

/// The value less the bytes that are `dropped`. Without a branch, for which byte goes nobody can foresee.
pub(super) fn without(value: Cow<'_, [u8]>, dropped: impl Fn(u8) -> bool) -> Cow<'_, [u8]> {
    let Some(first) = value.iter().position(|&byte| dropped(byte)) else { return value };
    let mut buffer = value.into_owned();
    let mut write = first;
    let bytes = Cell::from_mut(buffer.as_mut_slice()).as_slice_of_cells();
    for byte in bytes.iter().skip(first).map(Cell::get) {
        if let Some(slot) = bytes.get(write) {
            slot.set(byte);
        }
        write = write.wrapping_add(usize::from(!dropped(byte)));
    }
    buffer.truncate(write);
    Cow::Owned(buffer)
}

/// The value of an ASCII hexadecimal digit.
pub(super) fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(byte.wrapping_sub(b'a').wrapping_add(10)),
        b'A'..=b'F' => Some(byte.wrapping_sub(b'A').wrapping_add(10)),
        _ => None,
    }
}

/// Two hexadecimal digits as a byte.
pub(super) fn hex_pair(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    Some((hex_digit(high?)? << 4) | hex_digit(low?)?)
}

/// The blanks of C: tab, LF, VT, FF, CR and space.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, 9..=13 | b' ')
}

/// The low byte of a code point; full-width forms (U+FF01 to U+FF5E) become the ASCII character they imitate.
pub(super) fn narrow(high: u8, low: u8) -> u8 {
    if high == 0xFF && (0x01..=0x5E).contains(&low) { low.wrapping_add(0x20) } else { low }
}
