//! Sorted, disjoint address ranges: the longest-prefix question answered once for every address, ahead of time.
//!
//! `starts[i]` is where a range begins and `values[i]` who holds it; a range ends where the next begins. Every 64th start
//! is repeated in `top`, which stays in the processor's cache, so a look-up touches one or two cold lines of the rest.

/// The value of a range that no entry covers.
pub(super) const NOBODY: u16 = u16::MAX;

const BLOCK: usize = 64;

/// An address as a number.
pub(super) trait Address: Copy + Ord {
    /// The next address, unless this is the last.
    fn next(self) -> Option<Self>;
    /// The first address of all.
    const ZERO: Self;
}

impl Address for u32 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
    const ZERO: Self = 0;
}

impl Address for u128 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
    const ZERO: Self = 0;
}

/// One prefix: its first and last address and who holds it.
///
/// Entries come from prefixes, so of any two either one holds the other or they share no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<A> {
    pub(super) first: A,
    pub(super) last: A,
    /// Below [`NOBODY`]; of two entries for the same prefix the smaller value wins.
    pub(super) value: u16,
}

/// The finished table.
#[derive(Debug)]
pub(super) struct Ranges<A> {
    top: Vec<A>,
    starts: Vec<A>,
    values: Vec<u16>,
}

impl<A: Address> Ranges<A> {
    /// Flattens nested prefixes: O(n log n) time, at most 2n + 1 ranges.
    pub(super) fn build(mut entries: Vec<Entry<A>>) -> Self {
        // Outer prefixes before inner ones, the winner of equals first.
        entries.sort_unstable_by_key(|e| (e.first, std::cmp::Reverse(e.last), e.value));
        entries.dedup_by_key(|e| (e.first, e.last));

        let mut ranges = Self { top: Vec::new(), starts: Vec::new(), values: Vec::new() };
        let mut open: Vec<Entry<A>> = Vec::new();
        ranges.begin(A::ZERO, NOBODY);
        for entry in entries {
            while let Some(inner) = open.pop_if(|inner| inner.last < entry.first) {
                ranges.close(inner, &open);
            }
            ranges.begin(entry.first, entry.value);
            open.push(entry);
        }
        while let Some(inner) = open.pop() {
            ranges.close(inner, &open);
        }
        ranges.starts.shrink_to_fit();
        ranges.values.shrink_to_fit();
        ranges.top = ranges.starts.iter().copied().step_by(BLOCK).collect();
        ranges
    }

    /// After an entry its surroundings hold again.
    fn close(&mut self, ended: Entry<A>, around: &[Entry<A>]) {
        if let Some(after) = ended.last.next() {
            self.begin(after, around.last().map_or(NOBODY, |outer| outer.value));
        }
    }

    /// From `start` on `value` holds; a range that began at the same address turned out to be empty.
    fn begin(&mut self, start: A, value: u16) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.values.pop();
        }
        if self.values.last() != Some(&value) {
            self.starts.push(start);
            self.values.push(value);
        }
    }

    /// Who holds the address with the longest prefix.
    pub(super) fn find(&self, address: A) -> Option<u16> {
        let block = self.top.partition_point(|start| *start <= address).checked_sub(1)? * BLOCK;
        let starts = self.starts.get(block..self.starts.len().min(block + BLOCK))?;
        let within = starts.partition_point(|start| *start <= address).checked_sub(1)?;
        self.values.get(block + within).copied().filter(|value| *value != NOBODY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(bits: u32, length: u32, value: u16) -> Entry<u32> {
        let host = u32::MAX.checked_shr(length).unwrap_or(0);
        Entry { first: bits & !host, last: bits | host, value }
    }

    /// The question asked of every entry in turn.
    fn model(entries: &[Entry<u32>], address: u32) -> Option<u16> {
        let holding = entries.iter().filter(|e| e.first <= address && address <= e.last);
        holding.min_by_key(|e| (e.last - e.first, e.value)).map(|e| e.value)
    }

    proptest! {
        #[test]
        fn the_table_agrees_with_asking_every_entry(
            // Few distinct bits, so that prefixes nest, repeat and touch.
            entries in prop::collection::vec((0_u32..256, 0_u32..=32, 0_u16..4, any::<bool>()), 0..300),
            probes in prop::collection::vec(any::<u32>(), 50),
        ) {
            let entries: Vec<_> = entries
                .into_iter()
                .map(|(bits, length, value, high)| entry(if high { bits << 24 } else { bits }, length, value))
                .collect();
            let table = Ranges::build(entries.clone());
            prop_assert!(table.starts.is_sorted_by(|a, b| a < b));
            prop_assert!(table.starts.len() <= 2 * entries.len() + 1);
            let edges = entries.iter().flat_map(|e| {
                [e.first, e.last, e.first.wrapping_sub(1), e.last.wrapping_add(1)]
            });
            for address in edges.chain(probes) {
                prop_assert_eq!(table.find(address), model(&entries, address), "{:#x}", address);
            }
        }
    }

    /// How long a large list takes; run with `--ignored --nocapture`, best in a release build.
    #[test]
    #[ignore = "a measurement"]
    fn a_million_prefixes() {
        let mut state = 1_u128;
        let mut random = || {
            state = state.wrapping_mul(0xda94_2042_e4dd_58b5).wrapping_add(1);
            state >> 64
        };
        let entries: Vec<_> = (0..1_000_000)
            .map(|_| {
                let (bits, length) = (0x2000_u128 << 112 | random() << 50, 24 + (random() % 41) as u32);
                let host = u128::MAX >> length;
                Entry { first: bits & !host, last: bits | host, value: (random() % 3) as u16 }
            })
            .collect();
        let begun = std::time::Instant::now();
        let table = Ranges::build(entries.clone());
        eprintln!("built {} ranges in {:?}", table.starts.len(), begun.elapsed());
        let begun = std::time::Instant::now();
        let hits = entries.iter().filter(|e| table.find(e.first.wrapping_add(1)).is_some()).count();
        eprintln!("{:?} a look-up, {hits} hits", begun.elapsed() / 1_000_000);
        assert!(hits > 0);
    }
}
