//! Chance that comes out the same on every machine, and the split of texts and payloads in two halves.

/// What everything is made from: `GATEHOUSE_TRAFFIC_SEED`, else always the same. Another seed puts texts together and
/// payloads into places differently; in which half each is stays.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("GATEHOUSE_TRAFFIC_SEED").ok();
    given.map_or(0x41_72_63_68_6f_6e, |seed| seed.parse().expect("GATEHOUSE_TRAFFIC_SEED is a number"))
}

/// A seeded sequence (splitmix64).
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    pub(crate) fn between(&mut self, from: usize, to: usize) -> usize {
        from + self.below(to + 1 - from)
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    pub(crate) fn hex(&mut self, digits: usize) -> String {
        (0..digits).map(|_| char::from(b"0123456789abcdef"[self.below(16)])).collect()
    }

    /// `n` characters of base64url.
    pub(crate) fn token(&mut self, n: usize) -> String {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        (0..n).map(|_| char::from(ALPHABET[self.below(64)])).collect()
    }

    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.below(i + 1));
        }
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Which half a text or a payload belongs to: what is open may be looked at one by one when something is developed; of
/// what is held out only the rate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Half {
    Open,
    Held,
}

impl Half {
    pub(crate) const BOTH: [Self; 2] = [Self::Open, Self::Held];

    /// By the text itself (FNV-1a), so that it stays where it is when others come and go.
    pub(crate) fn of(text: &str) -> Self {
        let hash =
            text.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        if mix(hash) & 1 == 0 { Self::Open } else { Self::Held }
    }

    /// Those of a list.
    pub(crate) fn those<'a>(self, list: &[&'a str]) -> Vec<&'a str> {
        list.iter().copied().filter(|text| Self::of(text) == self).collect()
    }
}
