//! One automaton over the first bytes of all patterns: which of them can begin here?
//!
//! It is not a combined search: nothing loops back to its start. From a place in a text it reads at most [`DEPTH`]
//! bytes and ends in the set of the patterns that these bytes do not rule out. It is built in full when the rules are
//! loaded, so no text can make it grow, and each place costs the same few table lookups whatever was read before. What
//! it lets through is checked pattern by pattern.

use super::automaton::Automaton;
use super::walk::classes;
use crate::hashing::Map;

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
    /// Byte → the row where walks behind it begin.
    roots: Box<[u16; 256]>,
    /// Rows of entries; the first three are where walks begin.
    table: Vec<u16>,
    /// Where two bytes lead from these: for each root and column a row.
    pairs: Vec<u16>,
    /// For each row the set of what is open there.
    open: Vec<u16>,
    /// Sets as bits, `words` for each; set 0 is empty.
    sets: Vec<u64>,
    words: usize,
    /// The same word after word: the first of all sets, then the second.
    sets_by_word: Vec<u64>,
}

/// Where walks begin, for patterns may look at the byte before: at the start of a text, behind a byte of a word, behind
/// another.
const START: u16 = 0;
const BEHIND_WORD: u16 = 1;
const BEHIND_OTHER: u16 = 2;

/// Buffers of a pass.
#[derive(Debug, Default)]
pub(super) struct Columns {
    columns: Vec<u8>,
    /// The words of what is wanted in which there is anything, by number: mostly few, for candidates that are asked for
    /// together stand together.
    wanted: Vec<(usize, u64)>,
    /// For each set something other than 0 if it holds what is wanted.
    open: Vec<u64>,
    /// Places of a chunk, from its start, with their sets.
    places: Vec<(u16, u16)>,
}

/// Places that are collected before they are looked at.
const CHUNK: usize = 4096;
const CHUNK_END: u16 = 4096;

/// A node while the tables are built: who is still open, and in which state.
type Open = Vec<(u16, u16)>;

impl Prefix {
    pub(super) fn build(automata: &[&Automaton]) -> Self {
        let words = automata.len().div_ceil(64);
        let of_all = |byte| automata.iter().map(|automaton| automaton.class(byte)).collect::<Vec<u8>>();
        let (classes, samples) = classes(of_all);
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
        let mut level: Vec<Open> = roots.into();
        let mut rows = level.len();
        for depth in 0..DEPTH {
            let mut next_level = Vec::new();
            // Of one level only, so that every walk of full depth ends in a leaf.
            let mut numbers: Map<Open, u16> = Map::default();
            for open in std::mem::take(&mut level) {
                sets.push(building.set(&open));
                for sample in &samples {
                    let next = step(automata, &open, *sample);
                    let decided = next.iter().all(|(_, state)| Automaton::is_settled(*state));
                    let entry = if decided || depth + 1 == DEPTH || rows >= MOST {
                        LEAF | building.set(&next)
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
        let sets_by_word =
            (0..words).flat_map(|word| building.sets.iter().skip(word).step_by(words).copied()).collect();
        let mut roots = Box::new([BEHIND_OTHER; 256]);
        for (byte, root) in (0..=u8::MAX).zip(roots.iter_mut()) {
            if byte.is_ascii_alphanumeric() || byte == b'_' {
                *root = BEHIND_WORD;
            }
        }
        let mut built = Self {
            classes,
            columns,
            roots,
            table,
            pairs: Vec::new(),
            open: sets,
            sets: building.sets,
            words,
            sets_by_word,
        };
        let all = || (0..=u8::MAX).take(columns);
        let first = |root| all().map(move |column| (root, column));
        let pairs = [START, BEHIND_WORD, BEHIND_OTHER].into_iter().flat_map(first);
        built.pairs = pairs
            .map(|(root, column)| built.step(root, column))
            .flat_map(|entry| all().map(|column| built.step(entry, column)).collect::<Vec<_>>())
            .collect();
        built
    }

    /// Calls `found` with each place of a text where some of the `wanted` patterns may begin, and with those that may,
    /// word by word.
    pub(super) fn each(
        &self,
        text: &[u8],
        scratch: &mut Columns,
        wanted: &[u64],
        mut found: impl FnMut(usize, usize, u64),
    ) {
        let Columns { columns, wanted: words, open, places } = scratch;
        columns.clear();
        columns.extend(text.iter().map(|byte| self.classes.get(usize::from(*byte)).copied().unwrap_or(0)));
        words.clear();
        words.extend(wanted.iter().copied().enumerate().filter(|(_, word)| *word != 0));
        let word_of = |set: &[u64], word: usize| set.get(word).copied().unwrap_or(0);
        // Without a branch for each word: the answer is hard to foresee.
        let meets = |set: &[u64]| words.iter().fold(0, |met, (word, wanted)| met | word_of(set, *word) & wanted) != 0;
        let mut tell = |at: usize, set: &[u64]| {
            for (word, wanted) in words.iter() {
                let open = word_of(set, *word) & wanted;
                if open != 0 {
                    found(at, *word, open);
                }
            }
        };
        let sets = self.sets.len() / self.words.max(1);
        // In a long text most places end in few sets: note once which of them matter.
        let noted = 4 * text.len() >= sets;
        open.clear();
        if noted {
            open.resize(sets, 0);
            for (word, wanted) in words.iter() {
                let column = self.sets_by_word.get(word * sets..(word + 1) * sets).unwrap_or_default();
                open.iter_mut().zip(column).for_each(|(open, set)| *open |= set & wanted);
            }
        }
        let mut from = 0;
        while from < text.len() {
            places.clear();
            if noted {
                self.places(text, columns, from, |number| open.get(number).is_some_and(|open| *open != 0), places);
            } else {
                self.places(text, columns, from, |number| number != 0 && meets(self.set(number)), places);
            }
            for (place, number) in places.iter() {
                tell(from + usize::from(*place), self.set(usize::from(*number)));
            }
            from += CHUNK;
        }
        for at in text.len().saturating_sub(DEPTH - 1)..text.len() {
            let mut entry = self.root(text, at);
            for column in columns.iter().skip(at) {
                entry = self.step(entry, *column);
            }
            let number =
                if entry & LEAF == 0 { self.open.get(usize::from(entry)).copied().unwrap_or(0) } else { entry & !LEAF };
            tell(at, self.set(usize::from(number)));
        }
    }

    /// The places of a chunk from which [`DEPTH`] bytes lead to a set that matters. A loop of its own, for what is done
    /// at these places would fill all registers.
    #[inline(always)]
    fn places(
        &self,
        text: &[u8],
        columns: &[u8],
        from: usize,
        matters: impl Fn(usize) -> bool,
        places: &mut Vec<(u16, u16)>,
    ) {
        let mut root = self.root(text, from);
        let windows = columns.get(from..).unwrap_or_default().windows(DEPTH);
        let bytes = text.get(from..).unwrap_or_default();
        for ((window, byte), place) in windows.zip(bytes).zip(0..CHUNK_END) {
            let [first, second, third] = window else { continue };
            let row = usize::from(root) * self.columns + usize::from(*first);
            let pair = self.pairs.get(row * self.columns + usize::from(*second)).copied().unwrap_or(DEAD);
            let number = self.step(pair, *third) & !LEAF;
            if matters(usize::from(number)) {
                places.push((place, number));
            }
            root = self.roots.get(usize::from(*byte)).copied().unwrap_or(START);
        }
    }

    /// Where a walk from a place begins.
    fn root(&self, text: &[u8], at: usize) -> u16 {
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        before.and_then(|byte| self.roots.get(usize::from(*byte))).copied().unwrap_or(START)
    }

    /// One byte further; a leaf stays what it is. Without a branch, for which way a walk goes nobody can foresee.
    #[inline(always)]
    fn step(&self, entry: u16, column: u8) -> u16 {
        let leaf = 0u16.wrapping_sub(entry >> 15);
        let row = usize::from(entry & !leaf);
        let next = self.table.get(row * self.columns + usize::from(column)).copied().unwrap_or(DEAD);
        entry & leaf | next & !leaf
    }

    fn set(&self, number: usize) -> &[u64] {
        self.sets.get(number * self.words..(number + 1) * self.words).unwrap_or_default()
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        (self.table.len() + self.pairs.len() + self.open.len()) * 2 + (self.sets.len() + self.sets_by_word.len()) * 8
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

fn step(automata: &[&Automaton], open: &Open, byte: u8) -> Open {
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
