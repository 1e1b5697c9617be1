//! The bytes a transaction works on, and what its transformations made of them.
//!
//! Every value of the message is a numbered text. A transformed value is a text too; an unchanged one is the same text
//! again. What one transformation made of a text is remembered with it, so chains that start alike share their start, and
//! chains that differ only in steps without effect share everything. Memory: the message, up to [`MAX_DERIVED_BYTES`] of
//! results, and a few bytes for each text and each step that was taken from it.

use std::borrow::Cow;

use crate::byteset::ByteSet;
use crate::hashing::ByHash;
use crate::ruleset::{ChainId, Chains, Kind};

/// Most bytes of transformed values that are kept; beyond, they are computed for each rule anew.
const MAX_DERIVED_BYTES: usize = 64 << 20;
/// Most steps that are remembered.
const MAX_STEPS: usize = 1 << 19;

/// Number of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TextId(u32);

impl TextId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Room of the first common buffer, and of the others at most. One that is full stays where it is.
const FIRST_BUFFER: usize = 4 << 10;
const BUFFER: usize = 1 << 20;
/// Largest result that is copied into a common buffer.
const MOST_COPIED: usize = 64 << 10;
/// Longest result that is looked for among all results; a longer one among the [`LATEST`] texts.
const HASHED: usize = 32;
const LATEST: usize = 32;
/// "No step".
const NONE: u32 = u32::MAX;

#[derive(Debug)]
enum Stored {
    /// In a common buffer: its number, from and to.
    Shared(u32, u32, u32),
    Own(Vec<u8>),
}

/// All that is known of a text; no larger than what a processor fetches at once.
#[derive(Debug)]
struct Text {
    stored: Stored,
    /// The step that was taken from it last, or [`NONE`].
    last_step: u32,
    /// The bytes in it, once somebody has asked.
    bytes_known: bool,
    bytes: ByteSet,
}

/// What one transformation made of a text.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// Its number among the distinct transformations.
    kind: u32,
    after: TextId,
    /// Another step from the same text, or [`NONE`].
    next: u32,
}

/// All texts of one transaction.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// The common buffers; only the last one grows.
    buffers: Vec<Vec<u8>>,
    texts: Vec<Text>,
    steps: Vec<Step>,
    derived_bytes: usize,
    /// Short derived texts by a hash of their bytes, so that equal ones are one.
    derived: ByHash<TextId>,
    /// Bytes that transformations have read.
    pub(super) work: u64,
}

impl Texts {
    /// Forgets everything but the room.
    pub(super) fn clear(&mut self) {
        let Self { buffers, texts, steps, derived_bytes, derived, work } = self;
        // The last is the largest.
        let last = buffers.len().saturating_sub(1);
        buffers.drain(..last);
        buffers.iter_mut().for_each(Vec::clear);
        texts.clear();
        steps.clear();
        derived.clear();
        (*derived_bytes, *work) = (0, 0);
    }

    /// Bytes of the buffers, less what is freed with each text.
    pub(super) fn footprint(&self) -> usize {
        let tables = self.texts.capacity() * size_of::<Text>() + self.steps.capacity() * size_of::<Step>();
        let buffers = self.buffers.iter().map(Vec::capacity).sum::<usize>();
        buffers + tables + self.derived.capacity() * 16
    }

    /// Stores a copy.
    pub(super) fn add(&mut self, bytes: &[u8]) -> TextId {
        let room = |buffer: &Vec<u8>| buffer.capacity() - buffer.len();
        if self.buffers.last().is_none_or(|last| room(last) < bytes.len()) {
            if bytes.len() > BUFFER {
                return self.push(Stored::Own(bytes.to_vec()));
            }
            let grown = self.buffers.last().map_or(FIRST_BUFFER, |last| 2 * last.capacity());
            self.buffers.push(Vec::with_capacity(grown.min(BUFFER).max(bytes.len())));
        }
        let number = self.buffers.len().saturating_sub(1);
        let Some(buffer) = self.buffers.last_mut() else { return self.push(Stored::Own(bytes.to_vec())) };
        let start = buffer.len();
        buffer.extend_from_slice(bytes);
        match (u32::try_from(number), u32::try_from(start), u32::try_from(buffer.len())) {
            (Ok(number), Ok(start), Ok(end)) => self.push(Stored::Shared(number, start, end)),
            _ => self.push(Stored::Own(bytes.to_vec())),
        }
    }

    /// Stores without a copy.
    pub(super) fn add_owned(&mut self, bytes: Vec<u8>) -> TextId {
        self.push(Stored::Own(bytes))
    }

    fn push(&mut self, stored: Stored) -> TextId {
        // Far fewer than 2^32 texts fit in memory; the last number would stand for the last text.
        let id = TextId(u32::try_from(self.texts.len()).unwrap_or(NONE - 1));
        self.texts.push(Text { stored, last_step: NONE, bytes_known: false, bytes: ByteSet::EMPTY });
        id
    }

    pub(super) fn get(&self, id: TextId) -> &[u8] {
        match self.texts.get(id.index()).map(|text| &text.stored) {
            Some(Stored::Own(bytes)) => bytes,
            Some(Stored::Shared(number, start, end)) => {
                let buffer = self.buffers.get(*number as usize);
                buffer.and_then(|buffer| buffer.get(*start as usize..*end as usize)).unwrap_or_default()
            }
            None => &[],
        }
    }

    /// The bytes that occur in a text.
    pub(super) fn bytes_in(&mut self, id: TextId) -> ByteSet {
        if let Some(text) = self.texts.get(id.index()).filter(|text| text.bytes_known) {
            return text.bytes;
        }
        let bytes = ByteSet::of(self.get(id));
        if let Some(text) = self.texts.get_mut(id.index()) {
            (text.bytes_known, text.bytes) = (true, bytes);
        }
        bytes
    }

    /// The text that `chain` makes of `id`; `None` when no more results are kept.
    pub(super) fn transform(&mut self, chains: &Chains, id: TextId, chain: ChainId) -> Option<TextId> {
        let Some((parent, step)) = chains.node(chain) else { return Some(id) };
        let before = self.transform(chains, id, parent)?;
        self.step(before, step)
    }

    /// The text that one transformation makes of `id`.
    pub(super) fn step(&mut self, id: TextId, kind: Kind) -> Option<TextId> {
        if kind.acts_on != ByteSet::ALL && !self.bytes_in(id).meets(kind.acts_on) {
            return Some(id);
        }
        let last_step = self.texts.get(id.index())?.last_step;
        let mut known = self.steps.get(last_step as usize);
        while let Some(step) = known {
            if step.kind == kind.number {
                return Some(step.after);
            }
            known = self.steps.get(step.next as usize);
        }
        if self.steps.len() >= MAX_STEPS {
            return None;
        }
        let input = self.get(id);
        let length = input.len();
        let after = match kind.transformation.apply(Cow::Borrowed(input)) {
            // A borrowed result may be a part of its input; only one of the same length is the input.
            Cow::Borrowed(same) if same.len() == length => id,
            changed => {
                let changed = changed.into_owned();
                if self.derived_bytes + changed.len() > MAX_DERIVED_BYTES {
                    return None;
                }
                self.intern(changed)
            }
        };
        self.work += length as u64;
        if let (Some(text), Ok(number)) = (self.texts.get_mut(id.index()), u32::try_from(self.steps.len())) {
            text.last_step = number;
            self.steps.push(Step { kind: kind.number, after, next: last_step });
        }
        Some(after)
    }

    /// The derived text of these bytes, a new one if there is none.
    fn intern(&mut self, bytes: Vec<u8>) -> TextId {
        let hash = (bytes.len() <= HASHED).then(|| crate::hashing::of(&bytes));
        let known = match hash {
            // Two texts that share a hash are both kept, so nobody gains by finding such a pair.
            Some(hash) => self.derived.get(&hash).copied().filter(|known| self.get(*known) == bytes),
            None => self.latest(&bytes),
        };
        if let Some(known) = known {
            return known;
        }
        self.derived_bytes += bytes.len();
        // What is copied leaves its room to the next result, which then need not touch fresh memory.
        let id = if bytes.len() <= MOST_COPIED { self.add(&bytes) } else { self.add_owned(bytes) };
        if let Some(hash) = hash {
            self.derived.insert(hash, id);
        }
        id
    }

    /// One of the latest texts with these bytes. What is made of one value comes in a row, and long texts made of two are
    /// hardly ever the same.
    fn latest(&self, bytes: &[u8]) -> Option<TextId> {
        let numbers = (self.texts.len().saturating_sub(LATEST)..self.texts.len()).rev();
        numbers.filter_map(|n| u32::try_from(n).ok().map(TextId)).find(|id| self.get(*id) == bytes)
    }
}

/// What `chain` makes of bytes that are no text, computed at once.
pub(super) fn transform_bytes<'a>(chains: &Chains, bytes: Cow<'a, [u8]>, chain: ChainId) -> Cow<'a, [u8]> {
    match chains.node(chain) {
        None => bytes,
        Some((parent, kind)) => kind.transformation.apply(transform_bytes(chains, bytes, parent)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::Transformation;

    #[test]
    fn equal_results_are_shared_and_computed_once() {
        let mut chains = Chains::default();
        let lower = chains.intern(0, Transformation::Lowercase);
        let lower_nulls = chains.intern(lower, Transformation::RemoveNulls);
        let nulls = chains.intern(0, Transformation::RemoveNulls);
        let nulls_lower = chains.intern(nulls, Transformation::Lowercase);
        let mut texts = Texts::default();
        let (upper, plain) = (texts.add(b"ABC"), texts.add_owned(b"abc".to_vec()));
        assert_eq!(texts.transform(&chains, upper, 0), Some(upper));
        let a = texts.transform(&chains, upper, lower_nulls).unwrap();
        assert_eq!(texts.get(a), b"abc");
        assert_eq!(texts.transform(&chains, upper, lower), Some(a));
        let before = texts.work;
        assert_eq!(texts.transform(&chains, upper, lower_nulls), Some(a));
        assert_eq!(texts.work, before, "nothing is computed twice");
        assert_eq!(texts.transform(&chains, plain, nulls_lower), Some(plain), "unchanged: the same text");
        let long = texts.add(&[b"ABC", &[b'x'; 200][..]].concat());
        let lowered = texts.transform(&chains, long, lower).unwrap();
        let with_null = texts.add(&[b"ABC\0", &[b'x'; 200][..]].concat());
        assert_eq!(texts.transform(&chains, with_null, nulls_lower), Some(lowered), "long ones made in a row");
        assert_ne!(texts.transform(&chains, with_null, lower), Some(lowered));
        assert_eq!(transform_bytes(&chains, Cow::Borrowed(b"A\0B"), nulls_lower).as_ref(), b"ab");
    }
}
