//! A quick hash, and hash tables that use it, whose keys come from rules, not from the network.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::LazyLock;

/// A map with a hash that is quick, and no defence against chosen keys.
pub(crate) type Map<K, V> = HashMap<K, V, BuildHasherDefault<Quick>>;

/// A map by hashes of bytes from the network: which of them fall together depends on a secret of this process.
pub(crate) type ByHash<V> = HashMap<u64, V, Seeded>;

/// Hashes a hash once more, under a secret.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seeded(u64);

impl Default for Seeded {
    fn default() -> Self {
        static SECRET: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0));
        Self(*SECRET)
    }
}

impl BuildHasher for Seeded {
    type Hasher = Quick;

    fn build_hasher(&self) -> Quick {
        Quick(self.0)
    }
}

/// The hash of some bytes.
pub(crate) fn of(bytes: &[u8]) -> u64 {
    // Four words side by side, for one product has to wait for the one before it.
    let (blocks, rest) = bytes.as_chunks::<32>();
    let mut lanes = [Quick(1), Quick(2), Quick(3), Quick(4)];
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        lanes.iter_mut().zip(words).for_each(|(lane, word)| lane.mix(u64::from_le_bytes(*word)));
    }
    let mut hasher = Quick(bytes.len() as u64);
    if !blocks.is_empty() {
        lanes.iter().for_each(|lane| hasher.mix(lane.0));
    }
    hasher.write(rest);
    hasher.finish()
}

/// Multiplies, and folds the upper half of the product into the lower.
#[derive(Debug, Default)]
pub(crate) struct Quick(u64);

impl Quick {
    fn mix(&mut self, word: u64) {
        let product = (u128::from(self.0 ^ word) * 0x9E37_79B9_7F4A_7C15).to_le_bytes();
        let (halves, _) = product.as_chunks::<8>();
        self.0 = halves.iter().fold(word.rotate_left(32), |folded, half| folded ^ u64::from_le_bytes(*half));
    }
}

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word)));
        let tail = rest.iter().fold(0, |tail, byte| tail << 8 | u64::from(*byte));
        self.mix(tail ^ (bytes.len() as u64) << 56);
    }

    fn write_u16(&mut self, number: u16) {
        self.mix(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.mix(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.mix(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.mix(number as u64);
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Texts that differ little have hashes that differ in all their bits.
    #[test]
    fn like_texts_have_unlike_hashes() {
        for before in ["", "x", "kept ", "flood ", "json.rows.", "0123456789abcdef"] {
            let hashes: Vec<u64> = (0..50_000).map(|n| of(format!("{before}{n}").as_bytes())).collect();
            for (shift, least) in [(0, 49_900), (16, 49_900), (32, 49_900), (48, 34_000)] {
                let distinct = hashes.iter().map(|hash| hash >> shift & 0xFFFF_FFFF).collect::<HashSet<_>>().len();
                assert!(distinct > least, "{before}: {distinct} from bit {shift}");
            }
        }
        assert_ne!(of(b"a"), of(b"\0a"));
        assert_ne!(of(b""), of(b"\0"));
    }
}
