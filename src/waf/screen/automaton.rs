//! One pattern, anchored: does a match begin here?
//!
//! A table built breadth first from the pattern's starts when the rules are loaded, at most [`MAX_BYTES`] large. Where
//! the table ends, as in the tails of long word lists, the answer is that the operator's own engine has to say.

use super::walk::{Walk, Walker};
use crate::hashing::Map;

/// Largest table.
const MAX_BYTES: usize = 64 << 10;

/// No match begins so.
const DEAD: u16 = 0;
/// A match is whole.
const MATCH: u16 = 1;
/// The table ends here.
const UNKNOWN: u16 = 2;
/// The first state with a row; its row is the first.
const FIRST: u16 = 3;

/// What a look from one place found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begins {
    Yes,
    No,
    Unknown,
}

/// The built table.
pub(super) struct Automaton {
    classes: Box<[u8; 256]>,
    columns: usize,
    table: Vec<u16>,
    /// For each row what the end of the text makes of it.
    ends: Vec<u16>,
    /// The state at the start of a text, then by kind of the byte before.
    starts: [u16; 5],
    whole: bool,
}

impl Automaton {
    pub(super) fn build(walker: &mut Walker<'_>) -> Self {
        let (classes, samples) = walker.classes();
        let columns = samples.len();
        let mut building =
            Building { numbers: Map::default(), queue: Vec::new(), rows: (MAX_BYTES / (2 * columns)).min(60_000) };
        let starts = walker.starts().map(|walk| building.number(walk));
        let (mut table, mut ends) = (Vec::new(), Vec::new());
        let mut at = 0;
        while let Some(walk) = building.queue.get(at).copied() {
            at += 1;
            for sample in &samples {
                table.push(building.number(walker.step(walk, *sample)));
            }
            ends.push(match walker.end(walk) {
                Some(true) => MATCH,
                Some(false) => DEAD,
                None => UNKNOWN,
            });
        }
        let whole = !table.contains(&UNKNOWN);
        Self { classes, columns, table, ends, starts, whole }
    }

    /// The states before the first byte, where one can be: at the start of a text, behind a byte of a word, behind
    /// another byte.
    pub(super) fn starts(&self) -> [Vec<u16>; 3] {
        let [start, word, blank, feed, carriage] = self.starts;
        let alive = |states: &[u16]| states.iter().copied().filter(|state| *state != DEAD).collect();
        [alive(&[start]), alive(&[word]), alive(&[blank, feed, carriage])]
    }

    /// The state one byte further; `None` if no match begins so. From [`MATCH`] and from where the table ends there is
    /// no way back.
    pub(super) fn step(&self, state: u16, byte: u8) -> Option<u16> {
        if state < FIRST {
            return Some(state);
        }
        let column = self.classes.get(usize::from(byte)).copied().unwrap_or(0);
        let next = self.table.get(usize::from(state - FIRST) * self.columns + usize::from(column)).copied();
        next.filter(|next| *next != DEAD)
    }

    /// Whether nothing that follows can rule the pattern out.
    pub(super) fn is_settled(state: u16) -> bool {
        state < FIRST
    }

    /// A number that bytes share which this automaton does not tell apart.
    pub(super) fn class(&self, byte: u8) -> u8 {
        self.classes.get(usize::from(byte)).copied().unwrap_or(0)
    }

    /// Whether a match begins at `at`, and how many bytes were read; of a match how long it is at least.
    #[inline]
    pub(super) fn begins(&self, text: &[u8], at: usize) -> (Begins, usize) {
        let before = match at.checked_sub(1).and_then(|before| text.get(before)) {
            None => 0,
            Some(b'\n') => 3,
            Some(b'\r') => 4,
            Some(byte) if byte.is_ascii_alphanumeric() || *byte == b'_' => 1,
            Some(_) => 2,
        };
        let mut state = self.starts.get(before).copied().unwrap_or(UNKNOWN);
        let mut read = 0;
        if state >= FIRST {
            for byte in text.get(at..).unwrap_or_default() {
                let column = self.classes.get(usize::from(*byte)).copied().unwrap_or(0);
                let entry = usize::from(state - FIRST) * self.columns + usize::from(column);
                state = self.table.get(entry).copied().unwrap_or(UNKNOWN);
                read += 1;
                if state < FIRST {
                    // A match shows when the byte behind it is read.
                    read -= usize::from(state == MATCH);
                    break;
                }
            }
            if state >= FIRST {
                state = self.ends.get(usize::from(state - FIRST)).copied().unwrap_or(UNKNOWN);
            }
        }
        let begins = match state {
            DEAD => Begins::No,
            MATCH => Begins::Yes,
            _ => Begins::Unknown,
        };
        (begins, read)
    }

    /// Whether the table holds all of the pattern.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        (self.table.len() + self.ends.len()) * 2 + 256
    }
}

struct Building {
    numbers: Map<Walk, u16>,
    queue: Vec<Walk>,
    rows: usize,
}

impl Building {
    fn number(&mut self, walk: Option<Walk>) -> u16 {
        match walk {
            None => DEAD,
            Some(Walk::Matched) => MATCH,
            Some(Walk::Unknown) => UNKNOWN,
            Some(walk) => match self.numbers.get(&walk) {
                Some(number) => *number,
                None if self.queue.len() >= self.rows => UNKNOWN,
                None => {
                    let number = u16::try_from(self.queue.len()).unwrap_or(u16::MAX - FIRST).saturating_add(FIRST);
                    self.queue.push(walk);
                    self.numbers.insert(walk, number);
                    number
                }
            },
        }
    }
}
