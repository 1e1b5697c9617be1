//! Which of the 256 bytes a text holds.

/// A set of bytes, one bit for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub(crate) struct ByteSet([u64; 4]);

impl ByteSet {
    pub(crate) const EMPTY: Self = Self([0; 4]);
    pub(crate) const ALL: Self = Self([u64::MAX; 4]);

    /// The bytes that occur in `text`.
    pub(crate) fn of(text: &[u8]) -> Self {
        // A mark in memory for each byte costs less than choosing one of four words; gathering the marks costs as much
        // as a dozen bytes.
        if text.len() > 16 {
            let mut seen = [0u8; 256];
            for byte in text {
                if let Some(seen) = seen.get_mut(usize::from(*byte)) {
                    *seen = 1;
                }
            }
            let (eights, _) = seen.as_chunks::<8>();
            let mut words = [0u64; 4];
            for (at, eight) in eights.iter().enumerate() {
                // The product's highest byte has bit n where byte n of the factor is 1.
                let bits = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
                if let Some(word) = words.get_mut(at / 8) {
                    *word |= bits << (at % 8 * 8);
                }
            }
            return Self(words);
        }
        let [mut a, mut b, mut c, mut d] = [0u64; 4];
        for byte in text {
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
        self.0.into_iter().zip([0, 64, 128, 192]).flat_map(|(word, first)| {
            let mut open = word;
            std::iter::from_fn(move || {
                let bit = u8::try_from(open.trailing_zeros()).ok().filter(|bit| *bit < 64)?;
                open &= open.wrapping_sub(1);
                Some(first + bit)
            })
        })
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
        // Without a branch for each word: the answer is hard to foresee.
        self.0.iter().zip(other.0).fold(0, |met, (one, two)| met | one & two) != 0
    }

    /// Whether every byte of this set is in the other.
    pub(crate) fn within(self, other: Self) -> bool {
        self.0.iter().zip(other.0).fold(0, |left, (one, two)| left | one & !two) == 0
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
        for byte in &all {
            assert_eq!(ByteSet::of(&[*byte; 17]), ByteSet::of(&[*byte]));
        }
        assert_eq!(ByteSet::ALL.iter().collect::<Vec<_>>(), all);
        assert_eq!(ByteSet::of(b"b\0\xFFa\x80").iter().collect::<Vec<_>>(), [0, b'a', b'b', 0x80, 0xFF]);
        for byte in all {
            let set = ByteSet::of(&[byte, byte]);
            assert!((0..=255).all(|other| set.contains(other) == (other == byte)));
            assert!(set.within(ByteSet::ALL) && !ByteSet::ALL.within(set) && !set.meets(ByteSet::EMPTY));
            assert!(set.meets(set.union(ByteSet::of(b"x"))));
        }
        assert_eq!(ByteSet::of_those(|b| b.is_ascii_digit()), ByteSet::of(b"0123456789"));
    }
}
