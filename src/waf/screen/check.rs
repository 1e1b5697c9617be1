//! How one operator is found in a text.
//!
//! A pattern is cut at its gaps ([`super::gaps`]), and each piece has an automaton of its own. The checks of a rule set
//! are made once, when the first screen needs them, and its screens share them.

use super::automaton::{Automaton, Begins};
use super::existence::simplify;
use super::gaps::{has_gap, ways};
use super::needs::Needs;
use super::search::{Search, Undecided, nfa};
use super::walk::{Phrases, Walker};
use crate::operator::{Operator, parse_pattern};
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
    /// The pattern with all that its matches may take, if that can be the rest of the text.
    exact: Option<Search>,
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
    /// Of a pattern, what searches for it in a whole text.
    Pattern(Option<Box<Search>>),
    Phrases(Phrases),
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
            let mut pieces = Vec::new();
            for way in ways {
                let (first, last) = (pieces.len(), pieces.len() + way.len() - 1);
                for (place, (part, _)) in (first..).zip(way) {
                    let nfa = nfa(&part)?;
                    let automaton = Automaton::build(&mut Walker::pattern(nfa.clone()).ok()?);
                    let next = (place < last).then_some(place + 1);
                    let source = Source::Pattern(Search::of(&part, nfa).map(Box::new));
                    pieces.push(Piece { automaton, source, opens: place == first, next });
                }
            }
            let exact = (keeps_start && has_gap(&exact)).then(|| Search::of(&exact, nfa(&exact)?)).flatten();
            return Some(Self { needs: Needs::of(&whole), pieces, keeps_start, exact });
        }
        let phrases = operator.phrases();
        if phrases.is_empty() || phrases.iter().any(Vec::is_empty) {
            return None;
        }
        let phrases = Phrases::new(phrases);
        let needs = Needs::of_phrases(phrases.list());
        let automaton = Automaton::build(&mut Walker::Phrases(&phrases));
        let piece = Piece { automaton, source: Source::Phrases(phrases), opens: true, next: None };
        Some(Self { needs, pieces: vec![piece], keeps_start: false, exact: None })
    }

    /// Whether the operator matches a text.
    pub(super) fn matches(&self, operator: Option<&Operator>, text: &[u8]) -> bool {
        let alone = |Undecided| operator.is_some_and(|operator| operator.matches_from(text, 0));
        self.any_way(operator, text).unwrap_or_else(alone)
    }

    /// Whether the pieces of some way follow each other in a text.
    fn any_way(&self, operator: Option<&Operator>, text: &[u8]) -> Result<bool, Undecided> {
        for opening in self.pieces.iter().filter(|piece| piece.opens) {
            let (mut end, mut next) = (Some(0), Some(opening));
            while let (Some(from), Some(piece)) = (end, next) {
                end = piece.first_end(operator, text, from)?;
                next = piece.next.and_then(|next| self.pieces.get(next));
            }
            if end.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Where the match that begins at byte `at` ends, see [`Search::end`]; `None` if there is none, or it cannot be told.
    pub(super) fn end(&self, text: &[u8], at: usize, enough: usize) -> Option<usize> {
        self.exact.as_ref()?.end(text, at, enough).ok().flatten()
    }

    fn searches(&self) -> impl Iterator<Item = &Search> {
        let of_pieces = self.pieces.iter().filter_map(|piece| match &piece.source {
            Source::Pattern(search) => search.as_deref(),
            Source::Phrases(_) => None,
        });
        self.exact.iter().chain(of_pieces)
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
            Source::Pattern(search) => search.as_ref().map_or((None, 0), |search| search.begins_at(text, at)),
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
            Source::Pattern(search) => search.as_ref().ok_or(Undecided)?.first_end(text, from),
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
