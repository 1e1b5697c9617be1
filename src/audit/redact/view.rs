//! A text with some percent-escapes undone, which remembers where each byte came from.

use std::borrow::Cow;
use std::ops::Range;

/// How many layers of percent-escapes are undone.
const MAX_DEPTH: u8 = 2;

/// One reading of a text.
pub(super) struct View<'a> {
    bytes: Cow<'a, [u8]>,
    /// Where each byte starts in the original, and at the end the original's length; empty for the original itself.
    starts: Vec<usize>,
    depth: u8,
}

impl<'a> View<'a> {
    /// The text as it is.
    pub(super) fn plain(bytes: &'a [u8]) -> Self {
        Self { bytes: Cow::Borrowed(bytes), starts: Vec::new(), depth: 0 }
    }

    /// The bytes of this reading.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The byte at a position.
    pub(super) fn at(&self, position: usize) -> Option<u8> {
        self.bytes.get(position).copied()
    }

    /// Where a span of this reading lies in the original.
    pub(super) fn original(&self, span: &Range<usize>) -> Range<usize> {
        self.start(span.start)..self.start(span.end)
    }

    fn start(&self, position: usize) -> usize {
        self.starts.get(position).copied().unwrap_or(position)
    }

    /// The next reading, with one more layer undone; `None` if that is the same, or deep enough.
    pub(super) fn decoded(&self) -> Option<Self> {
        if self.depth >= MAX_DEPTH {
            return None;
        }
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut starts = Vec::with_capacity(self.bytes.len() + 1);
        let mut at = 0;
        while let Some(byte) = self.at(at) {
            let digit = |offset| self.at(at + offset).and_then(hex);
            let escape = if byte == b'%' { digit(1).zip(digit(2)) } else { None };
            starts.push(self.start(at));
            match escape {
                Some((high, low)) => {
                    bytes.push(high << 4 | low);
                    at += 3;
                }
                None => {
                    bytes.push(byte);
                    at += 1;
                }
            }
        }
        starts.push(self.start(at));
        (bytes.len() < self.bytes.len()).then(|| Self { bytes: Cow::Owned(bytes), starts, depth: self.depth + 1 })
    }
}

fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_lead_back_to_the_original_through_two_layers() {
        let text = b"a%2525%41b";
        let once = View::plain(text).decoded().unwrap();
        assert_eq!(once.bytes(), b"a%25Ab");
        let twice = once.decoded().unwrap();
        assert_eq!(twice.bytes(), b"a%Ab");
        assert_eq!(twice.original(&(1..2)), 1..6);
        assert_eq!(twice.original(&(2..4)), 6..10);
        assert!(twice.decoded().is_none());
        assert!(View::plain(b"no escapes % %4 %zz").decoded().is_none());
    }
}
