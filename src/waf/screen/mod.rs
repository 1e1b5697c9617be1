//! Many operators on one text in one pass: which of them match?
//!
//! A text is read once for all patterns (`@rx` in linear time) and phrases (`@pm`) together. At each place [`Prefix`]
//! tells from the next few bytes which of them may begin there, and those are checked right there, each by a small
//! automaton of its own that is anchored and built when the rules are loaded. A pattern with gaps (`.*`) is looked for
//! piece by piece, the next one behind the first end of the one before. A piece whose checks have read half of what the
//! text holds (twice as much, if it is a large one) is searched for once in the ordinary way, so no text costs more than
//! a few passes. The answer is exact; what the groups of a match hold is left to the operator itself.

mod automaton;
mod check;
mod existence;
mod gaps;
mod needs;
mod prefix;
mod search;
#[cfg(test)]
mod tests;
mod walk;

use crate::byteset::ByteSet;
use crate::operator::Operator;
use automaton::Automaton;
use check::{Check, Found};
use needs::Needs;
use prefix::{Columns, Prefix};
use search::Undecided;
use std::ops::Range;
use std::sync::Arc;

pub(crate) use check::Checks;

/// So many candidates are tried against the bytes of a text of any length; more only if the text is long enough to pay.
const MANY: usize = 16;
const LONG: usize = 64;
/// So few candidates are searched for one by one in a text that is not short: each may skip what the others cannot.
const FEW: u32 = 6;
const SHORT: usize = 64;
/// What starting a check costs beside reading, in bytes.
const CHECK_COST: usize = 8;

/// Operators by number, as bits.
pub(crate) type Bits = [u64];

/// The operators that are screened together. A bit stands for a candidate: an operator that this screen knows.
#[derive(Default)]
pub(crate) struct Screen {
    prefix: Option<Prefix>,
    candidates: Vec<Candidate>,
    /// What a text must hold for each candidate, one beside the other.
    needs: Vec<Needs>,
    /// The first parts of all candidates, in their order, then the others.
    parts: Vec<Part>,
    /// The others as bits: those a match may begin with, and all.
    opening: Vec<u64>,
    further: Vec<u64>,
    /// For each operator of the rule set its candidate.
    numbers: Vec<Option<u16>>,
}

struct Candidate {
    operator: usize,
    check: Arc<Check>,
    /// The numbers of its parts but for the first.
    further: Range<usize>,
}

/// A piece of a candidate's check.
struct Part {
    candidate: usize,
    place: usize,
    /// The number of the part that has to match behind it.
    next: Option<usize>,
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen").field("candidates", &self.candidates.len()).field("bytes", &self.memory()).finish()
    }
}

/// What a pass needs beside the text; kept between passes.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Candidates that are asked for and not decided.
    asked: Vec<u64>,
    /// Those of them that nobody has held against the bytes of the text.
    untried: Vec<u64>,
    /// The bytes of the text.
    bytes: ByteSet,
    /// Parts that are looked for, and those that may be before the text ends.
    wanted: Vec<u64>,
    ever_wanted: Vec<u64>,
    /// For each part how far it has come.
    progress: Vec<Progress>,
    /// The parts that have come anywhere.
    touched: Vec<usize>,
    columns: Columns,
    /// Where the first match of a part that opens begins, by candidate.
    opened: Vec<(usize, Start)>,
    /// Where matches of the last scan begin.
    starts: Vec<(u16, Start)>,
    /// Bytes that each candidate has read, if somebody counts.
    reads: Option<Vec<usize>>,
}

/// What is known of a part in one text.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// Bytes that its checks have read.
    spent: usize,
    /// The place from which it counts, if another has to match before it and has.
    from: usize,
}

/// No match begins before a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) at: usize,
    /// Whether one is likely to begin right there.
    pub(crate) likely: bool,
}

impl Scratch {
    /// Whether to count what each candidate reads.
    pub(crate) fn count_reads(&mut self, count: bool) {
        self.reads = count.then(Vec::new);
    }

    fn note(&mut self, candidate: usize, bytes: usize) {
        if let Some(reads) = &mut self.reads {
            if reads.len() <= candidate {
                reads.resize(candidate + 1, 0);
            }
            if let Some(read) = reads.get_mut(candidate) {
                *read += bytes;
            }
        }
    }

    /// What is known of where the matches of the last scan begin.
    pub(crate) fn starts(&self) -> &[(u16, Start)] {
        &self.starts
    }

    fn progress(&mut self, part: usize) -> Option<&mut Progress> {
        let progress = self.progress.get_mut(part)?;
        if progress.spent == 0 && progress.from == 0 {
            self.touched.push(part);
        }
        Some(progress)
    }
}

impl Screen {
    /// Builds the screen of those of the `chosen` operators that can be screened.
    pub(crate) fn build(operators: &[Operator], chosen: impl Iterator<Item = usize>, checks: &Checks) -> Self {
        let chosen: Vec<usize> = chosen.collect();
        checks.make(operators, &chosen);
        let mut candidates = Vec::new();
        let mut numbers = vec![None; operators.len()];
        for operator in chosen {
            let Some(slot) = numbers.get_mut(operator).filter(|slot| slot.is_none()) else { continue };
            let Some(check) = checks.get(operator) else { continue };
            let Ok(number) = u16::try_from(candidates.len()) else { continue };
            *slot = Some(number);
            candidates.push(Candidate { operator, check: Arc::clone(check), further: 0..0 });
        }
        let mut parts: Vec<Part> =
            (0..candidates.len()).map(|candidate| Part { candidate, place: 0, next: None }).collect();
        for (number, candidate) in candidates.iter_mut().enumerate() {
            let further = parts.len();
            let number_of = |place: usize| if place == 0 { number } else { further + place - 1 };
            for (place, piece) in candidate.check.pieces.iter().enumerate() {
                let part = Part { candidate: number, place, next: piece.next.map(number_of) };
                match parts.get_mut(number).filter(|_| place == 0) {
                    Some(first) => *first = part,
                    None => parts.push(part),
                }
            }
            candidate.further = further..parts.len();
        }
        let piece = |part: &Part| candidates.get(part.candidate)?.check.pieces.get(part.place);
        let automata: Vec<&Automaton> = parts.iter().filter_map(piece).map(|piece| &piece.automaton).collect();
        let prefix = Some(Prefix::build(&automata));
        let words = parts.len().div_ceil(64);
        let (mut opening, mut further) = (vec![0; words], vec![0; words]);
        for (number, part) in parts.iter().enumerate().skip(candidates.len()) {
            set(&mut further, number);
            if piece(part).is_some_and(|piece| piece.opens) {
                set(&mut opening, number);
            }
        }
        let needs = candidates.iter().map(|candidate| candidate.check.needs.clone()).collect();
        Self { prefix, candidates, needs, parts, opening, further, numbers }
    }

    /// The candidate of an operator, if it is screened.
    pub(crate) fn candidate(&self, operator: usize) -> Option<usize> {
        self.numbers.get(operator).copied().flatten().map(usize::from)
    }

    /// Where the preferred match of a candidate that begins at byte `at` ends; `None` if there is none, or it cannot be
    /// told. The answer may be any end of it behind the first `enough` bytes.
    pub(crate) fn end(&self, candidate: usize, text: &[u8], at: usize, enough: usize) -> Option<usize> {
        self.candidates.get(candidate)?.check.end(text, at, enough)
    }

    /// The operators that have read something since this was asked last, with the bytes.
    pub(crate) fn reads(&self, scratch: &mut Scratch) -> Vec<(usize, usize)> {
        let reads = scratch.reads.as_mut().map(std::mem::take).unwrap_or_default();
        let read = self.candidates.iter().zip(reads).filter(|(_, bytes)| *bytes > 0);
        read.map(|(candidate, bytes)| (candidate.operator, bytes)).collect()
    }

    /// Words of a set of candidates.
    pub(crate) fn words(&self) -> usize {
        self.candidates.len().div_ceil(64)
    }

    /// Bytes of memory, without the automata.
    pub(crate) fn memory(&self) -> usize {
        self.prefix.as_ref().map_or(0, Prefix::memory)
    }

    /// Sets in `hits` the bits of those `wanted` candidates that match somewhere in `text`. Returns the bytes read.
    pub(crate) fn scan(
        &self,
        operators: &[Operator],
        text: &[u8],
        bytes: ByteSet,
        wanted: &Bits,
        hits: &mut Bits,
        scratch: &mut Scratch,
    ) -> usize {
        scratch.starts.clear();
        scratch.asked.clear();
        scratch.asked.extend_from_slice(wanted);
        let mut left: u32 = scratch.asked.iter().map(|word| word.count_ones()).sum();
        scratch.untried.clear();
        if left as usize <= MANY || text.len() >= LONG {
            left = self.drop_impossible(text.len(), bytes, scratch);
        } else {
            // Of a short text few candidates come up: those that do are tried then.
            scratch.untried.extend_from_slice(wanted);
            scratch.bytes = bytes;
        }
        if left == 0 {
            return 0;
        }
        if left <= FEW && text.len() >= SHORT {
            return self.search_each(operators, text, hits, scratch);
        }
        self.pass(operators, text, hits, scratch)
    }

    /// Takes out of the candidates those that a text cannot match for the bytes it lacks; returns how many stay.
    fn drop_impossible(&self, length: usize, bytes: ByteSet, scratch: &mut Scratch) -> u32 {
        let mut left = 0;
        for (number, word) in scratch.asked.iter_mut().enumerate() {
            let mut kept = 0;
            for bit in members(*word) {
                let needs = self.needs.get(number * 64 + bit);
                // Without a branch, for the answer is hard to foresee.
                kept |= u64::from(needs.is_some_and(|needs| needs.met_by(length, bytes))) << bit;
            }
            *word = kept;
            left += kept.count_ones();
        }
        left
    }

    /// Asks the operators one by one.
    fn search_each(&self, operators: &[Operator], text: &[u8], hits: &mut Bits, scratch: &mut Scratch) -> usize {
        let mut work = 0;
        for word in 0..scratch.asked.len() {
            for bit in members(scratch.asked.get(word).copied().unwrap_or(0)) {
                let number = word * 64 + bit;
                let Some(candidate) = self.candidates.get(number) else { continue };
                work += text.len();
                scratch.note(number, text.len());
                if candidate.check.matches(operators.get(candidate.operator), text) {
                    set(hits, number);
                }
            }
        }
        work
    }

    /// Reads a text once for all candidates.
    fn pass(&self, operators: &[Operator], text: &[u8], hits: &mut Bits, scratch: &mut Scratch) -> usize {
        let Some(prefix) = &self.prefix else { return 0 };
        scratch.progress.resize(self.parts.len(), Progress::default());
        self.want_parts(text.len(), scratch);
        let mut work = text.len();
        let mut columns = std::mem::take(&mut scratch.columns);
        let ever_wanted = std::mem::take(&mut scratch.ever_wanted);
        prefix.each(text, &mut columns, &ever_wanted, |at, word, parts| {
            for bit in members(parts & scratch.wanted.get(word).copied().unwrap_or(0)) {
                work += self.look(operators, word * 64 + bit, text, at, hits, scratch);
            }
        });
        (scratch.columns, scratch.ever_wanted) = (columns, ever_wanted);
        scratch.opened.clear();
        for part in scratch.touched.drain(..) {
            if let Some(progress) = scratch.progress.get_mut(part) {
                *progress = Progress::default();
            }
        }
        work
    }

    /// The parts of the candidates. In a short text those of others too: they go where they come up, for few do.
    fn want_parts(&self, length: usize, scratch: &mut Scratch) {
        let Scratch { asked, wanted, ever_wanted, .. } = scratch;
        for parts in [&mut *wanted, &mut *ever_wanted] {
            parts.clone_from(asked);
            parts.resize(self.further.len(), 0);
        }
        if length < LONG {
            wanted.iter_mut().zip(&self.opening).for_each(|(wanted, opening)| *wanted |= opening);
            ever_wanted.iter_mut().zip(&self.further).for_each(|(wanted, further)| *wanted |= further);
            return;
        }
        for (word, members_of_it) in asked.iter().enumerate() {
            for bit in members(*members_of_it) {
                let Some(candidate) = self.candidates.get(word * 64 + bit) else { continue };
                for number in candidate.further.clone() {
                    set(ever_wanted, number);
                    if is_set(&self.opening, number) {
                        set(wanted, number);
                    }
                }
            }
        }
    }

    /// Looks for a part at a place. Returns the bytes read.
    fn look(
        &self,
        operators: &[Operator],
        number: usize,
        text: &[u8],
        at: usize,
        hits: &mut Bits,
        scratch: &mut Scratch,
    ) -> usize {
        let Some(part) = self.parts.get(number) else { return 0 };
        let Some(candidate) = self.candidates.get(part.candidate) else { return 0 };
        let Some(piece) = candidate.check.pieces.get(part.place) else { return 0 };
        let from = |part: usize| scratch.progress.get(part).map_or(0, |progress| progress.from);
        if at < from(number) {
            return 0;
        }
        // What follows may begin here already, so another match does not help.
        let done = part.next.map(from).is_some_and(|from| from > 0 && from <= at);
        if is_set(&scratch.untried, part.candidate) {
            unset(&mut scratch.untried, part.candidate);
            if !self.needs.get(part.candidate).is_some_and(|needs| needs.met_by(text.len(), scratch.bytes)) {
                self.close(part.candidate, false, hits, scratch);
            }
        }
        if done || !is_set(&scratch.asked, part.candidate) {
            unset(&mut scratch.wanted, number);
            return 0;
        }
        let operator = operators.get(candidate.operator);
        let read = match piece.begins(text, at) {
            Found::Yes(length) => {
                let start = Start { at, likely: true };
                self.found(number, start, at + length, hits, scratch);
                length + CHECK_COST
            }
            Found::No(read) => read + CHECK_COST,
            Found::Undecided => self.decide(part.candidate, operators, text, hits, scratch),
        };
        scratch.note(part.candidate, read);
        let Some(progress) = scratch.progress(number) else { return read };
        progress.spent += read;
        if progress.spent <= piece.patience(text.len()) || !is_set(&scratch.wanted, number) {
            return read;
        }
        let rest = text.len().saturating_sub(at);
        scratch.note(part.candidate, rest);
        unset(&mut scratch.wanted, number);
        match piece.first_end(operator, text, at) {
            Ok(None) => read + rest,
            Ok(Some(end)) => {
                self.found(number, Start { at, likely: false }, end, hits, scratch);
                read + rest
            }
            Err(Undecided) => read + rest + self.decide(part.candidate, operators, text, hits, scratch),
        }
    }

    /// A part has matched and ends at `end` or later.
    fn found(&self, number: usize, start: Start, end: usize, hits: &mut Bits, scratch: &mut Scratch) {
        let Some(part) = self.parts.get(number) else { return };
        let Some(check) = self.candidates.get(part.candidate).map(|candidate| &candidate.check) else { return };
        let opens = check.pieces.get(part.place).is_some_and(|piece| piece.opens);
        // Places are tried in order, so the first to be found is the first there is.
        if opens && check.keeps_start && !scratch.opened.iter().any(|(candidate, _)| *candidate == part.candidate) {
            scratch.opened.push((part.candidate, start));
        }
        let Some(next) = part.next else { return self.close(part.candidate, true, hits, scratch) };
        let Some(progress) = scratch.progress(next) else { return };
        if progress.from == 0 {
            progress.from = end;
            set(&mut scratch.wanted, next);
        } else {
            progress.from = progress.from.min(end);
        }
    }

    /// Asks a candidate's operator. Returns the bytes read.
    fn decide(
        &self,
        number: usize,
        operators: &[Operator],
        text: &[u8],
        hits: &mut Bits,
        scratch: &mut Scratch,
    ) -> usize {
        let Some(candidate) = self.candidates.get(number) else { return 0 };
        let matches = candidate.check.matches(operators.get(candidate.operator), text);
        self.close(number, matches, hits, scratch);
        text.len()
    }

    /// A candidate is decided.
    fn close(&self, number: usize, matches: bool, hits: &mut Bits, scratch: &mut Scratch) {
        unset(&mut scratch.asked, number);
        unset(&mut scratch.wanted, number);
        if !matches {
            return;
        }
        set(hits, number);
        let opened = scratch.opened.iter().find(|(candidate, _)| *candidate == number);
        if let (Some((_, start)), Ok(number)) = (opened, u16::try_from(number)) {
            scratch.starts.push((number, *start));
        }
    }
}

/// The places of the bits of a word.
fn members(word: u64) -> impl Iterator<Item = usize> {
    let mut open = word;
    std::iter::from_fn(move || {
        let bit = open.trailing_zeros() as usize;
        (open != 0).then(|| {
            open &= open - 1;
            bit
        })
    })
}

pub(crate) fn is_set(bits: &Bits, number: usize) -> bool {
    bits.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
}

pub(crate) fn set(bits: &mut Bits, number: usize) {
    if let Some(word) = bits.get_mut(number / 64) {
        *word |= 1 << (number % 64);
    }
}

fn unset(bits: &mut Bits, number: usize) {
    if let Some(word) = bits.get_mut(number / 64) {
        *word &= !(1 << (number % 64));
    }
}
