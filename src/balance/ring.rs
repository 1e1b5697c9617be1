//! Consistent hashing after ketama: each replica stands at many points of a ring, a key goes to the next point at or
//! after its own. A replica that comes or goes moves only the keys between its points and the ones before them.
//!
//! The hash is SHA-256 cut to 64 bits, so that every instance and every version sends a key to the same replica.

use sha2::{Digest, Sha256};

/// Points of a replica of weight 1; as many as ketama's.
const POINTS: u64 = 160;
/// Points of one replica at most, whatever its weight.
const MOST: u64 = 40 * POINTS;

/// A key's place on the ring.
pub fn hash(key: &[u8]) -> u64 {
    words(Sha256::digest(key).as_slice()).next().unwrap_or_default()
}

fn words(digest: &[u8]) -> impl Iterator<Item = u64> {
    digest.chunks_exact(8).map(|word| word.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)))
}

/// The points of all replicas, by their index.
#[derive(Debug, Default)]
pub(super) struct Ring(Box<[(u64, usize)]>);

impl Ring {
    /// A ring of replicas with their names and weights. Memory: 16 bytes a point.
    pub(super) fn new<'a>(replicas: impl Iterator<Item = (&'a str, u32)>) -> Self {
        let mut points = Vec::new();
        for (index, (name, weight)) in replicas.enumerate() {
            let wanted = (POINTS * u64::from(weight)).min(MOST);
            // A digest gives four points.
            for turn in 0..wanted.div_ceil(4) {
                let digest = Sha256::new().chain_update(name).chain_update("-").chain_update(turn.to_be_bytes());
                points.extend(words(digest.finalize().as_slice()).map(|point| (point, index)));
            }
        }
        points.sort_unstable();
        Self(points.into())
    }

    /// The first replica at or after the key's place that is `fit`; each is asked about once or more.
    pub(super) fn find(&self, key: u64, mut fit: impl FnMut(usize) -> bool) -> Option<usize> {
        let start = self.0.partition_point(|(point, _)| *point < key);
        let (before, after) = self.0.split_at_checked(start)?;
        after.iter().chain(before).map(|(_, index)| *index).find(|index| fit(*index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 5] = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80", "10.0.0.5:80"];

    fn places(ring: &Ring, fit: impl Fn(usize) -> bool) -> Vec<usize> {
        (0..10_000_u32).map(|key| ring.find(hash(&key.to_be_bytes()), &fit).unwrap()).collect()
    }

    #[test]
    fn shares_follow_weights() {
        let ring = Ring::new(NAMES.iter().zip([1, 1, 1, 1, 4]).map(|(name, weight)| (*name, weight)));
        let places = places(&ring, |_| true);
        let share = |index| places.iter().filter(|place| **place == index).count();
        assert!((0..4).all(|index| (900..1600).contains(&share(index))), "{:?}", (0..5).map(share).collect::<Vec<_>>());
        assert!((4300..5700).contains(&share(4)));
    }

    #[test]
    fn only_the_keys_of_a_lost_replica_move() {
        let ring = Ring::new(NAMES.iter().map(|name| (*name, 1)));
        let (all, without) = (places(&ring, |_| true), places(&ring, |index| index != 2));
        assert!(all.iter().zip(&without).all(|(a, b)| *a == 2 || a == b));
        // A ring made without it says the same, whatever the order of the others.
        let kept = [4, 3, 1, 0];
        let made = Ring::new(kept.iter().map(|index| (NAMES[*index], 1)));
        let there: Vec<_> = places(&made, |_| true).into_iter().map(|place| kept[place]).collect();
        assert_eq!(there, without);
    }

    #[test]
    fn an_empty_ring_has_nobody() {
        assert_eq!(Ring::default().find(7, |_| true), None);
        assert_eq!(Ring::new([("a", 0)].into_iter()).find(7, |_| true), None);
        assert_eq!(Ring::new([("a", 1)].into_iter()).find(7, |_| false), None);
    }

    #[test]
    fn places_stay_over_versions() {
        assert_eq!(hash(b"addr:192.0.2.1"), 0x635b_561f_17a9_f418);
    }
}
