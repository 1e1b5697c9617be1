//! Which of the 256 bytes a text holds.

/// A set of bytes, one bit for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub(crate) struct ByteSet([u64; 4]);

impl ByteSet {
    pub(crate) const EMPTY: Self = Self([0; 4]);
    pub(crate) const ALL: Self = Self([u64::MAX; 4]);

    /// The bytes that occur in `text`.
    pub(crate) fn of(text: &[u8]) -> Self {
        if text.len() > 256 {
            let mut seen = [false; 256];
            for byte in text {
                if let Some(seen) = seen.get_mut(usize::from(*byte)) {
                    *seen = true;
                }
            }
            let word =
                |from: usize| (0..64).fold(0, |word, at| word | u64::from(seen.get(from + at) == Some(&true)) << at);
            return Self([word(0), word(64), word(128), word(192)]);
        }
        let [mut a, mut b, mut c, mut d] = [0u64; 4];
        for byte in text {
            // Four selections in registers are faster than a write to one of four words in memory.
            let bit = 1u64 << (byte & 63);
            a |= if byte >> 6 == 0 { bit } else { 0 };
            b |= if byte >> 6 == 1 { bit } else { 0 };
            c |= if byte >> 6 == 2 { bit } else { 0 };
            d |= if byte >> 6 == 3 { bit } else { 0 };
        }
        Self([a, b, c, d])
    }

    /// The bytes for which `holds`.
    pub(crate) fn of_those(holds: impl Fn(u8) -> bool) -> Self {
        (0..=u8::MAX).filter(|byte| holds(*byte)).fold(Self::EMPTY, |mut set, byte| {
            if let Some(word) = set.0.get_mut(usize::from(byte >> 6)) {
                *word |= 1 << (byte & 63);
            }
            set
        })
    }

    /// The bytes below 0x80.
    pub(crate) const fn of_ascii() -> Self {
        Self([u64::MAX, u64::MAX, 0, 0])
    }

    /// The bytes from `first` to `last`, both included.
    pub(crate) fn range(first: u8, last: u8) -> Self {
        Self::of_those(|byte| (first..=last).contains(&byte))
    }

    /// Its members in order.
    pub(crate) fn iter(self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(move |byte| self.contains(*byte))
    }

    pub(crate) fn contains(self, byte: u8) -> bool {
        let [a, b, c, d] = self.0;
        let word = match byte >> 6 {
            0 => a,
            1 => b,
            2 => c,
            _ => d,
        };
        word >> (byte & 63) & 1 == 1
    }

    /// Whether the two have a byte in common.
    pub(crate) fn meets(self, other: Self) -> bool {
        self.0.iter().zip(other.0).any(|(one, two)| one & two != 0)
    }

    /// Whether every byte of this set is in the other.
    pub(crate) fn within(self, other: Self) -> bool {
        self.0.iter().zip(other.0).all(|(one, two)| one & !two == 0)
    }

    pub(crate) fn union(self, other: Self) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        Self([a | e, b | f, c | g, d | h])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(ByteSet::of(&all), ByteSet::ALL);
        assert_eq!(ByteSet::of(&all.repeat(2)), ByteSet::ALL);
        assert_eq!(ByteSet::of(&b"a\xFFz".repeat(200)), ByteSet::of(b"az\xFF"));
        for byte in all {
            let set = ByteSet::of(&[byte, byte]);
            assert!((0..=255).all(|other| set.contains(other) == (other == byte)));
            assert!(set.within(ByteSet::ALL) && !ByteSet::ALL.within(set) && !set.meets(ByteSet::EMPTY));
            assert!(set.meets(set.union(ByteSet::of(b"x"))));
        }
        assert_eq!(ByteSet::of_those(|b| b.is_ascii_digit()), ByteSet::of(b"0123456789"));
    }
}
