//! One automaton over the first bytes of all patterns: which of them can begin here?
//!
//! It is not a combined search: nothing loops back to its start. From a place in a text it reads at most [`DEPTH`]
//! bytes and ends in the set of the patterns that these bytes do not rule out. It is built in full when the rules are
//! loaded, so no text can make it grow, and each place costs the same few table lookups whatever was read before. What
//! it lets through is checked pattern by pattern.

use super::walk::{Walk, Walker, classes};
use std::collections::HashMap;

/// Most bytes read from one place.
const DEPTH: usize = 3;
/// Marks an entry that ends the walk; the rest of it is the number of a set.
const LEAF: u16 = 1 << 15;
/// Nothing can begin so: the empty set.
const DEAD: u16 = LEAF;
/// Most rows, and most sets; beyond, walks end early and let more through.
const MOST: usize = LEAF as usize - 1;

/// The built tables.
pub(super) struct Prefix {
    /// Byte → column.
    classes: Box<[u8; 256]>,
    columns: usize,
    /// Rows of entries, the first for the places of [`Place`].
    table: Vec<u16>,
    /// For each row the set of what is open there.
    open: Vec<u16>,
    /// Sets as bits, `words` for each; set 0 is empty.
    sets: Vec<u64>,
    words: usize,
}

/// Where a walk begins, for patterns may look at the byte before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    BehindWord,
    BehindOther,
}

/// A node while the tables are built: who is still open, and in which state.
type Open = Vec<(u16, Walk)>;

impl Prefix {
    pub(super) fn build(walkers: &mut [Walker]) -> Self {
        let words = walkers.len().div_ceil(64);
        let (classes, samples) = classes(walkers);
        let columns = samples.len();
        let mut building = Building { words, sets: vec![0; words], set_numbers: HashMap::new() };
        building.set_numbers.insert(vec![0; words].into(), 0);
        let roots = [Place::Start, Place::BehindWord, Place::BehindOther].map(|place| {
            let numbered = walkers.iter_mut().zip(0u16..);
            let starts = numbered.flat_map(|(walker, number)| {
                let [start, word, blank, feed, carriage] = walker.starts();
                let here = match place {
                    Place::Start => vec![start],
                    Place::BehindWord => vec![word],
                    Place::BehindOther => vec![blank, feed, carriage],
                };
                here.into_iter().flatten().map(move |walk| (number, walk))
            });
            let mut open: Open = starts.collect();
            open.sort_unstable();
            open.dedup();
            open
        });
        let (mut table, mut sets) = (Vec::new(), Vec::new());
        let mut numbers: HashMap<Open, u16> = HashMap::new();
        let mut level: Vec<Open> = roots.into();
        let mut rows = level.len();
        for depth in 0..DEPTH {
            let mut next_level = Vec::new();
            for open in std::mem::take(&mut level) {
                sets.push(building.set(&open));
                for sample in &samples {
                    let next = step(walkers, &open, *sample);
                    let decided = next.iter().all(|(_, walk)| *walk == Walk::Matched);
                    let entry = if decided || depth + 1 == DEPTH || rows >= MOST {
                        numbers.get(&next).copied().unwrap_or_else(|| LEAF | building.set(&next))
                    } else {
                        *numbers.entry(next.clone()).or_insert_with(|| {
                            next_level.push(next);
                            rows += 1;
                            u16::try_from(rows - 1).unwrap_or(DEAD)
                        })
                    };
                    table.push(entry);
                }
            }
            level = next_level;
        }
        Self { classes, columns, table, open: sets, sets: building.sets, words }
    }

    /// Calls `found` with each place of a text where some pattern may begin, and with the set of those patterns as bits.
    #[inline]
    pub(super) fn each(&self, text: &[u8], mut found: impl FnMut(usize, &[u64])) {
        let column = |at: usize| text.get(at).map(|byte| usize::from(self.classes[usize::from(*byte)]));
        let (mut first, mut second) = (column(0), column(1));
        let mut place = Place::Start;
        for (at, byte) in text.iter().enumerate() {
            let third = column(at + 2);
            let entry = self.walk(place, [first, second, third]);
            if entry != DEAD
                && let Some(set) = self.set(entry)
            {
                found(at, set);
            }
            place = if byte.is_ascii_alphanumeric() || *byte == b'_' { Place::BehindWord } else { Place::BehindOther };
            (first, second) = (second, third);
        }
    }

    /// From one place on: the number of a set, marked as a leaf.
    #[inline]
    fn walk(&self, place: Place, columns: [Option<usize>; DEPTH]) -> u16 {
        let mut row = place as usize;
        for column in columns {
            let Some(column) = column else { break };
            let entry = self.table.get(row * self.columns + column).copied().unwrap_or(DEAD);
            if entry & LEAF != 0 {
                return entry;
            }
            row = usize::from(entry);
        }
        self.open.get(row).map_or(DEAD, |set| LEAF | set)
    }

    fn set(&self, entry: u16) -> Option<&[u64]> {
        let start = usize::from(entry & !LEAF) * self.words;
        self.sets.get(start..start + self.words)
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.table.len() * 2 + self.open.len() * 2 + self.sets.len() * 8
    }
}

struct Building {
    words: usize,
    sets: Vec<u64>,
    set_numbers: HashMap<Box<[u64]>, u16>,
}

impl Building {
    /// The number of the set of all that are open. Past the last number stands a set that holds everything.
    fn set(&mut self, open: &Open) -> u16 {
        let mut bits = vec![0u64; self.words];
        for (number, _) in open {
            if let Some(word) = bits.get_mut(usize::from(*number) / 64) {
                *word |= 1 << (number % 64);
            }
        }
        if self.set_numbers.len() + 1 >= MOST && !self.set_numbers.contains_key(&*bits) {
            bits.fill(u64::MAX);
        }
        let next = u16::try_from(self.set_numbers.len()).unwrap_or(0);
        *self.set_numbers.entry(bits.into()).or_insert_with_key(|bits| {
            self.sets.extend_from_slice(bits);
            next
        })
    }
}

fn step(walkers: &mut [Walker], open: &Open, byte: u8) -> Open {
    let mut next = Open::with_capacity(open.len());
    for (number, walk) in open {
        let Some(walker) = walkers.get_mut(usize::from(*number)) else { continue };
        if let Some(walk) = walker.step(*walk, byte) {
            next.push((*number, walk));
        }
    }
    next.sort_unstable();
    next.dedup();
    // One that has matched needs no other state of the same pattern.
    let matched: Vec<u16> = next.iter().filter(|(_, walk)| *walk == Walk::Matched).map(|(number, _)| *number).collect();
    if !matched.is_empty() {
        next.retain(|(number, walk)| *walk == Walk::Matched || matched.binary_search(number).is_err());
    }
    next
}
