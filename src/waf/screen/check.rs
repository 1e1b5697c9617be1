//! How one operator is found in a text.
//!
//! A pattern is cut at its gaps ([`super::gaps`]), and each piece has an automaton of its own. The checks of a rule set
//! are made once, when the first screen needs them, and its screens share them.

use super::automaton::{Automaton, Begins};
use super::existence::simplify;
use super::gaps::ways;
use super::needs::Needs;
use super::search::{Search, Undecided, nfa};
use super::walk::{Phrases, Walker};
use crate::operator::{Operator, parse_pattern};
use regex_automata::nfa::thompson::NFA;
use regex_syntax::hir::Hir;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// So few missing checks are made by the thread that needs them.
const ALONE: usize = 16;

/// How an operator is checked.
pub(super) struct Check {
    pub(super) needs: Needs,
    /// At least one. The first opens.
    pub(super) pieces: Vec<Piece>,
    /// Whether a match begins where one of a piece does that opens.
    pub(super) keeps_start: bool,
    /// The pattern in one piece, and with all that its matches may take.
    whole: Option<Arc<Pattern>>,
    exact: Option<Arc<Pattern>>,
}

/// What is looked for by itself.
pub(super) struct Piece {
    pub(super) automaton: Automaton,
    source: Source,
    /// Whether nothing has to be found before it.
    pub(super) opens: bool,
    /// What has to be found behind its end.
    pub(super) next: Option<usize>,
}

/// What an automaton was made of.
enum Source {
    Pattern(Arc<Pattern>),
    Phrases(Phrases),
}

/// A pattern, and what searches for it in a whole text.
struct Pattern {
    pattern: Hir,
    nfa: NFA,
    search: Option<Search>,
}

/// What a look at one place found.
pub(super) enum Found {
    /// A match, so many bytes long at least.
    Yes(usize),
    /// None; so many bytes were read.
    No(usize),
    /// The text makes the search build states without end.
    Undecided,
}

impl Check {
    /// Makes the check of an operator; `None` if it cannot be screened.
    fn of(operator: &Operator) -> Option<Self> {
        if let Some(pattern) = operator.linear_pattern() {
            let exact = parse_pattern(pattern).ok()?;
            let (whole, keeps_start) = simplify(exact.clone());
            // One that matches without a byte would begin at the end of a text too, where nothing is read.
            if whole.properties().minimum_len().is_none_or(|least| least == 0) {
                return None;
            }
            let ways = ways(&whole);
            let keeps_start = keeps_start && ways.iter().filter_map(|way| way.first()).all(|(_, keeps)| *keeps);
            // Most patterns have one piece and lose nothing.
            let exact = Arc::new(Pattern::new(exact)?);
            let whole = if exact.pattern == whole { Arc::clone(&exact) } else { Arc::new(Pattern::new(whole)?) };
            let mut pieces = Vec::new();
            for way in ways {
                let (first, last) = (pieces.len(), pieces.len() + way.len() - 1);
                for (place, (part, _)) in (first..).zip(way) {
                    let part = if whole.pattern == part { Arc::clone(&whole) } else { Arc::new(Pattern::new(part)?) };
                    let automaton = Automaton::build(&mut Walker::pattern(part.nfa.clone()).ok()?);
                    let next = (place < last).then_some(place + 1);
                    pieces.push(Piece { automaton, source: Source::Pattern(part), opens: place == first, next });
                }
            }
            let needs = Needs::of(&whole.pattern);
            let exact = keeps_start.then_some(exact);
            return Some(Self { needs, pieces, keeps_start, whole: Some(whole), exact });
        }
        let phrases = operator.phrases();
        if phrases.is_empty() || phrases.iter().any(Vec::is_empty) {
            return None;
        }
        let phrases = Phrases::new(phrases);
        let needs = Needs::of_phrases(phrases.list());
        let automaton = Automaton::build(&mut Walker::Phrases(&phrases));
        let piece = Piece { automaton, source: Source::Phrases(phrases), opens: true, next: None };
        Some(Self { needs, pieces: vec![piece], keeps_start: false, whole: None, exact: None })
    }

    /// Whether the operator matches a text.
    pub(super) fn matches(&self, operator: Option<&Operator>, text: &[u8]) -> bool {
        let found = self
            .whole
            .as_ref()
            .and_then(|whole| whole.search.as_ref())
            .and_then(|search| search.first_end(text, 0).ok());
        found.map_or_else(|| operator.is_some_and(|operator| operator.matches_from(text, 0)), |end| end.is_some())
    }

    /// Where the match that begins at byte `at` ends, see [`Search::end`]; `None` if there is none, or it cannot be told.
    pub(super) fn end(&self, text: &[u8], at: usize, enough: usize) -> Option<usize> {
        self.exact.as_ref()?.search.as_ref()?.end(text, at, enough).ok().flatten()
    }

    fn searches(&self) -> impl Iterator<Item = &Search> {
        let of_pieces = self.pieces.iter().filter_map(|piece| match &piece.source {
            Source::Pattern(pattern) => Some(pattern),
            Source::Phrases(_) => None,
        });
        self.whole.iter().chain(&self.exact).chain(of_pieces).filter_map(|pattern| pattern.search.as_ref())
    }
}

impl Piece {
    /// Whether a match begins at byte `at` exactly.
    #[inline]
    pub(super) fn begins(&self, text: &[u8], at: usize) -> Found {
        let (begins, read) = self.automaton.begins(text, at);
        match begins {
            Begins::Yes => Found::Yes(read),
            Begins::No => Found::No(read),
            Begins::Unknown => self.goes_on(text, at),
        }
    }

    /// The same where the table does not tell.
    fn goes_on(&self, text: &[u8], at: usize) -> Found {
        let (begins, read) = match &self.source {
            Source::Phrases(phrases) => {
                let (begins, read) = phrases.begin(text.get(at..).unwrap_or_default());
                (Some(begins), read)
            }
            Source::Pattern(pattern) => pattern.search.as_ref().map_or((None, 0), |search| search.begins_at(text, at)),
        };
        match begins {
            Some(true) => Found::Yes(read),
            Some(false) => Found::No(read),
            None => Found::Undecided,
        }
    }

    /// The earliest end of a match that begins at byte `from` or later, if there is one.
    ///
    /// # Errors
    /// [`Undecided`] if it cannot be told.
    pub(super) fn first_end(
        &self,
        operator: Option<&Operator>,
        text: &[u8],
        from: usize,
    ) -> Result<Option<usize>, Undecided> {
        match &self.source {
            Source::Pattern(pattern) => pattern.search.as_ref().ok_or(Undecided)?.first_end(text, from),
            // Nothing follows them, so where they end does not matter.
            Source::Phrases(_) => {
                Ok(operator.is_some_and(|operator| operator.matches_from(text, from)).then_some(text.len()))
            }
        }
    }

    /// How many bytes the checks of one text may read before it is searched as a whole.
    pub(super) fn patience(&self, length: usize) -> usize {
        // A pattern too large for its table builds many states in a search as well.
        if self.automaton.is_whole() { length / 2 + 64 } else { 2 * length + 64 }
    }
}

impl Pattern {
    fn new(pattern: Hir) -> Option<Self> {
        let nfa = nfa(&pattern)?;
        let search = Search::of(&pattern, nfa.clone());
        Some(Self { pattern, nfa, search })
    }
}

/// The checks of a rule set's operators, `None` for one that cannot be screened.
#[derive(Default)]
pub(crate) struct Checks(Vec<OnceLock<Option<Arc<Check>>>>);

impl Checks {
    pub(crate) fn of(operators: &[Operator]) -> Self {
        Self(operators.iter().map(|_| OnceLock::new()).collect())
    }

    /// Makes those that are missing, on all cores.
    pub(super) fn make(&self, operators: &[Operator], chosen: &[usize]) {
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(operator) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let (Some(known), Some(source)) = (self.0.get(*operator), operators.get(*operator)) {
                    known.get_or_init(|| Check::of(source).map(Arc::new));
                }
            }
        };
        let missing = |operator: &&usize| self.0.get(**operator).is_some_and(|known| known.get().is_none());
        if chosen.iter().filter(missing).count() < ALONE {
            return work();
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        std::thread::scope(|scope| {
            (1..threads).for_each(|_| drop(scope.spawn(work)));
            work();
        });
    }

    /// What has been made for an operator.
    pub(super) fn get(&self, operator: usize) -> Option<&Arc<Check>> {
        self.0.get(operator)?.get()?.as_ref()
    }

    fn made(&self) -> impl Iterator<Item = &Arc<Check>> {
        (0..self.0.len()).filter_map(|operator| self.get(operator))
    }

    /// Hands the states that searches have made so far to every thread that begins to search.
    pub(crate) fn keep_warm(&self) {
        self.made().for_each(|check| check.searches().for_each(Search::keep_warm));
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        self.made().flat_map(|check| &check.pieces).map(|piece| piece.automaton.memory()).sum()
    }
}

impl std::fmt::Debug for Checks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Checks").field(&self.0.len()).finish()
    }
}
