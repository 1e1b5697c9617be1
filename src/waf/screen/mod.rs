//! Many operators on one text in one pass: which of them match?
//!
//! A text is read once for all patterns (`@rx` in linear time) and phrases (`@pm`) together. At each place [`Prefix`]
//! tells from the next few bytes which of them may begin there, and those are checked right there, each by a small
//! automaton of its own that is anchored and built when the rules are loaded. A pattern whose checks have read half of
//! what the text holds (twice as much, if it is a large one) is searched for once in the ordinary way, so no text costs
//! more than a few passes. The answer is exact; what the groups of a match hold is left to the operator itself.

mod automaton;
mod existence;
mod needs;
mod prefix;
mod search;
#[cfg(test)]
mod tests;
mod walk;

use crate::byteset::ByteSet;
use crate::operator::{Operator, parse_pattern};
use automaton::{Automaton, Begins};
use needs::Needs;
use prefix::{Columns, Prefix};
use regex_syntax::hir::Hir;
use search::Search;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use walk::{Phrases, Walker};

/// So many candidates are tried against the bytes of a text of any length; more only if the text is long enough to pay.
const MANY: usize = 16;
const LONG: usize = 64;
/// So few candidates are searched for one by one in a text that is not short: each may skip what the others cannot.
const FEW: u32 = 3;
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
    /// For each operator of the rule set its candidate.
    numbers: Vec<Option<u16>>,
}

struct Candidate {
    operator: usize,
    check: Arc<Check>,
}

/// How an operator is checked.
struct Check {
    automaton: Automaton,
    needs: Needs,
    /// Whether what is checked begins where the operator's own pattern does.
    keeps_start: bool,
    source: Source,
}

/// What an automaton was made of.
enum Source {
    /// A pattern, cut down to what decides, and what searches for it in a whole text.
    Pattern(Box<Hir>, OnceLock<Option<Box<Search>>>),
    Phrases(Phrases),
}

impl Check {
    /// Whether a match begins at byte `from` or later.
    fn matches_from(&self, operator: Option<&Operator>, text: &[u8], from: usize) -> bool {
        let search = self.search();
        let found = search.and_then(|search| search.matches_from(text, from));
        found.unwrap_or_else(|| operator.is_some_and(|operator| operator.matches_from(text, from)))
    }

    /// Whether a match begins at byte `at`, where the table does not tell, and how many bytes it took to find out.
    fn begins_at(&self, operator: Option<&Operator>, text: &[u8], at: usize) -> (bool, usize) {
        let rest = text.get(at..).unwrap_or_default();
        if let Source::Phrases(phrases) = &self.source {
            return phrases.begin(rest);
        }
        match self.search().map(|search| search.begins_at(text, at)) {
            Some((Some(begins), read)) => (begins, read),
            // Its engine does not tell how far it read.
            _ => (operator.is_some_and(|operator| operator.begins_at(text, at)), rest.len()),
        }
    }

    fn search(&self) -> Option<&Search> {
        match &self.source {
            Source::Pattern(pattern, search) => search.get_or_init(|| Search::of(pattern).map(Box::new)).as_deref(),
            Source::Phrases(_) => None,
        }
    }

    /// How many bytes the checks of one text may read before it is searched as a whole.
    fn patience(&self, length: usize) -> usize {
        // A pattern too large for its table builds many states in a search as well.
        if self.automaton.is_whole() { length / 2 + 64 } else { 2 * length + 64 }
    }
}

/// The checks of a rule set's operators, which its screens share; each is made when the first screen needs it, `None` for
/// an operator that cannot be screened.
#[derive(Default)]
pub(crate) struct Checks(Vec<OnceLock<Option<Arc<Check>>>>);

impl Checks {
    pub(crate) fn of(operators: &[Operator]) -> Self {
        Self(operators.iter().map(|_| OnceLock::new()).collect())
    }

    /// Makes those that are missing, on all cores.
    fn make(&self, operators: &[Operator], chosen: &[usize]) {
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(operator) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let (Some(known), Some(source)) = (self.0.get(*operator), operators.get(*operator)) {
                    let check = known.get_or_init(|| check(source).map(Arc::new));
                    // No request is to wait for it.
                    let _ = check.as_ref().and_then(|check| check.search());
                }
            }
        };
        let missing = |operator: &&usize| self.0.get(**operator).is_some_and(|known| known.get().is_none());
        if chosen.iter().filter(missing).count() < MANY {
            return work();
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        std::thread::scope(|scope| {
            (1..threads).for_each(|_| drop(scope.spawn(work)));
            work();
        });
    }

    /// Hands the states that searches have made so far to every thread that begins to search.
    pub(crate) fn keep_warm(&self) {
        let made = self.0.iter().filter_map(|check| check.get()?.as_ref()?.search());
        made.for_each(Search::keep_warm);
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        self.0.iter().filter_map(|check| check.get()?.as_ref()).map(|check| check.automaton.memory()).sum()
    }
}

impl std::fmt::Debug for Checks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Checks").field(&self.0.len()).finish()
    }
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen").field("candidates", &self.candidates.len()).field("bytes", &self.memory()).finish()
    }
}

/// What a pass needs beside the text; kept between passes.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    wanted: Vec<u64>,
    /// What was wanted when the pass began.
    at_first: Vec<u64>,
    /// Bytes that the checks of a candidate have read.
    spent: Vec<usize>,
    touched: Vec<u16>,
    columns: Columns,
    /// Candidates of the last scan whose leftmost match begins at a place that is known.
    starts: Vec<(u16, usize)>,
    /// Bytes that each candidate has read, if somebody counts.
    reads: Option<Vec<usize>>,
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

    /// Which candidates matched where in the last scan, as far as that is known.
    pub(crate) fn starts(&self) -> &[(u16, usize)] {
        &self.starts
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
            let Some(Some(check)) = checks.0.get(operator).and_then(OnceLock::get) else { continue };
            let Ok(number) = u16::try_from(candidates.len()) else { continue };
            *slot = Some(number);
            candidates.push(Candidate { operator, check: Arc::clone(check) });
        }
        let automata: Vec<&Automaton> = candidates.iter().map(|candidate| &candidate.check.automaton).collect();
        Self { prefix: Some(Prefix::build(&automata)), candidates, numbers }
    }

    /// The candidate of an operator, if it is screened.
    pub(crate) fn candidate(&self, operator: usize) -> Option<usize> {
        self.numbers.get(operator).copied().flatten().map(usize::from)
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
        scratch.wanted.clear();
        scratch.wanted.extend_from_slice(wanted);
        let mut left: u32 = scratch.wanted.iter().map(|word| word.count_ones()).sum();
        if left as usize <= MANY || text.len() >= LONG {
            left = self.drop_impossible(text.len(), bytes, scratch);
        }
        if left == 0 {
            return 0;
        }
        if left <= FEW && text.len() >= SHORT {
            return self.search_each(operators, text, hits, scratch);
        }
        self.pass(operators, text, hits, scratch)
    }

    /// Reads a text once for all wanted candidates.
    fn pass(&self, operators: &[Operator], text: &[u8], hits: &mut Bits, scratch: &mut Scratch) -> usize {
        scratch.spent.resize(self.candidates.len(), 0);
        let mut work = text.len();
        let Some(prefix) = &self.prefix else { return 0 };
        let mut columns = std::mem::take(&mut scratch.columns);
        let mut at_first = std::mem::take(&mut scratch.at_first);
        at_first.clone_from(&scratch.wanted);
        prefix.each(text, &mut columns, &at_first, |at, set| {
            for (word, candidates) in set.iter().enumerate() {
                let mut open = candidates & scratch.wanted.get(word).copied().unwrap_or(0);
                while open != 0 {
                    let bit = open.trailing_zeros();
                    open &= open - 1;
                    let number = word * 64 + bit as usize;
                    let (matches, decided, read) = self.check(operators, number, text, at, scratch);
                    work += read;
                    if decided && let Some(wanted) = scratch.wanted.get_mut(word) {
                        *wanted &= !(1 << bit);
                    }
                    if matches && let Some(hits) = hits.get_mut(word) {
                        *hits |= 1 << bit;
                    }
                }
            }
        });
        (scratch.columns, scratch.at_first) = (columns, at_first);
        for number in scratch.touched.drain(..) {
            if let Some(spent) = scratch.spent.get_mut(usize::from(number)) {
                *spent = 0;
            }
        }
        work
    }

    /// Takes out of the wanted candidates those that a text cannot match for the bytes it lacks; returns how many stay.
    fn drop_impossible(&self, length: usize, bytes: ByteSet, scratch: &mut Scratch) -> u32 {
        let mut left = 0;
        for (number, word) in scratch.wanted.iter_mut().enumerate() {
            let mut open = *word;
            while open != 0 {
                let bit = open.trailing_zeros();
                open &= open - 1;
                let candidate = self.candidates.get(number * 64 + bit as usize);
                if candidate.is_some_and(|candidate| candidate.check.needs.met_by(length, bytes)) {
                    left += 1;
                } else {
                    *word &= !(1 << bit);
                }
            }
        }
        left
    }

    /// Asks the wanted operators one by one.
    fn search_each(&self, operators: &[Operator], text: &[u8], hits: &mut Bits, scratch: &mut Scratch) -> usize {
        let mut work = 0;
        for (number, candidate) in self.candidates.iter().enumerate() {
            let (word, bit) = (number / 64, 1 << (number % 64));
            if scratch.wanted.get(word).is_none_or(|wanted| wanted & bit == 0) {
                continue;
            }
            work += text.len();
            scratch.note(number, text.len());
            let matches = candidate.check.matches_from(operators.get(candidate.operator), text, 0);
            if matches && let Some(hits) = hits.get_mut(word) {
                *hits |= bit;
            }
        }
        work
    }

    /// Whether a candidate matches at a place, whether that decides on the whole text, and how many bytes it took.
    fn check(
        &self,
        operators: &[Operator],
        number: usize,
        text: &[u8],
        at: usize,
        scratch: &mut Scratch,
    ) -> (bool, bool, usize) {
        let Some(candidate) = self.candidates.get(number) else { return (false, true, 0) };
        let operator = operators.get(candidate.operator);
        let rest = text.get(at..).unwrap_or_default();
        let (begins, read) = candidate.check.automaton.begins(text, at);
        let (matches, read) = match begins {
            Begins::Unknown => candidate.check.begins_at(operator, text, at),
            known => (known == Begins::Yes, read),
        };
        let read = read + CHECK_COST;
        scratch.note(number, read);
        if matches {
            // Places are tried in order, so this match is the leftmost.
            if let (true, Ok(number)) = (candidate.check.keeps_start, u16::try_from(number)) {
                scratch.starts.push((number, at));
            }
            return (true, true, read);
        }
        let Some(spent) = scratch.spent.get_mut(number) else { return (false, true, read) };
        if *spent == 0 {
            scratch.touched.push(u16::try_from(number).unwrap_or(u16::MAX));
        }
        *spent += read;
        if *spent <= candidate.check.patience(text.len()) {
            return (false, false, read);
        }
        scratch.note(number, rest.len());
        let matches = candidate.check.matches_from(operator, text, at);
        (matches, true, read + rest.len())
    }
}

/// Makes the check of an operator; `None` if it cannot be screened.
fn check(operator: &Operator) -> Option<Check> {
    if let Some(pattern) = operator.linear_pattern() {
        let (hir, keeps_start) = existence::simplify(parse_pattern(pattern).ok()?);
        // One that matches without a byte would begin at the end of a text too, where nothing is read.
        if hir.properties().minimum_len().is_none_or(|least| least == 0) {
            return None;
        }
        let automaton = Automaton::build(&mut Walker::pattern(search::nfa(&hir)?).ok()?);
        return Some(Check {
            automaton,
            needs: Needs::of(&hir),
            keeps_start,
            source: Source::Pattern(Box::new(hir), OnceLock::new()),
        });
    }
    let phrases = operator.phrases();
    if phrases.is_empty() || phrases.iter().any(Vec::is_empty) {
        return None;
    }
    let phrases = Phrases::new(phrases);
    let needs = Needs::of_phrases(phrases.list());
    let automaton = Automaton::build(&mut Walker::Phrases(&phrases));
    Some(Check { automaton, needs, keeps_start: false, source: Source::Phrases(phrases) })
}
