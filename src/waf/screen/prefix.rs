//! One automaton over the first bytes of all patterns: which of them can begin here?
//!
//! It is not a combined search: nothing loops back to its start. From a place in a text it reads at most [`DEPTH`]
//! bytes and ends in the set of the patterns that these bytes do not rule out. It is built in full when the rules are
//! loaded, so no text can make it grow, and each place costs the same few table lookups whatever was read before. What
//! it lets through is checked pattern by pattern.

use super::automaton::Automaton;
use super::hashing::Map;
use std::sync::Arc;

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
type Open = Vec<(u16, u16)>;

impl Prefix {
    pub(super) fn build(automata: &[Arc<Automaton>]) -> Self {
        let words = automata.len().div_ceil(64);
        let (classes, samples) = classes(automata);
        let columns = samples.len();
        let mut building = Building { words, sets: vec![0; words], set_numbers: Map::default() };
        building.set_numbers.insert(vec![0; words].into(), 0);
        let mut roots: [Open; 3] = Default::default();
        for (automaton, number) in automata.iter().zip(0u16..) {
            for (root, states) in roots.iter_mut().zip(automaton.starts()) {
                root.extend(states.into_iter().map(|state| (number, state)));
            }
        }
        for root in &mut roots {
            root.sort_unstable();
            root.dedup();
        }
        let (mut table, mut sets) = (Vec::new(), Vec::new());
        let mut numbers: Map<Open, u16> = Map::default();
        let mut level: Vec<Open> = roots.into();
        let mut rows = level.len();
        for depth in 0..DEPTH {
            let mut next_level = Vec::new();
            for open in std::mem::take(&mut level) {
                sets.push(building.set(&open));
                for sample in &samples {
                    let next = step(automata, &open, *sample);
                    let decided = next.iter().all(|(_, state)| Automaton::is_settled(*state));
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
    set_numbers: Map<Box<[u64]>, u16>,
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

fn step(automata: &[Arc<Automaton>], open: &Open, byte: u8) -> Open {
    let mut next = Open::with_capacity(open.len());
    for (number, state) in open {
        let Some(automaton) = automata.get(usize::from(*number)) else { continue };
        if let Some(state) = automaton.step(*state, byte) {
            next.push((*number, state));
        }
    }
    // In the order of the patterns already; of one pattern a settled state, which comes first, makes the others idle.
    next.sort_unstable();
    next.dedup_by(|later, earlier| later == earlier || later.0 == earlier.0 && Automaton::is_settled(earlier.1));
    next
}

/// Bytes that none of the automata tells apart share a column; a sample of each.
fn classes(automata: &[Arc<Automaton>]) -> (Box<[u8; 256]>, Vec<u8>) {
    let mut columns: Map<Vec<u8>, u8> = Map::default();
    let mut classes = Box::new([0u8; 256]);
    let mut samples = Vec::new();
    for (byte, class) in (0..=u8::MAX).zip(classes.iter_mut()) {
        let kinds: Vec<u8> = automata.iter().map(|automaton| automaton.class(byte)).collect();
        // At most 256 columns, so their numbers fit.
        let next = u8::try_from(columns.len()).unwrap_or(u8::MAX);
        *class = *columns.entry(kinds).or_insert_with(|| {
            samples.push(byte);
            next
        });
    }
    (classes, samples)
}
